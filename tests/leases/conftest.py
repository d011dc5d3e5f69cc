"""A cluster per kind of lease: managers as several nodes would have them, over one journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import EventJournal
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import postgres_dsn
from casty_es.leases.file import FileLeaseManager
from casty_es.leases.memory import ProcessLeaseManager
from casty_es.leases.port import LeaseManager, LeaseSession
from casty_es.leases.postgres import PostgresLeaseManager


class Cluster:
    """Nodes that share a journal. What they open is closed at the end."""

    def __init__(self, journal: EventJournal, stack: AsyncExitStack) -> None:
        self.journal = journal
        self._stack = stack

    def manager(self, **settings: Any) -> LeaseManager:
        """Return a manager, as one more process would have it."""
        if not isinstance(self.journal, SqlJournal):
            return ProcessLeaseManager(self.journal)
        if self.journal.file is not None:
            return FileLeaseManager(self.journal.file, self.journal, **settings)
        return PostgresLeaseManager(self.journal.url, slots=256, **settings)

    async def open(self, node_id: str, process: str = "", **settings: Any) -> LeaseSession:
        """Open the session of a node, with a manager of its own."""
        session = await self.manager(**settings).open(node_id, process)
        self._stack.push_async_callback(session.close)
        return session


async def _cluster(journal: EventJournal) -> AsyncIterator[Cluster]:
    await journal.open()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(journal.close)
        yield Cluster(journal, stack)


@pytest_asyncio.fixture(params=["memory", "sqlite", "postgres"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """Each kind of lease in turn."""
    if request.param == "memory":
        journal: EventJournal = InMemoryJournal()
    else:
        journal = SqlJournal(await asyncio.to_thread(request.getfixturevalue, f"{request.param}_journal_url"))
    async for made in _cluster(journal):
        yield made


@pytest_asyncio.fixture
async def file_cluster(sqlite_journal_url: str) -> AsyncIterator[Cluster]:
    """Nodes over an SQLite file."""
    async for made in _cluster(SqlJournal(sqlite_journal_url)):
        yield made


@pytest_asyncio.fixture
async def postgres_cluster(postgres_journal_url: str) -> AsyncIterator[Cluster]:
    """Nodes over Postgres."""
    async for made in _cluster(SqlJournal(postgres_journal_url)):
        yield made


@pytest_asyncio.fixture
async def watcher(postgres_journal_url: str) -> AsyncIterator[Any]:
    """A connection that looks at the sessions of the others."""
    connection = await asyncpg.connect(postgres_dsn(postgres_journal_url))
    yield connection
    await connection.close()
