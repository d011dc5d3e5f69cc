"""What a process remembers of each slot: how far it was told, or has seen, that the slot's log is committed.

A log only grows. One that ends before what anybody remembers of it, or has another record there, has lost records, and
whoever remembers is the only one who can tell. So each process, owner, gateway or client, keeps the highest mark per
slot, and carries it wherever the slot is asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from casty_es.bounds import Hash, Incarnation, Position

# Enough of a record's hash to tell two records apart. An accident makes them differ; nobody has to be kept from it.
_HASH_BYTES: Final = 8


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A place in a slot's log that was committed."""

    # The journal's incarnation then: what was told under an earlier one than the present one has been given up.
    incarnation: Incarnation
    position: Position  # the position, 1 or more
    hash: Hash = b""  # the first 8 bytes of the hash of the record there; empty when that is not known

    @staticmethod
    def of(incarnation: int, position: int, hash_: bytes) -> Mark:
        """Return the mark of a record."""
        return Mark(incarnation, position, hash_[:_HASH_BYTES])

    def reached(self, position: int, found: bytes | None) -> bool:
        """Return whether a log that ends at a position has it.

        ``found`` is the hash of the record that stands at the mark, ``None`` if none does: whoever asks knows
        of cuts.
        """
        return self.position <= position and (found is None or found.startswith(self.hash))

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands: the higher of two marks has the higher place."""
        return self.incarnation, self.position


class ClosedSlot(NamedTuple):
    """A slot that was closed, because its log did not reach a mark: where it ended, who found it, and when."""

    slot: int
    mark: Mark
    found: int
    node_id: str
    closed_at: int


class Remembered:
    """The highest mark of each slot that a process was told of, and those of what it wrote itself."""

    def __init__(self) -> None:
        self._marks: dict[int, Mark] = {}
        self._own: Sequence[Callable[[], Mark | None]] = ()

    def follow(self, own: Sequence[Callable[[], Mark | None]]) -> None:
        """Ask these, by slot, for the marks of what the process writes itself from now on.

        Those that were asked before are asked once more: what they had written is remembered.
        """
        for slot in range(len(self._own)):
            self.note(slot, self._wrote(slot))
        self._own = own

    def _wrote(self, slot: int) -> Mark | None:
        return self._own[slot]() if slot < len(self._own) else None

    def of(self, slot: int) -> Mark | None:
        """Return the highest mark of a slot, ``None`` if the process knows nothing of it."""
        told, own = self._marks.get(slot), self._wrote(slot)
        if told is None or (own is not None and own.place >= told.place):
            return own
        return told

    def all(self, slot: int) -> set[Mark]:
        """Return all marks of a slot: the highest that was told, and what the process wrote itself."""
        return {mark for mark in (self._marks.get(slot), self._wrote(slot)) if mark is not None}

    def note(self, slot: int, mark: Mark | None) -> None:
        """Remember a mark, unless a higher one is known. A position of 0 says nothing."""
        if mark is None or not mark.position:
            return
        known = self._marks.get(slot)
        if known is None or known.place < mark.place or (known.place == mark.place and not known.hash):
            self._marks[slot] = mark
