"""A network: connections between hosts whose bytes take their time, wait while a way is cut, and can be lost.

A connection keeps the order of its bytes in each direction, as TCP does; two connections do not keep each other's. A
loss on the way is a delay, as it is with TCP. While a way is cut, in one direction or both, bytes wait, and go on when
it is mended, unless an end has given up by then.
"""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final

from .loop import HERE, Host

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from .loop import SimulatedLoop

__all__ = ["Network"]

_EOF: Final = "EOF"
_RESET: Final = "RESET"


class Network:
    """Every way between two hosts.

    Parameters
    ----------
    dice : Random
        Decides how long things take.
    note : Callable[[str], None]
        Told what happens, for the trace.

    Attributes
    ----------
    cut : set[tuple[str, str]]
        The ways that are cut, by the names of the hosts from and to.
    lossy : float
        How likely bytes are lost on their way, and sent again.
    slow : dict[str, float]
        Hosts whose bytes take longer, and how much, in seconds at most.
    """

    def __init__(self, loop: SimulatedLoop, dice: Random, note: Callable[[str], None]) -> None:
        self.loop = loop
        self._dice = dice
        self.note = note
        self.cut: set[tuple[str, str]] = set()
        self.lossy = 0.0
        self.slow: dict[str, float] = {}
        self.hosts: dict[str, Host] = {}
        self._servers: dict[tuple[str, int], _Server] = {}
        self.wires: dict[int, tuple[_Wire, _Wire]] = {}
        self._held: dict[tuple[str, str], list[tuple[Callable[..., None], Any]]] = {}
        self._number = 0
        loop.network = self

    def latency(self, source: str, target: str) -> float:
        """Return how long something is on its way now."""
        random = self._dice.random
        seconds = 0.0002 + 0.0018 * random() ** 3
        if self.lossy and random() < self.lossy:
            seconds += 0.2 * (1 + random())
        for name in (source, target):
            if name in self.slow:
                seconds += self.slow[name] * random()
        return seconds

    def send(self, source: str, target: str, at: float, arrive: Callable[..., None], *what: Any) -> None:
        """Bring something from host to host: at a time, or when the way is open again."""
        self.loop.call_at(at, self._arrived, source, target, arrive, what, context=_NOBODY)

    def _arrived(self, source: str, target: str, arrive: Callable[..., None], what: Any) -> None:
        if (source, target) in self.cut:
            self._held.setdefault((source, target), []).append((arrive, what))
        else:
            arrive(*what)

    def mend(self, *ways: tuple[str, str]) -> None:
        """Open ways again, all when none is named; what waited goes on."""
        for way in ways or tuple(self.cut):
            self.cut.discard(way)
            for arrive, what in self._held.pop(way, ()):
                arrive(*what)

    def part(self, one: str, others: list[str], *, both: bool = True, backwards: bool = False) -> None:
        """Cut a host off from others, in one direction or both."""
        for other in others:
            if both or not backwards:
                self.cut.add((one, other))
            if both or backwards:
                self.cut.add((other, one))

    def listen(self, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> _Server:
        """Open an address."""
        here = HERE.get()
        assert here is not None
        server = _Server(self, factory, (host, port), here)
        self._servers[host, port] = server
        return server

    def forget(self, server: _Server) -> None:
        """Close an address."""
        if self._servers.get(server.address) is server:
            del self._servers[server.address]

    async def connect(self, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> tuple[_Wire, Any]:
        """Connect to an address.

        Raises
        ------
        ConnectionRefusedError
            Nobody listens there.
        """
        here = HERE.get()
        assert here is not None
        there = self.hosts[host]
        answered: asyncio.Future[_Wire | None] = self.loop.create_future()

        def asked() -> None:
            server = self._servers.get((host, port))
            if server is None or there.dead:
                back(None)
                return
            far = _Wire(self, there, here, server.context, (here.address, 50_000 + self._number))
            far.accepting = True
            self.loop.call_soon(far.accept, server.factory, context=server.context)
            back(far)

        def back(far: _Wire | None) -> None:
            self.send(there.name, here.name, self.loop.time() + self.latency(there.name, here.name), come, far)

        def come(far: _Wire | None) -> None:
            if not answered.done():
                answered.set_result(far)
            elif far is not None:
                self.loop.call_soon(far.take, _RESET, context=far.context)

        self.send(here.name, there.name, self.loop.time() + self.latency(here.name, there.name), asked)
        far = await answered
        if far is None:
            raise ConnectionRefusedError("nobody listens there")
        near = _Wire(self, here, there, copy_context(), (host, port))
        near.other, far.other = far, near
        self._number += 1
        near.number = far.number = self._number
        self.wires[self._number] = near, far
        near.protocol = protocol = factory()
        protocol.connection_made(near)
        return near, protocol

    def reset(self, number: int) -> None:
        """End a connection in the middle: what is on its way is lost, and both ends are told."""
        for wire in self.wires.pop(number, ()):
            wire.generation += 1
            self.loop.call_soon(wire.take, _RESET, wire.generation, context=wire.context)

    def died(self, host: Host) -> None:
        """End what a dead host had open, as its operating system does."""
        for server in [server for server in self._servers.values() if server.host is host]:
            self.forget(server)
        for number, wires in list(self.wires.items()):
            for wire in wires:
                if wire.host is host:
                    wire.push(_RESET)
                    self.wires.pop(number, None)


class _Server:
    """An address that is listened at; asyncio's server and its socket in one."""

    def __init__(
        self, network: Network, factory: Callable[[], asyncio.Protocol], address: tuple[str, int], host: Host
    ) -> None:
        self._network = network
        self.factory = factory
        self.address = address
        self.host = host
        self.context = host.context()
        self.sockets = (self,)

    def getsockname(self) -> tuple[str, int]:
        return self.address

    def close(self) -> None:
        self._network.forget(self)

    async def wait_closed(self) -> None:
        pass


class _Wire(asyncio.Transport):
    """One end of a connection."""

    other: _Wire | None = None  # until the dialer knows of it
    protocol: Any = None

    def __init__(self, network: Network, host: Host, peer: Host, context: Context, peername: tuple[str, int]) -> None:
        super().__init__({"peername": peername})
        self._network = network
        self._loop = network.loop
        self.host = host
        self.peer = peer
        self.context = context
        self.number = 0
        self.generation = 0
        self.accepting = False
        self._last = 0.0
        self._closing = False
        self._lost = False
        self._reading = True
        self._unread: list[Any] = []

    def accept(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """Begin, at the listening end."""
        self.accepting = False
        if self._lost:
            return
        self.protocol = factory()
        self.protocol.connection_made(self)
        self._read()

    # What a protocol asks of its transport

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self.push(bytes(data))

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._loop.call_soon(self._read, context=self.context)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._reading = False
            self.push(_EOF)
            self._loop.call_soon(self._lose, None, context=self.context)

    def abort(self) -> None:
        if not self._lost:
            if not self._closing:
                self.push(_RESET)
            self._closing = True
            self._loop.call_soon(self._lose, None, context=self.context)

    # What the network does

    def push(self, what: Any) -> None:
        """Send something to the other end, behind what was sent before."""
        network, source, target = self._network, self.host.name, self.peer.name
        self._last = at = max(self._last, self._loop.time() + network.latency(source, target))
        network.send(source, target, at, self._arrive, what, self.generation)

    def _arrive(self, what: Any, generation: int) -> None:
        other = self.other
        if generation == self.generation and other is not None and not self.peer.dead:
            self._loop.call_soon(other.take, what, other.generation, context=other.context)

    def take(self, what: Any, generation: int = 0) -> None:
        """Get what has come."""
        if self._lost or generation != self.generation:
            return
        if what == _RESET:
            self._lose(ConnectionResetError("Connection reset by peer"))
        else:
            self._unread.append(what)
            self._read()

    def _read(self) -> None:
        while self._unread and self._reading and not self.accepting and not self._lost:
            what = self._unread.pop(0)
            if what == _EOF:
                if not self.protocol.eof_received():
                    self.close()
            else:
                if self._network.note is not None:
                    self._network.note(f"{self.peer} -> {self.host} {len(what)}")
                self.protocol.data_received(what)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._network.wires.pop(self.number, None)
        if self.protocol is not None:
            self.protocol.connection_lost(error)


_NOBODY: Final = Context()
