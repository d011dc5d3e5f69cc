"""Where operations are interrupted: a caller beside the owner, on another node, or in a client, on each journal.

Every world has a helper that brings entities about and looks at them afterwards, and that is never interrupted unless
it is the same node as the caller. In a cluster every entity belongs to the first node, the owner; the caller is
elsewhere.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from casty_es import ClusteredActorSystem, Distributed, InMemoryJournal, Settings, SqlJournal
from casty_es.client import ClusterClient
from casty_es.cluster.placement import ranking
from tests.cluster.nodes import secret_of, slot
from tests.cluster.proxy import Proxy

from .cases import RecordingRuntime
from .reading import Life, read_memory, read_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from casty_es.journal.port import Append, RecordedEvent

__all__ = ["LEASE_SECONDS", "PATIENCE_SECONDS", "World", "settings_of"]

LEASE_SECONDS: Final = 30.0
"""Far longer than anybody here waits: nothing becomes free because its lease ran out."""
PATIENCE_SECONDS: Final = 5.0
"""How long things may take to settle; a run of code that is known to be wrong need not wait so long each time."""
_NUMBERS: Final = itertools.count()


def settings_of(lease_seconds: float = LEASE_SECONDS) -> Settings:
    """Return the settings of every node and client."""
    return Settings(membership_seconds=0.2, lease_seconds=lease_seconds)


class World:
    """An open world.

    Parameters
    ----------
    url : str | None
        The migrated journal; ``None`` stands for memory.
    way : str
        How the caller reaches the owner: ``local``, ``routed`` or ``client``.

    Attributes
    ----------
    delay : Callable[[], float] | None
        How long the next append takes before it is written, and the next search for a key, in seconds.
    proxy : Proxy
        What stands in front of the owner in a cluster.
    processes : dict[str, str]
        The nodes that are other processes, by what they are here: ``owner`` or ``other``.
    patience : float
        How long things may take to settle, in seconds; far less than a lease. A fresh caller has what nobody holds
        within it.
    unheard : list[str]
        Exceptions that nobody retrieved, as the event loop was told of them, and those that closing raised.
    """

    def __init__(
        self, url: str | None, way: str, *, lease_seconds: float = LEASE_SECONDS, patience: float = PATIENCE_SECONDS
    ) -> None:
        self.url = url
        self.way = way
        self.settings = settings_of(lease_seconds)
        self.processes: dict[str, str] = {}
        self.patience = patience
        self.delay: Callable[[], float] | None = None
        self.proxy = Proxy()
        self.unheard: list[str] = []
        self._memory = InMemoryJournal()
        self._stack = AsyncExitStack()
        self._systems: dict[str, ClusteredActorSystem] = {}
        self._client: ClusterClient | None = None

    @property
    def journal(self) -> str:
        """The kind of journal."""
        return "memory" if self.url is None else self.url.partition(":")[0].replace("postgresql", "postgres")

    async def __aenter__(self) -> Self:
        """Open everything."""
        await self._stack.__aenter__()
        asyncio.get_running_loop().set_exception_handler(self._hear)
        if self.way != "local":
            await self.proxy.start()
            self._stack.push_async_callback(self.proxy.stop)
        self._stack.push_async_callback(self._close_all)
        await self.reopen()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close everything."""
        await self._stack.__aexit__(None, None, None)

    def _hear(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.unheard.append(f"{context['message']}: {context.get('exception')!r}")

    async def _close_all(self) -> None:
        if self._client is not None:
            await self.close_client()
        for which in list(self._systems):
            await self.close_node(which)

    async def reopen(self) -> None:
        """Open what is not open."""
        if "owner" not in self.processes:
            await self._open("owner")
        if self.way != "local":
            await self._open("other")
            for system in self._systems.values():
                await system.wait_for(2)
        if self.way == "client" and self._client is None:
            client = ClusterClient(
                contact_points=[("127.0.0.1", self.proxy.port), tuple(self._systems["other"].self_node)],
                secret=await secret_of(self._systems["other"]),
                settings=self.settings,
                runtime=RecordingRuntime(),
            )
            self._client = await client.__aenter__()

    async def _open(self, which: str) -> None:
        if which in self._systems:
            return
        journal: Any = self._memory if self.url is None else SqlJournal(self.url)
        _slowed(journal, self)
        behind = {"advertise": ("127.0.0.1", self.proxy.port)} if which == "owner" and self.way != "local" else {}
        system = ClusteredActorSystem(journal=journal, settings=self.settings, runtime=RecordingRuntime(), **behind)
        await system.__aenter__()
        if behind:
            self.proxy.target = system.self_node.port
        self._systems = {which: system} | self._systems if which == "owner" else self._systems | {which: system}

    async def close_node(self, which: str) -> None:
        """Close a node in order."""
        await self._closed(self._systems.pop(which))

    async def close_client(self) -> None:
        """Close the client in order."""
        client, self._client = self._client, None
        if client is not None:
            await self._closed(client)

    async def _closed(self, one: ClusteredActorSystem | ClusterClient) -> None:
        try:
            await one.__aexit__(None, None, None)
        except Exception as error:  # noqa: BLE001 - whatever it is, closing must not raise it
            self.unheard.append(f"closing raised {error!r}")

    async def close_caller(self) -> None:
        """Close the caller's node or client in order."""
        if self.way == "client":
            await self.close_client()
        else:
            await self.close_node("owner" if self.way == "local" else "other")

    @property
    def caller(self) -> Distributed:
        """The structures as the caller sees them."""
        if self.way == "client":
            assert self._client is not None
            return self._client.distributed()
        return self._systems["owner" if self.way == "local" else "other"].distributed()

    async def node(self) -> tuple[str, int, bytes]:
        """Return where a node of this process listens, and the secret."""
        system = next(iter(self._systems.values()))
        return *system.self_node, await secret_of(system)

    @property
    def node_id(self) -> str:
        """The name of a node of this process."""
        return next(iter(self._systems.values())).node_id

    @property
    def helper(self) -> Distributed:
        """The structures as the helper sees them."""
        return next(iter(self._systems.values())).distributed()

    def name(self, kind: str, prefix: str) -> str:
        """Return a name that nobody has used and whose structure belongs to the owner."""
        names = (f"{prefix}{next(_NUMBERS)}" for _ in itertools.count())
        nodes = {which: system.node_id for which, system in self._systems.items()} | self.processes
        return next(
            name for name in names if ranking(slot(kind, name, shards=1), list(nodes.values()))[0] == nodes["owner"]
        )

    async def read(self, prefix: str) -> dict[tuple[str, str], Life]:
        """Read what the journal holds of the structures whose names begin so."""
        if self.url is None:
            return read_memory(self._memory, prefix)
        return await read_url(self.url, prefix)


def _slowed(journal: Any, world: World) -> None:
    """Let the journal take its time before it writes, or looks for a key, when the world says so."""
    append, find_key = type(journal).append, type(journal).find_key

    async def late_append(batch: Append) -> None:
        if world.delay is not None:
            await asyncio.sleep(world.delay())
        await append(journal, batch)

    async def late_find_key(entity: int, idempotency_key: str) -> list[RecordedEvent]:
        if world.delay is not None:
            await asyncio.sleep(world.delay())
        found: list[RecordedEvent] = await find_key(journal, entity, idempotency_key)
        return found

    journal.append, journal.find_key = late_append, late_find_key
