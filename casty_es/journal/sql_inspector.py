"""What a SQL journal keeps of slots that have lost records, and the hashes by which a loss is told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from casty_es.errors import SchemaError
from casty_es.journal.backend import Backend
from casty_es.journal.damaged import BEHIND_ALL, number_of, text_of
from casty_es.journal.remembered import ClosedSlot, Mark
from casty_es.journal.sql_rows import incarnation_of

__all__ = ["FORGET_CLOSED_SLOTS", "ClosedSlots"]

_HASHES_POSTGRES: Final = """
    SELECT e.slot, e.position, e.hash FROM unnest($1::int[], $2::bigint[]) AS w (slot, position)
    JOIN casty_events e ON e.slot = w.slot AND e.position = w.position"""

_HASHES_SQLITE: Final = """
    SELECT e.slot, e.position, e.hash FROM json_each(?1) w
    CROSS JOIN casty_events e ON e.slot = w.value AND e.position = json_extract(?2, '$[' || w.key || ']')"""

# The incarnation stands beside them, in the same snapshot: a mark of an earlier one has been given up.
_CLOSED: Final = """
    SELECT m.incarnation, c.slot, c.incarnation, c.position, c.hash, c.found, c.node_id, c.closed_at
    FROM casty_meta m LEFT JOIN casty_closed_slots c ON c.incarnation >= m.incarnation
    WHERE m.id = 1 ORDER BY c.slot, c.position"""

_CLOSE: Final = """
    INSERT INTO casty_closed_slots (slot, incarnation, position, hash, found, node_id, closed_at)
    VALUES ({values}) ON CONFLICT DO NOTHING"""

FORGET_CLOSED_SLOTS: Final = (
    "DELETE FROM casty_closed_slots WHERE incarnation < (SELECT incarnation FROM casty_meta WHERE id = 1)"
)
"""Removes what is written down of slots whose loss was accepted."""


class ClosedSlots(ABC):
    """The part of a ``SqlJournal`` that knows of closed slots."""

    file: Path | None

    @property
    @abstractmethod
    def _slots(self) -> int: ...

    @abstractmethod
    def _opened(self) -> Backend: ...

    async def hashes(self, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Return the hashes of the records at these slots and positions."""
        if not places:
            return {}
        columns = [list(column) for column in zip(*places, strict=True)]
        rows = await self._opened().read(self._either(_HASHES_SQLITE, _HASHES_POSTGRES), *columns)
        return {(slot, position): hash_ if type(hash_) is bytes else b"" for slot, position, hash_ in rows}

    async def closed_slots(self) -> tuple[int, list[ClosedSlot]]:
        """Return the incarnation as of now, and the closed slots."""
        rows = await self._opened().read(_CLOSED)
        if not rows:
            raise SchemaError(
                "The journal's table casty_meta is empty. Nothing was done. Finish its import or copy, or restore its "
                "row from a backup."
            )
        return incarnation_of(rows[0][0]), [
            _closed(row[1:]) for row in rows if type(row[1]) is int and 0 <= row[1] < self._slots
        ]

    async def close_slot(self, closed: ClosedSlot) -> None:
        """Write down that a slot is closed."""
        slot, mark, *rest = closed
        parameters = (slot, *msgspec.structs.astuple(mark), *rest)
        sign = self._either("?", "$")
        values = ", ".join(f"{sign}{number}" for number in range(1, len(parameters) + 1))
        await self._opened().write(_CLOSE.format(values=values), *parameters)

    def _either(self, sqlite: str, postgres: str) -> str:
        return postgres if self.file is None else sqlite


def _closed(row: Sequence[Any]) -> ClosedSlot:
    """Return a closed slot. What is damaged in it keeps it closed: nobody can tell any more what it has lost."""
    slot, incarnation, position, hash_, found, node_id, closed_at = row
    mark = Mark(
        number_of(incarnation, BEHIND_ALL),
        number_of(position, BEHIND_ALL),
        hash_ if type(hash_) is bytes else b"",
    )
    return ClosedSlot(slot, mark, number_of(found), text_of(node_id), number_of(closed_at))
