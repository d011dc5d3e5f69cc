"""A slot as its owner sees it: the epoch it is held under, the head that the next append must name, where it went.

1. A slot is held under one epoch at a time, the position of its owner's lease record. Positions only grow, so epochs
   do: a command for an old term is one for the past (``docs/explanation/architecture.md``, "Terms").
2. Only what is committed moves the head. What is decided on top of it is in a batch, and thrown away with it.
3. An append in doubt costs a lease record, which settles it. If the cause stands, such as a standby that never answers,
   or a trigger that ends the session, every try costs one more. So the first tries follow at once, and the pause before
   the later ones doubles; a committed command ends the count.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from casty_es import runtime
from casty_es.bounds import POSITION_BITS
from casty_es.errors import LeaseLostError, NotOwnerError
from casty_es.journal.port import EMPTY_SLOT, ENTITY_NUMBER_BITS, Head
from casty_es.journal.remembered import Mark
from casty_es.printing import log_of

_LOG: Final = log_of("casty_es.leases")

# A proof that is on its way while more appends than this finish is simply asked again.
_REMEMBERED_HEADS: Final = 64

# One is an accident, and so is a second one over the connection that replaced the first.
_DOUBTS_AT_ONCE: Final = 2
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 30.0


@dataclass(slots=True, eq=False)
class Slot:
    """One slot."""

    number: int
    node_id: str = ""  # the node of this process, which its refusals name
    epoch: int = 0  # the position of the lease record under which this node holds the slot; 0 while it does not
    # What commands are addressed to: the epoch behind the journal's incarnation, because a database that lost
    # records may give the same positions again; 0 while the slot is not held.
    term: int = 0
    incarnation: int = 0  # the journal's incarnation when this node took it last
    head: Head = EMPTY_SLOT  # the last record that this node wrote
    recent: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_HEADS))
    _entity_number: int = 0
    _doubts: int = 0
    _left_alone_until: float = 0.0
    _successor: tuple[str | None, str | None] = (None, None)

    # What is held and written

    def take(self, lease: Head, entity_number: int, incarnation: int) -> None:
        """Begin to own the slot under the lease record that stands at ``lease``."""
        # A log that ends before what this node wrote has lost records, and its slot is closed, not taken; once the loss
        # is accepted the incarnation is higher (docs/explanation/safety.md, H9).
        assert (incarnation, lease.position) > (self.incarnation, self.head.position), "terms of a slot only grow"
        self.epoch = lease.position
        self.term = term_of(incarnation, lease.position)
        self.incarnation = incarnation
        self.head = lease
        self._entity_number = entity_number
        self.recent.clear()
        self.recent.append((lease.position, lease.hash))

    def lose(self) -> None:
        """Stop owning the slot. The head stays: a log that is found to be shorter later has lost records."""
        self.epoch = self.term = 0
        self.recent.clear()

    def commit(self, head: Head) -> None:
        """Note that an append is committed which ends at ``head``."""
        self._doubts = 0
        if head.epoch != self.epoch:
            return  # lost while the append was on its way, and maybe taken again behind it
        assert head.position > self.head.position, "what is decided stands behind what is committed"
        self.head = head
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

    # Doubts

    def doubt(self) -> None:
        """Count an append in doubt."""
        self._doubts += 1
        # Nodes that doubt together do not come back together.
        pause = pause_after_doubts(self._doubts) * runtime.spread(0.75, 1.0)
        self._left_alone_until = asyncio.get_running_loop().time() + pause
        if pause:
            _LOG.warning(
                "The appends of slot %d ended in doubt %d times in a row; it is left alone for %.1f s. Look at the "
                "database's log for the cause.",
                self.number,
                self._doubts,
                pause,
            )

    def left_alone(self) -> float:
        """Return for how long the slot is left alone, in seconds."""
        return max(0.0, self._left_alone_until - asyncio.get_running_loop().time()) if self._doubts else 0.0

    # What commands are told that came to the wrong node, or stayed while the slot went elsewhere

    def point(self, node_id: str | None, address: str | None) -> None:
        """Send those who come for the slot to another node from now on."""
        self._successor = (node_id, address)

    def refusal(self, *, shards: int = 0) -> NotOwnerError:
        """Return the refusal of a command that certainly did not happen here."""
        node_id, address = self._successor
        where = "it is not known who holds it" if node_id is None else f"try node {node_id} at {address}"
        held = f"holds it under epoch {self.epoch}" if self.epoch else "does not hold it"
        return NotOwnerError(
            f"The command was addressed to slot {self.number} under a term that is over: node {self.node_id} "
            f"{held}, {where}. Nothing was written here.",
            slot=self.number,
            node_id=node_id,
            address=address,
            shards=shards,
        )

    def untaken(self, stranger: str | None) -> NotOwnerError:
        """Return the refusal of whoever asks for a slot that could not be taken: ``stranger`` holds it, no node."""
        node_id, address = self._successor
        text = f"Slot {self.number} could not be taken by node {self.node_id}, because its lock is held by "
        if stranger is None:
            text += "another session. Nothing was written."
        else:
            text += (
                f"{stranger}. Nothing was written. End that session with pg_terminate_backend, and let only roles of "
                f"your own connect to the database."
            )
        return NotOwnerError(text, slot=self.number, node_id=node_id, address=address)

    def unowned(self) -> NotOwnerError:
        """Return the refusal of a question that only the slot's owner can answer, where nobody was asked to be it."""
        return NotOwnerError(
            f"Somebody holds something or waits in slot {self.number}, and node {self.node_id} cannot tell from the "
            f"journal whether they still live. Nothing was written. The slot's owner finds out.",
            slot=self.number,
        )

    def gone(self) -> LeaseLostError:
        """Return the error of a request that stands in a line of this slot, which this node holds no longer."""
        return LeaseLostError(
            f"Slot {self.number} went to another node while the request stood in line there. The request still stands "
            f"in it; asked for again, it is found."
        )


def left_alone(slots: Iterable[Slot]) -> float:
    """Return for how long one of these slots is left alone, in seconds."""
    return max((slot.left_alone() for slot in slots), default=0.0)


def pause_after_doubts(doubts: int) -> float:
    """Return the pause after so many appends in doubt in a row, in seconds, before jitter.

    Examples
    --------
    >>> [pause_after_doubts(doubts) for doubts in (1, 2, 3, 4, 5)]
    [0.0, 0.0, 0.2, 0.4, 0.8]
    """
    if doubts <= _DOUBTS_AT_ONCE:
        return 0.0
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(doubts - _DOUBTS_AT_ONCE - 1, 10), _LONGEST_PAUSE_SECONDS)


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
