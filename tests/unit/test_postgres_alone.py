"""Being the one process that maintains a journal on Postgres, for as long as the lock's connection lives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from casty_es.errors import JournalUnavailableError, NotDoneError
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import postgres_dsn

STEP = ("UPDATE casty_meta SET incarnation = incarnation + 1", ())
HOLDER = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 'casty_seals'::regclass::oid AND granted"


@pytest_asyncio.fixture
async def journal(postgres_journal_url: str) -> AsyncIterator[SqlJournal]:
    """An open journal on a server that ends idle sessions."""
    connection = await asyncpg.connect(postgres_dsn(postgres_journal_url))
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" SET idle_session_timeout = 300')
    await connection.close()
    journal = SqlJournal(postgres_journal_url)
    await journal.open()
    yield journal
    await journal.close()


async def test_its_connection_may_be_idle(journal: SqlJournal) -> None:
    """Given a server that ends idle sessions, when maintenance pauses for longer than that, then it is still alone."""
    async with journal.alone():
        await journal.query("SELECT pg_sleep(0.6)")
        with pytest.raises(NotDoneError, match="Another"):
            async with journal.alone():
                pass


async def test_it_stops_when_its_connection_is_gone(journal: SqlJournal, postgres_journal_url: str) -> None:
    """Given a maintenance whose lock went with its connection, when its next step comes, then it is not done."""
    other: Any = await asyncpg.connect(
        postgres_dsn(postgres_journal_url), server_settings={"idle_session_timeout": "0"}
    )
    async with journal.alone():
        await journal.maintain([STEP])
        assert await other.fetchval("SELECT pg_terminate_backend(pid, 20000) FROM (" + HOLDER + ") AS holders")
        with pytest.raises(JournalUnavailableError, match=r"another process may maintain.*Nothing of this step"):
            await journal.maintain([STEP])

    assert await journal.incarnation() == 2
    await journal.maintain([STEP])  # outside of the block nobody asks for the lock
    await other.close()
