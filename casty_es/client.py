"""A client of a cluster: it needs no database, knows every node, goes straight to owners, and owns nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from ssl import SSLContext
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from uuid import UUID

from casty_es import runtime as outside
from casty_es.arguments import check_client, check_question
from casty_es.background import finished
from casty_es.cluster.outcome import CommandOutcome, CommandStatus
from casty_es.cluster.topology import Topology
from casty_es.config import Settings
from casty_es.domain.decider import Query
from casty_es.errors import PeerError, PeerLostError, Sent, UsageError
from casty_es.format.codec import decode_error, decode_reply, encode_command
from casty_es.gateway import CommandContext, RegionRef, ShardEnvelope, StructureFactory, region_ref
from casty_es.gateway.asking import Gateway
from casty_es.gateway.routing import Routes
from casty_es.handles.distributed import Distributed
from casty_es.handles.renewals import close_handles
from casty_es.journal.port import EntityName
from casty_es.journal.remembered import Remembered
from casty_es.names import MAX_NODE_NAME_BYTES, check_text
from casty_es.printing import log_of
from casty_es.replay import HistoryPage, Positions, Then
from casty_es.runtime import Runtime, SystemRuntime
from casty_es.transport import wire
from casty_es.transport.identity import Identity
from casty_es.transport.port import Dialer
from casty_es.transport.websocket import WebSocketDialer

A = TypeVar("A", bound=wire.Answer)
R = TypeVar("R")

_LOG: Final = log_of("casty_es.client")


class ClusterClient:
    """The way into a cluster for a process without access to its database.

    Parameters
    ----------
    contact_points : Sequence[tuple[str, int]]
        Hosts and ports of some nodes. One that answers is enough: it tells of all others.
    system_name : str
        The name that the nodes were started with.
    secret : bytes | None
        The cluster's secret; ``casty-es secret`` prints it to whoever may read the journal's.
    token : str | None
        A token in place of the secret, as ``casty-es token create`` printed it: the client may do what it allows.
    ssl : SSLContext | None
        Whom to trust, when the nodes use TLS.
    settings : Settings | None
        How the client behaves; what must agree with the nodes is taken from them.
    runtime : Runtime | None
        The clock and ids; the real ones when it is not given.

    Raises
    ------
    InvalidArgumentError
        There is no contact point, or one is not a host and a port; the secret can be guessed, or the token is none.
    ConfigurationError
        There is neither a secret nor a token, or both.

    Examples
    --------
    >>> async with ClusterClient(contact_points=[address], system_name="casty", secret=secret) as client:
    ...     await client.distributed().counter("client-hits").increment()
    1
    """

    def __init__(
        self,
        *,
        contact_points: Sequence[tuple[str, int]],
        system_name: str = "casty",
        secret: bytes | None = None,
        token: str | None = None,
        ssl: SSLContext | None = None,
        settings: Settings | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self._contact_points, self._credential = check_client(
            contact_points=contact_points, secret=secret, token=token, ssl=ssl, settings=settings, runtime=runtime
        )
        self.name = check_text(system_name, "the system's name", MAX_NODE_NAME_BYTES)
        self.settings = settings or Settings()
        self._ssl = ssl
        self._runtime = runtime or SystemRuntime()
        self._remembered = Remembered()
        self._gateway: Gateway | None = None
        self._directory: _NodesDirectory | None = None
        self._dialer: Dialer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        """Connect to a node and learn of the others."""
        if self._gateway is not None:
            raise UsageError("The client is running already. Use it, or make another one.")
        identity = Identity(system=self.name, node_id=f"client-{outside.fresh_uuid()}", role="client")
        dialer = WebSocketDialer(identity, self._credential, ssl=self._ssl)
        directory = _NodesDirectory(self._contact_points, dialer)
        try:
            learned = await directory.ask(wire.GetTopology(), wire.Topology)
        except BaseException:
            await dialer.close()
            raise
        directory.learn(learned)
        self.settings = _agreeing(self.settings, learned)
        self._dialer, self._directory = dialer, directory
        routes = Routes(directory, dialer, None, self._remembered, node_id=identity.node_id)
        self._gateway = Gateway(routes, None, self._runtime)
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give back what handles hold, wait a moment for the answers to what was sent, hang up.

        Raises
        ------
        UsageError
            It is awaited in another event loop than the client's. Nothing was touched; the client runs on.
        """
        if self._gateway is not None and self._loop is not asyncio.get_running_loop():
            raise UsageError(
                "The client belongs to another event loop and cannot be closed from this one. Nothing was touched: it "
                "runs on. Close it in its own loop, for instance with asyncio.run_coroutine_threadsafe."
            )
        await finished(self._close())

    async def _close(self) -> None:
        try:
            if self._gateway is not None:
                await close_handles(self)
                await self._gateway.settle()
        finally:
            gateway, self._gateway = self._gateway, None
            if gateway is not None:
                await gateway.close()
                await gateway.routes.close()
            if self._dialer is not None:
                await self._dialer.close()

    def distributed(self) -> Distributed:
        """Return the structures that this client gives access to."""
        return Distributed(self)

    def region_ref(self, key: str, factory: StructureFactory, *, num_shards: int) -> RegionRef:
        """Return a ref that routes ``ShardEnvelope`` to the named region."""
        return region_ref(key, factory, num_shards=num_shards)

    async def entity_ask(
        self,
        ref: RegionRef,
        msg_factory: Callable[[CommandContext], ShardEnvelope[R]],
        *,
        timeout: float,  # noqa: ASYNC109 - the seed's name
    ) -> R:
        """Send a message and wait for a reply, at most ``timeout`` seconds."""
        reply: R = await self._running()[0].ask(ref, msg_factory, timeout=timeout)
        return reply

    @property
    def incarnation(self) -> int:
        """The journal's incarnation, which prefixes fencing tokens."""
        return 1 if self._directory is None else self._directory.incarnation

    async def topology(self) -> Topology:
        """Return which nodes are alive, and who holds which slot.

        Raises
        ------
        PeerError
            No node can be asked.
        """
        return await self._running()[1].topology()

    async def outcome(self, command_id: UUID, *, sent: Sent) -> CommandOutcome:
        """Return what became of a command whose caller got an ``OutcomeUnknownError``.

        Parameters
        ----------
        command_id : UUID
            The error's ``command_id``.
        sent : Sent
            The error's ``sent``.

        Raises
        ------
        PeerError
            No node can be asked.
        """
        check_question(command_id, sent)
        request = wire.FindOutcome(sent.kind, sent.slot, sent.after, sent.term, command_id.bytes)
        answer = await self._running()[1].ask(request, wire.Outcome)
        return CommandOutcome(CommandStatus(answer.status), decode_reply(answer.body))

    async def read_history(self, name: EntityName, *, after: int, after_time: int | None, limit: int) -> HistoryPage:
        """Ask a node for an entity's next events."""
        return await self._running()[1].ask(wire.ReadHistory(*name, after, after_time, limit), HistoryPage)

    async def read_past(self, name: EntityName, query: Query, then: Then) -> Any:
        """Ask a node for the answer to a query from an entity's state as of then."""
        request = wire.ReadPast(*name, *encode_command(query), then)
        return decode_reply((await self._running()[1].ask(request, wire.Answered)).body)

    async def read_positions(self) -> Positions:
        """Ask a node how far every slot is committed."""
        return await self._running()[1].ask(wire.ReadPositions(), Positions)

    def _running(self) -> tuple[Gateway, _NodesDirectory]:
        if self._gateway is None or self._directory is None:
            raise UsageError("The client is not running. Nothing was done. Use it inside `async with`.")
        if self._loop is not asyncio.get_running_loop():
            raise UsageError("The client belongs to another event loop. Nothing was done. Make one per event loop.")
        return self._gateway, self._directory


class _NodesDirectory:
    """What a client knows, from any node that answers; the contact points when no learned one does."""

    def __init__(self, contact_points: list[str], dialer: Dialer) -> None:
        self._contact_points = contact_points
        self._dialer = dialer
        self._learned: list[str] = []
        self.slots = 0
        self.incarnation = 1

    def learn(self, topology: wire.Topology) -> None:
        """Remember whom to ask from now on."""
        self.slots = topology.slots
        self.incarnation = topology.incarnation
        self._learned = [node.address for node in topology.nodes if node.address is not None]

    async def shards(self, kind: str, name: str) -> int | None:
        """Ask a node what is recorded."""
        return (await self.ask(wire.FindShards(kind, name), wire.ShardsFound)).shards or None

    async def topology(self) -> Topology:
        """Ask a node who is alive."""
        answer = await self.ask(wire.GetTopology(), wire.Topology)
        self.learn(answer)
        return Topology.of(answer.incarnation, answer.nodes, answer.owners)

    async def ask(self, request: wire.Request, expected: type[A]) -> A:
        """Ask one node after the other until one answers; ``PeerError`` if none does."""
        failed: PeerError | None = None
        # Those that are connected come first: a dead one costs time.
        addresses = list(dict.fromkeys([*self._learned, *self._contact_points]))
        for address in sorted(addresses, key=lambda one: self._dialer.open_link(one) is None):
            try:
                answer = await (await self._dialer.link(address)).request(request)
            except PeerError as error:
                _LOG.info("Node at %s does not answer: %s", address, error)
                failed = error
                continue
            if isinstance(answer, wire.Failed):
                said = decode_error(answer.error, answer.message, answer.detail)
                if not isinstance(said, UsageError):
                    raise said
                failed = PeerLostError(f"The node at {address} is closing: {said}", sent=True)
                continue
            if isinstance(answer, expected):
                return answer
            failed = PeerLostError(f"The node at {address} answered with {type(answer).__name__}.", sent=True)
        raise failed or PeerLostError("There is no node to ask.", sent=False)


def _agreeing(settings: Settings, topology: wire.Topology) -> Settings:
    given = {name: getattr(settings, name) for name in settings.__struct_fields__}
    return Settings(**{**given, "lease_seconds": topology.lease_seconds, "max_value_bytes": topology.max_value_bytes})
