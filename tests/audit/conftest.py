"""Systems whose clock the tests set, and journals of few slots for what walks through all of them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from casty_es import ClusteredActorSystem, Distributed, SqlJournal
from casty_es.journal.migrating import upgrade
from casty_es.journal.urls import sqlite_file
from casty_es.runtime import SystemRuntime
from tests.audit.verifying.journals import SLOTS
from tests.conftest import postgres_database
from tests.emptied import Databases

NOON = 1_763_380_800_000_000  # 2025-11-17 12:00 UTC, in microseconds


class SetClock(SystemRuntime):
    """The real ids, and a clock that stands until it is set."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> int:
        """Return the time that was set, in microseconds."""
        return self.time


@pytest.fixture
def clock() -> SetClock:
    """A clock that begins at noon."""
    return SetClock()


@pytest_asyncio.fixture
async def journal(journal_url: str) -> AsyncIterator[SqlJournal]:
    """Each database's journal, open."""
    journal = SqlJournal(journal_url)
    await journal.open()
    yield journal
    await journal.close()


@pytest_asyncio.fixture
async def system(journal_url: str, clock: SetClock) -> AsyncIterator[ClusteredActorSystem]:
    """A node with that clock."""
    async with ClusteredActorSystem(journal=SqlJournal(journal_url), runtime=clock, node_id="node-a") as system:
        yield system


@pytest.fixture
def d(system: ClusteredActorSystem) -> Distributed:
    """The node's structures."""
    return system.distributed()


@pytest.fixture(scope="session")
def small_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file with few slots."""
    path = tmp_path_factory.mktemp("small") / "casty.db"
    upgrade(f"sqlite:///{path}", slots=SLOTS)
    return path


@pytest.fixture(scope="session")
def small_postgres(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database with few slots."""
    with postgres_database(postgres_server) as url:
        upgrade(url, slots=SLOTS)
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture
def small_sqlite_url(sqlite_url: str, small_sqlite: Path) -> str:
    """A migrated file with few slots, without a record."""
    shutil.copyfile(small_sqlite, sqlite_file(sqlite_url))
    return sqlite_url


@pytest.fixture
def small_postgres_url(postgres_copies: Databases, small_postgres: str) -> Iterator[str]:
    """A migrated Postgres database with few slots, without a record."""
    with postgres_copies.copy_of(small_postgres) as url:
        yield url


@pytest.fixture
def small_url(database_kind: str, request: pytest.FixtureRequest) -> str:
    """A migrated database of each kind with few slots, without a record."""
    return str(request.getfixturevalue(f"small_{database_kind}_url"))
