"""The parts of a running node, and how they are put together."""

from __future__ import annotations

from casty_es.actors.owner import Owner
from casty_es.cluster.membership import Membership
from casty_es.cluster.past import Past
from casty_es.cluster.peers import Peers
from casty_es.cluster.rebalancing import Rebalancer
from casty_es.cluster.service import NodeService
from casty_es.config import Settings
from casty_es.errors import PeerLostError
from casty_es.gateway.asking import Gateway
from casty_es.gateway.directory import JournalDirectory
from casty_es.gateway.routing import Routes
from casty_es.journal.port import EventJournal, Meta
from casty_es.journal.remembered import Remembered
from casty_es.journal.sql import SqlJournal
from casty_es.leases.file import FileLeaseManager
from casty_es.leases.memory import ProcessLeaseManager
from casty_es.leases.port import LeaseManager
from casty_es.leases.postgres import PostgresLeaseManager
from casty_es.runtime import Runtime
from casty_es.transport.identity import Identity
from casty_es.transport.port import Dialer, Link, Listener

__all__ = ["NoDialer", "NodeParts", "lease_manager"]


class NodeParts:
    """The parts of a running node."""

    def __init__(
        self,
        journal: EventJournal,
        meta: Meta,
        manager: LeaseManager,
        runtime: Runtime,
        settings: Settings,
        identity: Identity,
        dialer: Dialer,
        remembered: Remembered,
    ) -> None:
        node_id = identity.node_id
        self.remembered = remembered
        self.identity = identity
        self.owner = Owner(journal, meta, manager, runtime, settings, remembered, node_id=node_id)
        self.dialer = dialer
        self.rebalancer = Rebalancer(self.owner, self.dialer, node_id=node_id)
        self.membership = Membership(
            journal,
            self.owner,
            runtime,
            node_id=node_id,
            poll_seconds=settings.membership_seconds,
            changed=self.rebalancer.consider,
        )
        self.past = Past(journal, self.owner.comparing, meta.slots)
        self.peers = Peers(self.membership, self.dialer, remembered, node_id=node_id)
        self.owner.comparing.peers = self.peers.recall
        self.service = NodeService(self.owner, self.membership, self.past, journal, meta, settings)
        self.listener: Listener | None = None
        directory = JournalDirectory(journal, self.membership, meta.slots)
        self.routes = Routes(directory, self.dialer, self.owner, remembered, node_id=node_id)
        self.gateway = Gateway(directory, self.routes, self.owner, runtime)

    def abandon_after_fork(self) -> None:
        """Let go of what belongs to the parent process."""
        self.owner.leases.abandon_after_fork()
        self.dialer.abandon_after_fork()
        if self.listener is not None:
            self.listener.abandon_after_fork()

    async def close(self) -> None:
        """Leave the others, write what was decided, hand the slots over, hang up."""
        self.gateway.closed = True
        await self.membership.leave()
        await self.owner.close()
        await self.routes.close()
        await self.peers.close()
        await self.service.close()
        if self.listener is not None:
            await self.listener.close()
        await self.dialer.close()


class NoDialer:
    """For a system that nobody else can join."""

    async def link(self, address: str) -> Link:
        """Fail."""
        raise PeerLostError(f"There is no node at {address}: a volatile system is alone.", sent=False)

    def open_link(self, _address: str) -> Link | None:
        """Give none."""
        return None

    async def close(self) -> None:
        """Close nothing."""

    def abandon_after_fork(self) -> None:
        """Let go of nothing."""


def lease_manager(journal: EventJournal, settings: Settings, slots: int, *, session_url: str | None) -> LeaseManager:
    """Give the leases that belong to a journal."""
    if not isinstance(journal, SqlJournal):
        return ProcessLeaseManager(journal)
    if journal.file is not None:
        return FileLeaseManager(journal.file, journal, allow_network_filesystem=settings.allow_network_filesystem)
    return PostgresLeaseManager(
        session_url or journal.url,
        journal_url=journal.url,
        unsafe_durability=journal.unsafe_durability,
        lock_class=settings.lock_class,
        session_seconds=settings.session_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        slots=slots,
    )
