"""A server that falls silent while a lease session is being opened: nobody waits for it for ever."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from casty_es.errors import JournalUnavailableError
from casty_es.journal.urls import postgres_dsn
from casty_es.leases.lease_connection import connect_for_leases

_NAME = ".s.PGSQL.5432"


@asynccontextmanager
async def deaf_to(word: bytes, url: str, folder: Path) -> AsyncIterator[str]:
    """Stand in front of a server, and pass nothing on, either way, from the first message that has this word."""
    parts = urlsplit(url)
    deaf = asyncio.Event()
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                if word in data:
                    deaf.set()
                if not deaf.is_set():
                    writer.write(data)
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(f"{parse_qs(parts.query)['host'][0]}/{_NAME}")
        pumps.update({asyncio.create_task(pump(reader, there[1])), asyncio.create_task(pump(there[0], writer))})

    server = await asyncio.start_unix_server(accept, folder / _NAME)
    try:
        yield parts._replace(query=f"host={folder}").geturl()
    finally:
        server.close()
        await asyncio.wait(pumps)


async def test_a_server_that_falls_silent_while_a_session_is_set_up(postgres_journal_url: str) -> None:
    """Given no answer to a session's last setting, when it is opened, then that fails within the session's time."""
    connection = await asyncpg.connect(postgres_dsn(postgres_journal_url))
    version = connection.get_server_version().major
    await connection.close()
    if version < 17:
        pytest.skip(f"Postgres {version} has no transaction_timeout, which is set once connected")

    with tempfile.TemporaryDirectory(prefix="casty-deaf-") as folder:  # a socket's path is short
        async with deaf_to(b"SET transaction_timeout", postgres_journal_url, Path(folder)) as url, asyncio.timeout(30):
            # the server, which hears nothing either, ends the session at the same time
            silent = r"(no answer for 2 s|connection was closed).*Nothing was taken"
            with pytest.raises(JournalUnavailableError, match=silent):
                await connect_for_leases(url, 2.0)
