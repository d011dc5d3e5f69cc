"""Who is alive: the nodes that are written down and have a lease session, looked at again and again.

1. A node opens its lease session, then writes itself down; others know it from then on. Whether it lives is said by its
   session, never by a clock.
2. Whoever asks for the topology gets one that was read after it asked; one reading serves everybody who asked
   meanwhile.
3. The rows of nodes that are found dead twice in a row are removed by whoever finds it. A living node that finds its
   own row gone writes it again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from casty_es.background import Errands, Loop, looked_at
from casty_es.cluster.topology import Topology
from casty_es.errors import CastyError
from casty_es.journal.port import EventLog, NodeRow
from casty_es.leases.port import LeaseSession
from casty_es.owner.owner import Owner
from casty_es.printing import log_of
from casty_es.runtime import Runtime
from casty_es.transport.wire import NodeEntry, SlotEntry

_LOG: Final = log_of("casty_es.membership")

_PATIENCE_SECONDS: Final = 1.0


class Membership:
    """The cluster as this node sees it, and its own place in it.

    ``looked`` is told that it is time to look at who is alive, whether or not the journal can be asked; ``listed``
    what each reading of the list gave; ``ended`` why the node stops looking without having left. ``changed`` is
    awaited after each look at who is alive.
    """

    def __init__(
        self,
        journal: EventLog,
        owner: Owner,
        runtime: Runtime,
        *,
        node_id: str,
        poll_seconds: float,
        looked: Callable[[], None],
        listed: Callable[[Topology], None],
        changed: Callable[[Topology], Awaitable[None]],
        ended: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._owner = owner
        self._leases = owner.leases
        self._runtime = runtime
        self._node_id = node_id
        self.address: str | None = None  # where others can dial this node, known before it joins
        self._seconds = poll_seconds  # how long a node that joined or left may go unnoticed
        self._looked = looked
        self._listed = listed
        self._changed = changed
        self._ended = ended
        self._registered: LeaseSession | None = None
        self._registering: asyncio.Task[None] | None = None
        self._left = False
        self._suspects: set[str] = set()
        self._reading: asyncio.Task[Topology] | None = None
        self._next: asyncio.Task[Topology] | None = None
        self._errands = Errands(ended)
        self._polling: Loop | None = None
        self.topology = Topology()
        self.renewed = asyncio.Condition()

    async def join(self) -> None:
        """Open the lease session, write this node down, and look at the cluster from now on."""
        await self._leases.session()
        await self.refresh()
        if self._registering is not None:
            # Somebody may have the database locked, which must not keep this node from reading.
            await asyncio.wait({self._registering}, timeout=_PATIENCE_SECONDS)
        await self.refresh()
        self._polling = Loop(self._poll, name="casty-membership", ended=self._ended)

    async def refresh(self) -> Topology:
        """Return the topology as of now; ``JournalError`` if the journal cannot be asked."""
        if self._left:  # opening another session would leave one behind
            return self.topology
        if self._reading is None or self._reading.done():
            self._reading = self._begin(self._read())
            return await asyncio.shield(self._reading)
        if self._next is None or self._next.done() or self._next is self._reading:
            self._next = self._begin(self._read_after(self._reading))
        return await asyncio.shield(self._next)

    @staticmethod
    def _begin(reading: Coroutine[Any, Any, Topology]) -> asyncio.Task[Topology]:
        task = asyncio.create_task(reading, name="casty-topology")
        # Whoever waits is told what went wrong; when everybody has gone, nobody has to be.
        task.add_done_callback(looked_at)
        return task

    async def _read_after(self, reading: asyncio.Task[Topology]) -> Topology:
        await asyncio.wait({reading})
        self._reading = asyncio.current_task()
        return await self._read()

    async def _read(self) -> Topology:
        living = await self._living()
        owners = await self._journal.slot_rows()
        entries = [NodeEntry(row.node_id, row.address, row.host, row.pid, row.started_at) for row in living]
        rows = [SlotEntry(row.slot, row.node_id, row.address, row.epoch, row.since) for row in owners]
        incarnation = await self._owner.look()
        self.topology = Topology.of(incarnation, entries, rows)
        self._listed(self.topology)
        async with self.renewed:
            self.renewed.notify_all()
        return self.topology

    async def _living(self) -> list[NodeRow]:
        session = await self._leases.session()
        rows = await self._journal.nodes()
        listed = session is self._registered and any(row.node_id == self._node_id for row in rows)
        if not listed and (self._registering is None or self._registering.done()):
            self._registering = self._errands.begin(self._register(session), name="casty-registration")
        living = await session.living([row.node_id for row in rows])
        dead = {row.node_id for row in rows} - living
        for node_id in dead & self._suspects:
            _LOG.info("Node %s is gone", node_id)
            await self._journal.forget_node(node_id)
        self._suspects = dead - self._suspects
        return [row for row in rows if row.node_id in living]

    async def _register(self, session: LeaseSession) -> None:
        now = self._runtime.now()
        try:
            await self._journal.register_node(
                NodeRow(self._node_id, socket.gethostname(), os.getpid(), self.address, now, now)
            )
        except CastyError as error:
            _LOG.warning("Node %s is not listed yet, trying again: %s", self._node_id, error)
        else:
            self._registered = session

    async def _poll(self) -> None:
        await self._until_next()
        self._looked()
        try:
            before = set(self.topology.nodes)
            topology = await self.refresh()
            if before != set(topology.nodes):
                _LOG.info("Node %s sees %s alive", self._node_id, sorted(topology.nodes))
            await self._changed(topology)
        except CastyError as error:
            # Nothing rests on the poll: who needs the topology asks for it, and is told why there is none.
            _LOG.warning("Node %s could not look at the cluster: %s", self._node_id, error)

    def met(self, node_id: str) -> None:
        """Look at the list, if a node connects that is not in it yet: a failover may empty it before the next look."""
        if node_id not in self.topology.nodes and not self._left:
            self._errands.begin(self._look(), name="casty-membership-look")

    async def _look(self) -> None:
        try:
            await self.refresh()
        except CastyError as error:
            _LOG.info("Node %s could not look at the cluster, and will soon: %s", self._node_id, error)

    async def _until_next(self) -> None:
        """Wait for the time of the next look, or until this node has lost its session: without it, it looks dead."""
        session = self._registered
        if session is None or session.lost.done():
            await asyncio.sleep(self._seconds)
        else:
            await asyncio.wait({session.lost}, timeout=self._seconds)

    async def leave(self) -> None:
        """Stop looking, and remove this node from the list."""
        self._left = True
        if self._polling is not None:
            await self._polling.stop()
        begun = (self._next, self._reading, self._registering)
        await asyncio.gather(*(task for task in begun if task is not None), return_exceptions=True)
        if self._registered is None:  # what is listed by this name, if anything, is another process
            return
        try:
            await self._journal.forget_node(self._node_id)
        except CastyError as error:
            _LOG.warning("Node %s stays listed, which the others mend: %s", self._node_id, error)
