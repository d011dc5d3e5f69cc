# ruff: noqa: ASYNC240 -- a look at a file of the test blocks nobody
"""The journal on SQLite: what it demands of the file, and what it says when the file will not do."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from casty_es.errors import (
    AppendRejectedError,
    ConfigurationError,
    JournalCorruptError,
    JournalUnavailableError,
    SchemaError,
    UnsafeDurabilityError,
)
from casty_es.format.chain import GENESIS
from casty_es.journal import sqlite as backend_module
from casty_es.journal.port import LEASE_ACQUIRED, Append, Head
from casty_es.journal.sql import SqlJournal
from casty_es.journal.sqlite import SqliteBackend
from casty_es.journal.urls import sqlite_file

Sql = Callable[..., list[tuple[Any, ...]]]


def lease(slot: int, position: int, previous: bytes = GENESIS, payload: str = "{}") -> Append:
    """Return an append of one lease record, whose hash is its position."""
    row = (slot, position, position, None, None, LEASE_ACQUIRED, 1, payload, None, None, None, 0)
    return Append([(slot, position - 1, previous)], [(*row, hash_of(position))])


def hash_of(position: int) -> bytes:
    """Return the hash that ``lease`` writes at a position."""
    return position.to_bytes(32, "big")


@pytest.fixture
def file(sqlite_journal_url: str) -> Path:
    """The file of an empty journal."""
    return sqlite_file(sqlite_journal_url)


@pytest_asyncio.fixture
async def journal(sqlite_journal_url: str) -> AsyncIterator[SqlJournal]:
    """An open journal with one record in slot 3."""
    journal = SqlJournal(sqlite_journal_url)
    await journal.open()
    await journal.append(lease(3, 1))
    yield journal
    await journal.close()


@contextmanager
def other_writer(file: Path) -> Iterator[sqlite3.Connection]:
    """Hold the file's write lock from another connection, as a second process would."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    finally:
        connection.close()


@pytest.mark.parametrize("synchronous", ["FULL", "EXTRA", "extra"])
async def test_settings_read_back(synchronous: str, file: Path) -> None:
    """Given a file in another journal mode, when it is opened, then both connections say WAL and what was asked."""
    with sqlite3.connect(file) as before:
        assert before.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    before.close()
    backend = SqliteBackend(file, synchronous=synchronous)
    await backend.open()

    settings = [
        [(await run(f"PRAGMA {name}"))[0][0] for name in ("journal_mode", "synchronous", "fullfsync", "busy_timeout")]
        for run in (backend.read, backend.write)
    ]

    number = {"FULL": 2, "EXTRA": 3}[synchronous.upper()]
    assert settings == [["wal", number, 1, 5_000]] * 2
    await backend.close()


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF", "normal", "0", "1", "FULLISH", ""])
def test_less_than_full_is_refused(synchronous: str, sqlite_url: str) -> None:
    """Given a setting below FULL, when a journal is made, then it is refused and the way out is named."""
    with pytest.raises(UnsafeDurabilityError, match="unsafe_durability=True"):
        SqlJournal(sqlite_url, synchronous=synchronous)


async def test_less_than_full_if_the_caller_says_so(sqlite_journal_url: str) -> None:
    """Given unsafe_durability, when NORMAL is asked for, then NORMAL is what the connection has."""
    journal = SqlJournal(sqlite_journal_url, unsafe_durability=True, synchronous="NORMAL")
    await journal.open()

    assert await journal._backend.write("PRAGMA synchronous") == [(1,)]
    await journal.append(lease(3, 1))
    await journal.close()


async def test_busy_file(
    journal: SqlJournal, sqlite_journal_url: str, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    """Given another writer that holds the file too long, when appended, then it is rejected and nothing written."""
    await journal.close()
    monkeypatch.setattr(backend_module, "_BUSY_TIMEOUT_SECONDS", 0.05)
    impatient = SqlJournal(sqlite_journal_url)
    await impatient.open()
    with other_writer(sqlite_file(sqlite_journal_url)):
        with pytest.raises(AppendRejectedError, match=r"database is locked .*Nothing was written"):
            await impatient.append(lease(3, 2, hash_of(1)))
        with pytest.raises(JournalUnavailableError, match="database is locked"):
            await impatient.record_structures([("counter", "a", 1)])
        assert (await impatient.heads([3]))[3].position == 1  # readers go on

    assert sql(sqlite_journal_url, "SELECT count(*) FROM casty_events") == [(1,)]
    await impatient.append(lease(3, 2, hash_of(1)))
    await impatient.close()


async def test_busy_file_becomes_free(journal: SqlJournal, sqlite_journal_url: str) -> None:
    """Given another writer, when it commits while an append waits, then the append is written after it."""
    with other_writer(sqlite_file(sqlite_journal_url)) as other:
        waiting = asyncio.create_task(journal.append(lease(3, 2, hash_of(1))))
        other.execute("INSERT INTO casty_nodes VALUES ('n', 'h', 1, NULL, 1, 1)")
        assert not waiting.done()
        other.execute("COMMIT")
        await waiting

    assert (await journal.heads([3]))[3].position == 2
    assert [node.node_id for node in await journal.nodes()] == ["n"]


async def test_disk_full(journal: SqlJournal, sqlite_journal_url: str, sql: Sql) -> None:
    """Given a file that may not grow, when an append needs more, then it is rejected, and all is intact afterwards."""
    [(pages,)] = await journal._backend.write("PRAGMA page_count")
    await journal._backend.write(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(AppendRejectedError, match="database or disk is full"):
        await journal.append(lease(3, 2, hash_of(1), payload='"' + "x" * 1_000_000 + '"'))

    assert sql(sqlite_journal_url, "PRAGMA integrity_check") == [("ok",)]
    assert await journal.heads([3]) == {3: Head(1, hash_of(1), 1)}
    await journal._backend.write("PRAGMA max_page_count = 1000000")
    await journal.append(lease(3, 2, hash_of(1), payload='"' + "x" * 1_000_000 + '"'))
    assert (await journal.heads([3]))[3].position == 2


@pytest.mark.parametrize(
    "append",
    [
        pytest.param(lease(3, 2, hash_of(1), payload='"\ud800"'), id="lone surrogate"),
        pytest.param(lease(4, 2**63), id="beyond 64 bits"),
    ],
)
async def test_what_the_driver_cannot_send(append: Append, journal: SqlJournal, sqlite_journal_url: str) -> None:
    """Given a row that SQLite cannot hold, when appended, then it is rejected and no transaction stays open."""
    with pytest.raises(AppendRejectedError):
        await journal.append(append)

    with other_writer(sqlite_file(sqlite_journal_url)):  # nobody else holds the write lock
        pass
    await journal.append(lease(3, 2, hash_of(1)))


async def test_number_of_slots_is_not_bound_by_parameters(journal: SqlJournal) -> None:
    """Given SQLite with its default of 32,766 parameters, when 8,182 used slots are one append, it is written."""
    await journal.append(_leases(1, GENESIS))
    writer = journal._backend._writer  # type: ignore[attr-defined]
    await writer.run(writer.sqlite.setlimit, sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)

    await journal.append(_leases(2, hash_of(1)))

    assert {head.position for head in (await journal.heads(range(10, 8_192))).values()} == {2}


def _leases(position: int, previous: bytes) -> Append:
    appends = [lease(slot, position, previous) for slot in range(10, 8_192)]
    return Append([append.predecessors[0] for append in appends], [append.events[0] for append in appends])


async def test_foreign_file(file: Path) -> None:
    """Given the file of another program, when it is opened, then it is refused and not a byte of it changes."""
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA application_id = 252006675")
    connection.close()
    before = file.read_bytes()

    with pytest.raises(ConfigurationError, match=r"belongs to another program: its application_id is 0xf055113"):
        await SqlJournal(f"sqlite:///{file}").open()

    assert file.read_bytes() == before


async def test_file_that_is_no_database(file: Path) -> None:
    """Given a file of something else, when it is opened, then the error says so and not a byte of it changes."""
    file.write_text("the accounts of the year\n" * 100)

    with pytest.raises(JournalUnavailableError, match="file is not a database"):
        await SqlJournal(f"sqlite:///{file}").open()

    assert file.read_text() == "the accounts of the year\n" * 100


async def test_missing_file(sqlite_url: str) -> None:
    """Given no file, when a journal is opened, then the command to run is named and no file is made."""
    with pytest.raises(SchemaError, match="casty-es db upgrade --url"):
        await SqlJournal(sqlite_url).open()

    assert not sqlite_file(sqlite_url).exists()


async def test_missing_folder(tmp_path: Path) -> None:
    """Given no folder, when a journal is opened, then the error says that the file cannot be opened."""
    with pytest.raises(JournalUnavailableError, match="unable to open database file"):
        await SqlJournal(f"sqlite:///{tmp_path / 'absent' / 'casty.db'}").open()


async def test_damaged_page(file: Path) -> None:
    """Given a journal whose table and index are overwritten, when it is read, then it is said to be damaged."""
    with sqlite3.connect(file) as connection:
        pages = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE tbl_name = 'casty_events' AND rootpage > 0"
        ).fetchall()
        [(size,)] = connection.execute("PRAGMA page_size").fetchall()
    connection.close()
    with file.open("r+b") as raw:
        for (page,) in pages:
            raw.seek((page - 1) * size)
            raw.write(b"\x99" * size)
    journal = SqlJournal(f"sqlite:///{file}")
    await journal.open()

    with pytest.raises(JournalCorruptError, match="is damaged"):
        await journal.records(3)
    await journal.close()


async def test_failed_open_can_be_repeated(sqlite_url: str, sqlite_template: Path) -> None:
    """Given a journal that could not be opened, when the file is there at last, then the same object opens it."""
    journal = SqlJournal(sqlite_url)
    with pytest.raises(SchemaError):
        await journal.open()
    shutil.copyfile(sqlite_template, sqlite_file(sqlite_url))

    assert (await journal.open()).slots == 256
    await journal.close()


async def test_cancelled_append_is_committed(journal: SqlJournal, sqlite_journal_url: str) -> None:
    """Given an append that has begun, when its caller is cancelled, then it is committed all the same."""
    writer, began = journal._backend._writer, threading.Event()  # type: ignore[attr-defined]
    await writer.run(writer.sqlite.set_trace_callback, lambda _: began.set())
    with other_writer(sqlite_file(sqlite_journal_url)):
        append = asyncio.create_task(journal.append(lease(3, 2, hash_of(1))))
        await asyncio.to_thread(began.wait)
        append.cancel()
        with pytest.raises(asyncio.CancelledError):
            await append

    await journal.append(lease(3, 3, hash_of(2)))
    assert (await journal.heads([3]))[3].position == 3


READ_ONLY = textwrap.dedent("""
    import asyncio, os, sys
    from casty_es.errors import CastyError
    from casty_es.journal.port import Append
    from casty_es.journal.sql import SqlJournal

    os.setgroups([]); os.setgid(65534); os.setuid(65534)

    async def main():
        journal = SqlJournal(sys.argv[1])
        try:
            await journal.open()
            print("opened", await journal.records(3))
            row = (3, 1, 1, None, None, "lease.acquired", 1, "{}", None, None, None, 0, bytes(32))
            await journal.append(Append([(3, 0, bytes(32))], [row]))
        except CastyError as error:
            print(type(error).__name__, error)
        finally:
            await journal.close()

    asyncio.run(main())
""")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
@pytest.mark.parametrize(
    ("folder_mode", "said"),
    [
        (0o755, r"JournalUnavailableError .*Nothing was written.*that it may be written"),
        (0o777, r"JournalUnavailableError .*is read-only.*Nothing was opened.*Give it write permission"),
    ],
)
def test_file_without_write_permission(folder_mode: int, said: str, file: Path) -> None:
    """Given a user who may only read the file, when it is used, then opening it says why not."""
    for folder in [file.parent, *file.parent.parents]:
        if "pytest-of-" in str(folder):
            folder.chmod(folder.stat().st_mode | 0o055)
    file.parent.chmod(folder_mode)
    file.chmod(0o444)
    before = file.read_bytes()

    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, f"sqlite:///{file}"], capture_output=True, text=True, check=False
    )

    assert done.stderr == ""
    assert re.match(said, done.stdout)
    assert file.read_bytes() == before
