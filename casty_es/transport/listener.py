"""Where a node is reached: connections are authenticated, told apart by process, and served."""

from __future__ import annotations

import asyncio
from typing import Final

from casty_es.errors import ConfigurationError, PeerRefusedError
from casty_es.printing import log_of
from casty_es.transport.channel import POLICY_VIOLATION, Channel, server_protocol
from casty_es.transport.handshake import ListenerHandshake, RefusingError, Session
from casty_es.transport.identity import Identity
from casty_es.transport.limits import Limits
from casty_es.transport.port import Service
from casty_es.transport.served import ServedConnection

__all__ = ["Reception"]

logger: Final = log_of("casty_es.transport")


class Reception:
    """What a listener does with its connections, however they come in.

    Parameters
    ----------
    service : Service
        Who gets the requests.
    identity : Identity
        Who this process is.
    secret : bytes
        The cluster's secret.
    limits : Limits
        What a connection may do.
    """

    def __init__(self, service: Service, identity: Identity, secret: bytes, limits: Limits) -> None:
        if not secret:
            raise ConfigurationError(
                "The cluster secret is empty. Give one, or leave secret= out. Nothing was started."
            )
        self._service = service
        self._identity = identity
        self._secret = secret
        self.limits = limits
        # Oldest first: a dictionary keeps its order.
        self._strangers: dict[_Stranger, None] = {}
        self._served: dict[str, ServedConnection] = {}
        self._channels: set[Channel] = set()
        self._closed = False

    @property
    def connections(self) -> int:
        """How many authenticated connections are served."""
        return len(self._served)

    def serves(self, process_id: str) -> bool:
        """Tell whether a process has a connection."""
        return process_id in self._served

    def accept(self) -> Channel:
        """Make the channel of a new connection."""
        channel = Channel(server_protocol(self.limits), self.limits)
        channel.greet(_Stranger(self, channel, ListenerHandshake(self._identity, self._secret, self.limits)))
        return channel

    def abandon_after_fork(self) -> None:
        """Let go of the parent's connections, in a forked child."""
        for channel in self._channels:
            channel.abandon_after_fork()

    async def close(self) -> None:
        """Close every connection, and wait until they are gone."""
        self._closed = True
        for stranger in list(self._strangers):
            stranger.refuse("came while the node closes")
        for served in list(self._served.values()):
            served.finish("is closing")
        while self._channels:
            await asyncio.wait([channel.gone for channel in self._channels])

    def meet(self, stranger: _Stranger, channel: Channel) -> None:
        """Let a connection begin its handshake; the oldest stranger goes if there are too many."""
        self._channels.add(channel)
        channel.gone.add_done_callback(lambda _: self._channels.discard(channel))
        if self._closed:
            stranger.refuse("came while the node closes")
            return
        self._strangers[stranger] = None
        if len(self._strangers) > self.limits.max_unauthenticated:
            next(iter(self._strangers)).refuse("was the oldest of too many connections that were not authenticated")

    def forget(self, stranger: _Stranger) -> None:
        """Count a connection out that is authenticated or gone."""
        self._strangers.pop(stranger, None)

    def welcome(self, channel: Channel, session: Session) -> None:
        """Serve an authenticated connection, the only one of its process from now on."""
        process_id = session.peer.process_id
        old = self._served.pop(process_id, None)
        if old is not None:
            # Frames are handed on in the callback that reads them: after this line, none of the old one ever will be.
            old.discard("was replaced by a newer connection of the same process")
        served = ServedConnection(channel, session, self._service, self.limits)
        self._served[process_id] = served
        channel.gone.add_done_callback(lambda _: self._leave(process_id, served))
        channel.attach(served)
        logger.info("serving %s %r at %s", session.peer.role, session.peer.node_id, channel.peer)

    def _leave(self, process_id: str, served: ServedConnection) -> None:
        if self._served.get(process_id) is served:
            del self._served[process_id]


class _Stranger:
    """A connection in its handshake."""

    def __init__(self, reception: Reception, channel: Channel, handshake: ListenerHandshake) -> None:
        self._reception = reception
        self._channel = channel
        self._handshake = handshake
        self._timer: asyncio.TimerHandle | None = None

    def connected(self) -> None:
        """The clock of the handshake starts."""
        self._timer = asyncio.get_running_loop().call_later(
            self._reception.limits.handshake_seconds, self.refuse, "did not finish its handshake in time"
        )
        self._reception.meet(self, self._channel)

    def opened(self) -> None:
        """The dialer speaks first."""

    def received(self, message: bytes | bytearray) -> None:
        """Take the next step of the handshake."""
        try:
            answer, session = self._handshake.receive(bytes(message))
        except PeerRefusedError as error:
            if isinstance(error, RefusingError):
                self._channel.send(error.refusal)
            self.refuse(f"failed its handshake: {error}")
            return
        self._channel.send(answer)
        if session is not None:
            self._leave()
            self._reception.welcome(self._channel, session)

    def writable(self) -> None:
        """Nothing is kept back during a handshake."""

    def lost(self, reason: str) -> None:
        """Tell whoever looks after this node that somebody could not connect."""
        self._leave()
        logger.warning("the connection from %s was not accepted: it %s", self._channel.peer, reason)

    def refuse(self, reason: str) -> None:
        """Close the connection."""
        self._channel.close(reason, POLICY_VIOLATION)

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._reception.forget(self)
