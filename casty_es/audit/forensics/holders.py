"""Who held a lock, semaphore or barrier at a moment, who waited, and what became of each.

The state at the moment (nearest snapshot and the events after it) says who. A grant's token is the sequence of its
event, so since when is one read. When a waiter came is found by going back from the moment; what became of everybody by
going on from it until all are gone. Both are read in pages, whatever the length of the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from casty_es.audit.forensics.claims import CLAIM_KINDS, Claim, Tracker, caller_of, opening
from casty_es.domain.catalog import CATALOG
from casty_es.errors import InvalidArgumentError
from casty_es.journal.port import EntityName, EventJournal, RecordedEvent
from casty_es.names import check_name
from casty_es.replay import events, sequence_at_time, state_at

__all__ = ["Moment", "find_entity", "timeline", "to_microseconds", "who_held"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PAGE_EVENTS: Final = 1_000
_LOOK_BACK_EVENTS: Final = 100_000  # a waiter of a lease's length came thousands of events ago at most


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


def to_microseconds(moment: datetime) -> int:
    """Give a moment in microseconds since 1970; one without a zone is refused.

    Raises
    ------
    InvalidArgumentError
        The moment has no zone.
    """
    if moment.tzinfo is None:
        raise InvalidArgumentError(f"{moment} has no time zone, so it is no moment. Nothing was read. Give it one.")
    return (moment - _EPOCH) // timedelta(microseconds=1)


async def find_entity(journal: EventJournal, kind: str, name: str, kinds: tuple[str, ...]) -> int | None:
    """Give the id of a structure that is one entity, or ``None`` when the journal never knew it."""
    if kind not in kinds:
        raise InvalidArgumentError(f"{kind[:80]!r} is none of {', '.join(kinds)}. Nothing was read.")
    [stored] = await journal.entities([EntityName(kind, check_name(name), "")])
    return None if stored is None else stored.id


async def who_held(journal: EventJournal, kind: str, name: str, *, at: datetime) -> Moment | None:
    """Tell who held a structure at a moment, since and until when, and who waited.

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
    state = await state_at(journal, entity, CATALOG[kind], sequence)
    holders, waiters = await _claims(journal, entity, kind, state, sequence)
    tracker = Tracker({claim.request: claim for claim in (*holders, *waiters)})
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
        state.permits if kind == "semaphore" else None,
        *((state.generation, state.expected) if kind == "barrier" else ()),
    )


async def timeline(journal: EventJournal, kind: str, name: str, start: datetime, end: datetime) -> AsyncIterator[Claim]:
    """Give every request that waited or held between two moments, as it ends; those that had not ended come last.

    Parameters
    ----------
    journal, kind, name
        As for :func:`who_held`.
    start, end : datetime
        The moments, with a time zone; events at ``end`` belong to it.

    Raises
    ------
    InvalidArgumentError
        The kind cannot be held, or a moment has no zone.
    ArchivedError
        The events before ``start`` were cut.
    """
    first, last = to_microseconds(start), to_microseconds(end)
    entity = await find_entity(journal, kind, name, CLAIM_KINDS)
    if entity is None:
        return
    sequence = await sequence_at_time(journal, entity, first)
    state = await state_at(journal, entity, CATALOG[kind], sequence)
    holders, waiters = await _claims(journal, entity, kind, state, sequence)
    tracker = Tracker({claim.request: claim for claim in (*holders, *waiters)})
    async for record in events(journal, entity, after=sequence):
        if record.recorded_at > last:
            break
        for claim in tracker.take(record):
            yield claim
    for claim in tracker.claims.values():
        yield claim


async def _claims(
    journal: EventJournal, entity: int, kind: str, state: Any, sequence: int
) -> tuple[list[Claim], list[Claim]]:
    """Give those who hold and those who wait in a state, with what the events until then say of them."""
    first, _ = await journal.bounds(entity)
    if kind == "lock":
        held = [] if state.holder is None else [(state.holder.request, state.holder)]
    else:
        held = list(state.holders.items()) if kind == "semaphore" else []
    holders = [Claim(holder.owner, request, token=holder.token) for request, holder in held]
    number = state.generation if kind == "barrier" else None
    waiters = [Claim(owner, request, round=number) for request, owner in state.line.items()]
    for claim in holders:
        await _look_up_grant(journal, entity, claim, first)
    await _look_back(journal, entity, {claim.request: claim for claim in (*holders, *waiters)}, sequence, first)
    return holders, waiters


async def _look_up_grant(journal: EventJournal, entity: int, claim: Claim, first: int) -> None:
    """Read the event of a grant: its sequence is the token. One that was cut stays unknown."""
    token = claim.token or 0
    if token >= first:
        [grant] = await journal.history(entity, after=token - 1, limit=1)
        claim.granted_at = grant.recorded_at


async def _look_back(journal: EventJournal, entity: int, missing: dict[str, Claim], sequence: int, first: int) -> None:
    """Find when each request was asked for, going back; a grant that nothing was asked for before is its own first."""
    missing = dict(missing)
    lowest = max(first, sequence - _LOOK_BACK_EVENTS + 1)
    high = sequence
    while missing and high >= lowest:
        low = max(lowest, high - _PAGE_EVENTS + 1)
        page = await journal.history(entity, after=low - 1, limit=high - low + 1)
        for record in reversed(page):
            if not missing:
                return
            _look_at(record, missing)
        high = low - 1
    # What is left was cut, or lies too far back: since when it is there is not known.


def _look_at(record: RecordedEvent, missing: dict[str, Claim]) -> None:
    begun = opening(record)
    if begun is None or begun[0] not in missing:
        return
    claim, found = missing[begun[0]], begun[1]
    if found.token is not None and record.command_id != _id_of(claim.request):
        return  # a grant that somebody else's command caused: it was asked for before
    del missing[claim.request]
    claim.asked_at, claim.asked_sequence = record.recorded_at, record.sequence
    claim.asked_by = caller_of(record)


def _id_of(request: str) -> bytes | None:
    try:
        return bytes.fromhex(request.replace("-", ""))
    except ValueError:
        return None
