"""The three journals, open and empty."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.migrating import upgrade
from casty_es.journal.port import EventJournal
from casty_es.journal.schema import MAX_SLOTS
from casty_es.journal.sql import SqlJournal


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def closed_journal(request: pytest.FixtureRequest) -> EventJournal:
    """Each journal in turn, not open yet."""
    if request.param == "memory":
        return InMemoryJournal()
    return SqlJournal(str(request.getfixturevalue(f"{request.param}_journal_url")))


@pytest_asyncio.fixture
async def journal(closed_journal: EventJournal) -> AsyncIterator[EventJournal]:
    """Each journal in turn, open and without a record."""
    await closed_journal.open()
    yield closed_journal
    await closed_journal.close()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def closed_widest_journal(request: pytest.FixtureRequest) -> EventJournal:
    """Each journal in turn, not open yet, with as many slots as there can be."""
    if request.param == "memory":
        return InMemoryJournal(slots=MAX_SLOTS)
    url = str(request.getfixturevalue(f"{request.param}_url"))
    upgrade(url, slots=MAX_SLOTS)
    return SqlJournal(url)


@pytest_asyncio.fixture
async def widest_journal(closed_widest_journal: EventJournal) -> AsyncIterator[EventJournal]:
    """Each journal in turn, open, with as many slots as there can be."""
    await closed_widest_journal.open()
    yield closed_widest_journal
    await closed_widest_journal.close()


@pytest_asyncio.fixture
async def three_journals(sqlite_journal_url: str, postgres_journal_url: str) -> AsyncIterator[list[EventJournal]]:
    """All three at once, open and without a record."""
    journals: list[EventJournal] = [InMemoryJournal(), SqlJournal(sqlite_journal_url), SqlJournal(postgres_journal_url)]
    for journal in journals:
        await journal.open()
    yield journals
    for journal in journals:
        await journal.close()
