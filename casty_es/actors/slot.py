"""A slot as its owner sees it: the epoch it is held under, and the head that the next append must name."""

from __future__ import annotations

from collections import deque
from typing import Final

from casty_es.journal.port import EMPTY_SLOT, ENTITY_NUMBER_BITS, Head

__all__ = ["Slot"]

# A proof that is on its way while more appends than this finish is simply asked again.
_REMEMBERED_HEADS: Final = 64


class Slot:
    """One slot. ``epoch`` is 0 while this node does not hold it."""

    __slots__ = ("_entity_number", "epoch", "head", "number", "recent", "recorded_at")

    def __init__(self, number: int) -> None:
        self.number = number
        self.epoch = 0
        self.head = EMPTY_SLOT
        self.recorded_at = 0
        self.recent: deque[tuple[int, bytes]] = deque(maxlen=_REMEMBERED_HEADS)
        self._entity_number = 0

    def take(self, lease: Head, entity_number: int, recorded_at: int) -> None:
        """Begin to own the slot under the lease record that stands at ``lease``."""
        self.epoch = lease.position
        self._entity_number = entity_number
        self.recent.clear()
        self.advance(lease, recorded_at)

    def lose(self) -> None:
        """Stop owning the slot."""
        self.epoch = 0
        self.recent.clear()

    def advance(self, head: Head, recorded_at: int) -> None:
        """Note what was committed."""
        self.head = head
        self.recorded_at = recorded_at
        self.recent.append((head.position, head.hash))

    def new_entity_id(self) -> int:
        """Give the id of a new entity. A number whose append failed is not given again, which does no harm."""
        self._entity_number += 1
        return (self.number << ENTITY_NUMBER_BITS) + self._entity_number
