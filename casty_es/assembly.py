"""The parts of a running node, and how they are put together."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from casty_es.cluster.credentials import Credentials
from casty_es.cluster.membership import Membership
from casty_es.cluster.outcome import Outcomes
from casty_es.cluster.past import Past
from casty_es.cluster.peers import Peers
from casty_es.cluster.reach import Reach
from casty_es.cluster.rebalancing import Rebalancer
from casty_es.cluster.service import NodeService
from casty_es.cluster.topology import Topology
from casty_es.config import Settings
from casty_es.errors import PeerLostError
from casty_es.gateway.asking import Gateway
from casty_es.gateway.directory import JournalDirectory
from casty_es.gateway.routing import Routes
from casty_es.journal.database_clock import database_clock
from casty_es.journal.port import EventJournal, Meta
from casty_es.journal.remembered import Remembered
from casty_es.journal.sql import SqlJournal
from casty_es.leases.file import FileLeaseManager
from casty_es.leases.memory import ProcessLeaseManager
from casty_es.leases.port import LeaseManager
from casty_es.leases.postgres import PostgresLeaseManager
from casty_es.owner.owner import Owner
from casty_es.printing import log_of
from casty_es.runtime import CheckedClock, Runtime
from casty_es.transport.identity import Identity
from casty_es.transport.port import Dialer, Link, Listener

_LOG: Final = log_of("casty_es.node")


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
        self.failure: str | None = None  # why the node has stopped by itself
        self.remembered = remembered
        self.identity = identity
        self.slots = meta.slots
        ask = None if journal.volatile else partial(database_clock, journal)
        self.clock = CheckedClock(runtime, ask, settings.max_clock_ahead_seconds)
        self.owner = Owner(
            journal, meta, manager, self.clock, settings, remembered, self, node_id=node_id, process=identity.process
        )
        self.dialer = dialer
        self.reach = Reach(self.dialer, self._heard_from, node_id=node_id, poll_seconds=settings.membership_seconds)
        self.rebalancer = Rebalancer(self.owner, self.dialer, self.reach.reaches, node_id=node_id)
        self.peers = Peers(self.dialer, remembered, node_id=node_id)
        self.owner.comparing.peers = self.peers.recall
        self.membership = Membership(
            journal,
            self.owner,
            runtime,
            node_id=node_id,
            poll_seconds=settings.membership_seconds,
            looked=self.owner.mourn,
            listed=self.peers.listed,
            changed=self._looked,
            ended=self.ended,
        )
        self.past = Past(journal, self.owner.comparing, meta.slots)
        self.outcomes = Outcomes(journal, self.owner, self.membership, self.dialer)
        self.service = NodeService(
            self.owner, self.membership, self.outcomes, self.past, self.reach, self.peers, journal, meta, settings
        )
        self.listener: Listener | None = None
        self.credentials: Credentials | None = None
        directory = JournalDirectory(journal, self.membership, meta.slots)
        self.routes = Routes(directory, self.dialer, self.owner, remembered, node_id=node_id)
        self.gateway = Gateway(self.routes, self.owner, runtime)

    def advertise(self, address: str) -> None:
        """Note where others reach this node, before it joins them."""
        self.membership.address = self.owner.leases.address = self.reach.address = address

    async def _looked(self, topology: Topology) -> None:
        self.reach.look(topology)
        await self.clock.compare()
        await self.rebalancer.consider(topology)

    async def join(self) -> None:
        """Join the other nodes, with a clock that may be written by: ``ClockAheadError`` if not."""
        await self.clock.compare()
        self.clock.now()
        await self.membership.join()
        self.reach.look(self.membership.topology)

    def ended(self, why: str) -> None:
        """Stop where everybody sees it, because a part without which nothing works has ended."""
        if self.failure is None:
            self.failure = why
            _LOG.critical("Node %s stops: %s. Close the system and start it again.", self.identity.node_id, why)
            self.gateway.closed = True
            self.owner.stop()

    def connected(self, process_id: str) -> bool:
        """Return whether a process has an open connection to this one, by its UUID in hexadecimal."""
        return self.listener is not None and self.listener.serves(process_id)

    def _heard_from(self, node_id: str) -> bool:
        return self.listener is not None and self.listener.heard_from(node_id)

    def abandon_after_fork(self) -> None:
        """Let go of what belongs to the parent process."""
        self.owner.leases.abandon_after_fork()
        self.dialer.abandon_after_fork()
        if self.listener is not None:
            self.listener.abandon_after_fork()

    async def close(self) -> None:
        """Leave the others, write what was decided, hand the slots over, hang up; each of them whatever fails."""
        listening = () if self.listener is None else (self.listener.close,)
        proving = () if self.credentials is None else (self.credentials.close,)
        async with AsyncExitStack() as parts:  # the last one pushed is the first one closed
            for close in (
                self.dialer.close,
                *listening,
                *proving,
                self.service.close,
                self.peers.close,
                self.reach.close,
                self.routes.close,
                self.gateway.settle,  # for callers that were cancelled while the owner was being closed
                self.owner.close,
                self.membership.leave,
                self.gateway.close,
            ):
                parts.push_async_callback(close)


class NoDialer:
    """For a system that nobody else can join."""

    async def link(self, address: str, node_id: str | None = None) -> Link:  # noqa: ARG002
        """Fail."""
        raise PeerLostError(f"There is no node at {address}: a volatile system is alone.", sent=False)

    def open_link(self, _address: str, _node_id: str | None = None) -> Link | None:
        """Return none."""
        return None

    def met(self, _node_id: str) -> bool:
        """Tell that there was none."""
        return False

    async def close(self) -> None:
        """Close nothing."""

    def abandon_after_fork(self) -> None:
        """Let go of nothing."""


def lease_manager(journal: EventJournal, settings: Settings, slots: int, *, session_url: str | None) -> LeaseManager:
    """Return the leases that belong to a journal."""
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
