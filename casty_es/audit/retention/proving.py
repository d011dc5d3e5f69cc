"""Whether a seal that rows of ``casty_seals`` name is one that the owner wrote, before anything is cut by it."""

from __future__ import annotations

import msgspec

from casty_es.audit.links import linked_events
from casty_es.audit.seals import rows_digest
from casty_es.domain.upkeep import SEALED, Sealed
from casty_es.errors import JournalCorruptError
from casty_es.journal.maintenance import Maintenance
from casty_es.journal.port import DirectoryRow
from casty_es.journal.sql import SqlJournal

__all__ = ["proven_seal", "refuse_other_rows"]


async def proven_seal(journal: SqlJournal, entity: DirectoryRow, sequence: int) -> tuple[int, Sealed]:
    """Return a seal with its sequence.

    Raises
    ------
    JournalCorruptError
        The event is no seal, or not the one that was written.
    """
    async for event, _ in linked_events(journal, entity.id, after=sequence - 1, until=sequence):
        if event.sequence == sequence and event.type == SEALED:
            return sequence, msgspec.json.decode(event.payload, type=Sealed)
    raise _wrong(entity, f"name its event {sequence}, which is no seal")


async def refuse_other_rows(maintenance: Maintenance, entity: DirectoryRow, sequence: int, sealed: Sealed) -> None:
    """Refuse seal rows that are not those that a seal speaks of."""
    rows = [row async for row in maintenance.seals_of(entity.id) if row.sealed_by == sequence]
    if rows_digest(rows) != sealed.rows:
        raise _wrong(entity, f"are not those that its event {sequence} sealed")


def _wrong(entity: DirectoryRow, why: str) -> JournalCorruptError:
    return JournalCorruptError(
        f"Seal rows of the {entity.kind} {entity.name!r} in slot {entity.slot} {why}. Nothing of it was cut. Verify "
        f"the journal with `casty-es verify`."
    )
