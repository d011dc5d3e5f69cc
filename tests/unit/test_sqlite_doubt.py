"""What a journal in an SQLite file says when it does not know what reached the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest
import pytest_asyncio

from casty_es.errors import JournalUnavailableError
from casty_es.journal import sqlite as backend_module
from casty_es.journal.port import NodeRow
from casty_es.journal.sql import SqlJournal

NODE = NodeRow("n", "h", 1, None, 1, 1)
STEP = ("UPDATE casty_meta SET created_at = 7 WHERE id = 1", ())


class Forgetful:
    """A connection that does what it is asked and says of one statement that the disk failed."""

    def __init__(self, sqlite: sqlite3.Connection, statement: str) -> None:
        self._sqlite = sqlite
        self._statement = statement

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqlite, name)

    def execute(self, statement: str, *parameters: Any) -> Any:
        """Execute a statement, and then fail if it is the one."""
        done = self._sqlite.execute(statement, *parameters)
        if self._statement in statement:
            done.fetchall()
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        return done


@pytest_asyncio.fixture
async def journal(sqlite_journal_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqlJournal]:
    """An open journal that does not wait long for other writers."""
    monkeypatch.setattr(backend_module, "_BUSY_TIMEOUT_SECONDS", 0.05)
    journal = SqlJournal(sqlite_journal_url)
    await journal.open()
    yield journal
    await journal.close()


def forget(journal: SqlJournal, statement: str) -> None:
    """Let the journal's disk fail after a statement."""
    writer = journal._backend._writer  # type: ignore[attr-defined]
    writer.sqlite = Forgetful(writer.sqlite, statement)


async def test_a_write_in_doubt_is_not_denied(journal: SqlJournal) -> None:
    """Given a disk that fails after a write, when the caller is told, then the write is not said not to be there."""
    forget(journal, "INSERT INTO casty_nodes")

    with pytest.raises(JournalUnavailableError, match="may have been written") as told:
        await journal.register_node(NODE)

    assert "Nothing was written" not in str(told.value)
    assert await journal.nodes() == [NODE]


async def test_a_step_of_the_upkeep_in_doubt_is_not_denied(journal: SqlJournal) -> None:
    """Given a disk that fails after the commit of a step, when the caller is told, then the step is not denied."""
    forget(journal, "COMMIT")

    with pytest.raises(JournalUnavailableError, match="as a whole or not at all") as told:
        await journal.maintain([STEP])

    assert "Nothing was written" not in str(told.value)
    assert await journal.query("SELECT created_at FROM casty_meta") == [(7,)]


async def test_a_refused_write_is_denied(journal: SqlJournal) -> None:
    """Given another writer, when a write and a step wait too long, then both say that nothing was written."""
    assert journal.file is not None
    with closing(sqlite3.connect(journal.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailableError, match="Nothing was written"):
            await journal.register_node(NODE)
        with pytest.raises(JournalUnavailableError, match="Nothing was written"):
            await journal.maintain([STEP])

    assert await journal.nodes() == []


async def test_what_cannot_be_stored_leaves_no_transaction_open(journal: SqlJournal) -> None:
    """Given a number beyond 64 bits, when a write or a step has it, then both say so and others may write."""
    assert journal.file is not None
    with pytest.raises(JournalUnavailableError, match=r"too large.*Nothing was written"):
        await journal.register_node(NodeRow("n", "h", 2**63, None, 1, 1))
    with pytest.raises(JournalUnavailableError, match=r"too large.*Nothing was written"):
        await journal.maintain([STEP, ("UPDATE casty_meta SET created_at = ? WHERE id = 1", (2**63,))])

    with closing(sqlite3.connect(journal.file, isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")
    [(maintenance, created_at)] = await journal.query("SELECT maintenance, created_at FROM casty_meta")
    assert not maintenance
    assert created_at != 7
