"""Both ends of a connection for the tests: a service that does as it is told, and raw peers that do what they like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, Self

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as HttpRequest
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from casty_es.transport.dialer import BaseDialer
from casty_es.transport.handshake import DialerHandshake, ListenerHandshake, Session
from casty_es.transport.identity import Identity
from casty_es.transport.limits import Limits
from casty_es.transport.port import Caller, Listener
from casty_es.transport.websocket import WebSocketDialer, WebSocketListener, listen
from casty_es.transport.wire import Answer, Answered, Ask, FindShards, Locate, Located, Outcome, Request
from tests.loopback import LoopbackListener, LoopbackNetwork

SECRET = b"the secret of the whole cluster!"


def identity(
    node_id: str = "dialer",
    system: str = "shop",
    process_id: str | None = None,
    role: Literal["node", "client"] = "node",
) -> Identity:
    """Return who one is."""
    if process_id is None:
        return Identity(system=system, node_id=node_id, role=role)
    return Identity(system=system, node_id=node_id, process_id=process_id, role=role)


def ask(key: str = "k", body: bytes = b"{}") -> Ask:
    """Make a command that the service holds until the test lets it go."""
    return Ask(1, 2, "map", "users", key, 1, "Put", body, b"i" * 16, 5.0)


def address_of(listener: Listener) -> str:
    """Write the address as a dialer wants it."""
    return "{}:{}".format(*listener.address)


async def until(condition: Callable[[], Any]) -> None:
    """Wait until something is so. The test's own timeout ends what never comes."""
    while not condition():  # noqa: ASYNC110 - what is waited for is seen from outside and sets no event
        await asyncio.sleep(0.005)


class Service:
    """Answers ``Locate`` at once, ``FindShards`` with as many bytes as its name says, and holds every ``Ask``."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.held: list[tuple[Ask, Callable[[Answer], None]]] = []

    def needs_credit(self, request: Request) -> bool:
        """Say that only commands may wait for long."""
        return not isinstance(request, Ask)

    def met(self, node_id: str) -> None:
        """Nothing is noted."""

    def weight(self, request: Request) -> int:
        """Return how long the answer will be."""
        return int(request.name) if isinstance(request, FindShards) and request.name.isdecimal() else 0

    def serve(self, request: Request, answer: Callable[[Answer], None], _caller: Caller) -> None:
        """Do what the kind of the request says."""
        self.seen.append(request)
        match request:
            case Locate(slot):
                answer(Located(slot, slot))
            case FindShards(_, size):
                answer(Outcome("executed", b"x" * int(size)))
            case Ask():
                self.held.append((request, answer))
            case _:
                raise ValueError("not today")

    def release(self) -> None:
        """Answer everything that is held, newest first."""
        while self.held:
            request, answer = self.held.pop()
            answer(Answered(request.key.encode(), 1))

    @property
    def keys(self) -> list[str]:
        """The keys of the commands that came, in order."""
        return [request.key for request in self.seen if isinstance(request, Ask)]


class Network:
    """Listeners and dialers of one kind, closed at the end of the test."""

    def __init__(self, kind: str) -> None:
        self.loopback = LoopbackNetwork() if kind == "loopback" else None
        self._closing: list[Callable[[], Awaitable[None]]] = []

    async def listen(
        self, service: Any, *, limits: Limits | None = None, port: int = 0, **given: Any
    ) -> WebSocketListener | LoopbackListener:
        """Open an address."""
        options: dict[str, Any] = {"service": service, "identity": identity("listener"), "secret": SECRET, **given}
        listener: WebSocketListener | LoopbackListener
        if self.loopback is not None:
            listener = await self.loopback.listen("loopback", port, limits=limits, **options)
        else:
            listener = await listen("127.0.0.1", port, limits=limits, **options)
        self._closing.append(listener.close)
        return listener

    def dialer(self, *, limits: Limits | None = None, **given: Any) -> BaseDialer:
        """Make a dialer."""
        who, secret = given.pop("identity", None) or identity(), given.pop("secret", SECRET)
        dialer: BaseDialer
        if self.loopback is not None:
            dialer = self.loopback.dialer(identity=who, secret=secret, limits=limits)
        else:
            dialer = WebSocketDialer(who, secret, limits=limits, **given)
        self._closing.append(dialer.close)
        return dialer

    async def close(self) -> None:
        """Close everything, the newest first."""
        while self._closing:
            await self._closing.pop()()


class RawPeer:
    """One end of a WebSocket that sends whatever bytes the test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: Any) -> None:
        self.reader, self.writer, self.protocol = reader, writer, protocol
        self.inbox: list[bytes] = []
        self.reason: str | None = None
        self.finished = False
        self.session: Session | None = None

    @classmethod
    async def connect(cls, address: str, *, local: str | None = None) -> RawPeer:
        """Open a WebSocket, from another address if one is given."""
        host, _, port = address.rpartition(":")
        near = None if local is None else (local, 0)
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=near)
        peer = cls(reader, writer, ClientProtocol(parse_uri("ws://raw/"), max_size=None))
        async with peer.closed_on_failure():
            peer.protocol.send_request(peer.protocol.connect())
            await peer.push()
            while peer.protocol.state is State.CONNECTING:
                await peer.pull()
        return peer

    @classmethod
    async def authenticated(
        cls, address: str, who: Identity | None = None, secret: bytes = SECRET, *, local: str | None = None
    ) -> RawPeer:
        """Open a WebSocket and do the whole handshake."""
        peer = await cls.connect(address, local=local)
        handshake = DialerHandshake(who or identity("raw"), secret, Limits())
        message: bytes | None = handshake.start()
        async with peer.closed_on_failure():
            while peer.session is None:
                if message is not None:
                    await peer.send(message)
                message, peer.session = handshake.receive(await peer.receive())
        return peer

    @classmethod
    async def accepted(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> RawPeer:
        """Do the listener's part up to the end of the handshake."""
        peer = cls(reader, writer, ServerProtocol(max_size=None))
        handshake = ListenerHandshake(identity("raw"), SECRET, Limits())
        async with peer.closed_on_failure():
            while peer.session is None:
                message, peer.session = handshake.receive(await peer.receive())
                await peer.send(message)
        return peer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def closed_on_failure(self) -> AsyncIterator[None]:
        """Hang up if this fails: a socket that is left open fails whatever test runs while it is collected."""
        try:
            yield
        except BaseException:
            await self.close()
            raise

    async def push(self) -> None:
        """Send what the protocol wants to send, and wait until there is room for more."""
        self.write()
        with suppress(ConnectionError):
            await self.writer.drain()

    def write(self) -> None:
        """Send what the protocol wants to send."""
        for data in self.protocol.data_to_send():
            if data and not self.finished and not self.writer.is_closing():
                self.writer.write(data)

    async def pull(self) -> bool:
        """Read once; return whether the connection still is."""
        try:
            data = await self.reader.read(65_536)
        except ConnectionError:
            data = b""
        if not data:
            self.reason = self.reason or "closed"
            return False
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, HttpRequest):
                self.protocol.send_response(self.protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                self.inbox.append(bytes(event.data))
            elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                self.reason = self.protocol.close_rcvd.reason
        # Without waiting: who does not read until it has written may wait for ever.
        self.write()
        return True

    async def send(self, message: bytes) -> None:
        """Send a binary message."""
        self.protocol.send_binary(message)
        await self.push()

    async def receive(self) -> bytes:
        """Return the next binary message."""
        while not self.inbox:
            if not await self.pull():
                raise ConnectionResetError(self.reason)
        return self.inbox.pop(0)

    async def send_sealed(self, content: bytes) -> None:
        """Send a frame with the right code in front of whatever content."""
        assert self.session is not None
        await self.send(self.session.sealer.seal(content))

    async def ended(self) -> str:
        """Wait until the other side ends the connection, and return the reason that it told."""
        while await self.pull():
            pass
        return self.reason or ""

    def finish(self) -> None:
        """Say that nothing more comes."""
        if not self.writer.is_closing():
            self.finished = True
            with suppress(OSError):
                self.writer.write_eof()

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()
