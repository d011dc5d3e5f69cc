"""A network in memory: the same listener, dialer and bytes as over TCP, in one event loop.

For tests and simulations. Bytes take one turn of the event loop; they can be cut off, at once or silently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from casty_es.access import Token
from casty_es.transport.channel import Channel
from casty_es.transport.dialer import BaseDialer
from casty_es.transport.identity import Identity
from casty_es.transport.keyring import Keyring
from casty_es.transport.limits import Limits
from casty_es.transport.listener import Reception
from casty_es.transport.port import Service

__all__ = ["LoopbackDialer", "LoopbackListener", "LoopbackNetwork"]

# What a socket of the operating system would hold, about.
PIPE_BYTES: Final = 262_144


class LoopbackNetwork:
    """Addresses that exist in memory only.

    Examples
    --------
    >>> network = LoopbackNetwork()
    >>> dialer = network.dialer(identity=Identity(system="shop", node_id="a"), secret=b"the same everywhere")
    >>> dialer.open_link("b:1") is None
    True
    """

    def __init__(self) -> None:
        self._listening: dict[tuple[str, int], LoopbackListener] = {}
        self._wires: set[tuple[_Wire, _Wire]] = set()
        self._silent: set[tuple[str, int]] = set()
        self._next_port = 1

    async def listen(
        self,
        host: str = "loopback",
        port: int = 0,
        *,
        service: Service,
        identity: Identity,
        secret: bytes | Keyring,
        limits: Limits | None = None,
    ) -> LoopbackListener:
        """Open an address; see ``websocket.listen``."""
        while not port or (host, port) in self._listening:
            if port:
                raise OSError(f"Something listens at {host}:{port} already.")
            port, self._next_port = self._next_port, self._next_port + 1
        listener = LoopbackListener(self, (host, port), Reception(service, identity, secret, limits or Limits()))
        self._listening[host, port] = listener
        return listener

    def dialer(
        self, *, identity: Identity, secret: bytes | Token | Keyring, limits: Limits | None = None
    ) -> LoopbackDialer:
        """Make a dialer of this network."""
        return LoopbackDialer(self, identity, secret, limits)

    def cut(self, address: tuple[str, int]) -> None:
        """End every connection to an address, as when its process is killed. New ones are possible."""
        for ends in list(self._wires):
            if ends[0].address == address:
                for end in ends:
                    end.abort()

    def silence(self, address: tuple[str, int], *, silent: bool = True) -> None:
        """Swallow, or no longer swallow, every byte to and from an address, as a network does that is cut through."""
        if silent:
            self._silent.add(address)
        else:
            self._silent.discard(address)

    def connect(self, address: tuple[str, int], factory: Callable[[], Channel]) -> Channel:
        """Connect to an address, or raise an ``OSError``."""
        listener = self._listening.get(address)
        if listener is None:
            raise ConnectionRefusedError("nobody listens there")
        near, far = factory(), listener.reception.accept()
        dialing, listening = _Wire(self, address, near), _Wire(self, address, far)
        dialing.other, listening.other = listening, dialing
        ends = dialing, listening
        self._wires.add(ends)
        far.gone.add_done_callback(lambda _: self._wires.discard(ends))
        far.connection_made(listening)
        near.connection_made(dialing)
        return near

    def forget(self, address: tuple[str, int]) -> None:
        """Close an address."""
        self._listening.pop(address, None)

    def is_silent(self, address: tuple[str, int]) -> bool:
        """Whether bytes to and from an address are swallowed."""
        return address in self._silent


class LoopbackListener:
    """A ``Listener`` at an address in memory."""

    def __init__(self, network: LoopbackNetwork, address: tuple[str, int], reception: Reception) -> None:
        self._network = network
        self._address = address
        self.reception = reception

    @property
    def address(self) -> tuple[str, int]:
        """The host and port it listens at."""
        return self._address

    @property
    def connections(self) -> int:
        """How many authenticated connections it serves."""
        return self.reception.connections

    @property
    def incidents(self) -> Mapping[str, int]:
        """How often somebody tried what he may not, by kind."""
        return self.reception.incidents.counts

    def review(self) -> None:
        """End the connections of those who have proven themselves by what is not valid any more."""
        self.reception.review()

    def serves(self, process_id: str) -> bool:
        """Return whether a process has a connection."""
        return self.reception.serves(process_id)

    def heard_from(self, node_id: str) -> bool:
        """Return whether a node has a connection."""
        return self.reception.heard_from(node_id)

    async def close(self) -> None:
        """Stop listening, send the answers that are there, close every connection."""
        self._network.forget(self._address)
        await self.reception.close()


class LoopbackDialer(BaseDialer):
    """A ``Dialer`` to addresses in memory."""

    def __init__(
        self,
        network: LoopbackNetwork,
        identity: Identity,
        secret: bytes | Token | Keyring,
        limits: Limits | None,
    ) -> None:
        super().__init__(identity, secret, limits)
        self._network = network

    async def _connect(self, host: str, port: int, node_id: str | None, factory: Callable[[], Channel]) -> Channel:  # noqa: ARG002
        return self._network.connect((host, port), factory)


class _Wire(asyncio.Transport):
    """One end of a connection in memory, as asyncio wants a transport to behave."""

    other: _Wire

    def __init__(self, network: LoopbackNetwork, address: tuple[str, int], channel: Channel) -> None:
        extra: Mapping[str, Any] = {"peername": address}
        super().__init__(extra)
        self._loop = asyncio.get_running_loop()
        self._network = network
        self.channel = channel
        self._buffer = bytearray()
        self._high = PIPE_BYTES
        self.reading = True
        self._moving = False
        self._paused = False
        self._closing = False
        self._lost = False
        self.address = address

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:  # noqa: ARG002
        self._high = PIPE_BYTES if high is None else high

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        self._buffer += data
        self.schedule()
        if len(self._buffer) > self._high and not self._paused:
            self._paused = True
            self.channel.pause_writing()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self.other.schedule()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.reading = False
            self.schedule()

    def abort(self) -> None:
        self._closing = True
        self._buffer.clear()
        self._loop.call_soon(self._lose)

    def schedule(self) -> None:
        if not self._moving:
            self._moving = True
            self._loop.call_soon(self._move)

    def _move(self) -> None:
        self._moving = False
        other = self.other
        silent = self._network.is_silent(self.address)
        if not other.reading and not other.is_closing() and not silent:
            return
        data = bytes(self._buffer[:PIPE_BYTES])
        del self._buffer[: len(data)]
        if data and other.reading and not silent:
            other.channel.data_received(data)
        if self._paused and len(self._buffer) <= self._high // 4:
            self._paused = False
            self.channel.resume_writing()
        if self._buffer:
            self.schedule()
        elif self._closing:
            self._lose()

    def _lose(self) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._buffer.clear()
        self.channel.connection_lost(None)
        if not self._network.is_silent(self.address):
            self._loop.call_soon(self.other.ended)

    def ended(self) -> None:
        if not self._lost:
            self.channel.eof_received()
            self.close()
