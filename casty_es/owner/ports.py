"""What the owner's parts ask of those above them: three ports, and nothing else of what stands above is known below.

Imports and calls go downwards: the owner calls its parts, they call what they stand on (``pyproject.toml`` has the
order). Four things go the other way, all of them through here. A command comes back to be decided; a slot is found to
be lost; a part without which nothing works has ended; and who is connected is known to the process alone.

| port | who has it | who asks |
|---|---|---|
| ``Commands`` | the owner | writer, prover, looks, activation, waiters, mourning |
| ``Tenure`` | the owner | writer, prover, slot leases, locating |
| ``Node`` | the node (``assembly.py``) | everything that has tasks of its own, deaths |
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from casty_es.domain.decider import Command
    from casty_es.journal.port import EntityName
    from casty_es.owner.entity import Entity
    from casty_es.owner.pending import Pending
    from casty_es.owner.slot import Slot


class Commands(Protocol):
    """Where commands are decided, in order of arrival."""

    def again(self, name: EntityName, pending: Pending, *, first: bool = False) -> None:
        """Decide a command that certainly did not happen yet, from the beginning; or refuse it, if its term is over."""

    def turn(self, name: EntityName, pending: Pending) -> None:
        """Decide a command that has looked into the journal, or that waited for one that did."""

    def activated(self, entity: Entity, pendings: list[Pending]) -> None:
        """Take an entity that is in memory now, and the commands that waited for it."""

    def own(self, slot: Slot, command: Command) -> Pending:
        """Make a command of the owner's own, for the term that it holds the slot under and for no other."""


class Tenure(Protocol):
    """What this process holds."""

    @property
    def closing(self) -> bool:
        """Whether no slot is taken any more."""

    def lose(self, slots: Collection[Slot]) -> None:
        """Stop owning slots at once: whatever was not on its way to the journal is refused."""

    def lose_all(self) -> None:
        """Stop owning every slot, because the lease session is over, and believe nothing that was read under it."""

    def drop(self, slots: Collection[Slot]) -> None:
        """Throw away what was decided for slots that are still owned; what was not on its way is decided again."""


class Node(Protocol):
    """What the owner runs in."""

    def ended(self, why: str) -> None:
        """Stop where everybody sees it: a part without which nothing works has ended, although nobody closed it."""

    def connected(self, process_id: str) -> bool:
        """Return whether a process has an open connection to this one, by its UUID in hexadecimal."""
