"""The oracle: what a caller was told, what the journal holds, and what is held or in line by nobody must agree.

1. Told done: the command's events are there exactly once, and they mean the result that was told.
2. Told not done: there is no effect of it, now or later. A request that stood in line is out of it.
3. Told that it is unknown: either; at most once.
4. Told nothing, because the caller was cancelled: at most once; nothing is held or in line for it, and what it took out
   of a queue is back, or has come to somebody else.
5. No caller ever sees an error that is not of this library's, or waits for ever.
6. What was put into a queue once is in it once, or came to one caller once, or went with an outcome that is unknown.

It is asked when every living caller has given back what it held.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from casty_es import errors
from casty_es.domain import barrier, queue
from casty_es.domain.lock import Granted as LockGranted
from casty_es.domain.semaphore import Granted as PermitGranted

from .cases import Told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .cases import Case
    from .reading import Life, Record

__all__ = ["Leniency", "Verdict", "judge", "still_true"]

_STORED_VALUE = getattr(errors, "StoredValueError", ())


class Leniency(NamedTuple):
    """What an interruption excuses.

    Attributes
    ----------
    died : bool
        The caller was killed: a reply on its way was lost with it, and what it took out of a queue is gone.
    unknown_stands : bool
        A request whose outcome is unknown may stand until its lease is over.
    """

    died: bool = False
    unknown_stands: bool = True


class Verdict(NamedTuple):
    """What is not as it was told: whose operation, in which way, and the sentence."""

    case: Case
    fault: str
    sentence: str


def still_true(cases: Sequence[Case], life: Life) -> list[Verdict]:
    """Judge what callers were told, once more, when everything is closed: what did not happen must not happen later."""
    faults = [(case, _told(case, life)) for case in cases]
    return [Verdict(case, fault, f"{fault}: {_sentence(case, life)}") for case, fault in faults if fault is not None]


def judge(cases: Sequence[Case], life: Life, leniency: Leniency) -> list[Verdict]:
    """Judge the cases of one entity."""
    return [*still_true(cases, life), *_claims(cases, life, leniency), *_conserved(cases, life, leniency)]


def _id(case: Case, life: Life) -> bytes | None:
    if case.key is not None:
        return life.keyed(case.key)
    return case.ids[0] if case.ids else None


def _mine(case: Case, life: Life) -> list[Record]:
    command_id = _id(case, life)
    return [] if command_id is None else [record for record in life.of(command_id) if record.changes]


def _sentence(case: Case, life: Life) -> str:
    own = {record.sequence for record in _mine(case, life)}
    shown = ", ".join(
        f"{record.sequence} {type(record.event).__name__}{' (its own)' if record.sequence in own else ''}"
        for record in life.records
    )
    return f"{case}; the journal has {shown}"


def _told(case: Case, life: Life) -> str | None:
    """Return what is wrong with what a caller was told of its own command."""
    mine = _mine(case, life)
    sequences = [record.sequence for record in mine]
    if sequences and sequences != list(range(sequences[0], sequences[0] + len(sequences))):
        return "it happened twice"
    match case.told:
        case Told.AMISS:
            return "the caller saw an error of nobody's"
        case Told.NEVER:
            return "the caller was never told anything"
        case Told.DONE if not _fits(case, mine, life):
            return "the result is not what the events mean"
        case Told.NOT_DONE if mine and not case.row.stands and case.row.command is not queue.Dequeue:
            return "told not done, and it was"
    return None


def _fits(case: Case, mine: list[Record], life: Life) -> bool:
    events = tuple(record.event for record in mine)
    if isinstance(case.error, _STORED_VALUE):
        return len(events) == 1
    if case.row.command is barrier.Arrive:
        return bool(mine) and any(
            isinstance(record.event, barrier.Tripped) and record.sequence >= mine[0].sequence for record in life.records
        )
    if case.row.stands and case.result is not False:
        # The grant may have come with somebody else's release.
        request = _request(case, life)
        return any(
            isinstance(record.event, LockGranted | PermitGranted) and record.event.request == request
            for record in life.records
        ) and case.result in {None, True}
    return case.row.fits(case.result, events)


def _request(case: Case, life: Life) -> str | None:
    if case.key is None:
        return case.request
    mine = _mine(case, life)
    return getattr(mine[0].event, "request", None) if mine else None


def _claims(cases: Sequence[Case], life: Life, leniency: Leniency) -> list[Verdict]:
    """Return what is held or in line by nobody."""
    standing = life.claims()
    if not standing:
        return []
    by_request = {_request(case, life): case for case in cases if case.row.stands}
    verdicts = []
    for request in standing:
        case = by_request.get(request)
        if case is not None and case.told is Told.UNKNOWN and leniency.unknown_stands:
            continue
        fault = "held or in line by nobody" if case is not None else "held or in line by a helper's dead request"
        whose = case or cases[0]
        verdicts.append(Verdict(whose, fault, f"{fault}: {_sentence(whose, life)}"))
    return verdicts


def _conserved(cases: Sequence[Case], life: Life, leniency: Leniency) -> list[Verdict]:
    """Return which items of a queue are gone, and which there are twice."""
    if life.kind.name != "queue" or any(isinstance(record.event, queue.Destroyed) for record in life.records):
        return []
    takers = [case for case in cases if case.row.command is queue.Dequeue]
    put = Counter(_item(record) for record in life.records if isinstance(record.event, queue.Enqueued))
    there = Counter(msgspec.json.decode(item) for item in life.kind.to_snapshot(life.state).items)
    came = Counter(case.result for case in takers if case.told is Told.DONE and case.result is not None)
    whose = {
        _item(record): case
        for case in takers
        for record in _mine(case, life)
        if isinstance(record.event, queue.Dequeued)
    }
    verdicts = []
    for item in put:
        case = whose.get(item)
        held = there[item] + came[item]
        excused = case is not None and (
            case.told is Told.UNKNOWN or (case.told is Told.NOTHING and (leniency.died or case.key is not None))
        )
        if held == put[item] or (held == 0 and excused):
            continue
        fault = "an item is there twice" if held > put[item] else "an item is gone"
        blamed = case or cases[0]
        verdicts.append(Verdict(blamed, fault, f"{fault}: {item!r}, taken by {_sentence(blamed, life)}"))
    return verdicts


def _item(record: Record) -> str:
    value: str = msgspec.json.decode(record.event.value)  # type: ignore[attr-defined]
    return value
