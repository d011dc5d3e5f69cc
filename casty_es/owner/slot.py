"""A slot as its owner sees it: the epoch it is held under, and the head that the next append must name."""

from __future__ import annotations

from collections import deque
from typing import Final

from casty_es.bounds import POSITION_BITS
from casty_es.journal.port import EMPTY_SLOT, ENTITY_NUMBER_BITS, Head
from casty_es.journal.remembered import Mark

__all__ = ["Slot", "split_term", "term_of"]

# A proof that is on its way while more appends than this finish is simply asked again.
_REMEMBERED_HEADS: Final = 64


class Slot:
    """One slot.

    Attributes
    ----------
    epoch : int
        The position of the lease record under which this node holds the slot; 0 while it does not.
    term : int
        What commands are addressed to: the epoch behind the journal's incarnation, because a database that lost records
        may give the same positions again; 0 while the slot is not held.
    incarnation : int
        The journal's incarnation when this node took it last.
    head : Head
        The last record that this node wrote.
    """

    __slots__ = ("_entity_number", "epoch", "head", "incarnation", "number", "recent", "recorded_at", "since", "term")

    def __init__(self, number: int) -> None:
        self.number = number
        self.epoch = 0
        self.term = 0
        self.incarnation = 0
        self.head = EMPTY_SLOT
        self.recorded_at = 0
        self.since = 0
        self.recent: deque[tuple[int, bytes]] = deque(maxlen=_REMEMBERED_HEADS)
        self._entity_number = 0

    def take(self, lease: Head, entity_number: int, recorded_at: int, incarnation: int) -> None:
        """Begin to own the slot under the lease record that stands at ``lease``."""
        self.epoch = lease.position
        self.term = term_of(incarnation, lease.position)
        self.incarnation = incarnation
        self.since = recorded_at
        self._entity_number = entity_number
        self.recent.clear()
        self.advance(lease, recorded_at)

    def lose(self) -> None:
        """Stop owning the slot. The head stays: a log that is found to be shorter later has lost records."""
        self.epoch = self.term = 0
        self.recent.clear()

    def advance(self, head: Head, recorded_at: int) -> None:
        """Note what was committed."""
        self.head = head
        self.recorded_at = recorded_at
        self.recent.append((head.position, head.hash))

    def mark(self) -> Mark | None:
        """Return how far this node knows the slot to be committed, from what it wrote itself."""
        head = self.head
        return Mark.of(self.incarnation, head.position, head.hash) if head.position else None

    def wrote(self, mark: Mark) -> bool:
        """Return whether a mark is that of a record which this node wrote under the present epoch, not long ago."""
        return mark.incarnation == self.incarnation and any(
            position == mark.position and hash_.startswith(mark.hash) for position, hash_ in self.recent
        )

    def new_entity_id(self) -> int:
        """Return the id of a new entity. A number whose append failed is not given again, which does no harm."""
        self._entity_number += 1
        return (self.number << ENTITY_NUMBER_BITS) + self._entity_number


def term_of(incarnation: int, epoch: int) -> int:
    """Return the term of an epoch.

    Examples
    --------
    >>> split_term(term_of(2, 17))
    (2, 17)
    """
    return (incarnation << POSITION_BITS) + epoch


def split_term(term: int) -> tuple[int, int]:
    """Return the incarnation and the epoch of a term."""
    return term >> POSITION_BITS, term & ((1 << POSITION_BITS) - 1)
