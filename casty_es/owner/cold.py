"""An entity that is not in memory: the commands that wait for it, and what was found out about it so far."""

from __future__ import annotations

from casty_es.domain.decider import Query
from casty_es.journal.port import EntityName, StoredEntity
from casty_es.owner.entity import Entity
from casty_es.owner.pending import Pending
from casty_es.owner.slot import Slot

__all__ = ["Cold"]


class Cold:
    """An entity that is not in memory, and the commands that wait for it."""

    __slots__ = ("again", "asked", "batch", "entity", "name", "pendings", "populated", "recorded", "slot", "stored")

    def __init__(self, name: EntityName) -> None:
        self.name = name
        self.pendings: list[Pending] = []
        self.batch: list[Cold] = []  # the one that reads it now
        self.asked = 0  # how many of them were there when the journal was asked
        self.again = False  # whether it is read for the second time
        self.recorded = False  # whether its structure is
        self.populated = False  # whether the journal has entities of its structure, although it is not recorded
        self.slot: Slot | None = None
        self.stored: StoredEntity | None = None
        self.entity: Entity | None = None

    @property
    def shards(self) -> int:
        """The number of shards that its callers have; 0 when they know that it is recorded."""
        return max((pending.shards for pending in self.pendings), default=0)

    def writes(self) -> bool:
        """Return whether any of them may write."""
        return any(not isinstance(pending.command, Query) for pending in self.pendings)

    def fail(self, error: BaseException) -> None:
        """Tell an error to all of them."""
        for pending in self.pendings:
            pending.fail(error)
        self.pendings = []
