"""The listening end of an authenticated connection: requests in, answers out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from casty_es.printing import log_of
from casty_es.processes import called
from casty_es.transport.channel import Channel
from casty_es.transport.frames import CREDIT, FRAME_OVERHEAD, Part, Unreadable, encode, join, read_requests
from casty_es.transport.handshake import Greeting, Session
from casty_es.transport.keyring import Credential
from casty_es.transport.limits import Limits
from casty_es.transport.port import Caller, Reply, Service
from casty_es.transport.sealing import ForgedFrameError
from casty_es.transport.wire import Answer, Ask, Failed, Request

logger: Final = log_of("casty_es.transport")

# A part's number, tag, length and flag, with their headers.
PART_OVERHEAD: Final = 64


class _Long:
    """An answer that travels in parts, and how far it has come."""

    __slots__ = ("data", "number", "sent")

    def __init__(self, number: int, data: bytes) -> None:
        self.number = number
        self.data = memoryview(data)
        self.sent = 0


class ServedConnection:
    """Hands each request of a connection to the service, and sends its answers back.

    Answers go into an outbox that leaves as one frame at the next turn of the event loop, or as soon as the transport
    takes more. Long ones take turns, part by part.

    What is held for the peer is bounded before it is there (``Limits.max_unsent_bytes``): beyond it, requests wait in a
    queue before they are served, and answers are not made yet that can be made later.
    """

    def __init__(self, channel: Channel, session: Session, service: Service, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._session = session
        self._service = service
        self._limits = limits
        self._caller = _caller(session)
        max_message = min(limits.max_frame_bytes, session.peer.max_frame_bytes) - FRAME_OVERHEAD
        self._batch_bytes = min(limits.batch_bytes, max_message)
        self._part_bytes = min(limits.part_bytes, max_message - PART_OVERHEAD)
        self._max_answer_bytes = min(limits.max_answer_bytes, session.peer.bound)
        self._most_bytes = limits.max_unsent_bytes
        self._queue: deque[tuple[int, Request | Unreadable]] = deque()  # what is not served yet
        self._open: dict[int, int] = {}  # the requests that are not answered, and the bytes that each is counted with
        self._awaited = 0  # these bytes together
        self._late: deque[tuple[int, Callable[[], Answer]]] = deque()  # what is answered when there is room
        self._credited = 0
        self._last = 0
        self._outbox: deque[bytes] = deque()
        self._long: deque[_Long] = deque()
        self._unsent = 0
        self._flushing = False
        self._closed = False

    @property
    def peer(self) -> Greeting:
        """Who is at the other end, as it said itself."""
        return self._session.peer

    @property
    def place(self) -> str:
        """Where it is."""
        return self._channel.place

    @property
    def credential(self) -> Credential:
        """What the process at the other end has proven itself by."""
        return self._session.credential

    def discard(self, reason: str) -> None:
        """End the connection at once; nothing that it brought and that was not handed on yet will be."""
        self._closed = True
        self._channel.abort(reason)

    def revoke(self, why: str) -> None:
        """End the connection of who is not to be served any more, and tell whoever reads the log."""
        logger.warning("closing the connection with %s: it %s", self._channel.peer, why)
        self.discard(why)

    def finish(self, reason: str) -> None:
        """Send the answers that are there as far as the transport takes them, and close."""
        self._flush()
        self._channel.close(reason)

    # What the channel calls.

    def received(self, message: bytes | bytearray) -> None:
        """Hand the requests of a frame to the service, in order."""
        try:
            for number, request in read_requests(self._session.opener.open(message)):
                if self._closed:
                    return
                problem = self._admit(number, request)
                if problem is not None:
                    self._channel.violated(problem)
                    return
                if self._queue or self._awaited + self._unsent > self._most_bytes:
                    self._queue.append((number, request))
                    self._channel.pause_reading()
                else:
                    self._serve(number, request)
        except ForgedFrameError:
            self._channel.violated("sent a frame whose code does not fit")
        except msgspec.MsgspecError as error:
            self._channel.violated(f"sent a frame that cannot be decoded: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this connection and is reported
            self._channel.violated(f"sent a request that cannot be served: {error!r}", error)

    def writable(self) -> None:
        """Send what gathered while the transport took nothing."""
        self._flush()

    def lost(self, reason: str) -> None:
        """Drop what is left; the dialer knows that it is unanswered."""
        self._closed = True
        for left in (self._queue, self._late, self._outbox, self._long):
            left.clear()
        logger.debug("the connection from %s %s", self._channel.peer, reason)

    # Inside.

    def _admit(self, number: int, request: Request | Unreadable) -> str | None:
        """Count a request in; tell what is wrong with it."""
        if number <= self._last:
            return f"sent request {number} after request {self._last}"
        self._last = number
        if number & CREDIT:
            self._credited += 1
            if self._credited > self._limits.credits:
                return f"has more than {self._limits.credits} requests with credit open"
        elif not isinstance(request, Unreadable) and self._service.needs_credit(request):
            return f"sent a {type(request).__name__} without the credit that it needs"
        return None

    def _serve(self, number: int, request: Request | Unreadable) -> None:
        """Hand a request to the service, or refuse what is none."""
        if isinstance(request, Unreadable):
            self._send(number, _refusal(request))
            return
        weight = 0
        if not number & CREDIT:  # it may stay for long, and is bounded by number
            if len(self._open) - self._credited >= self._limits.max_open:
                text = f"{self._limits.max_open} requests of this process wait here already. This one was not taken."
                self._send(number, Failed("OverloadedError", f"{text} Try again later."))
                return
        elif type(request) is Ask:
            weight = len(request.body)
        else:
            weight = self._service.weight(request)
        self._open[number] = weight
        self._awaited += weight
        self._service.serve(request, partial(self._answer, number), self._caller)

    def _answer(self, number: int, answer: Reply) -> None:
        if self._closed:
            return
        try:
            self._awaited -= self._open.pop(number)
        except KeyError:
            raise RuntimeError(f"The request {number} was answered before. The second answer was not sent.") from None
        if not callable(answer):
            self._send(number, answer)
        elif self._late or self._unsent > self._most_bytes:
            self._late.append((number, answer))
        else:
            self._send(number, answer())

    def _send(self, number: int, answer: Answer) -> None:
        self._credited -= number & CREDIT
        message = encode((number, answer))
        if len(message) > self._part_bytes:
            message = self._cut(number, encode(answer))
        if message:
            self._outbox.append(message)
            self._unsent += len(message)
        if not self._flushing and self._channel.writing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _cut(self, number: int, data: bytes) -> bytes:
        """Queue a long answer, or give the refusal of one that the dialer would not put together."""
        if len(data) <= self._max_answer_bytes:
            self._long.append(_Long(number, data))
            self._unsent += len(data)
            return b""
        most = self._max_answer_bytes
        text = f"The answer has {len(data)} bytes; its caller takes at most {most}. Ask for less at once."
        return encode((number, Failed("PeerRefusedError", text)))

    def _flush(self) -> None:
        self._flushing = False
        outbox, channel = self._outbox, self._channel
        while (outbox or self._long) and channel.writing and not self._closed:
            messages: list[bytes] = []
            room = self._batch_bytes
            while outbox and (not messages or len(outbox[0]) <= room):
                message = outbox.popleft()
                room -= len(message)
                self._unsent -= len(message)
                messages.append(message)
            if messages:
                channel.send(self._session.sealer.seal(join(messages, len(messages))))
            if self._long:
                channel.send(self._session.sealer.seal(join([self._next_part()], 1)))
            while self._late and self._unsent <= self._most_bytes // 2:
                number, make = self._late.popleft()
                self._send(number, make())
        if self._queue:
            self._go_on()

    def _go_on(self) -> None:
        """Serve what waits for room; read again when nothing does."""
        try:
            while self._queue and self._awaited + self._unsent <= self._most_bytes // 2 and not self._closed:
                self._serve(*self._queue.popleft())
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this connection and is reported
            self._channel.violated(f"sent a request that cannot be served: {error!r}", error)
        if not self._queue:
            self._channel.resume_reading()

    def _next_part(self) -> bytes:
        long = self._long.popleft()
        end = min(long.sent + self._part_bytes, len(long.data))
        last = end == len(long.data)
        message = encode((long.number, Part(bytes(long.data[long.sent : end]), len(long.data), last)))
        self._unsent -= end - long.sent
        long.sent = end
        if not last:
            self._long.append(long)
        return message


def _caller(session: Session) -> Caller:
    peer, credential = session.peer, session.credential
    process = called(peer.role, peer.process_id, peer.node_id)
    if not isinstance(credential, bytes):
        return Caller(process, f"token:{credential.name}", credential)
    return Caller(process, f"node:{peer.node_id}" if peer.role == "node" else "secret")


def _refusal(request: Unreadable) -> Failed:
    return Failed("InvalidArgumentError", f"The request is not one that a node takes: {request.why}. Nothing was done.")
