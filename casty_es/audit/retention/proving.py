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


async def unfinished_cut(journal: SqlJournal, entity: DirectoryRow) -> int:
    """Return the sequence through which a run that was interrupted had sealed events and not deleted them; 0 for none.

    Raises ``JournalCorruptError`` if the seal, or the rows that name it, are not those that were written.
    """
    last_cut = await journal.last_cut(entity.id)
    oldest = await journal.history(entity.id, limit=1) if last_cut else []
    if not oldest or oldest[0].position > last_cut:
        return 0
    maintenance = Maintenance(journal)
    seals = await maintenance.seal_sequences(entity.id)
    sealed = await proven_seal(journal, entity, seals[-1])
    rows = [row async for row in maintenance.seals_of(entity.id) if row.sealed_by == seals[-1]]
    if rows_digest(rows) != sealed.rows:
        raise _wrong(entity, f"are not those that its event {seals[-1]} sealed")
    return sealed.through


async def proven_seal(journal: SqlJournal, entity: DirectoryRow, sequence: int) -> Sealed:
    """Return what a seal says; ``JournalCorruptError`` if it is none, or not the one that was written."""
    async for event, _ in linked_events(journal, entity.id, after=sequence - 1, until=sequence):
        if event.sequence == sequence and event.type == SEALED:
            return msgspec.json.decode(event.payload, type=Sealed)
    raise _wrong(entity, f"name its event {sequence}, which is no seal")


def _wrong(entity: DirectoryRow, why: str) -> JournalCorruptError:
    return JournalCorruptError(
        f"Seal rows of the {entity.kind} {entity.name!r} in slot {entity.slot} {why}. Nothing of it was cut. Verify "
        f"the journal with `casty-es verify`."
    )
