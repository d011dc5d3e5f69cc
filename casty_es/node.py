"""A node: the composition root, where concrete parts meet."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import uuid4

from casty_es.actors.owner import Owner
from casty_es.config import Settings
from casty_es.errors import ConfigurationError, InvalidTypeError, UsageError
from casty_es.gateway import CommandContext, LocalGateway, RegionRef, ShardEnvelope, StructureFactory, region_ref
from casty_es.handles.distributed import Distributed
from casty_es.handles.renewals import stop_renewals
from casty_es.handles.waiting import finished
from casty_es.journal import schema
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import EventJournal
from casty_es.journal.sql import SqlJournal
from casty_es.leases.file import FileLeaseManager
from casty_es.leases.memory import ProcessLeaseManager
from casty_es.leases.port import LeaseManager
from casty_es.leases.postgres import PostgresLeaseManager
from casty_es.names import check_at_least_one, check_name
from casty_es.runtime import Runtime, SystemRuntime

__all__ = ["ClusteredActorSystem", "NodeAddress", "connect"]

_SYSTEMS: weakref.WeakSet[ClusteredActorSystem] = weakref.WeakSet()


class NodeAddress(NamedTuple):
    """Where a node is."""

    host: str
    port: int


class ClusteredActorSystem:
    """One node: it owns what it writes, and answers its own process.

    Use it as an async context manager. It may be started again after it was closed.

    Parameters
    ----------
    journal : EventJournal | None
        Where every operation is recorded. Without one the system is volatile: all is gone with it.
    name : str
        The system's name.
    host, port : str, int
        How this node is called; barriers show it.
    node_id : str | None
        The name of this process in the journal, fresh at every start when it is not given.
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
        host: str = "127.0.0.1",
        port: int = 0,
        node_id: str | None = None,
        settings: Settings | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        if journal is not None and not isinstance(journal, EventJournal):
            raise InvalidTypeError(
                f"journal must be an EventJournal such as SqlJournal(url), not {type(journal).__name__}. "
                f"Nothing was started."
            )
        self.name = check_name(name, "the system's name")
        self.self_node = NodeAddress(host, port)
        self.settings = settings or Settings()
        self.journal: EventJournal = InMemoryJournal() if journal is None else journal
        self.incarnation = 1
        self._node_id = None if node_id is None else check_name(node_id, "node_id")
        self._runtime = runtime or SystemRuntime()
        self._gateway: LocalGateway | None = None
        self._owner: Owner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state = "not been started"
        _SYSTEMS.add(self)

    async def __aenter__(self) -> Self:
        """Open the journal and start."""
        if self._owner is not None:
            raise UsageError("The system is running already. Use it, or make another one.")
        meta = await self.journal.open()
        self.incarnation = meta.incarnation
        node_id = self._node_id or str(uuid4())
        manager = _lease_manager(self.journal, self.settings)
        self._owner = Owner(self.journal, meta, manager, self._runtime, self.settings, node_id=node_id)
        self._gateway = LocalGateway(self._owner, self._runtime)
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write what was decided, give the leases back, close the journal."""
        owner, self._owner, self._gateway = self._owner, None, None
        self._state = "been closed"
        try:
            if owner is not None:
                await finished(owner.close())  # half-closed, it would keep the lease for as long as the process lives
        finally:
            await stop_renewals(self)  # last, because a grant may have been told while the owner was closed
            await self.journal.close()

    def distributed(self) -> Distributed:
        """Return the structures that this node gives access to."""
        return Distributed(self)

    async def wait_for(self, nodes: int, *, timeout: float = 60.0) -> None:  # noqa: ARG002, ASYNC109 - the public name
        """Wait until so many nodes are alive. This version knows one: itself.

        Raises
        ------
        ConfigurationError
            More than one node is asked for.
        """
        self._running()
        if check_at_least_one(nodes, "nodes") > 1:
            raise ConfigurationError("A journal is written by one node in this version; another cannot join it.")

    def region_ref(self, key: str, factory: StructureFactory, *, num_shards: int) -> RegionRef:
        """Return a ref that routes ``ShardEnvelope`` to the named region."""
        return region_ref(key, factory, num_shards=num_shards)

    async def entity_ask(
        self,
        ref: RegionRef,
        msg_factory: Callable[[CommandContext], ShardEnvelope],
        *,
        timeout: float,  # noqa: ASYNC109 - the seed's name
    ) -> Any:
        """Send a message and wait for a reply, at most ``timeout`` seconds."""
        return await self._running().ask(ref, msg_factory, timeout=timeout)

    def _running(self) -> LocalGateway:
        """Give the gateway, if the caller may use it.

        Raises
        ------
        UsageError
            The system is not started, closed, of another event loop, or was inherited through a fork.
        """
        if self._gateway is None:
            raise UsageError(f"The system has {self._state}. Nothing was done. Use it inside `async with`.")
        if self._loop is not asyncio.get_running_loop():
            raise UsageError(
                "The system belongs to another event loop. Nothing was done. Make one system per event loop."
            )
        return self._gateway

    def _abandon_after_fork(self) -> None:
        if self._gateway is not None:
            self._gateway, self._state = None, "been inherited through fork(), and belongs to the parent process"


def _after_fork() -> None:
    for system in list(_SYSTEMS):
        system._abandon_after_fork()  # noqa: SLF001 - of the same module


os.register_at_fork(after_in_child=_after_fork)


def _lease_manager(journal: EventJournal, settings: Settings) -> LeaseManager:
    if not isinstance(journal, SqlJournal):
        return ProcessLeaseManager()
    if journal.file is not None:
        return FileLeaseManager(journal.file)
    return PostgresLeaseManager(journal.url, heartbeat_seconds=settings.heartbeat_seconds)


def connect(
    url: str, *, settings: Settings | None = None, unsafe_durability: bool = False
) -> AbstractAsyncContextManager[Distributed]:
    """Open a journal and give the structures recorded in it.

    An SQLite file is made and migrated when it needs to be. On Postgres nothing is ever created: run
    ``casty-es db upgrade`` or ``alembic upgrade head`` once.

    Parameters
    ----------
    url : str
        ``sqlite:///casty.db`` or ``postgresql://user:password@host/database``.
    settings : Settings | None
        How the system behaves.
    unsafe_durability : bool
        Accept a database that may lose what it acknowledged.

    Raises
    ------
    InvalidArgumentError
        The URL cannot be used.
    JournalUnavailableError
        The database cannot be reached or the file not be opened.
    SchemaError
        The journal's tables are missing, too old, or newer than this code.
    UnsafeDurabilityError
        The database may lose what it acknowledged.

    Examples
    --------
    >>> import asyncio, tempfile
    >>> async def main(folder: str) -> int:
    ...     async with connect(f"sqlite:///{folder}/casty.db") as d:
    ...         return await d.counter("page-views").increment(5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     asyncio.run(main(folder))
    5
    """
    return _connected(SqlJournal(url, unsafe_durability=unsafe_durability), settings)


@contextlib.asynccontextmanager
async def _connected(journal: SqlJournal, settings: Settings | None) -> AsyncIterator[Distributed]:
    if journal.file is not None:
        await asyncio.to_thread(_migrate_file, journal.url)
    async with ClusteredActorSystem(journal=journal, settings=settings) as system:
        yield system.distributed()


def _migrate_file(url: str) -> None:
    if schema.current(url) != schema.EXPECTED_REVISION:
        from casty_es.journal import migrating  # noqa: PLC0415 - alembic is slow to import, and rarely needed

        migrating.upgrade(url)  # refuses a file that is newer than this code
