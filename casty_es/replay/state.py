"""An entity's state as of a sequence: the nearest snapshot before it, and the events from there."""

from __future__ import annotations

from typing import Any, Final

from casty_es.codec import decode_event, decode_state
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Kind
from casty_es.errors import ArchivedError, JournalCorruptError, RedactedError
from casty_es.journal.port import EntityName, EventJournal

__all__ = ["committed_state", "state_at"]

_PAGE_EVENTS: Final = 1_000


async def state_at(journal: EventJournal, entity: int, kind: Kind[Any, Any, Any], sequence: int) -> Any:
    """Give the state after the event of this sequence; 0 gives the first state of all.

    Raises
    ------
    ArchivedError
        The events were cut, and no snapshot that is left stands before them.
    RedactedError
        The values were redacted later.
    EntityQuarantinedError
        The installed code cannot read an event or the snapshot.
    JournalCorruptError
        An event is missing.
    """
    try:
        return await _state_at(journal, entity, kind, sequence)
    except (ArchivedError, RedactedError, JournalCorruptError):
        # It may have been cut or redacted between its snapshot and its events. What stays so is told.
        return await _state_at(journal, entity, kind, sequence)


async def _state_at(journal: EventJournal, entity: int, kind: Kind[Any, Any, Any], sequence: int) -> Any:
    state, reached = kind.initial, 0
    snapshot = await journal.snapshot_before(entity, sequence) if sequence else None
    if snapshot is not None:
        state, reached = decode_state(kind, snapshot.version, snapshot.state), snapshot.sequence
    while reached < sequence:
        page = await journal.tails({entity: reached}, limit=min(sequence - reached, _PAGE_EVENTS))
        for _, number, type_, version, payload in page:
            if number != reached + 1:
                raise await _missing(journal, entity, reached + 1)
            state = kind.evolve(state, decode_event(type_, version, payload))
            reached = number
        if not page:
            raise await _missing(journal, entity, reached + 1)
    return state


async def committed_state(journal: EventJournal, name: EntityName) -> Any:
    """Give an entity's newest committed state."""
    kind = CATALOG[name.kind]
    [stored] = await journal.entities([name])
    if stored is None:
        return kind.initial
    _, last = await journal.bounds(stored.id)
    return await state_at(journal, stored.id, kind, last)


async def _missing(journal: EventJournal, entity: int, sequence: int) -> Exception:
    first, _ = await journal.bounds(entity)
    if sequence < first:
        return ArchivedError(
            f"Event {sequence} of the entity was cut by retention, and no snapshot stands there. Nothing was read. "
            f"The entity's log names the archive that has it (entity.sealed)."
        )
    return JournalCorruptError(f"Event {sequence} of the entity is missing. Verify the journal with `casty-es verify`.")
