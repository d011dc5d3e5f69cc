"""A cluster under a seed: three nodes, four clients, a network and a database, and everything outside replaced."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unittest import mock
from uuid import UUID
from zlib import crc32

from casty_es import ClusteredActorSystem, Settings
from casty_es.client import ClusterClient
from casty_es.handles import renewals
from casty_es.journal.memory import InMemoryJournal
from tests.faults.recording import Recorder

from .database import Database
from .journal import FileJournal, ServerJournal
from .leases import connect_for_leases, lease_manager_of
from .loop import HERE, Host, SimulatedLoop
from .network import Network

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from casty_es.gateway import EntityGateway
    from tests.faults.recording import Operation

__all__ = ["SYSTEM", "Loss", "World"]

SYSTEM: Final = "simulated"
SECRET: Final = b"the same for every simulated node"
_BEGIN: Final = 1_700_000_000_000_000  # microseconds since 1970
_PORT: Final = 7_400


class Loss(NamedTuple):
    """What was lost when a standby took over.

    Attributes
    ----------
    at : int
        When.
    commands : set[bytes]
        The commands whose records are gone.
    accepted : int
        When an operator accepted it; 0 until then.
    """

    at: int
    commands: set[bytes]
    accepted: int = 0


class _Runtime:
    """A host's clock, ids and randomness."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host

    def now(self) -> int:
        """Return the host's clock."""
        return _BEGIN + round((self._world.loop.time() + self._host.ahead) * 1_000_000)

    def new_id(self) -> bytes:
        """Return a UUIDv7 of this host's time."""
        return self._world.uuid(7, self.now() // 1_000).bytes

    def salt(self) -> bytes:
        """Return bytes."""
        return self._world.ids.randbytes(16)

    async def offload(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Run a function; there are no threads."""
        return await self._world.loop.run_in_executor(None, function, *arguments)


class World:
    """Everything of one run.

    Parameters
    ----------
    seed : int
        Decides everything.
    database : str
        ``server`` for one that behaves like Postgres, ``file`` for one like SQLite.
    lease_seconds : float
        How long a lease of a caller is.
    store : type[InMemoryJournal]
        What keeps the records.
    told : list[str] | None
        Gets every line of the trace.

    Attributes
    ----------
    trace : int
        A checksum over all that has happened, in order.
    loss : Loss | None
        What the database has lost, in a run in which a standby takes over.
    operations : list[Operation]
        What callers asked for and were told.
    """

    def __init__(
        self,
        seed: int,
        *,
        database: str = "server",
        slots: int = 4,
        lease_seconds: float = 3.0,
        store: type[InMemoryJournal] = InMemoryJournal,
        told: list[str] | None = None,
    ) -> None:
        self.seed = seed
        self.kind = database
        self.told = told
        self.trace = 0
        self.loop = SimulatedLoop()
        self.ids = Random(f"{seed} ids")  # noqa: S311 - nothing here is secret
        self.network = Network(self.loop, Random(f"{seed} network"), self.note)  # noqa: S311 - as above
        self.database = Database(self.network, Random(f"{seed} database"), slots, store)  # noqa: S311 - as above
        self.settings = Settings(
            lease_seconds=lease_seconds, snapshot_events=4, session_seconds=2.0, heartbeat_seconds=0.5
        )
        self.operations: list[Operation] = []
        self.loss: Loss | None = None
        self.hosts: dict[str, Host] = {}
        self.nodes: dict[str, ClusteredActorSystem] = {}
        self.clients: dict[str, ClusterClient] = {}
        self.kept_back: set[bytes] = set()  # what cancelled callers asked for and could not be undone
        self._kept: list[Any] = []
        self._recorders: dict[int, Any] = {}
        self._stamps = itertools.count(1)

    def stamp(self) -> int:
        """Return a time that is another one each time, later than those before."""
        return next(self._stamps)

    def note(self, text: str) -> None:
        """Add to the trace what has happened."""
        line = f"{self.loop.time():.6f} {text}"
        self.trace = crc32(line.encode(), self.trace)
        if self.told is not None:
            self.told.append(line)

    def _numbered(self, one: Any) -> int:
        """Return a hash that is the same in every run, as an address is not: it decides the order in a set."""
        number: int = vars(one).setdefault("simulated number", next(self.loop.numbers))
        return number

    def uuid(self, version: int = 4, milliseconds: int = 0) -> UUID:
        """Return an id."""
        number = self.ids.getrandbits(128)
        if version == 7:
            number = milliseconds << 80 | number & (1 << 80) - 1
        return UUID(int=number & ~(0xF000 << 64) & ~(0xC000 << 48) | version << 76 | 0x8000 << 48)

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        """Replace all that is outside."""
        outside: Any = {
            "steady": self.loop.time,
            "spread": self.ids.uniform,
            "unpredictable": self.ids.randbytes,
            "fresh_uuid": self.uuid,
            "wall_clock": lambda: _BEGIN + round(self.loop.time() * 1_000_000),
        }
        with (
            mock.patch.multiple("casty_es.runtime", **outside),
            mock.patch("casty_es.node.lease_manager", lease_manager_of),
            mock.patch("casty_es.leases.postgres.connect_for_leases", connect_for_leases),
            mock.patch("casty_es.transport.channel.Channel.__hash__", lambda one: self._numbered(one)),  # noqa: PLW0108 - a bound method would not get the channel
            mock.patch("casty_es.owner.slot.Slot.__hash__", lambda slot: slot.number),
            mock.patch("casty_es.cluster.membership.socket.gethostname", return_value="simulated"),
            _quiet(self),
        ):
            yield

    def host(self, name: str) -> Host:
        """Return a host, making one at its first use."""
        return self.hosts.get(name) or self.new_host(name)

    def new_host(self, name: str) -> Host:
        """Make a host, in place of a dead one of that name."""
        before = self.hosts.get(name)
        address = f"10.0.0.{len(self.hosts) + 1}" if before is None else before.address
        host = self.hosts[name] = Host(name, address, self.loop)
        self.network.hosts[address] = host
        return host

    def kill(self, host: Host) -> None:
        """End a host, in the middle of whatever it does."""
        self._kept.append(host)
        self.loop.kill(host)
        self.network.died(host)
        self.database.died(host)
        self.nodes.pop(host.name, None)
        self.clients.pop(host.name, None)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Keep what goes with its host until the world is forgotten: only a living one has to end what it began."""
        self._kept.append(task)

    def heal(self) -> None:
        """End every fault."""
        self.network.mend()
        self.network.lossy = 0.0
        self.network.slow.clear()
        self.database.heal()
        for host in self.hosts.values():
            if host.frozen and not host.dead:
                self.loop.thaw(host)

    def forget(self) -> None:
        """Let go of everything."""
        self._kept.clear()
        self._recorders.clear()
        self.nodes.clear()
        self.clients.clear()
        self.loop.close()

    async def open_node(self, name: str) -> ClusteredActorSystem:
        """Start a node; awaited on its host."""
        host = self.host(name)
        journal: Any = (ServerJournal if self.kind == "server" else FileJournal)(self.database, host)
        system = ClusteredActorSystem(
            journal=journal,
            name=SYSTEM,
            host=host.address,
            port=_PORT,
            node_id=name,
            secret=SECRET,
            settings=self.settings,
            runtime=_Runtime(self, host),
        )
        self._kept.append(system)
        await system.__aenter__()
        self.nodes[name] = system
        return system

    async def open_client(self, name: str) -> ClusterClient:
        """Start a client; awaited on its host."""
        addresses = [(host.address, _PORT) for one, host in self.hosts.items() if one.startswith("n")]
        client = ClusterClient(
            contact_points=addresses,
            system_name=SYSTEM,
            secret=SECRET,
            settings=self.settings,
            runtime=_Runtime(self, self.host(name)),
        )
        self._kept.append(client)
        await client.__aenter__()
        self.clients[name] = client
        return client

    def recorded(self, gateway: EntityGateway) -> Any:
        """Return a gateway that writes down what passes through it, the same one for all who ask."""
        recorder = self._recorders.get(id(gateway))
        if recorder is None:
            recorder = self._recorders[id(gateway)] = Recorder(gateway, clock=self.stamp)
            recorder.operations = self.operations
            # Whoever closes the gateway gives back what handles over the recorder hold.
            renewals._BY_GATEWAY[gateway] = renewals.renewals_of(recorder)
        return recorder


_ID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class _Hearing(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        host = HERE.get()
        if "could not be undone" in str(record.msg):  # the arguments are no ids any more, but what is shown of them
            self._world.kept_back.update(UUID(one).bytes for one in _ID.findall(record.getMessage()))
        if record.exc_info and self._world.loop.hears and not (host is not None and host.dead):
            self._world.loop.unheard.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


@contextlib.contextmanager
def _quiet(world: World) -> Iterator[None]:
    """Hear errors with a traceback, and nothing else."""
    logger, hearing = logging.getLogger("casty_es"), _Hearing(world)
    before = logger.level, logger.propagate
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logger.addHandler(hearing)
    try:
        yield
    finally:
        logger.removeHandler(hearing)
        logger.setLevel(before[0])
        logger.propagate = before[1]
