"""Who held a lock, semaphore or barrier at a moment, who waited, and what became of each.

The state at the moment (nearest snapshot and the events after it) says who. Since when is found by going back from it
(``looking_back``), and what became of everybody by going on until all are gone. Both are read in pages, whatever the
length of the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any

import msgspec

from casty_es.audit.forensics.looking_back import find_beginnings
from casty_es.audit.forensics.tracker import CLAIM_KINDS, Claim, Tracker, story_of
from casty_es.domain.catalog import CATALOG
from casty_es.errors import InvalidArgumentError
from casty_es.journal.port import EntityName, EventJournal
from casty_es.names import check_name
from casty_es.replay import Unreadable, events, refuse_ahead, sequence_at_time, state_so_far, to_microseconds


class Moment(msgspec.Struct, frozen=True):
    """What was true of a lock, semaphore or barrier at a moment.

    Attributes
    ----------
    at : int
        The moment, in microseconds since 1970.
    sequence : int
        The last event until then; 0 when there was none.
    holders, waiters : tuple[Claim, ...]
        Who held it, the longest first, and who waited, the front first. What came later is in them too.
    permits : int | None
        How many a semaphore had.
    round, expected : int | None
        A barrier's round, and how many it expected (0 when nobody had arrived).
    """

    at: int
    sequence: int
    holders: tuple[Claim, ...]
    waiters: tuple[Claim, ...]
    permits: int | None = None
    round: int | None = None
    expected: int | None = None


def span(start: datetime, end: datetime) -> tuple[int, int]:
    """Return two moments in microseconds since 1970; both need a zone, and the first is before the last."""
    first, last = to_microseconds(start), to_microseconds(end)
    if first >= last:
        raise InvalidArgumentError(f"{start} is not before {end}. Nothing was read.")
    return first, last


async def find_entity(journal: EventJournal, kind: str, name: str, kinds: tuple[str, ...]) -> int | None:
    """Return the id of a structure that is one entity, or ``None`` when the journal never knew it."""
    if kind not in kinds:
        raise InvalidArgumentError(f"{kind[:80]!r} is none of {', '.join(kinds)}. Nothing was read.")
    [stored] = await journal.entities([EntityName(kind, check_name(name), "")])
    return None if stored is None else stored.id


async def who_held(
    journal: EventJournal, kind: str, name: str, *, at: datetime, unreadable: list[Unreadable] | None = None
) -> Moment | None:
    """Return who held a structure at a moment, since and until when, and who waited.

    Parameters
    ----------
    journal : EventJournal
        The journal; no node has to run.
    kind : str
        ``lock``, ``semaphore`` or ``barrier``.
    name : str
        The structure's name.
    at : datetime
        The moment, with a time zone.
    unreadable : list[Unreadable] | None
        Is given the records of the structure that cannot be read; what they would have said is missing in the answer.
        Without it they are an error.

    Returns
    -------
    Moment | None
        ``None`` when the journal never knew the structure.

    Raises
    ------
    InvalidArgumentError
        The kind cannot be held, or the moment has no zone.
    ArchivedError
        The events of that moment were cut.
    EntityQuarantinedError
        An event cannot be read.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> lock = d.lock("deploy")
    >>> await lock.acquire()
    >>> from casty_es.audit.forensics import who_held
    >>> moment = await who_held(journal, "lock", "deploy", at=datetime.now(UTC))
    >>> [holder.ended_at for holder in moment.holders], len(moment.waiters)
    ([None], 0)
    >>> await lock.release()
    True
    """
    moment = to_microseconds(at)
    entity = await find_entity(journal, kind, name, CLAIM_KINDS)
    if entity is None:
        return None
    sequence = await sequence_at_time(journal, entity, moment)
    state, tracker = await _tracker(journal, entity, kind, sequence, unreadable)
    holders, waiters = _split(tracker.claims.values(), kind)
    left = set(tracker.claims)
    async for record in events(journal, entity, after=sequence):
        if not left:
            break
        left -= {claim.request for claim in tracker.take(record)}
    return Moment(
        moment,
        sequence,
        tuple(holders),
        tuple(waiters),
        **{what: getattr(state, field) for what, field in story_of(kind).told.items()},
    )


async def timeline(
    journal: EventJournal,
    kind: str,
    name: str,
    start: datetime,
    end: datetime,
    *,
    unreadable: list[Unreadable] | None = None,
) -> AsyncIterator[Claim]:
    """Yield every request that waited or held between two moments, as it ends; those that had not ended come last.

    Parameters
    ----------
    journal, kind, name, unreadable
        As for :func:`who_held`.
    start, end : datetime
        The moments, with a time zone; events at ``end`` belong to it.

    Raises
    ------
    InvalidArgumentError
        The kind cannot be held, a moment has no zone, or the first is not before the last.
    ArchivedError
        The events before ``start`` were cut.
    """
    first, last = span(start, end)
    entity = await find_entity(journal, kind, name, CLAIM_KINDS)
    if entity is None:
        return
    sequence = await sequence_at_time(journal, entity, first)
    _, tracker = await _tracker(journal, entity, kind, sequence, unreadable)
    async for record in events(journal, entity, after=sequence):
        if record.recorded_at > last:
            await refuse_ahead(journal, record, last)
            break
        for claim in tracker.take(record):
            yield claim
    for claim in tracker.claims.values():
        yield claim


async def _tracker(
    journal: EventJournal, entity: int, kind: str, sequence: int, unreadable: list[Unreadable] | None
) -> tuple[Any, Tracker]:
    """Return the state at a sequence, and who holds and waits then; what cannot be read on the way is passed over."""
    state, reached = await state_so_far(journal, entity, CATALOG[kind], sequence, unreadable)
    claims = await _claims(journal, entity, kind, state, reached, unreadable)
    tracker = Tracker({claim.request: claim for claim in claims}, unreadable)
    if reached < sequence:
        async for record in events(journal, entity, after=reached, until=sequence):
            for _ in tracker.take(record):
                pass  # it had ended by then
    return state, tracker


def _split(claims: Iterable[Claim], kind: str) -> tuple[list[Claim], list[Claim]]:
    """Return those who hold and those who wait."""
    both = list(claims)
    if story_of(kind).granted is None:
        return [], both
    return [one for one in both if one.token is not None], [one for one in both if one.token is None]


async def _claims(
    journal: EventJournal, entity: int, kind: str, state: Any, sequence: int, unreadable: list[Unreadable] | None
) -> list[Claim]:
    """Return those who hold and those who wait in a state, with what the events until then say of them."""
    story = story_of(kind)
    held = [] if story.granted is None else state.holders.items()
    holders = [Claim(one.owner, request, token=one.token) for request, one in held]
    number = story.round_in(state)
    waiters = [Claim(owner, request, round=number) for request, owner in state.line.items()]
    await find_beginnings(journal, entity, holders, waiters, sequence, unreadable)
    return [*holders, *waiters]
