"""Closing a journal in an SQLite file: nothing stays open, and nothing is opened again, whoever is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from casty_es.errors import JournalUnavailableError, SchemaError
from casty_es.journal import sql as sql_module
from casty_es.journal import sqlite_log
from casty_es.journal.port import NodeRow
from casty_es.journal.sql import SqlJournal
from casty_es.journal.sqlite_connection import Connection

NODE = NodeRow("n", "h", 1, None, 1, 1)


@pytest_asyncio.fixture
async def journal(sqlite_journal_url: str) -> AsyncIterator[SqlJournal]:
    """An open journal."""
    journal = SqlJournal(sqlite_journal_url)
    await journal.open()
    yield journal
    await journal.close()


def connections(journal: SqlJournal) -> list[Connection]:
    """Return the journal's two connections."""
    backend: Any = journal._backend
    return [backend._reader, backend._writer]


async def test_a_long_log_does_not_open_the_file_again(journal: SqlJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a log that is too long and a write on its way, when the journal is closed, then it stays closed."""
    monkeypatch.setattr(sqlite_log, "LIMIT_BYTES", 10)
    backend: Any = journal._backend
    reader, writer = connections(journal)
    held = threading.Event()
    holding = asyncio.create_task(writer.run(held.wait, 20))
    writing = asyncio.create_task(journal.register_node(NODE))
    while writer._thread._work_queue.qsize() < 1:  # noqa: ASYNC110 - no event tells what is in line
        await asyncio.sleep(0)
    closing = asyncio.create_task(journal.close())
    while writer._thread._work_queue.qsize() < 2:  # noqa: ASYNC110 - no event tells what is in line
        await asyncio.sleep(0)
    backend._log._next = 0.0

    held.set()
    await asyncio.gather(holding, writing, closing)

    assert (reader.sqlite, writer.sqlite) == (None, None)


async def test_a_close_that_is_cancelled_is_carried_out(journal: SqlJournal) -> None:
    """Given a reader that is busy, when whoever closes the journal is cancelled, then both connections are closed."""
    reader, writer = connections(journal)
    held = threading.Event()
    holding = asyncio.create_task(reader.run(held.wait, 20))
    closing = asyncio.create_task(journal.close())
    await asyncio.sleep(0)

    closing.cancel()
    held.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await holding

    assert (reader.sqlite, writer.sqlite) == (None, None)


async def test_an_open_that_fails_and_is_cancelled_can_be_repeated(
    sqlite_journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an open that fails, when it is cancelled while it cleans up, then the same journal opens later."""
    journal = SqlJournal(sqlite_journal_url)
    opening = asyncio.create_task(journal.open())
    failed = connections(journal)

    def fail(_rows: object) -> None:
        opening.cancel()
        raise SchemaError("An import is not complete.")

    with monkeypatch.context() as incomplete:
        incomplete.setattr(sql_module, "meta_of", fail)
        with pytest.raises(asyncio.CancelledError):
            await opening

    assert [connection.sqlite for connection in failed] == [None, None]
    assert (await journal.open()).slots == 256
    await journal.close()


async def test_work_for_a_closed_connection_is_refused(journal: SqlJournal) -> None:
    """Given a closed connection, when it is asked for something, then an error of ours says what was not done."""
    backend = journal._backend
    await journal.close()

    with pytest.raises(JournalUnavailableError, match=r"closed meanwhile.*Nothing was done"):
        await backend.write("DELETE FROM casty_nodes")


async def test_later_work_does_not_fail_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    """Given work that nobody waits for, when it fails as nobody foresaw, then the log has it."""
    connection = Connection("casty-test")

    def fail() -> None:
        raise OSError("as nobody foresaw")

    connection.run_later(fail)
    await connection.close()

    assert "as nobody foresaw" in caplog.text


async def test_files_are_forgotten_before_they_are_closed() -> None:
    """Given a connection that is closed, when its log goes away with it, then nobody looks for the log any more."""
    connection: Any = Connection("casty-test")
    seen: list[object] = []

    class Closing:
        def close(self) -> None:
            seen.extend([connection.sqlite, connection.files])

    connection.sqlite, connection.files = Closing(), "files"
    await connection.close()

    assert seen == [None, None]
