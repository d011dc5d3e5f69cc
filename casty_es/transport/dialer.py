"""Where links come from: one per address, made once for all who ask, and not too often where nobody answers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from casty_es import addresses, runtime
from casty_es.access import Token
from casty_es.errors import PeerError, PeerLostError, PeerRefusedError
from casty_es.printing import log_of
from casty_es.transport.channel import POLICY_VIOLATION, Channel, client_protocol
from casty_es.transport.handshake import DialerHandshake, RefusingError
from casty_es.transport.identity import Identity
from casty_es.transport.keyring import Keyring, keyring
from casty_es.transport.limits import Limits
from casty_es.transport.link import SocketLink

logger: Final = log_of("casty_es.transport")

# A link that lasts less than this counts as a failed attempt: somebody accepts and hangs up.
SHORT_LIVED_SECONDS: Final = 1.0

# Of nodes that were met and ways that failed, so many are remembered; older ones count as never tried.
_REMEMBERED: Final = 4_096

# An address, and the node there when it is not the address alone that leads to it.
_Way: TypeAlias = tuple[str, str | None]


class _Failures:
    """What is remembered of an address where it did not work out."""

    __slots__ = ("count", "error", "until")

    def __init__(self) -> None:
        self.count = 0
        self.until = 0.0
        self.error: PeerError = PeerLostError("", sent=False)


class BaseDialer(ABC):
    """A ``Dialer``, whatever the connections are made of."""

    def __init__(self, identity: Identity, secret: bytes | Token | Keyring, limits: Limits | None = None) -> None:
        self._identity = identity
        self._secret = keyring(secret)
        self._limits = limits or Limits()
        self._links: dict[_Way, SocketLink] = {}
        self._attempts: dict[_Way, asyncio.Task[SocketLink]] = {}
        self._failures: dict[_Way, _Failures] = {}
        self._met: dict[str, None] = {}
        self._channels: set[Channel] = set()
        self._closed = False

    @abstractmethod
    async def _connect(self, host: str, port: int, node_id: str | None, factory: Callable[[], Channel]) -> Channel:
        """Connect to an address, or to the node there in another way, or raise an ``OSError``."""

    def _way(self, address: str, node_id: str | None) -> _Way:  # noqa: ARG002 - for those who know other ways
        return address, None

    def open_link(self, address: str, node_id: str | None = None) -> SocketLink | None:
        """Return the living link to an address and the node there, or ``None``, without waiting."""
        link = self._links.get(self._way(address, node_id))
        if link is None or link.closed or node_id not in {None, link.node_id}:
            return None
        return link

    def met(self, node_id: str) -> bool:
        """Return whether there was a link to a node."""
        return node_id in self._met

    async def link(self, address: str, node_id: str | None = None) -> SocketLink:
        """Return the link to the node that listens at ``host:port``; see ``Dialer.link``."""
        way = self._way(address, node_id)
        link = self._links.get(way)
        if link is None or link.closed:
            link = await self._new_link(way)
        if node_id not in {None, link.node_id}:
            raise PeerLostError(
                f"At {address} node {link.node_id} answers, and not {node_id}, which has that address only in a "
                f"network of its own. Nothing was sent.",
                sent=False,
            )
        return link

    async def _new_link(self, way: _Way) -> SocketLink:
        address, _ = way
        if self._closed:
            raise PeerLostError(f"{address} was not dialled: this process is closing.", sent=False)
        attempt = self._attempts.get(way)
        if attempt is None:
            self._refuse_early(way)
            attempt = self._attempts[way] = asyncio.create_task(self._dial(way), name=f"dial {address}")
            attempt.add_done_callback(lambda done: self._attempted(way, done))
        # Whoever gives up does not end the attempt of the others.
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise PeerLostError(f"{address} was not dialled to the end: this process is closing.", sent=False) from None

    async def close(self) -> None:
        """Close every link, give up every attempt."""
        self._closed = True
        attempts = list(self._attempts.values())
        for attempt in attempts:
            attempt.cancel()
        for channel in self._channels:
            channel.close("was closed by this process")
        if attempts:
            await asyncio.wait(attempts)
        if self._channels:
            await asyncio.wait([channel.gone for channel in self._channels])

    def abandon_after_fork(self) -> None:
        """Let go of the parent's links, in a forked child."""
        for channel in self._channels:
            channel.abandon_after_fork()

    def _refuse_early(self, way: _Way) -> None:
        failures = self._failures.get(way)
        left = 0.0 if failures is None else failures.until - asyncio.get_running_loop().time()
        if failures is not None and left > 0:
            text = f"{failures.error} The next attempt is possible in {left:.2f} s."
            if isinstance(failures.error, PeerRefusedError):
                raise PeerRefusedError(text)
            raise PeerLostError(text, sent=False)

    def _attempted(self, way: _Way, attempt: asyncio.Task[SocketLink]) -> None:
        del self._attempts[way]
        # Looked at here, so that nobody has to be left who waits for it.
        error = None if attempt.cancelled() else attempt.exception()
        if isinstance(error, PeerError):
            self._failed(way, error)

    def _failed(self, way: _Way, error: PeerError) -> None:
        failures = self._failures[way] = self._failures.pop(way) if way in self._failures else _Failures()
        _forget_oldest(self._failures)
        failures.count += 1
        longest = min(self._limits.backoff_seconds * 2 ** min(failures.count - 1, 30), self._limits.max_backoff_seconds)
        failures.until = asyncio.get_running_loop().time() + longest * runtime.spread(0.5, 1.0)
        failures.error = error

    async def _dial(self, way: _Way) -> SocketLink:
        address, node_id = way
        host, port = _split(address)
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[SocketLink] = loop.create_future()

        def make_channel() -> Channel:
            channel = Channel(client_protocol(self._limits), self._limits)
            handshake = DialerHandshake(self._identity, self._secret, self._limits)
            channel.greet(_Greeter(channel, handshake, self._limits, ready, address))
            return channel

        channel: Channel | None = None
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                channel = await self._connect(host, port, node_id, make_channel)
            self._channels.add(channel)
            channel.gone.add_done_callback(lambda _: self._channels.discard(channel))
            async with asyncio.timeout(self._limits.handshake_seconds):
                link = await ready
        except TimeoutError as error:
            what = "cannot be reached" if channel is None else "does not finish the handshake"
            raise PeerLostError(f"{address} {what} in time. Nothing was sent.", sent=False) from error
        except OSError as error:
            raise PeerLostError(
                f"{address} cannot be reached: {str(error) or repr(error)}. Nothing was sent.", sent=False
            ) from error
        finally:
            if ready.done() and not ready.cancelled():
                ready.exception()
            if channel is not None and not channel.authenticated:
                channel.close("was given up by the dialer")
        self._links[way] = link
        self._met.pop(link.node_id, None)
        self._met[link.node_id] = None
        _forget_oldest(self._met)
        started = loop.time()
        channel.gone.add_done_callback(lambda _: self._left(way, link, started))
        return link

    def _left(self, way: _Way, link: SocketLink, started: float) -> None:
        if self._links.get(way) is link:
            del self._links[way]
        if self._closed or link.closed_here:
            return
        if asyncio.get_running_loop().time() - started < SHORT_LIVED_SECONDS:
            self._failed(way, PeerLostError(f"{way[0]} accepts connections and closes them.", sent=False))
        else:
            self._failures.pop(way, None)


class _Greeter:
    """A connection in its handshake."""

    def __init__(
        self,
        channel: Channel,
        handshake: DialerHandshake,
        limits: Limits,
        ready: asyncio.Future[SocketLink],
        address: str,
    ) -> None:
        self._channel = channel
        self._handshake = handshake
        self._limits = limits
        self._ready = ready
        self._address = address

    def connected(self) -> None:
        """Go on to the WebSocket, which comes next."""

    def opened(self) -> None:
        """Speak first."""
        self._channel.send(self._handshake.start())

    def received(self, message: bytes | bytearray) -> None:
        """Take the next step of the handshake."""
        try:
            answer, session = self._handshake.receive(bytes(message))
        except PeerRefusedError as error:
            self._fail(PeerRefusedError(f"{self._address}: {error} Nothing was sent."))
            if isinstance(error, RefusingError):
                self._channel.send(error.refusal)
            self._channel.close("refused the handshake", POLICY_VIOLATION)
            return
        if answer is not None:
            self._channel.send(answer)
        if session is not None:
            link = SocketLink(self._channel, session, self._limits)
            self._channel.attach(link)
            if self._ready.done():
                self._channel.abort("came too late")
            else:
                self._ready.set_result(link)

    def writable(self) -> None:
        """Nothing is kept back during a handshake."""

    def lost(self, reason: str) -> None:
        """Tell who waits."""
        self._fail(PeerLostError(f"The connection to {self._address} {reason}. Nothing was sent.", sent=False))

    def _fail(self, error: PeerError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)


def _forget_oldest(remembered: dict[Any, Any]) -> None:
    if len(remembered) > _REMEMBERED:
        del remembered[next(iter(remembered))]  # a dictionary keeps its order


def _split(address: str) -> tuple[str, int]:
    place = addresses.split(address)
    if place is None:
        raise PeerLostError(f"{address!r} cannot be dialled: it is not host:port. Nothing was sent.", sent=False)
    return place
