# ruff: noqa: ASYNC110 -- a look at a file blocks nobody, and no operating system tells when it shrinks
"""A long reader keeps SQLite's log from being emptied: the log is bounded otherwise, and the reader is named."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

import casty_es
from casty_es.cli import doctor_sqlite
from casty_es.cli.app import run
from casty_es.journal import sqlite_log
from casty_es.journal.urls import sqlite_file

LIMIT = 400_000
_READS = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN');"
    "c.execute('SELECT count(*) FROM casty_events').fetchall(); print('reads', flush=True); sys.stdin.readline()"
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound the log where a test reaches it soon."""
    monkeypatch.setattr(sqlite_log, "CHECKPOINT_PAGES", 50)
    monkeypatch.setattr(sqlite_log, "LIMIT_BYTES", LIMIT)
    monkeypatch.setattr(doctor_sqlite, "LIMIT_BYTES", LIMIT)
    monkeypatch.setattr(sqlite_log, "_AGAIN_SECONDS", 0.05)


@asynccontextmanager
async def reading(file: Path) -> AsyncIterator[int]:
    """Hold a transaction open that reads, in a process of its own; return its id."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _READS, str(file)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"reads\n"
    yield process.pid
    await process.communicate(b"\n")


def log_of(file: Path) -> Path:
    """Return the write-ahead log of a journal."""
    return file.with_name("casty.db-wal")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said of the log."""
    return [one.getMessage() for one in caplog.records if one.name == "casty_es.journal"]


async def grow(d: casty_es.Distributed, file: Path, caplog: pytest.LogCaptureFixture, times: int = 3) -> None:
    """Write until the log is so many times as long as it should be, and somebody was told."""
    users = d.map[str, str]("m")
    number = 0
    while log_of(file).stat().st_size < times * LIMIT or not warnings(caplog):
        number += 1
        await users.put(f"k{number % 10}", "x" * 10_000)


async def test_a_long_reader_is_named_and_the_log_shrinks(
    sqlite_journal_url: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a transaction that reads for long, when the log grows, then its process is named, and it shrinks later."""
    file = sqlite_file(sqlite_journal_url)
    async with casty_es.connect(sqlite_journal_url) as d:
        await d.counter("c").increment()
        async with reading(file) as pid:
            await grow(d, file, caplog)
            [told] = warnings(caplog)
            assert f"process {pid} (" in told
            assert f"{log_of(file)} has " in told

            await grow(d, file, caplog, times=6)
            assert warnings(caplog) == [told]  # once a minute

            capsys.readouterr()
            await asyncio.to_thread(run, ["doctor", "--json", "--url", sqlite_journal_url])
            checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
            assert checks["write-ahead log"]["status"] == "warn"
            assert f"read by process {pid} (" in checks["write-ahead log"]["found"]

        # nothing more is written, and the log is cut all the same
        while log_of(file).stat().st_size > LIMIT:
            await asyncio.sleep(0.01)
        assert await d.counter("c").get() == 1


async def test_a_log_that_nobody_holds_stays_short(sqlite_journal_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Given readers that end, when much is written, then the log stays at its limit and nothing is said."""
    file = sqlite_file(sqlite_journal_url)
    async with casty_es.connect(sqlite_journal_url) as d:
        users = d.map[str, str]("m")
        longest = 0
        for number in range(300):
            await users.put(f"k{number % 10}", "x" * 10_000)
            with closing(sqlite3.connect(file)) as reader:
                reader.execute("SELECT count(*) FROM casty_events").fetchall()
            longest = max(longest, log_of(file).stat().st_size)
    assert longest < 2 * LIMIT
    assert warnings(caplog) == []


async def test_a_reader_in_this_process_is_named(sqlite_journal_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Given a transaction of the node's own process, when the log grows, then node and process are named."""
    file = sqlite_file(sqlite_journal_url)
    journal = casty_es.SqlJournal(sqlite_journal_url)
    async with casty_es.ClusteredActorSystem(journal=journal, node_id="worker-1") as system:
        d = system.distributed()
        await d.counter("c").increment()
        with closing(sqlite3.connect(file, isolation_level=None)) as reader, caplog.at_level(logging.WARNING):
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM casty_events").fetchall()
            await grow(d, file, caplog)
    [told] = warnings(caplog)
    assert f"process {os.getpid()} (node 'worker-1', this process, " in told
