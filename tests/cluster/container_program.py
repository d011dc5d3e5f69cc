"""A process as in a container: a network and a host name of its own, and ``connect`` on a journal that others use, too.

``python container_program.py node NAME URL [OPTIONS]`` does for each line of its input, ``[counter, timeout]``, an
increment, and prints what came of it as JSON; for an empty line it prints what was logged as a warning.
``python container_program.py forward HOST PORT SOCKET`` makes a server's socket reachable over the network.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import socket
import struct
import sys
import time
from typing import Any

import casty_es

_SIOCSIFFLAGS, _UP = 0x8914, 0x41

warned: list[str] = []


class Noting(logging.Handler):
    """Keep what the library warns about."""

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        warned.append(record.getMessage())


def say(what: object) -> None:
    """Print a line at once."""
    print(json.dumps(what), flush=True)  # noqa: T201 - what the test reads


def begin_as(name: str) -> None:
    """Take a host name, and let the loopback device work, as whoever starts a container does."""
    socket.sethostname(name)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _UP))


async def increment(d: casty_es.Distributed, name: str, seconds: float) -> dict[str, Any]:
    """Count, and tell what came of it."""
    began = time.monotonic()
    try:
        return {"value": await d.counter(name, timeout=seconds).increment()}
    except casty_es.CastyError as error:
        return {"error": str(error), "seconds": time.monotonic() - began}


async def node(name: str, url: str, options: dict[str, Any]) -> None:
    """Do what the module says."""
    begin_as(name)
    logging.getLogger("casty_es").addHandler(Noting(logging.WARNING))
    async with casty_es.connect(url, **options) as d:
        say("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            say(await increment(d, *json.loads(line)) if line.strip() else warned)


async def forward(host: str, port: int, server: str) -> None:
    """Carry bytes to a server's socket and back."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(server)
        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))

    async with await asyncio.start_server(serve, host, port):
        say("ready")
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    if sys.argv[1] == "node":
        asyncio.run(node(sys.argv[2], sys.argv[3], json.loads(sys.argv[4])))
    else:
        asyncio.run(forward(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
