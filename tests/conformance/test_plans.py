"""Postgres keeps plans, and those of an empty journal must not serve a full one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final

import pytest

import casty_es
from casty_es.journal import sessions
from casty_es.journal.port import EntityName
from casty_es.journal.sql import SqlJournal
from tests.audit.verifying.journals import LongWriter

Sql = Callable[..., list[tuple[Any, ...]]]

_EVENTS: Final = 6_000
_PAGE: Final = 500
_GENERIC: Final = 8  # after five executions the server may keep a plan

_READ: Final = """
    SELECT pg_stat_force_next_flush(), coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0)
    FROM pg_stat_user_tables"""


_END_ALL_BUT_LEASES: Final = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity a WHERE datname = current_database()
    AND pid <> pg_backend_pid()
    AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory')"""


async def _read_all(journal: SqlJournal, entity: int) -> None:
    assert len(await journal.history(entity, after=0, limit=_PAGE, most_bytes=10**7)) in {0, _PAGE}
    [hits] = await journal.entities([EntityName("counter", "hits-0", "")])
    assert hits is None or hits.id == entity
    await journal.find_key(entity, "none")
    await journal.hashes({(entity >> 32, 2)})


async def test_plans_of_an_empty_journal_are_given_up(
    postgres_journal_url: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a journal that was asked often while it was empty, when it is full, then a page costs what a page has."""
    await asyncio.to_thread(sql, postgres_journal_url, "ALTER TABLE casty_events SET (autovacuum_enabled = off)")
    monkeypatch.setattr(sessions, "PLANS_SECONDS", 0.0)
    journal = SqlJournal(postgres_journal_url, unsafe_durability=True)
    await journal.open()
    try:
        for _ in range(_GENERIC):
            await _read_all(journal, 1)
        await LongWriter(postgres_journal_url, counters=1).write(_EVENTS)
        [(entity,)] = await asyncio.to_thread(sql, postgres_journal_url, "SELECT id FROM casty_entities")
        before = await _tuples(sql, postgres_journal_url)

        await _read_all(journal, entity)
        await journal.query("SELECT pg_stat_force_next_flush()")
        await journal.query("SELECT 1")
    finally:
        await journal.close()

    assert await _tuples(sql, postgres_journal_url) - before < 4 * _PAGE


async def _tuples(sql: Sql, url: str) -> int:
    [(_, tuples)] = await asyncio.to_thread(sql, url, _READ)
    return int(tuples)


async def test_a_connection_that_the_server_ended_is_opened_anew(
    postgres_journal_url: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given sessions that the server ended, when plans are to be given up, then nobody is told of it."""
    monkeypatch.setattr(sessions, "PLANS_SECONDS", 0.0)
    async with casty_es.connect(postgres_journal_url) as d:
        assert await d.counter("hits").increment() == 1
        for expected in range(2, 6):
            ending = threading.Thread(target=sql, args=(postgres_journal_url, _END_ALL_BUT_LEASES))
            ending.start()
            ending.join()  # the loop stands still, so that the driver has not heard of it yet
            assert await d.counter("hits").increment() == expected
