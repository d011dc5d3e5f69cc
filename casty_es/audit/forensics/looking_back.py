"""When the requests that hold or wait at a moment were granted and asked for.

1. A grant's token is the sequence of its event, so since when a request holds is one read.
2. When it was asked for is found by going back: from the grant for a holder, from the moment for a waiter.
3. The way back ends at the last ending of the same id, because an id may be used again. A request that nothing was
   asked for since then was granted at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from casty_es.audit.forensics.tracker import ENDINGS, ENDS_OF_ALL, OPENINGS, Claim, caller_of, event_of
from casty_es.errors import JournalCorruptError
from casty_es.journal.port import EventJournal, RecordedEvent
from casty_es.replay import Unreadable

MOST_EVENTS_BACK: Final = 100_000
"""How far back of each request is looked. Whoever waits for long is overtaken by nobody, so it is seldom far."""

_PAGE_EVENTS: Final = 1_000
_OF_ONE: Final[tuple[Any, ...]] = (*OPENINGS, *ENDINGS)


class _Sought(msgspec.Struct):
    """A request whose first event lies at ``latest`` or before; its grant, if it holds."""

    claim: Claim
    latest: int
    grant: RecordedEvent | None = None

    def settle(self, unreadable: list[Unreadable] | None) -> None:
        """Take the grant for the first event; what waits without one stays unknown."""
        if self.grant is not None:
            _began(self.claim, self.grant, unreadable)


async def find_beginnings(
    journal: EventJournal,
    entity: int,
    holders: Sequence[Claim],
    waiters: Sequence[Claim],
    sequence: int,
    unreadable: list[Unreadable] | None = None,
) -> None:
    """Fill in when each request was granted and asked for, and by whom; what was cut or lies too far back stays open.

    The claims were taken from the state at ``sequence``. What cannot be read goes to ``unreadable``; without that
    list it is an error, as an event that is missing always is.
    """
    first, _ = await journal.bounds(entity)
    sought = {claim.request: _Sought(claim, sequence) for claim in waiters}
    for claim in holders:
        token = claim.token or 0
        if token < first:
            continue  # the grant was cut, and with it what came before
        grant = await _event(journal, entity, token)
        claim.granted_at = grant.recorded_at
        if grant.command_id is not None and grant.command_id == _id_of(claim.request):
            _began(claim, grant, unreadable)  # by its own command: it never waited
        else:
            sought[claim.request] = _Sought(claim, token - 1, grant)
    await _go_back(journal, entity, sought, first, unreadable)


async def _go_back(
    journal: EventJournal, entity: int, sought: dict[str, _Sought], first: int, unreadable: list[Unreadable] | None
) -> None:
    high = max((one.latest for one in sought.values()), default=0)
    while sought and high >= first:
        low = max(first, high - _PAGE_EVENTS + 1)
        for record in reversed(await journal.history(entity, after=low - 1, limit=high - low + 1)):
            _look_at(record, sought, unreadable)
        if low > 1:
            sought = {request: one for request, one in sought.items() if one.latest - low < MOST_EVENTS_BACK}
        # What is sought only further back need not be looked for in between.
        high = min(low - 1, max((one.latest for one in sought.values()), default=0))
    if first == 1:
        for one in sought.values():
            one.settle(unreadable)


def _look_at(record: RecordedEvent, sought: dict[str, _Sought], unreadable: list[Unreadable] | None) -> None:
    """Look whether an event begins one of the requests, or ends an older one of the same id."""
    event: Any = event_of(record, unreadable)
    if type(event) in ENDS_OF_ALL:
        over = [request for request, one in sought.items() if one.latest >= (record.sequence or 0)]
    else:
        over = [event.request] if isinstance(event, _OF_ONE) and event.request in sought else []
    for request in over:
        one = sought[request]
        if one.latest < (record.sequence or 0):
            continue
        del sought[request]
        if isinstance(event, OPENINGS):
            _began(one.claim, record, unreadable)
        else:
            one.settle(unreadable)


def _began(claim: Claim, record: RecordedEvent, unreadable: list[Unreadable] | None) -> None:
    claim.asked_at, claim.asked_sequence = record.recorded_at, record.sequence
    claim.asked_by = caller_of(record, unreadable)


async def _event(journal: EventJournal, entity: int, sequence: int) -> RecordedEvent:
    page = await journal.history(entity, after=sequence - 1, limit=1)
    if not page or page[0].sequence != sequence:
        raise JournalCorruptError(
            f"Event {sequence} of the entity is missing. Verify the journal with `casty-es verify`."
        )
    return page[0]


def _id_of(request: str) -> bytes | None:
    """Return the id of the command that a request is called after; ``None`` if it is called otherwise."""
    try:
        return bytes.fromhex(request.replace("-", ""))
    except ValueError:
        return None
