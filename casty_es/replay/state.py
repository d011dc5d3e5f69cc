"""An entity's state as of a sequence: the nearest snapshot before it, and the events from there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from casty_es.domain.catalog import kind_of
from casty_es.domain.decider import Kind
from casty_es.domain.upkeep import REDACTED
from casty_es.errors import ArchivedError, EntityQuarantinedError, JournalCorruptError, RedactedError
from casty_es.format.codec import decode_state
from casty_es.journal.port import ENTITY_NUMBER_BITS, EntityName, EventJournal, StoredSnapshot
from casty_es.printing import log_of
from casty_es.replay.binding import is_bound
from casty_es.replay.fold import Fold, fold
from casty_es.replay.reading import Unreadable, unfoldable

_LOG: Final = log_of("casty_es.replay")

_PAGE_EVENTS: Final = 1_000
_SNAPSHOTS_TRIED: Final = 4


async def state_at(journal: EventJournal, entity: int, kind: Kind[Any, Any, Any], sequence: int) -> Any:
    """Return the state after the event of this sequence; 0 gives the first state of all.

    Raises
    ------
    ArchivedError
        The events were cut, and no snapshot that is left stands before them.
    RedactedError
        The values were redacted later.
    EntityQuarantinedError
        The installed code cannot read an event, or the snapshot behind which events were cut.
    JournalCorruptError
        An event is missing.
    """
    state, _ = await state_so_far(journal, entity, kind, sequence)
    return state


async def state_so_far(
    journal: EventJournal,
    entity: int,
    kind: Kind[Any, Any, Any],
    sequence: int,
    unreadable: list[Unreadable] | None = None,
) -> tuple[Any, int]:
    """Return the state after the event of this sequence, or before the first event that cannot be read.

    With it comes the sequence that it is the state of. The record that cannot be read goes to ``unreadable``; without
    that list it is an error. Anything else raises as :func:`state_at` does.
    """
    try:
        return await _state_at(journal, entity, kind, sequence, unreadable)
    except (ArchivedError, RedactedError, JournalCorruptError):
        # It may have been cut or redacted between its snapshot and its events. What stays so is told.
        return await _state_at(journal, entity, kind, sequence, unreadable)


async def _state_at(
    journal: EventJournal, entity: int, kind: Kind[Any, Any, Any], sequence: int, unreadable: list[Unreadable] | None
) -> tuple[Any, int]:
    state, reached = await base_at(journal, entity, kind, sequence)
    one = Fold(kind, (), reached, state)
    while one.sequence < sequence:
        before = one.sequence
        page = await journal.tails({entity: before}, limit=min(sequence - before, _PAGE_EVENTS))
        if fold({entity: one}, page) < len(page) and one.error is not None:
            number, error = one.sequence + 1, one.error
            if unreadable is None or isinstance(error, RedactedError):
                raise await unfoldable(journal, entity, number, error) from error
            records = await journal.history(entity, after=number - 1, limit=1)
            unreadable += [Unreadable.of(record, str(error) or repr(error)) for record in records]
            break
        if not page or one.sequence - before < len(page):
            raise await _missing(journal, entity, one.sequence + 1)
    return one.state, one.sequence


async def base_at(journal: EventJournal, entity: int, kind: Kind[Any, Any, Any], sequence: int) -> tuple[Any, int]:
    """Return a state at or before a sequence from which the events can be folded on, and the sequence that it is of.

    It is the newest snapshot that the entity's log speaks of and that the installed code can read. A snapshot is
    derived from events: while they are all there, one that is no good costs time and nothing else. Once they were
    cut it is an ``EntityQuarantinedError`` that none can be read, and a ``JournalCorruptError`` that the log speaks
    of none.
    """
    rows = await journal.entity_rows([entity])
    unread: EntityQuarantinedError | None = None
    unbound = 0
    async for snapshot in _newest(journal, entity, sequence):
        if not rows or not await is_bound(journal, rows[0], kind, snapshot):
            unbound = unbound or snapshot.sequence
            continue
        try:
            return decode_state(kind, snapshot.version, snapshot.state), snapshot.sequence
        except EntityQuarantinedError as error:
            unread = unread or error
    if unread is None and not unbound:
        return kind.initial, 0
    first, _ = await journal.bounds(entity)
    forgotten = rows[0].salted_from if rows else 0
    base = 0
    if 0 < forgotten <= sequence:
        said = await journal.binding(entity, forgotten)
        if (said is not None and said.type == REDACTED) or (unread is not None and first == forgotten + 1):
            base = forgotten  # a redaction leaves the first state of all
    if first > base + 1:
        left = f"the events before sequence {first} of entity {entity}, slot {entity >> ENTITY_NUMBER_BITS}, were cut"
        if unread is None:
            raise JournalCorruptError(
                f"The log of the entity does not say what its snapshot at event {unbound} must be, so it is not "
                f"believed, and {left}. Nothing was changed. `casty-es verify` says what is wrong."
            )
        raise EntityQuarantinedError(
            f"{unread} It is all that is left: {left}. Nothing was changed. Install the version of the code that wrote "
            f"it, or one that can lift it."
        ) from unread
    if unread is not None:
        _LOG.warning("Entity %d is folded from sequence %d, without its snapshot: %s", entity, base + 1, unread)
    return kind.initial, base


async def _newest(journal: EventJournal, entity: int, sequence: int) -> AsyncIterator[StoredSnapshot]:
    """Yield the newest snapshots until a sequence, and the one behind which events were cut, if there is one.

    Not all of them: anybody may have put any number there.
    """
    below = sequence
    for _ in range(_SNAPSHOTS_TRIED):
        snapshot = await journal.snapshot_before(entity, below) if below > 0 else None
        if snapshot is None:
            return
        yield snapshot
        below = snapshot.sequence - 1
    first, _ = await journal.bounds(entity)
    if 1 < first <= below + 1 and (snapshot := await journal.snapshot_before(entity, first - 1)) is not None:
        yield snapshot


async def committed_state(journal: EventJournal, name: EntityName) -> Any:
    """Return an entity's newest committed state."""
    kind = kind_of(name.kind)
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
