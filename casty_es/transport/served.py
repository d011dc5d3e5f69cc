"""The listening end of an authenticated connection: requests in, answers out."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Final

import msgspec

from casty_es.printing import log_of
from casty_es.processes import called
from casty_es.transport.channel import Channel
from casty_es.transport.frames import CREDIT, FRAME_OVERHEAD, Part, decode_requests, encode, join
from casty_es.transport.handshake import Session
from casty_es.transport.limits import Limits
from casty_es.transport.port import Service
from casty_es.transport.sealing import ForgedFrameError
from casty_es.transport.wire import Answer, Failed

__all__ = ["ServedConnection"]

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
    """

    def __init__(self, channel: Channel, session: Session, service: Service, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._session = session
        self._service = service
        self._limits = limits
        self._process = called(session.peer.role, session.peer.process_id, session.peer.node_id)
        max_message = min(limits.max_frame_bytes, session.peer.max_frame_bytes) - FRAME_OVERHEAD
        self._batch_bytes = min(limits.batch_bytes, max_message)
        self._part_bytes = min(limits.part_bytes, max_message - PART_OVERHEAD)
        self._max_answer_bytes = min(limits.max_answer_bytes, session.peer.bound)
        self._open: set[int] = set()
        self._credited = 0
        self._last = 0
        self._outbox: deque[bytes] = deque()
        self._long: deque[_Long] = deque()
        self._unsent = 0
        self._flushing = False
        self._closed = False

    def discard(self, reason: str) -> None:
        """End the connection at once; nothing that it brought and that was not handed on yet will be."""
        self._closed = True
        self._channel.abort(reason)

    def finish(self, reason: str) -> None:
        """Send the answers that are there as far as the transport takes them, and close."""
        self._flush()
        self._channel.close(reason)

    # What the channel calls.

    def received(self, message: bytes | bytearray) -> None:
        """Hand the requests of a frame to the service, in order."""
        try:
            for number, request in decode_requests(self._session.opener.open(message)):
                if self._closed:
                    return
                problem = self._admit(number)
                if problem is not None:
                    self._channel.violated(problem)
                    return
                self._service.serve(request, partial(self._answer, number), self._process)
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
        self._outbox.clear()
        self._long.clear()
        logger.debug("the connection from %s %s", self._channel.peer, reason)

    # Inside.

    def _admit(self, number: int) -> str | None:
        """Count a request in; give what is wrong with it."""
        if number <= self._last:
            return f"sent request {number} after request {self._last}"
        self._last = number
        self._open.add(number)
        if number & CREDIT:
            self._credited += 1
            if self._credited > self._limits.credits:
                return f"has more than {self._limits.credits} requests with credit open"
        elif len(self._open) - self._credited > self._limits.max_open:
            return f"has more than {self._limits.max_open} requests without credit open"
        return None

    def _answer(self, number: int, answer: Answer) -> None:
        if self._closed:
            return
        try:
            self._open.remove(number)
        except KeyError:
            raise RuntimeError(f"The request {number} was answered before. The second answer was not sent.") from None
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
        if self._unsent > self._limits.max_unsent_bytes:
            self._channel.pause_reading()

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
        if self._unsent <= self._limits.max_unsent_bytes // 2:
            channel.resume_reading()

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
