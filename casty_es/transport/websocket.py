"""Listening and dialling: WebSockets over TCP, with TLS if it is asked for, or over a Unix socket."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from ssl import SSLContext
from typing import cast

import msgspec

from casty_es.access import Token
from casty_es.forking import let_go
from casty_es.transport import sockets
from casty_es.transport.channel import Channel
from casty_es.transport.dialer import BaseDialer
from casty_es.transport.identity import Identity
from casty_es.transport.keyring import Keyring
from casty_es.transport.limits import Limits
from casty_es.transport.listener import Reception
from casty_es.transport.port import Service
from casty_es.transport.tls import Doors


class WebSocketListener:
    """A node's open port; ``listen`` makes it."""

    def __init__(self, server: asyncio.Server, reception: Reception, doors: Doors | None) -> None:
        self._server = server
        self._reception = reception
        self._doors = doors
        self._address = cast("tuple[str, int]", server.sockets[0].getsockname()[:2])
        self._beside: tuple[asyncio.Server, Path, int] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The host and port it listens at."""
        return self._address

    @property
    def connections(self) -> int:
        """How many authenticated connections it serves."""
        return self._reception.connections

    @property
    def incidents(self) -> Mapping[str, int]:
        """How often somebody tried what he may not, by kind."""
        return self._reception.incidents.counts

    def serves(self, process_id: str) -> bool:
        """Return whether a process has a connection."""
        return self._reception.serves(process_id)

    def heard_from(self, node_id: str) -> bool:
        """Return whether a node has a connection."""
        return self._reception.heard_from(node_id)

    async def serve_at(self, path: Path, mode: int) -> None:
        """Listen at a path of the file system, too, without TLS: who may write there may connect."""
        server, inode = await sockets.serve(path, mode, self._reception.accept)
        self._beside = server, path, inode

    def review(self) -> None:
        """End the connections of those who have proven themselves by what is not valid any more."""
        self._reception.review()

    def abandon_after_fork(self) -> None:
        """Let go of the parent's port and connections, in a forked child: nobody is to wait for an answer there."""
        for server in self._servers():
            for socket in server.sockets:
                let_go(socket.fileno())
        self._reception.abandon_after_fork()

    async def close(self) -> None:
        """Stop listening, send the answers that are there, close every connection."""
        for server in self._servers():
            server.close()
        if self._beside is not None:
            sockets.unlink(*self._beside[1:])
        await self._reception.close()
        if self._doors is not None:
            await self._doors.wait_closed()
        for server in self._servers():
            await server.wait_closed()

    def _servers(self) -> list[asyncio.Server]:
        return [self._server] if self._beside is None else [self._server, self._beside[0]]


async def listen(
    host: str,
    port: int,
    *,
    service: Service,
    identity: Identity,
    secret: bytes | Keyring,
    ssl: SSLContext | None = None,
    limits: Limits | None = None,
) -> WebSocketListener:
    """Open a port for other nodes and for clients; 0 takes a free one.

    Who knows none of the secrets is not served. ``OSError`` if the port cannot be opened.
    """
    limits = _fitting(limits or Limits())
    reception = Reception(service, identity, secret, limits)
    doors = None if ssl is None else Doors(reception.accept, ssl, limits)
    accept: Callable[[], asyncio.Protocol] = reception.accept if doors is None else doors.open
    server = await asyncio.get_running_loop().create_server(accept, host, port)
    return WebSocketListener(server, reception, doors)


def _fitting(limits: Limits) -> Limits:
    """Return the limits with no more connections than leave descriptors for everything else that this process does."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return limits
    return msgspec.structs.replace(limits, max_connections=max(1, min(limits.max_connections, allowed // 2)))


class WebSocketDialer(BaseDialer):
    """Connects to nodes over TCP, or through the file system that it shares with them.

    ``socket_of`` says where a node has its socket, if it has one.
    """

    def __init__(
        self,
        identity: Identity,
        secret: bytes | Token | Keyring,
        *,
        ssl: SSLContext | None = None,
        limits: Limits | None = None,
        socket_of: Callable[[str], Path] | None = None,
    ) -> None:
        super().__init__(identity, secret, limits)
        self._ssl = ssl
        self._socket_of = socket_of

    def _way(self, address: str, node_id: str | None) -> tuple[str, str | None]:
        # Two nodes may have one address, in networks of their own.
        return address, None if self._socket_of is None else node_id

    async def _connect(self, host: str, port: int, node_id: str | None, factory: Callable[[], Channel]) -> Channel:
        path = None if node_id is None or self._socket_of is None else self._socket_of(node_id)
        if path is None or not path.is_socket():
            return await self._connect_over_network(host, port, factory)
        try:
            return await sockets.connect(path, factory)
        except OSError as error:  # a dead process left it, or it is not for this user
            try:
                return await self._connect_over_network(host, port, factory)
            except OSError as failed:
                raise OSError(f"{failed}, and not through {path} either: {error}") from failed

    async def _connect_over_network(self, host: str, port: int, factory: Callable[[], Channel]) -> Channel:
        close_seconds = None if self._ssl is None else self._limits.close_seconds
        _, channel = await asyncio.get_running_loop().create_connection(
            factory, host, port, ssl=self._ssl, ssl_shutdown_timeout=close_seconds
        )
        return channel
