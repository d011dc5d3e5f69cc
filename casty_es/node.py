"""A node: the composition root, where concrete parts meet."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable
from ssl import SSLContext
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from uuid import UUID

from casty_es import runtime as outside
from casty_es.addresses import LOOPBACK
from casty_es.arguments import check_place, check_question, check_system
from casty_es.assembly import NodeParts, NoDialer, lease_manager
from casty_es.background import finished
from casty_es.cluster.credentials import Credentials
from casty_es.cluster.outcome import CommandOutcome
from casty_es.config import Settings
from casty_es.domain.decider import Query
from casty_es.errors import NotDoneError, Sent, UsageError
from casty_es.gateway import CommandContext, RegionRef, ShardEnvelope, StructureFactory, region_ref
from casty_es.handles.distributed import Distributed
from casty_es.handles.renewals import close_handles
from casty_es.journal.access_tables import AccessTables
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import EntityName, EventJournal
from casty_es.journal.remembered import Remembered
from casty_es.journal.sql import SqlJournal
from casty_es.leases import lock_files
from casty_es.listening import begin_to_listen
from casty_es.names import MAX_NODE_NAME_BYTES, check_at_least_one, check_text, check_timeout
from casty_es.replay import HistoryPage, Positions, Then, read_positions
from casty_es.runtime import Runtime, SystemRuntime
from casty_es.transport.identity import Identity
from casty_es.transport.keyring import Keyring
from casty_es.transport.port import Dialer
from casty_es.transport.websocket import WebSocketDialer

R = TypeVar("R")

_SYSTEMS: weakref.WeakSet[ClusteredActorSystem] = weakref.WeakSet()


class NodeAddress(NamedTuple):
    """Where a node is."""

    host: str
    port: int


class ClusteredActorSystem:
    """One node: it owns slots of its journal, answers its own process and other nodes, and carries commands to them.

    Use it as an async context manager. It may be started again after it was closed.

    Parameters
    ----------
    journal : EventJournal | None
        Where every operation is recorded. Nodes that share a journal are one cluster. Without one the system is
        volatile: alone, and all is gone with it.
    name : str
        The system's name, the same for every node and client of a journal.
    host, port : str | None, int | None
        Where this node listens for others. When no host is given, ``CASTY_ES_HOST``, or else the address of this host
        that the connection to Postgres shows; on SQLite a socket beside the file, and the loopback address. When no
        port is given, ``CASTY_ES_PORT``, or else a free one, as with 0.
    node_id : str | None
        The name of this process in the journal, fresh at every start when it is not given.
    advertise : str | tuple[str, int] | None
        The host, or host and port, at which others reach this node, when that is not where it listens;
        ``CASTY_ES_ADVERTISE`` when it is not given. As a text, ``HOST`` or ``HOST:PORT``.
    secret : bytes | None
        The cluster's secret, at least 16 random bytes; the one in the journal when it is not given, which can be
        replaced while nodes run.
    ssl : tuple[SSLContext, SSLContext] | None
        TLS contexts for the connections that come in and for those that go out.
    session_url : str | None
        For Postgres: the URL for the connection that holds the leases, when the journal's leads to a pooler.
    settings : Settings | None
        How it behaves.
    runtime : Runtime | None
        The clock, randomness and ids; the real ones when it is not given.

    Raises
    ------
    ConfigurationError
        Two settings contradict each other.

    Examples
    --------
    >>> import asyncio
    >>> async def main() -> int:
    ...     async with ClusteredActorSystem() as system:
    ...         return await system.distributed().counter("hits").increment()
    >>> asyncio.run(main())
    1
    """

    def __init__(
        self,
        *,
        journal: EventJournal | None = None,
        name: str = "casty",
        host: str | None = None,
        port: int | None = None,
        node_id: str | None = None,
        advertise: str | tuple[str, int] | None = None,
        secret: bytes | None = None,
        ssl: tuple[SSLContext, SSLContext] | None = None,
        session_url: str | None = None,
        settings: Settings | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self._place = check_place(host, port, advertise)
        check_system(
            journal=journal,
            secret=secret,
            ssl=ssl,
            session_url=session_url,
            settings=settings,
            runtime=runtime,
        )
        self.name = check_text(name, "the system's name", MAX_NODE_NAME_BYTES)
        self.self_node = NodeAddress(self._place.host or LOOPBACK, self._place.port)
        self.settings = settings or Settings()
        self.journal: EventJournal = InMemoryJournal() if journal is None else journal
        self._secret = secret
        self._ssl = ssl
        self._session_url = session_url
        self._node_id = None if node_id is None else check_text(node_id, "node_id", MAX_NODE_NAME_BYTES)
        self._runtime = runtime or SystemRuntime()
        self._remembered = Remembered()  # for as long as this object lives, however often it is started
        self._keyring: Keyring | None = None
        self._node: NodeParts | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state = "not been started"
        self._closing = False
        _SYSTEMS.add(self)

    async def __aenter__(self) -> Self:
        """Open the journal, listen, and join the other nodes."""
        if self._node is not None:
            raise UsageError("The system is running already. Use it, or make another one.")
        meta = await self.journal.open()
        process = outside.fresh_uuid()
        try:
            identity = Identity(system=self.name, node_id=self._node_id or str(process), process_id=process.hex)
            manager = lease_manager(self.journal, self.settings, meta.slots, session_url=self._session_url)
            dialer = await self._dialer(identity)
            node = NodeParts(
                self.journal, meta, manager, self._runtime, self.settings, identity, dialer, self._remembered
            )
        except BaseException:
            await self.journal.close()
            raise
        try:
            await self._listen(node)
            await node.join()
        except BaseException:
            await finished(node.close())
            await self.journal.close()
            raise
        self._node = node
        self._loop = asyncio.get_running_loop()
        return self

    async def _dialer(self, identity: Identity) -> Dialer:
        """Return the way to other nodes, unless nobody else could share the journal."""
        if self.journal.volatile:
            return NoDialer()
        self._keyring = Keyring(await self._secrets(), self._runtime.now)
        file = self.journal.file if isinstance(self.journal, SqlJournal) and self._ssl is None else None
        return WebSocketDialer(
            identity,
            self._keyring,
            ssl=None if self._ssl is None else self._ssl[1],
            socket_of=None if file is None else lock_files.sockets_beside(file),
        )

    async def _secrets(self) -> tuple[bytes, ...]:
        if self._secret is not None:
            return (self._secret,)
        if isinstance(self.journal, SqlJournal):
            return await AccessTables(self.journal).secrets()
        return (await self.journal.secret(),)

    async def _listen(self, node: NodeParts) -> None:
        if self.journal.volatile or self._keyring is None:
            return
        ssl = None if self._ssl is None else self._ssl[0]
        listener = await begin_to_listen(node, self._place, self.journal, self._keyring, ssl)
        self.self_node = NodeAddress(*listener.address)
        if isinstance(self.journal, SqlJournal):
            node.credentials = Credentials(
                AccessTables(self.journal),
                self._keyring,
                fixed=self._secret is not None,
                seconds=self.settings.membership_seconds,
                changed=listener.review,
                ended=node.ended,
            )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give back what handles hold, write what was decided, hand the slots over, close the journal.

        Raises
        ------
        UsageError
            It is awaited in another event loop than the system's. Nothing was touched; the system runs on.
        """
        if self._node is not None and self._loop is not asyncio.get_running_loop():
            raise UsageError(
                "The system belongs to another event loop and cannot be closed from this one. Nothing was touched: it "
                "runs on. Close it in its own loop, for instance with asyncio.run_coroutine_threadsafe."
            )
        try:
            await finished(self._close())  # half-closed, it would keep its slots for as long as the process lives
        finally:
            self._state = "been closed"

    async def _close(self) -> None:
        if self._closing:
            return
        self._closing = True
        try:
            if self._node is not None:
                await close_handles(self)
                await self._node.gateway.settle()
        finally:
            node, self._node = self._node, None
            self._closing = False
            try:
                if node is not None:
                    await node.close()
            finally:
                await self.journal.close()

    def distributed(self) -> Distributed:
        """Return the structures that this node gives access to."""
        return Distributed(self)

    @property
    def node_id(self) -> str:
        """The name of this process in the journal."""
        return self._running().identity.node_id

    @property
    def address(self) -> str:
        """Where others reach this node, as ``host:port``; empty for a volatile system, which nobody can reach."""
        return self._running().membership.address or ""

    @property
    def incarnation(self) -> int:
        """The journal's incarnation, which prefixes fencing tokens. It grows when a loss of records is accepted."""
        return 1 if self._node is None else self._node.membership.topology.incarnation

    @property
    def incidents(self) -> dict[str, int]:
        """How often, since it started, somebody tried at this node's port what he may not; empty when nobody did.

        By kind: ``refused`` (another secret, system or version), ``malformed`` (no WebSocket), ``silent`` (no handshake
        in time), ``tls`` (no TLS, or no trusted certificate), ``crowd`` (more connections than there may be), ``frame``
        (something that no process of casty_es sends, from one that knows the secret).
        """
        listener = self._running().listener
        return {} if listener is None else dict(listener.incidents)

    async def wait_for(self, nodes: int, *, timeout: float = 60.0) -> None:  # noqa: ASYNC109 - the public name
        """Wait until so many nodes are alive, this one included.

        Parameters
        ----------
        nodes : int
            How many.
        timeout : float
            How long to wait at most, in seconds.

        Raises
        ------
        NotDoneError
            The time was up before that.
        """
        membership = self._running().membership
        wanted, seconds = check_at_least_one(nodes, "nodes"), check_timeout(timeout)
        try:
            async with asyncio.timeout(seconds), membership.renewed:
                await membership.renewed.wait_for(lambda: len(membership.topology.nodes) >= wanted)
        except TimeoutError as error:
            raise NotDoneError(
                f"{len(membership.topology.nodes)} of {wanted} nodes were alive after {seconds:g} s. Check that the "
                f"others run and use the same journal."
            ) from error

    async def outcome(self, command_id: UUID, *, sent: Sent) -> CommandOutcome:
        """Return what became of a command whose caller got an ``OutcomeUnknownError``.

        Parameters
        ----------
        command_id : UUID
            The error's ``command_id``.
        sent : Sent
            The error's ``sent``.

        Returns
        -------
        CommandOutcome
            ``executed`` with its reply, or ``not executed``. Asking settles it: a slot that nobody holds is taken, the
            owner of another one is asked to make sure. ``unknown`` only while that owner lives and cannot be reached,
            or when retention has cut the place where the command would stand.

        Raises
        ------
        JournalUnavailableError
            The journal cannot be read.
        """
        node = self._running()
        check_question(command_id, sent, node.slots)
        return await node.outcomes.find(command_id, sent)

    def region_ref(self, key: str, factory: StructureFactory, *, num_shards: int) -> RegionRef:
        """Return a ref that routes ``ShardEnvelope`` to the named region."""
        return region_ref(key, factory, num_shards=num_shards)

    async def entity_ask(
        self,
        ref: RegionRef,
        msg_factory: Callable[[CommandContext], ShardEnvelope[R]],
        *,
        timeout: float,  # noqa: ASYNC109 - the seed's name
    ) -> R:
        """Send a message and wait for a reply, at most ``timeout`` seconds."""
        reply: R = await self._running().gateway.ask(ref, msg_factory, timeout=timeout)
        return reply

    async def read_history(self, name: EntityName, *, after: int, after_time: int | None, limit: int) -> HistoryPage:
        """Read an entity's next events from the journal."""
        return await self._running().past.history(name, after=after, after_time=after_time, limit=limit)

    async def read_past(self, name: EntityName, query: Query, then: Then) -> Any:
        """Answer a query from an entity's state as of then."""
        return await self._running().past.answer(name, query, then)

    async def read_positions(self) -> Positions:
        """Return how far every slot is committed."""
        self._running()
        return await read_positions(self.journal)

    def _running(self) -> NodeParts:
        """Return the running node, if the caller may use it; else ``UsageError`` with why not."""
        if self._node is None:
            raise UsageError(f"The system has {self._state}. Nothing was done. Use it inside `async with`.")
        if self._loop is not asyncio.get_running_loop():
            raise UsageError(
                "The system belongs to another event loop. Nothing was done. Make one system per event loop."
            )
        if self._node.failure is not None:
            raise UsageError(
                f"The system has stopped: {self._node.failure}. Nothing was done. Close it and start it again."
            )
        return self._node

    def _abandon_after_fork(self) -> None:
        node, self._node = self._node, None
        if node is not None:
            self._state = "been inherited through fork(), and belongs to the parent process"
            node.abandon_after_fork()
            self.journal.abandon_after_fork()


def _after_fork() -> None:
    for system in list(_SYSTEMS):
        system._abandon_after_fork()  # noqa: SLF001 - of the same module


os.register_at_fork(after_in_child=_after_fork)
