"""What a gateway has to find out about structures and nodes; a node asks the journal, a client asks the nodes."""

from __future__ import annotations

from typing import Protocol

from casty_es.cluster.membership import Membership
from casty_es.cluster.topology import Topology
from casty_es.journal.port import EventLog


class Directory(Protocol):
    """Where structures and nodes are looked up."""

    @property
    def slots(self) -> int:
        """The journal's number of slots."""

    async def shards(self, kind: str, name: str) -> int | None:
        """Return a structure's recorded number of shards, if any is; ``CastyError`` if nobody can be asked."""

    async def topology(self) -> Topology:
        """Return the topology as of now; ``CastyError`` if nobody can be asked."""


class JournalDirectory:
    """What a node knows, from the journal."""

    def __init__(self, journal: EventLog, membership: Membership, slots: int) -> None:
        self._journal = journal
        self._membership = membership
        self.slots = slots

    async def shards(self, kind: str, name: str) -> int | None:
        """Read what is recorded."""
        return (await self._journal.structures([(kind, name)]))[0]

    async def topology(self) -> Topology:
        """Read who is alive, and who is written down."""
        return await self._membership.refresh()
