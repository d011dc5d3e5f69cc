"""Going through the log record by record: positions and sequences without gaps, hash chains whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from casty_es.journal.chain import GENESIS
from casty_es.journal.port import ENTITY_NUMBER_BITS, DirectoryRow, EntityName, EventJournal, record_hash

__all__ = ["Chains", "check_chains"]

_PAGE: Final = 1_000


class Chains(msgspec.Struct):
    """What was gone through.

    Attributes
    ----------
    slots : int
        How many slots hold the entities.
    records : int
        How many records these slots have.
    wrong : list[str]
        What does not fit.
    """

    slots: int
    records: int = 0
    wrong: list[str] = []


async def check_chains(journal: EventJournal, names: Sequence[EntityName]) -> Chains:
    """Check the slots that hold these entities."""
    slots: set[int] = set()
    for start in range(0, len(names), _PAGE):
        stored = await journal.entities(names[start : start + _PAGE])
        slots |= {row.id >> ENTITY_NUMBER_BITS for row in stored if row is not None}
    chains = Chains(len(slots))
    for slot in sorted(slots):
        await _check_slot(journal, slot, chains)
    return chains


async def _check_slot(journal: EventJournal, slot: int, chains: Chains) -> None:
    rows: dict[int, DirectoryRow] = {}
    previous, position = GENESIS, 0
    sequences: dict[int, int] = defaultdict(int)
    while page := await journal.records(slot, after=position, limit=_PAGE):
        unknown = {record.entity for record in page if record.entity is not None} - rows.keys()
        rows.update({row.id: row for row in await journal.entity_rows(sorted(unknown))})
        for record in page:
            where = f"slot {slot}, position {record.position}"
            if record.position != position + 1:
                chains.wrong.append(f"{where}: the record before it is at {position}")
            row = None if record.entity is None else rows.get(record.entity)
            salt, name = (b"", None) if row is None else (row.salt or b"", row.entity_name)
            if record.hash != record_hash(previous, record, salt, name):
                chains.wrong.append(f"{where}: its hash does not follow from the record before it and its fields")
            if record.entity is not None:
                if record.sequence != sequences[record.entity] + 1:
                    chains.wrong.append(f"{where}: the entity's event before it has {sequences[record.entity]}")
                sequences[record.entity] = record.sequence or 0
            previous, position = record.hash, record.position
        chains.records += len(page)
