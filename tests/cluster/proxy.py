"""A TCP proxy in front of a node, which cuts connections or swallows what one side says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from casty_es import ClusteredActorSystem

from .nodes import node


class Proxy:
    """Stands in front of one node. What the cluster calls the node's address is this proxy's.

    Attributes
    ----------
    target : int
        The port of the node behind it.
    cuts : list[tuple[bool, int]]
        For each connection to come, in turn: cut it after so many bytes to the node (``True``) or from it. A
        connection for which nothing is left is not cut.
    swallowed : set[bool]
        The directions of which nothing arrives any more: to the node (``True``), from it (``False``).
    spoiled : int
        How many of the next pieces from the node arrive with their last bit turned.
    """

    def __init__(self) -> None:
        self.port = 0
        self.target = 0
        self.cuts: list[tuple[bool, int]] = []
        self.cut = 0
        self.swallowed: set[bool] = set()
        self.swallowing = asyncio.Event()
        self.spoiled = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hang up."""
        if self._server is not None:
            self._server.close()
        self.break_all()

    def break_all(self) -> None:
        """Cut every connection."""
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:  # the node is gone
            writer.transport.abort()
            return
        pair = {writer, up_writer}
        self._open |= pair
        to_node, after = self.cuts.pop(0) if self.cuts else (True, None)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, up_writer, after if to_node else None, to_node=True))
                group.create_task(self._pump(up_reader, writer, None if to_node else after, to_node=False))
        except* _Gone:
            pass
        finally:
            self._open -= pair
            for one in pair:
                one.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None, *, to_node: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if to_node in self.swallowed:
                    self.swallowing.set()
                    continue
                if self.spoiled and not to_node:
                    self.spoiled -= 1
                    data = data[:-1] + bytes([data[-1] ^ 1])
                if left is not None and len(data) >= left:
                    writer.write(data[:left])
                    await writer.drain()
                    self.cut += 1
                    break
                left = None if left is None else left - len(data)
                writer.write(data)
                await writer.drain()
        raise _Gone


class _Gone(Exception):  # noqa: N818 - nothing went wrong
    """One direction has ended, and with it the connection."""


@asynccontextmanager
async def behind_proxy(url: str, **options: Any) -> AsyncIterator[tuple[ClusteredActorSystem, Proxy]]:
    """Run a node that all others reach through a proxy."""
    proxy = Proxy()
    await proxy.start()
    try:
        async with node(url, advertise=("127.0.0.1", proxy.port), **options) as system:
            proxy.target = system.self_node.port
            yield system, proxy
    finally:
        await proxy.stop()
