"""A journal that moves from database to database stays the same journal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from casty_es import connect
from casty_es.audit.anchor import take_anchor
from casty_es.audit.transfer import copy_journal
from casty_es.audit.verify import verify
from casty_es.domain.upkeep import Redact
from casty_es.errors import ConfigurationError, SchemaError
from casty_es.journal.migrating import upgrade
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import is_sqlite
from tests.audit.verifying.tampering import Tamperer
from tests.audit.verifying.test_verify_cut import cut, scrub

from .conftest import Exporting

__all__ = ["cut"]


async def test_there_and_back(written_url: str, postgres_url: str, sqlite_url: str, exported: Exporting) -> None:
    """Given a journal, when it is copied to the other database and back, then all are equal, verify and count on."""
    journal = SqlJournal(written_url)
    await journal.open()
    anchor = await take_anchor(journal)
    await journal.close()
    there, back = (postgres_url, sqlite_url) if is_sqlite(written_url) else (sqlite_url, postgres_url)

    first = await copy_journal(written_url, there)
    second = await copy_journal(there, back)

    whole = await exported(written_url)
    assert first.records == second.records > 100
    assert await exported(there) == whole
    assert await exported(back) == whole
    for url in (written_url, there, back):
        report = await verify(url, anchors=[anchor])
        assert report.findings == []
        assert report.records == first.records
        async with connect(url) as d:
            assert await d.counter("hits").increment() == 61
            assert await d.map[str, dict]("users").get("alice") == {"name": "alice"}
            assert await d.counter("hits").increment(idempotency_key="order-0") == 1
        assert (await verify(url, anchors=[anchor])).findings == []


async def test_cuts_and_redactions(
    tamperer: Tamperer, cut: object, postgres_url: str, sqlite_url: str, exported: Exporting
) -> None:
    """Given a cut, a redaction under way and then done, when the journal is copied, then seals and salts go along."""
    assert cut is not None
    async with connect(tamperer.url) as d:
        await d.queue[int]("jobs")._ask(Redact("asked for it"))
        await d.queue[int]("jobs").enqueue(1)
    under_way, done = postgres_url, sqlite_url

    await copy_journal(tamperer.url, under_way)
    assert await exported(under_way) == await exported(tamperer.url)
    assert b'"row":"salt"' in await exported(under_way)
    await scrub(tamperer)
    report = await copy_journal(tamperer.url, done)

    assert report.seals == 40
    assert await exported(done) == await exported(tamperer.url)
    assert b'"row":"salt"' not in await exported(done)
    for url in (under_way, done):
        assert (await verify(url)).findings == []


async def test_a_target_with_records(written_url: str, small_url: str) -> None:
    """Given a target that was counted in, when a journal is copied there, then it is refused and counts on."""
    async with connect(small_url) as d:
        await d.counter("mine").increment()

    with pytest.raises(ConfigurationError, match="has records already"):
        await copy_journal(written_url, small_url)

    async with connect(small_url) as d:
        assert await d.counter("mine").increment() == 2


async def test_another_number_of_slots(written_url: str, tmp_path: Path) -> None:
    """Given a target with another number of slots, when a journal is copied there, then it is refused."""
    url = f"sqlite:///{tmp_path}/sixteen.db"
    await asyncio.to_thread(upgrade, url, slots=16)

    with pytest.raises(ConfigurationError, match="16 slots"):
        await copy_journal(written_url, url)


async def test_no_tables_and_no_leave_to_make_them(written_url: str, database_url: str) -> None:
    """Given a database without tables, when none may be made, then nothing is made."""
    with pytest.raises(SchemaError, match="db upgrade"):
        await copy_journal(written_url, database_url, migrate=False)
