"""Going through the log record by record: positions and sequences without gaps, hash chains whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from casty_es.journal.chain import GENESIS, digest, link
from casty_es.journal.port import ENTITY_NUMBER_BITS, EntityName, EventJournal, RecordedEvent

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
    """Check the slots that hold these entities.

    Records of others in the same slots have their place checked, and the hash only of what stands on them: their salt
    is not known here.
    """
    salts: dict[int, bytes] = {}
    for start in range(0, len(names), _PAGE):
        for stored in await journal.entities(names[start : start + _PAGE]):
            if stored is not None and stored.salt is not None:
                salts[stored.id] = stored.salt
    slots = sorted({id_ >> ENTITY_NUMBER_BITS for id_ in salts})
    chains = Chains(len(slots))
    for slot in slots:
        await _check_slot(journal, slot, salts, chains)
    return chains


async def _check_slot(journal: EventJournal, slot: int, salts: dict[int, bytes], chains: Chains) -> None:
    previous, position = GENESIS, 0
    sequences: dict[int, int] = defaultdict(int)
    while page := await journal.records(slot, after=position, limit=_PAGE):
        for record in page:
            where = f"slot {slot}, position {record.position}"
            if record.position != position + 1:
                chains.wrong.append(f"{where}: the record before it is at {position}")
            salt = b"" if record.entity is None else salts.get(record.entity)
            if salt is not None and record.hash != _hash(previous, record, salt):
                chains.wrong.append(f"{where}: its hash does not follow from the record before it and its fields")
            if record.entity is not None:
                if record.sequence != sequences[record.entity] + 1:
                    chains.wrong.append(f"{where}: the entity's event before it has {sequences[record.entity]}")
                sequences[record.entity] = record.sequence or 0
            previous, position = record.hash, record.position
        chains.records += len(page)


def _hash(previous: bytes, record: RecordedEvent, salt: bytes) -> bytes:
    return link(
        previous,
        record.slot,
        record.position,
        record.epoch,
        record.entity,
        record.sequence,
        record.recorded_at,
        (record.type, record.version),
        record.command_id,
        record.idempotency_key,
        digest(salt, record.payload),
        None if record.metadata is None else digest(salt, record.metadata),
    )
