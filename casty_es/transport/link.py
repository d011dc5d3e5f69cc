"""The dialing end of an authenticated connection: requests out, answers in."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

import msgspec

from casty_es.errors import OverloadedError, PeerLostError, PeerRefusedError
from casty_es.transport.channel import Channel
from casty_es.transport.frames import CREDIT, FRAME_OVERHEAD, Part, Unreadable, encode, join, read_answers, read_whole
from casty_es.transport.handshake import Session
from casty_es.transport.limits import Limits
from casty_es.transport.sealing import ForgedFrameError
from casty_es.transport.wire import Answer, Request


class SocketLink:
    """A ``Link`` over a channel.

    A request goes into the outbox, which leaves as one frame at the next turn of the event loop, or as soon as the
    transport takes more. Without a credit for it, it waits in the backlog, and so does everything after it.
    """

    def __init__(self, channel: Channel, session: Session, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._session = session
        self._limits = limits
        self._max_message = min(limits.max_frame_bytes, session.peer.max_frame_bytes) - FRAME_OVERHEAD
        self._batch_bytes = min(limits.batch_bytes, self._max_message)
        self._credits = session.peer.bound
        self._counter = 0
        self._open: dict[int, asyncio.Future[Answer]] = {}
        self._outbox: deque[tuple[int, bytes, asyncio.Future[Answer]]] = deque()
        self._backlog: OrderedDict[int, tuple[bytes, asyncio.Future[Answer]]] = OrderedDict()
        self._parts: dict[int, bytearray] = {}
        self._waiting_bytes = 0
        self._flushing = False
        self._lost: str | None = None
        self.closed_here = False

    @property
    def node_id(self) -> str:
        """The node at the other end, as it named itself."""
        return self._session.peer.node_id

    @property
    def closed(self) -> bool:
        """Whether the connection is gone; a new one has to be dialled."""
        return self._lost is not None

    @property
    def version(self) -> int:
        """The version of the protocol that both ends speak."""
        return self._session.version

    def request(self, request: Request, *, credit: bool = True) -> asyncio.Future[Answer]:
        """Ask the node something; see ``Link.request``."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        if self._lost is not None:
            future.set_exception(self._lost_error(sent=False))
            return future
        self._counter += 2
        number = self._counter | CREDIT if credit else self._counter
        message = encode((number, request))
        size = len(message)
        if size > self._max_message:
            raise PeerRefusedError(
                f"The request has {size} bytes; the node {self.node_id!r} takes at most {self._max_message}. It was "
                "not sent. Send less at once, or raise max_frame_bytes at both ends."
            )
        limits = self._limits
        if (
            len(self._outbox) + len(self._backlog) >= limits.max_waiting
            or self._waiting_bytes + size > limits.max_waiting_bytes
        ):
            raise OverloadedError(
                f"{len(self._outbox) + len(self._backlog)} requests with {self._waiting_bytes} bytes wait for the node "
                f"{self.node_id!r} already. This one was not sent; try again later."
            )
        self._waiting_bytes += size
        if self._backlog or (credit and not self._credits):
            self._backlog[number] = message, future
            # A request that is given up must not keep its place: the line may be long and the node slow.
            future.add_done_callback(lambda _: self._leave_backlog(number))
        else:
            self._credits -= number & CREDIT
            self._send(number, message, future)
        return future

    async def close(self) -> None:
        """Close the connection; what is open on it gets a ``PeerLostError``."""
        self.closed_here = True
        self._channel.close("was closed by this process")
        await self._channel.gone

    # What the channel calls.

    def received(self, message: bytes | bytearray) -> None:
        """Give the answers of a frame to those who asked."""
        try:
            for number, answer in read_answers(self._session.opener.open(message)):
                if self._lost is not None:
                    return
                self._deliver(number, answer)
        except ForgedFrameError:
            self._channel.violated("sent a frame whose code does not fit")
        except msgspec.MsgspecError as error:
            self._channel.violated(f"sent a frame that cannot be decoded: {error}")
        if self._backlog:
            self._advance()

    def writable(self) -> None:
        """Send what gathered while the transport took nothing."""
        self._flush()

    def lost(self, reason: str) -> None:
        """Tell everybody whose request is open."""
        self._lost = f"The connection to the node {self.node_id!r} at {self._channel.peer} {reason}."
        unsent = {number for number, _, _ in self._outbox}.union(self._backlog)
        waiting, self._open = self._open, {}
        waiting.update((number, future) for number, (_, future) in self._backlog.items())
        self._outbox.clear()
        self._backlog.clear()
        self._parts.clear()
        for number, future in waiting.items():
            if not future.done():
                future.set_exception(self._lost_error(sent=number not in unsent))

    # Inside.

    def _lost_error(self, *, sent: bool) -> PeerLostError:
        done = "What was asked may have reached it" if sent else "The request was not sent"
        return PeerLostError(f"{self._lost} {done}.", sent=sent)

    def _unreadable(self, answer: Unreadable) -> PeerLostError:
        """Return what is told of an answer that is none: the request arrived, and nobody knows what became of it."""
        return PeerLostError(
            f"The node {self.node_id!r} at {self._channel.peer} gave an answer that cannot be read: {answer.why}. What "
            f"was asked has reached it.",
            sent=True,
        )

    def _send(self, number: int, message: bytes, future: asyncio.Future[Answer]) -> None:
        self._open[number] = future
        self._outbox.append((number, message, future))
        if not self._flushing and self._channel.writing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _leave_backlog(self, number: int) -> None:
        left = self._backlog.pop(number, None)
        if left is not None:
            self._waiting_bytes -= len(left[0])
            # What stood behind it may not need a credit.
            self._advance()

    def _advance(self) -> None:
        backlog = self._backlog
        while backlog:
            number = next(iter(backlog))
            needed = number & CREDIT
            if needed > self._credits:
                return
            message, future = backlog.pop(number)
            if future.done():
                self._waiting_bytes -= len(message)
            else:
                self._credits -= needed
                self._send(number, message, future)

    def _flush(self) -> None:
        self._flushing = False
        outbox, channel = self._outbox, self._channel
        while outbox and channel.writing:
            messages: list[bytes] = []
            room = self._batch_bytes
            while outbox and (not messages or len(outbox[0][1]) <= room):
                number, message, future = outbox.popleft()
                size = len(message)
                self._waiting_bytes -= size
                if future.done():
                    del self._open[number]
                    self._credits += number & CREDIT
                else:
                    messages.append(message)
                    room -= size
            if messages:
                channel.send(self._session.sealer.seal(join(messages, len(messages))))
        if self._backlog:
            self._advance()

    def _deliver(self, number: int, answer: Answer | Part | Unreadable) -> None:
        if isinstance(answer, Part):
            whole = self._assemble(number, answer)
            if whole is not None:
                self._deliver(number, read_whole(whole))
            return
        future = self._open.pop(number, None)
        if future is None:
            self._channel.violated("answered what was not asked")
            return
        self._credits += number & CREDIT
        # Otherwise its caller has gone; the answer only gives the credit back.
        if not future.done():
            if isinstance(answer, Unreadable):
                future.set_exception(self._unreadable(answer))
            else:
                future.set_result(answer)

    def _assemble(self, number: int, part: Part) -> bytearray | None:
        whole = self._parts.setdefault(number, bytearray())
        whole += part.data
        if number not in self._open or len(whole) > min(part.total, self._limits.max_answer_bytes):
            self._channel.violated(
                "sent a part of an answer that was not asked for, or that is longer than it should be"
            )
            return None
        if not part.last:
            return None
        return self._parts.pop(number)
