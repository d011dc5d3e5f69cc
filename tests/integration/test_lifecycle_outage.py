"""A Postgres that goes away in the middle: errors that tell the truth, a close that ends, and nothing counted twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
import pytest_asyncio

from casty_es import Distributed, JournalError, NotDoneError, OutcomeUnknownError, connect
from casty_es.journal.urls import postgres_dsn

Until: TypeAlias = Callable[..., Awaitable[Any]]

COUNT = "SELECT count(*) FROM casty_events WHERE type = 'counter.incremented'"


class Cable:
    """The way to a Postgres server, which can be cut and mended."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host = parse_qs(parts.query).get("host", [parts.hostname or "127.0.0.1"])[0]
        self._target = (host, parts.port or 5432)
        self._parts = parts
        self._ends: list[asyncio.StreamWriter] = []
        self._port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The database's URL through this cable."""
        user = (self._parts.netloc.rpartition("@")[0] or "postgres").rstrip(":")
        return f"postgresql://{user}@127.0.0.1:{self._port}{self._parts.path}"

    async def mend(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End every connection in the middle, and refuse new ones."""
        if self._server is not None:
            self._server.close()
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target
        if host.startswith("/"):
            there, onwards = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            there, onwards = await asyncio.open_connection(host, port)
        self._ends += [writer, onwards]
        await asyncio.gather(_copy(reader, onwards), _copy(there, writer))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    target.close()


@pytest_asyncio.fixture
async def cable(postgres_journal_url: str) -> AsyncIterator[Cable]:
    """A cable to a migrated database."""
    one = Cable(postgres_journal_url)
    await one.mend()
    yield one
    await one.cut()


async def _increments(d: Distributed, cable: Cable) -> list[Any]:
    """Cut the cable while increments are on their way, and return what their callers were told."""
    calls = [asyncio.ensure_future(d.counter("c", timeout=2.0).increment()) for _ in range(20)]
    await asyncio.sleep(0)
    await cable.cut()
    return list(await asyncio.gather(*calls, return_exceptions=True))


async def test_after_an_outage_everything_acknowledged_is_there(
    cable: Cable, postgres_journal_url: str, until: Until
) -> None:
    """Callers are told done, not done or unknown; afterwards the counter is exactly what its log says."""
    async with connect(cable.url) as d:
        assert await d.counter("c").increment() == 1
        told = await _increments(d, cable)
        with pytest.raises((JournalError, NotDoneError)):
            await d.counter("other", timeout=1.0).get()
        await cable.mend()

        async def works() -> int | None:
            try:
                return await d.counter("c").increment()
            except (JournalError, NotDoneError, OutcomeUnknownError):
                return None

        value = await until(works)

    async with connect(postgres_journal_url) as d:
        assert await d.counter("c").get() == value
    direct = await asyncpg.connect(postgres_dsn(postgres_journal_url))
    try:
        recorded = await direct.fetchval(COUNT)
    finally:
        await direct.close()
    assert value == recorded
    assert all(one <= value for one in told if isinstance(one, int))
    assert all(isinstance(one, int | JournalError | NotDoneError | OutcomeUnknownError) for one in told)


async def test_closing_ends_although_the_database_is_gone(cable: Cable) -> None:
    """A program can stop while its database is away, also with an append whose outcome nobody knows."""
    opened = connect(cable.url)
    d = await opened.__aenter__()
    assert await d.counter("c").increment() == 1
    told = await _increments(d, cable)
    assert all(isinstance(one, int | JournalError | NotDoneError | OutcomeUnknownError) for one in told)

    async with asyncio.timeout(30):  # it stands for "for ever"
        await opened.__aexit__(None, None, None)
