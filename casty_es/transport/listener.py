"""Where a node is reached: connections are authenticated, told apart by process, and served."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from casty_es.background import Errands
from casty_es.errors import PeerRefusedError
from casty_es.printing import log_of
from casty_es.transport.channel import POLICY_VIOLATION, Channel, server_protocol
from casty_es.transport.handshake import ListenerHandshake, NotKnownError, RefusingError, Session
from casty_es.transport.identity import Identity
from casty_es.transport.incidents import Incident, Incidents
from casty_es.transport.keyring import Keyring
from casty_es.transport.limits import Limits
from casty_es.transport.port import Service
from casty_es.transport.served import ServedConnection

logger: Final = log_of("casty_es.transport")


class Reception:
    """What a listener does with its connections, however they come in: the service gets their requests."""

    def __init__(self, service: Service, identity: Identity, secret: bytes | Keyring, limits: Limits) -> None:
        self._service = service
        self._identity = identity
        self.keyring = Keyring((secret,)) if isinstance(secret, bytes) else secret
        self.limits = limits
        self.errands = Errands()
        # Oldest first: a dictionary keeps its order.
        self._strangers: dict[_Stranger, None] = {}
        self._served: dict[str, ServedConnection] = {}
        self._channels: set[Channel] = set()
        self.closed = False
        self.incidents = Incidents()

    @property
    def connections(self) -> int:
        """How many authenticated connections are served."""
        return len(self._served)

    def serves(self, process_id: str) -> bool:
        """Return whether a process has a connection."""
        return process_id in self._served

    def heard_from(self, node_id: str) -> bool:
        """Return whether a node has a connection."""
        return any((one.peer.role, one.peer.node_id) == ("node", node_id) for one in self._served.values())

    def accept(self) -> Channel:
        """Make the channel of a new connection."""
        channel = Channel(server_protocol(self.limits), self.limits)
        channel.incidents = self.incidents
        channel.greet(_Stranger(self, channel, ListenerHandshake(self._identity, self.keyring, self.limits)))
        return channel

    def abandon_after_fork(self) -> None:
        """Let go of the parent's connections, in a forked child."""
        for channel in self._channels:
            channel.abandon_after_fork()

    async def close(self) -> None:
        """Close every connection, and wait until they are gone."""
        self.closed = True
        for stranger in list(self._strangers):
            stranger.refuse("came while the node closes")
        for served in list(self._served.values()):
            served.finish("is closing")
        await self.errands.cancel()
        while self._channels:
            await asyncio.wait([channel.gone for channel in self._channels])
        self.incidents.close()

    def review(self) -> None:
        """End the connections of those who have proven themselves by what is not valid any more."""
        for served in list(self._served.values()):
            why = self.keyring.over(served.credential)
            if why is not None:
                served.revoke(why)

    def meet(self, stranger: _Stranger, channel: Channel) -> None:
        """Let a connection begin its handshake; an older stranger goes if there are too many."""
        self._channels.add(channel)
        channel.gone.add_done_callback(lambda _: self._channels.discard(channel))
        if self.closed:
            stranger.refuse("came while the node closes")
            return
        self._strangers[stranger] = None
        crowded = self._crowded(stranger.place)
        if crowded is not None:
            oldest = next(one for one in self._strangers if one.place == crowded)
            oldest.refuse("was the oldest of too many connections that were not authenticated", Incident.CROWD)

    def _crowded(self, place: str) -> str | None:
        """Tell from where a stranger has to go, now that one has come from this place."""
        places = Counter(one.place for one in self._strangers)
        if places[place] > self.limits.max_unauthenticated_per_address:
            return place
        # Whoever sends many pushes out his own, and not those who come from elsewhere.
        return max(places, key=places.__getitem__) if len(self._strangers) > self.limits.max_unauthenticated else None

    def forget(self, stranger: _Stranger) -> None:
        """Count a connection out that is authenticated or gone."""
        self._strangers.pop(stranger, None)

    def objection(self, channel: Channel, session: Session) -> str | None:
        """Return why an authenticated connection is not served: for others, which are, there would be less room."""
        peer = session.peer
        old = self._served.get(_served_as(session))
        if old is not None:
            if (old.peer.role, old.peer.node_id) == (peer.role, peer.node_id):
                return None
            return "says that it is a process that is connected under another name"
        limits = self.limits
        if len(self._served) >= limits.max_connections:
            return f"is not served: {limits.max_connections} connections are, and there is no room for more"
        if sum(one.place == channel.place for one in self._served.values()) >= limits.max_per_address:
            return f"is not served: {limits.max_per_address} connections from its address are, and no more may be"
        return None

    def welcome(self, channel: Channel, session: Session) -> None:
        """Serve an authenticated connection, the only one of its process from now on."""
        process_id = _served_as(session)
        old = self._served.pop(process_id, None)
        if old is not None:
            # Frames are handed on in the callback that reads them: after this line, none of the old one ever will be.
            old.discard("was replaced by a newer connection of the same process")
        served = ServedConnection(channel, session, self._service, self.limits)
        self._served[process_id] = served
        channel.gone.add_done_callback(lambda _: self._leave(process_id, served))
        channel.attach(served)
        if session.peer.role == "node":
            self._service.met(session.peer.node_id)
        logger.info("serving %s %r at %s", session.peer.role, session.peer.node_id, channel.peer)

    def _leave(self, process_id: str, served: ServedConnection) -> None:
        if self._served.get(process_id) is served:
            del self._served[process_id]


def _served_as(session: Session) -> str:
    # The id is what the process itself says: a token's holder pushes nobody out but itself.
    process_id, credential = session.peer.process_id, session.credential
    return process_id if isinstance(credential, bytes) else f"{credential.id}:{process_id}"


class _Stranger:
    """A connection in its handshake."""

    def __init__(self, reception: Reception, channel: Channel, handshake: ListenerHandshake) -> None:
        self._reception = reception
        self._channel = channel
        self._handshake = handshake
        self._timer: asyncio.TimerHandle | None = None
        self._asking = self._gone = False
        self._incident: Incident | None = None

    @property
    def place(self) -> str:
        """Where it comes from."""
        return self._channel.place

    def connected(self) -> None:
        """Start the clock of the handshake."""
        self._timer = asyncio.get_running_loop().call_later(
            self._reception.limits.handshake_seconds,
            self.refuse,
            "did not finish its handshake in time",
            Incident.SILENT,
        )
        self._reception.meet(self, self._channel)

    def opened(self) -> None:
        """Wait: the dialer speaks first."""

    def received(self, message: bytes | bytearray) -> None:
        """Take the next step of the handshake."""
        if self._asking:
            self.refuse("went on before its proof was answered", Incident.REFUSED)
            return
        try:
            self._take(*self._handshake.receive(bytes(message)))
        except NotKnownError as error:
            reread = self._reception.keyring.reread
            if reread is None:
                self._refused(error)
                return
            self._asking = True
            self._reception.errands.begin(self._again(bytes(message), reread), name="casty-credentials")
        except PeerRefusedError as error:
            self._refused(error)

    async def _again(self, message: bytes, reread: Callable[[], Awaitable[None]]) -> None:
        """Check a proof once more, after a look whether the journal has something new."""
        await reread()
        self._asking = False
        if self._gone:
            return
        try:
            self._take(*self._handshake.receive(message))
        except PeerRefusedError as error:
            self._refused(error)

    def _take(self, answer: bytes, session: Session | None) -> None:
        objection = None if session is None else self._reception.objection(self._channel, session)
        if objection is not None:
            self.refuse(objection, Incident.CROWD)
            return
        self._channel.send(answer)
        if session is not None:
            self._leave()
            self._reception.welcome(self._channel, session)

    def _refused(self, error: PeerRefusedError) -> None:
        if isinstance(error, RefusingError):
            self._channel.send(error.refusal)
        self.refuse(f"failed its handshake: {error}", Incident.REFUSED)

    def writable(self) -> None:
        """Nothing is kept back during a handshake."""

    def lost(self, reason: str) -> None:
        """Tell whoever looks after this node that somebody could not connect, and not that somebody only knocked."""
        self._gone = True
        self._leave()
        text = f"the connection from {self._channel.peer} was not accepted: it {reason}"
        if self._incident is None and (self._reception.closed or not self._channel.heard):
            logger.debug("%s", text)  # as load balancers do, to see whether the port is open
        else:
            tls = self._channel.securing
            self._reception.incidents.note(self._incident or (Incident.TLS if tls else Incident.MALFORMED), text)

    def refuse(self, reason: str, incident: Incident | None = None) -> None:
        """Close the connection."""
        self._incident = incident
        self._channel.close(reason, POLICY_VIOLATION)

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._reception.forget(self)
