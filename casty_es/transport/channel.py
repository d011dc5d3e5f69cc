"""One WebSocket connection: whole binary messages in and out, signs of life, and an end with a reason.

The ``websockets`` library's protocol without I/O parses and builds the frames; this class is the I/O around it, in
callbacks of the event loop and without a task.
"""

from __future__ import annotations

import asyncio
import logging
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final, Protocol, cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from casty_es.forking import let_go_of_transport
from casty_es.printing import log_of
from casty_es.transport.incidents import Incident, Incidents
from casty_es.transport.limits import Limits
from casty_es.transport.pulse import Pulse, Verdict
from casty_es.transport.sealing import MAC_BYTES

# The request for a WebSocket and four handshake messages are a tenth of it.
MAX_UNAUTHENTICATED_BYTES: Final = 16_384
# How much the transport buffers before senders keep the rest to themselves: two frames, so that the network is busy.
WRITE_BUFFER_BYTES: Final = 524_288
# RFC 6455, 7.4.1.
GOING_AWAY, POLICY_VIOLATION = 1001, 1008
# RFC 6455, 5.5.1: a control frame holds 125 bytes, two of them the code.
MAX_REASON_BYTES: Final = 123

logger: Final = log_of("casty_es.transport")
# The library tells of every connection, and in debugging of every frame: users' values are not for logs.
_library_logger: Final = log_of("casty_es.transport.websockets")
_library_logger.setLevel(logging.ERROR)


def client_protocol(limits: Limits) -> ClientProtocol:
    """Make the dialer's side. Compression is off: it would cost more time than the bytes do."""
    return ClientProtocol(
        parse_uri("ws://casty-es/"), max_size=limits.max_frame_bytes + MAC_BYTES, logger=_library_logger
    )


def server_protocol(limits: Limits) -> ServerProtocol:
    """Make the listener's side."""
    return ServerProtocol(max_size=limits.max_frame_bytes + MAC_BYTES, logger=_library_logger)


class Receiver(Protocol):
    """What stands behind an authenticated channel."""

    def received(self, message: bytes | bytearray) -> None:
        """Take a whole message."""

    def writable(self) -> None:
        """Learn that the transport takes more, after it did not."""

    def lost(self, reason: str) -> None:
        """Learn that the channel is closed; called once."""


class Greeter(Receiver, Protocol):
    """What stands behind a channel until it is authenticated."""

    def connected(self) -> None:
        """Learn that bytes can flow."""

    def opened(self) -> None:
        """Learn that the WebSocket is there; messages may be sent."""


class Channel(asyncio.Protocol):
    """The I/O of one connection."""

    def __init__(self, protocol: ClientProtocol | ServerProtocol, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._limits = limits
        self._transport: asyncio.Transport | None = None
        self._greeter: Greeter | None = None
        self._receiver: Receiver | None = None
        self._early_bytes = 0
        self._held = b""
        self._reason: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._reading = True
        self._pulse: Pulse | None = None
        self._written = 0
        # Whether the greeter is done; until then little is read, and nothing but whole binary messages.
        self.authenticated = False
        self.securing = False  # whether the transport is not the last one: TLS comes first, and ``secured`` ends it
        self.writing = False  # whether the transport takes more
        self.peer = "unknown"  # the address of the other end, for messages
        self.place = ""  # where the other end is, without its port: its address, or its network of IPv6
        self.heard = False  # whether a byte has come
        self.incidents: Incidents | None = None  # who is told when the other end does what it may not
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def greet(self, greeter: Greeter) -> None:
        """Say who does the handshake."""
        self._greeter = self._receiver = greeter

    def attach(self, receiver: Receiver) -> None:
        """Say who gets what comes after the handshake, and ask for signs of life from now on."""
        self._greeter = None
        self._receiver = receiver
        self.authenticated = True
        self._pulse = Pulse(self._limits.ping_seconds, self._limits.silence_seconds, self._loop.time())
        self._timer = self._loop.call_later(self._pulse.interval, self._look, self._pulse)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport and, as a dialer, ask for a WebSocket."""
        self._adopt(transport)
        peername = transport.get_extra_info("peername")
        self.peer, self.place = _address(peername), _place(peername)
        self.writing = True
        if isinstance(self._protocol, ClientProtocol):
            self._protocol.send_request(self._protocol.connect())
            self._write()
        if self._greeter is not None:
            self._greeter.connected()

    def secured(self, transport: asyncio.BaseTransport) -> None:
        """Go on inside TLS."""
        self.securing = False
        self._adopt(transport)
        held, self._held, self._early_bytes = self._held, b"", 0
        if held:
            self.data_received(held)

    def data_received(self, data: bytes) -> None:
        """Parse what came and hand on the messages in it."""
        if self._reason is not None:
            return
        if self._pulse is not None:
            self._pulse.heard(self._loop.time())
        if not self.authenticated:
            self.heard = True
            self._early_bytes += len(data)
            if self._early_bytes > MAX_UNAUTHENTICATED_BYTES:
                self.abort(f"sent more than {MAX_UNAUTHENTICATED_BYTES} bytes before it was authenticated")
                return
            if self.securing:
                # asyncio hands on what came with the end of the TLS handshake before it hands over the transport.
                self._held += data
                return
        protocol = self._protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            if self._reason is None:
                self._take(event)
        failure = protocol.handshake_exc or protocol.parser_exc
        if failure is not None:
            self.violated(f"does not speak the WebSocket protocol: {failure}")
        elif self._reason is None:
            self._write()

    def abandon_after_fork(self) -> None:
        """Let go of the parent's socket, in a forked child."""
        let_go_of_transport(self._transport)

    def eof_received(self) -> bool:
        """Close: nobody here sends on after the other side has ended."""
        self.abort("was closed by the peer")
        return False

    def pause_writing(self) -> None:
        """Let the senders keep what they have."""
        self.writing = False

    def resume_writing(self) -> None:
        """Ask the receiver for what it kept."""
        self.writing = True
        if self._receiver is not None and self._reason is None:
            self._receiver.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the receiver, unless the end came from this side."""
        for timer in (self._timer, self._closing):
            if timer is not None:
                timer.cancel()
        self.writing = False
        self._end("was lost" if exc is None else f"was lost: {exc}")
        if not self.gone.done():
            self.gone.set_result(None)

    # What the receiver calls.

    @property
    def buffered(self) -> int:
        """How many bytes the transport has not handed to the operating system yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, message: bytes) -> None:
        """Send a binary message, unless the peer has said goodbye already."""
        if self._reason is None and self._protocol.state is State.OPEN:
            self._protocol.send_binary(message)
            self._write()

    def pause_reading(self) -> None:
        """Read nothing more until ``resume_reading``."""
        if self._reading and self._transport is not None and self._reason is None:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._reading and self._transport is not None and self._reason is None:
            self._reading = True
            if self._pulse is not None:
                self._pulse.heard(self._loop.time())
            self._transport.resume_reading()

    def close(self, reason: str, code: int = GOING_AWAY) -> None:
        """End the connection: send what was written and the reason, take nothing more in."""
        if self._reason is not None:
            return
        transport = self._transport
        if transport is not None and not transport.is_closing():
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(code, _shortened(reason))
            self._write()
            # Not from within a callback of the transport: asyncio's TLS does not expect that (seen in Python 3.11).
            self._loop.call_soon(transport.close)
            self._closing = self._loop.call_later(self._limits.close_seconds, transport.abort)
        self._end(reason)

    def violated(self, reason: str, error: Exception | None = None) -> None:
        """End the connection because of what the peer did, and tell both the peer and whoever reads the log."""
        if self._reason is None:
            # Before that, whoever does the handshake tells.
            if self.authenticated and self.incidents is not None:
                self.incidents.note(Incident.FRAME, f"closing the connection with {self.peer}: it {reason}", error)
            elif self.authenticated:
                logger.warning("closing the connection with %s: it %s", self.peer, reason, exc_info=error)
            self.close(reason, POLICY_VIOLATION)

    def abort(self, reason: str) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    # Inside.

    def _adopt(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def _end(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
            if self._receiver is not None:
                self._receiver.lost(reason)

    def _take(self, event: Request | Response | Frame) -> None:
        if not isinstance(event, Frame):
            self._upgraded(event)
        elif event.opcode is Opcode.BINARY and event.fin:
            if self._receiver is not None:
                self._receiver.received(cast("bytes | bytearray", event.data))
        elif event.opcode is Opcode.CLOSE:
            told = self._protocol.close_rcvd
            self.close(f"was closed by the peer, which says {told.reason!r}" if told else "was closed by the peer")
        elif not (self.authenticated and event.opcode in {Opcode.PING, Opcode.PONG}):
            self.violated(f"sent a WebSocket frame that casty-es never sends ({event.opcode.name})")

    def _upgraded(self, event: Request | Response) -> None:
        protocol = self._protocol
        # What came behind the request may have been no WebSocket frame.
        if isinstance(protocol, ServerProtocol) and isinstance(event, Request) and protocol.parser_exc is None:
            protocol.send_response(protocol.accept(event))
            self._write()
        if protocol.state is State.OPEN and self._greeter is not None:
            self._greeter.opened()

    def _write(self) -> None:
        transport = self._transport
        if transport is None:
            return
        for data in self._protocol.data_to_send():
            # The end of the stream needs no half-closing: whoever ends a connection here closes its transport.
            if data != SEND_EOF:
                self._written += len(data)
                transport.write(data)

    def _look(self, pulse: Pulse) -> None:
        if self._reason is not None:
            return
        verdict = pulse.look(self._loop.time(), reading=self._reading, drained=self._written - self.buffered)
        if verdict is Verdict.DEAD:
            self.abort(f"gave no sign of life for {self._limits.silence_seconds:g} s")
            return
        # A ping behind what the peer does not take would not be answered any sooner.
        if verdict is Verdict.ASK and self.writing:
            self._protocol.send_ping(b"")
            self._write()
        self._timer = self._loop.call_later(pulse.interval, self._look, pulse)


def _address(peername: object) -> str:
    if isinstance(peername, tuple):
        return f"{peername[0]}:{peername[1]}"
    return "unknown" if peername is None else "a Unix socket"


def _place(peername: object) -> str:
    if not isinstance(peername, tuple):
        return ""
    try:
        address = ip_address(peername[0])
    except ValueError:
        return str(peername[0])
    if isinstance(address, IPv4Address):
        return str(address)
    # Whoever has one address of IPv6 has all of its network.
    return str(address.ipv4_mapped or ip_network((int(address), 64), strict=False))


def _shortened(reason: str) -> str:
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
