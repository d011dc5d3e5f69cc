"""Verifying the slots that hold what the demo wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from casty_es.audit.verify import verify
from casty_es.journal.port import ENTITY_NUMBER_BITS, EntityName, EventJournal

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
    report = await verify(journal, slots=slots)
    return Chains(report.slots, report.records, [f"{one.where}: {one.text}" for one in report.findings])
