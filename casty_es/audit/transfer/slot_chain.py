"""Whether the events of a file follow from each other: the chain of one slot, before its records are written.

What was cut is jumped over where a seal says so, as ``verify`` does. What only ``verify`` checks (states, sequences,
the directory) is left to it.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final

from casty_es.audit.lines import EventLine
from casty_es.audit.links import salt_at
from casty_es.errors import InvalidValueError
from casty_es.journal.port import (
    EMPTY_SLOT,
    DirectoryRow,
    EventRow,
    Head,
    RecordedEvent,
    RetiredSalt,
    SealRow,
    record_hash,
)

_ID: Final = 16


class SlotChain:
    """How far a slot is checked."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.head = EMPTY_SLOT  # the last event that was checked
        self.entities: dict[int, DirectoryRow] = {}  # the entities of the next events
        self.retired: dict[int, list[RetiredSalt]] = {}  # salts of earlier events, of those entities
        self.seals_until = 0  # up to which position seals were added
        self._seals: deque[SealRow] = deque()
        self._position = 0
        self._hash: bytes = EMPTY_SLOT.hash
        self._sealed: SealRow | None = None

    def needs_seals(self, number: int, line: EventLine) -> bool:
        """Return whether more of what was cut has to be added before an event can be checked; jump over what was.

        Raises ``InvalidValueError`` if the event does not stand in its order, or what was cut does not fit.
        """
        if line.slot != self.slot:
            raise refused(number, f"it is of slot {line.slot}, in the middle of slot {self.slot}")
        if line.position <= self.head.position:
            raise refused(number, f"its position is {line.position}, and the one before was {self.head.position}")
        while line.position > self._position + 1:
            while self._seals and self._seals[0].last <= self._position:
                self._seals.popleft()
            if not self._seals:
                return True
            self._jump(number, self._seals.popleft())
        return False

    def add_seals(self, number: int, rows: list[SealRow]) -> None:
        """Add what was cut behind ``seals_until``; ``InvalidValueError`` if nothing was: records are missing."""
        if not rows:
            raise refused(number, f"position {self._position + 1} is missing before it, and no seal says why")
        self._seals.extend(rows)
        self.seals_until = rows[-1].last

    def _jump(self, number: int, seal: SealRow) -> None:
        if seal.first > self._position + 1:
            raise refused(number, f"position {self._position + 1} is missing before it, and no seal says why")
        if seal.first == self._position + 1 and seal.previous_hash != self._hash:
            raise refused(number, "what was cut before it does not follow from the record before that")
        self._sealed, self._position, self._hash = seal, seal.last, seal.hash

    def check(self, number: int, line: EventLine) -> EventRow:
        """Return the row of an event that needs no more seals, if it follows from what came before.

        ``number`` is its line's, for the ``InvalidValueError`` if it does not.
        """
        try:
            row = line.to_row()
            if self._sealed is not None and row[1] <= self._sealed.last:
                if row[1] == self._sealed.last and row[12] != self._sealed.hash:
                    raise refused(number, "it was sealed with another hash")
            elif self._link(number, row) != row[12]:
                raise refused(number, "it does not follow from its fields, its entity and the record before it")
        except (ValueError, OverflowError, TypeError, struct.error) as error:
            if isinstance(error, InvalidValueError):
                raise
            raise refused(number, f"no program wrote it ({error})") from error
        if row[9] is not None and len(row[9]) != _ID:
            raise refused(number, "its command id has not 16 bytes")
        if self._sealed is None or row[1] > self._sealed.last:
            self._position, self._hash = row[1], row[12]
        self.head = Head(row[1], row[12], row[2], row[11])
        return row

    def _link(self, number: int, row: EventRow) -> bytes:
        record, salt, name = RecordedEvent(*row), b"", None
        if record.entity is not None:
            known = self.entities.get(record.entity)
            if known is None:
                raise refused(number, f"its entity {record.entity} is not in the file")
            salt, name = salt_at(known, self.retired.get(record.entity, ()), record.sequence or 0), known.entity_name
        return record_hash(self._hash, record, salt, name)


def refused(number: int, why: str) -> InvalidValueError:
    """Return the error for a line that cannot be taken."""
    return InvalidValueError(
        f"Line {number} cannot be taken: {why}. It and the lines behind it were not written; what was written before "
        f"them is right, and not complete: nothing opens that database until an import into it is."
    )
