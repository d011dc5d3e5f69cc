"""What the system or SQLite refuses leaves a journal in a file as an error of ours, with nothing left open."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from casty_es.errors import JournalUnavailableError
from casty_es.format.chain import GENESIS
from casty_es.journal import restoring
from casty_es.journal.port import LEASE_ACQUIRED, Append
from casty_es.journal.sql import SqlJournal
from casty_es.journal.sqlite import SqliteBackend

APPEND = Append([(3, 0, GENESIS)], [(3, 1, 1, None, None, LEASE_ACQUIRED, 1, "{}", None, None, None, 0, bytes(32))])


@pytest_asyncio.fixture
async def journal(sqlite_journal_url: str) -> AsyncIterator[SqlJournal]:
    """An open journal."""
    journal = SqlJournal(sqlite_journal_url)
    await journal.open()
    yield journal
    await journal.close()


def path_of(journal: SqlJournal) -> Path:
    """Return the journal's path."""
    assert journal.file is not None
    return journal.file


async def test_a_maintenance_lock_that_cannot_be_used(journal: SqlJournal) -> None:
    """Given a folder in the place of the lock file, when maintenance begins, then it is refused."""
    path_of(journal).with_name("casty.db.maintenance.lock").mkdir()

    with pytest.raises(JournalUnavailableError, match=r"maintenance\.lock cannot be used.*Nothing was done"):
        async with journal.alone():
            pass


async def test_a_path_that_cannot_be_looked_at(tmp_path: Path) -> None:
    """Given a name that is too long for the system, when it is opened, then the error says why not."""
    backend = SqliteBackend(tmp_path / ("x" * 300))

    with pytest.raises(JournalUnavailableError, match=r"cannot be opened: .*too long"):
        await backend.open()
    await backend.close()


async def test_a_path_that_cannot_be_looked_at_any_more(journal: SqlJournal) -> None:
    """Given a link that leads to itself in the file's place, when a busy journal appends, then it is refused."""
    path, backend = path_of(journal), journal._backend
    aside = path.rename(path.with_name("aside.db"))
    path.symlink_to(path)
    place: Any = backend._place  # type: ignore[attr-defined]
    place._looked_at = time.monotonic() + 60  # as if it had looked just now

    with pytest.raises(JournalUnavailableError, match=r"cannot be looked at.*Nothing was written"):
        await journal.append(APPEND)

    path.unlink()
    aside.rename(path)
    await journal.append(APPEND)


@pytest.mark.parametrize("content", [None, "the accounts of the year\n" * 100])
async def test_a_file_that_cannot_be_filled(content: str | None, tmp_path: Path) -> None:
    """Given no file, or one of something else, when it is to be filled, then the error says why not."""
    file = tmp_path / "casty.db"
    if content is not None:
        file.write_text(content)

    with pytest.raises(JournalUnavailableError, match=r"could not be (opened|written)"):
        await restoring._Sqlite.opened(file)


def test_a_commit_that_is_refused_leaves_no_transaction_open() -> None:
    """Given a commit that breaks a constraint, when it is refused, then what was begun is undone."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as sqlite:
        sqlite.execute("PRAGMA foreign_keys = ON")
        sqlite.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        sqlite.execute("CREATE TABLE b (a INTEGER REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)")

        with pytest.raises(sqlite3.IntegrityError), restoring._sqlite_transaction(sqlite):
            sqlite.execute("INSERT INTO b VALUES (1)")

        assert not sqlite.in_transaction
