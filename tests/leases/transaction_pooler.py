"""A connection pooler in transaction mode, in front of a real Postgres: what lease sessions must not go through.

Clients share the pooler's backends. A client has a backend from its first message until the backend says that it is
idle and outside of a transaction (``ReadyForQuery`` with ``I``); the next message may go to another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

_SSL_REQUEST: Final = 80877103
_PROTOCOL: Final = 196608
_LENGTH: Final = struct.Struct("!i")


class _Backend:
    """A connection of the pooler to Postgres."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.greeting = b""

    async def start(self, parameters: dict[str, str]) -> None:
        """Log in; what the server tells of itself is kept for the clients."""
        text = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items()) + b"\0"
        self.writer.write(_LENGTH.pack(len(text) + 8) + _LENGTH.pack(_PROTOCOL) + text)
        while (message := await _message(self.reader))[:1] != b"Z":
            assert message[:1] != b"E", message
            self.greeting += message if message[:1] == b"S" else b""


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read a message: a letter, the length, the rest."""
    head = await reader.readexactly(5)
    return head + await reader.readexactly(_LENGTH.unpack(head[1:])[0] - 4)


class _Pooler:
    def __init__(self, backends: list[_Backend], *, refuses: bool) -> None:
        self._first = backends[0]
        self._refuses = refuses
        self._free: asyncio.Queue[_Backend] = asyncio.Queue()
        for backend in backends:
            self._free.put_nowait(backend)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it goes away."""
        try:
            if await self._greet(reader, writer):
                question = asyncio.ensure_future(_message(reader))
                while (await question)[:1] != b"X":
                    backend = await self._free.get()
                    try:
                        question = await self._transaction(question, reader, writer, backend)
                    finally:
                        self._free.put_nowait(backend)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone
        finally:
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            body = await reader.readexactly(_LENGTH.unpack(await reader.readexactly(4))[0] - 4)
            if _LENGTH.unpack(body[:4])[0] != _SSL_REQUEST:
                break
            writer.write(b"N")
        names = body[4:].split(b"\0")[::2]
        if self._refuses and b"idle_session_timeout" in names:  # as PgBouncer says it
            text = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: idle_session_timeout\0\0"
            writer.write(b"E" + _LENGTH.pack(len(text) + 4) + text)
            await writer.drain()
            return False
        writer.write(b"R" + _LENGTH.pack(8) + _LENGTH.pack(0) + self._first.greeting)
        writer.write(b"K" + _LENGTH.pack(12) + bytes(8) + b"Z" + _LENGTH.pack(5) + b"I")
        return True

    @staticmethod
    async def _transaction(
        question: asyncio.Future[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        backend: _Backend,
    ) -> asyncio.Future[bytes]:
        """Pass messages on, both ways, until the backend is idle; return the question after that, asked or not yet."""
        awaited = 0  # ReadyForQuery messages that the client waits for
        answer = asyncio.ensure_future(_message(backend.reader))
        try:
            while True:
                await asyncio.wait({question, answer}, return_when=asyncio.FIRST_COMPLETED)
                if question.done():
                    awaited += question.result()[:1] in {b"S", b"Q"}
                    backend.writer.write(question.result())
                    question = asyncio.ensure_future(_message(reader))
                if answer.done():
                    message = answer.result()
                    writer.write(message)
                    awaited -= message[:1] == b"Z"
                    if message[:1] == b"Z" and message[5:] == b"I" and not awaited:
                        return question
                    answer = asyncio.ensure_future(_message(backend.reader))
        except BaseException:
            question.cancel()
            raise
        finally:
            answer.cancel()


@asynccontextmanager
async def transaction_pooler(
    url: str, folder: Path, *, backends: int = 1, refuses: bool = False, settings: dict[str, str] | None = None
) -> AsyncIterator[str]:
    """Start a pooler in front of a database and give its URL.

    It refuses the settings of lease sessions or drops them; its backends have the settings that are given here.
    """
    parts = urlsplit(url)
    socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
    login = {"user": parts.username or "postgres", "database": parts.path.removeprefix("/"), **(settings or {})}
    pool = [_Backend(*await asyncio.open_unix_connection(socket)) for _ in range(backends)]
    for backend in pool:
        await backend.start(login)
    clients: set[asyncio.Task[None]] = set()
    pooler = _Pooler(pool, refuses=refuses)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients.add(task)
        task.add_done_callback(clients.discard)
        with contextlib.suppress(asyncio.CancelledError):  # the end of the test
            await pooler.serve(reader, writer)

    server = await asyncio.start_unix_server(accept, folder / ".s.PGSQL.5432")
    try:
        yield parts._replace(query=f"host={folder}").geturl()
    finally:
        server.close()
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        for backend in pool:
            backend.writer.close()
            with contextlib.suppress(ConnectionError):
                await backend.writer.wait_closed()
