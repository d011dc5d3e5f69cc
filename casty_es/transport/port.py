"""What a gateway asks of a connection, and what a connection asks of the node behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import msgspec

from casty_es.access import Grant
from casty_es.transport.wire import Answer, Request

Reply: TypeAlias = Answer | Callable[[], Answer]
"""What a request is answered with. A function makes the answer as late as there is room for it: once."""


class Caller(msgspec.Struct, frozen=True):
    """The authenticated process at the other end of a connection."""

    process: str  # what it is called in the requests that it makes (``processes.py``)
    # Who it has proven to be: ``token:NAME``, ``node:NAME``, or ``secret`` for a client with the cluster's secret.
    principal: str
    grant: Grant | None = None  # what it may do, if it has a token; ``None`` for whoever has the cluster's secret


class Link(Protocol):
    """An authenticated connection of one gateway to one node."""

    @property
    def node_id(self) -> str:
        """The node at the other end, as it named itself."""

    @property
    def closed(self) -> bool:
        """Whether the connection is gone; a new one has to be dialled."""

    @property
    def version(self) -> int:
        """The version of the protocol that both ends speak."""

    def request(self, request: Request, *, credit: bool = True) -> asyncio.Future[Answer]:
        """Ask the node something. Requests leave in order, many to a frame; answers come in any order.

        Parameters
        ----------
        request : Request
            What is asked.
        credit : bool
            Whether it counts against the number of requests that the node lets this connection have open. One that may
            stand in a line for long does not.

        Returns
        -------
        asyncio.Future[Answer]
            Gets the answer, or a ``PeerLostError`` that says whether the request may have reached the node. Cancelling
            it drops the answer, and the request too if it has not left yet.

        Raises
        ------
        OverloadedError
            Too many requests wait for this node already. This one was not sent.
        PeerRefusedError
            The request is longer than a frame may be. It was not sent.
        """

    async def close(self) -> None:
        """Close the connection; what is open on it gets a ``PeerLostError``."""


class Dialer(Protocol):
    """Where links come from: one living link per node, however many ask for it at once."""

    async def link(self, address: str, node_id: str | None = None) -> Link:
        """Return the link to the node that listens at ``host:port``, connecting if there is none.

        Parameters
        ----------
        address : str
            Where it listens.
        node_id : str | None
            Who it is; anybody, when it is not said. A node of the same SQLite file is reached beside it, if it can be.

        Raises
        ------
        PeerLostError
            Nobody answers there, or another node. After a failure the next attempts wait, with jitter, and fail at once
            meanwhile.
        PeerRefusedError
            Whoever answers has another secret, system or protocol version; both versions are named.
        """

    def open_link(self, address: str, node_id: str | None = None) -> Link | None:
        """Return the living link to an address and the node there, or ``None``, without waiting."""

    def met(self, node_id: str) -> bool:
        """Return whether there was a link to a node."""

    async def close(self) -> None:
        """Close every link."""

    def abandon_after_fork(self) -> None:
        """In a forked child: let go of the parent's links, without a word."""


class Service(Protocol):
    """The node behind a listener."""

    def needs_credit(self, request: Request) -> bool:
        """Return whether a request counts against the number that its connection may have open."""

    def weight(self, request: Request) -> int:
        """Return how many bytes the answer to a request may have about, or what it takes to make it."""

    def serve(self, request: Request, answer: Callable[[Reply], None], caller: Caller) -> None:
        """Take a request in at once, without waiting; ``answer`` is called once, now or later.

        An exception raised here closes the connection: the request was not what it should be.
        """

    def met(self, node_id: str) -> None:
        """Note that a node has connected."""


class Listener(Protocol):
    """Where a node is reached."""

    @property
    def address(self) -> tuple[str, int]:
        """The host and port it listens at."""

    @property
    def incidents(self) -> Mapping[str, int]:
        """How often somebody tried what he may not, by kind (``incidents.py``)."""

    def serves(self, process_id: str) -> bool:
        """Return whether a process has an authenticated connection here, by its UUID in hexadecimal."""

    def heard_from(self, node_id: str) -> bool:
        """Return whether a node has an authenticated connection here."""

    def review(self) -> None:
        """End the connections of those who have proven themselves by what is not valid any more."""

    async def close(self) -> None:
        """Stop listening, close every connection."""

    def abandon_after_fork(self) -> None:
        """In a forked child: let go of the parent's port and connections, without a word."""
