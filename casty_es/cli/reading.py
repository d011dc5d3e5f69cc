"""What the journal says of one entity, without asking its owner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from casty_es.codec import decode_event, decode_state
from casty_es.domain.catalog import CATALOG
from casty_es.journal.port import EntityName, EventJournal, RecordedEvent

__all__ = ["events_of", "state_of"]

_PAGE_EVENTS: Final = 1_000


async def events_of(
    journal: EventJournal, name: EntityName, *, after: int = 0, limit: int
) -> AsyncIterator[RecordedEvent]:
    """Give an entity's events after a sequence, at most ``limit``, page by page."""
    [stored] = await journal.entities([name])
    while stored is not None and limit > 0:
        page = await journal.history(stored.id, after=after, limit=min(limit, _PAGE_EVENTS))
        if not page:
            return
        for event in page:
            yield event
        limit -= len(page)
        after = page[-1].sequence or after


async def state_of(journal: EventJournal, name: EntityName) -> Any:
    """Give an entity's committed state: the newest snapshot and the events after it."""
    kind = CATALOG[name.kind]
    [stored] = await journal.entities([name])
    if stored is None:
        return kind.initial
    state, sequence = kind.initial, 0
    if stored.snapshot is not None:
        sequence = stored.snapshot.sequence
        state = decode_state(kind, stored.snapshot.version, stored.snapshot.state)
    while page := await journal.tails({stored.id: sequence}, limit=_PAGE_EVENTS):
        for _, sequence, type_, version, payload in page:  # noqa: B007 - the last one is where the next page begins
            state = kind.evolve(state, decode_event(type_, version, payload))
    return state
