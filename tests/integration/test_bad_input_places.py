"""Journals that cannot be opened, and systems used at the wrong time or place."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from casty_es import (
    ClusteredActorSystem,
    Distributed,
    EntityQuarantinedError,
    InvalidArgumentError,
    JournalError,
    JournalUnavailableError,
    SchemaError,
    SqlJournal,
    UsageError,
    connect,
)
from casty_es.audit.retention import run_retention, set_retention
from casty_es.journal.urls import sqlite_file
from tests.audit.verifying.tampering import Tamperer

Rows: TypeAlias = Callable[..., Awaitable[list[tuple[Any, ...]]]]

ROOT = Path(__file__).parents[2]


async def use(url: str) -> int:
    """Open a journal and count."""
    async with connect(url) as d:
        return await d.counter("c").increment()


@pytest.mark.parametrize(
    "url",
    ["mysql://localhost/x", "casty.db", "", "redis://", "sqlite://casty.db", "sqlite+pysqlite:///x", "http://x/y"],
)
async def test_unknown_urls_are_refused(url: str) -> None:
    """A URL that names no journal is answered with what a URL looks like."""
    with pytest.raises(InvalidArgumentError, match="sqlite:///"):
        await use(url)
    with pytest.raises(InvalidArgumentError):
        SqlJournal(url)


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite://", "sqlite:///"])
async def test_an_sqlite_journal_in_memory_is_refused(url: str) -> None:
    """A journal in SQLite's memory would be gone: the error says what to use instead."""
    with pytest.raises(InvalidArgumentError, match="without a journal"):
        await use(url)


async def test_an_unreachable_server_is_a_clear_error() -> None:
    """A closed port is an error that names the place, hides the password and says what to check."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        with pytest.raises(JournalUnavailableError, match=f"127.0.0.1:{port}.*Check") as caught:
            await use(f"postgresql://someone:s3cret@127.0.0.1:{port}/nowhere")

    assert "s3cret" not in str(caught.value)


async def test_a_database_that_does_not_exist_is_a_clear_error(postgres_url: str) -> None:
    """A server that has no such database is an error of ours."""
    with pytest.raises(JournalUnavailableError, match="does not exist"):
        await use(postgres_url.replace("casty_test_", "no_such_"))


async def test_a_missing_directory_is_a_clear_error(tmp_path: Path) -> None:
    """A folder that is not there is named, and not created."""
    with pytest.raises(JournalUnavailableError, match=r"nowhere.*folder"):
        await use(f"sqlite:///{tmp_path}/nowhere/casty.db")

    assert os.listdir(tmp_path) == []  # noqa: PTH208 - pathlib counts as blocking here


async def test_a_directory_is_not_a_journal(tmp_path: Path) -> None:
    """A folder where the file should be is an error of ours."""
    with pytest.raises(JournalUnavailableError, match="cannot be opened"):
        await use(f"sqlite:///{tmp_path}")


async def test_a_file_of_something_else_is_not_touched(tmp_path: Path) -> None:
    """A file that is no database is refused, and stays as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, " * 1000)

    with pytest.raises(JournalError):
        await use(f"sqlite:///{path}")

    assert path.read_text() == "not a database, " * 1000


READ_ONLY = """
import asyncio, os, sys
from casty_es import JournalUnavailableError, connect

if os.geteuid() == 0:  # only now: the interpreter itself may be out of reach for others
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)

async def main():
    async with connect(sys.argv[1]) as d:
        print("count", await d.counter("c").increment())

try:
    asyncio.run(main())
except JournalUnavailableError as error:
    print("refused", error)
"""


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users can enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def as_ordinary_user(url: str) -> str:
    """Run the program above without the rights of an administrator, and return what it says."""
    return subprocess.run(
        [sys.executable, "-c", READ_ONLY, url],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.mark.parametrize("who", ["file", "folder"])
def test_what_an_ordinary_user_may_not_write_is_a_clear_error(
    public_folder: Path, sqlite_template: Path, who: str
) -> None:
    """A file without write permission, or a file in such a folder, is refused with what to check."""
    path = public_folder / "casty.db"
    path.write_bytes(sqlite_template.read_bytes())
    path.chmod(0o444 if who == "file" else 0o666)
    public_folder.chmod(0o777 if who == "file" else 0o555)
    before = path.read_bytes()

    said = as_ordinary_user(f"sqlite:///{path}")

    assert said.startswith("refused")
    assert str(path) in said
    assert path.read_bytes() == before


async def test_a_file_without_write_permission_is_refused_to_anybody(sqlite_journal_url: str) -> None:
    """A file that nobody may write is not written, not even by an administrator whom the system would let."""
    path = sqlite_file(sqlite_journal_url)
    path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    before = path.read_bytes()

    with pytest.raises(JournalUnavailableError, match="is read-only"):
        await use(sqlite_journal_url)

    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused(journal_url: str, rows: Rows) -> None:
    """A journal made by later code is not opened, and the error says to install that."""
    await rows(journal_url, "UPDATE casty_es_alembic_version SET version_num = 'casty_es_9999'")

    with pytest.raises(SchemaError, match=r"9999.*newer.*Install"):
        await use(journal_url)

    assert await rows(journal_url, "SELECT count(*) FROM casty_events") == [(0,)]


async def test_an_empty_postgres_database_names_the_command(postgres_url: str, rows: Rows) -> None:
    """On Postgres nothing is created: the error says what to run, and the database is as empty as before."""
    with pytest.raises(SchemaError, match="casty-es db upgrade"):
        await use(postgres_url)

    assert await rows(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert await rows(postgres_url, "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == [
        (0,)
    ]


async def test_a_missing_sqlite_file_is_made_by_connect_alone(sqlite_url: str) -> None:
    """``connect`` makes the embedded file; a journal that is opened by hand names the command."""
    with pytest.raises(SchemaError, match="casty-es db upgrade"):
        async with ClusteredActorSystem(journal=SqlJournal(sqlite_url)):
            pass
    assert not sqlite_file(sqlite_url).exists()

    assert await use(sqlite_url) == 1
    assert await use(sqlite_url) == 2


FROM_THE_FUTURE = "INSERT INTO casty_events SELECT {columns} FROM casty_events WHERE entity = {entity} AND sequence = 1"


@pytest.mark.parametrize(
    ("type_", "version", "payload"),
    [("counter.halved", 1, "payload"), ("counter.incremented", 99, "payload"), ("counter.incremented", 1, "'{}'")],
    ids=["unknown type", "newer version", "other payload"],
)
async def test_an_unknown_event_closes_its_entity_alone(
    journal_url: str, rows: Rows, type_: str, version: int, payload: str
) -> None:
    """An event that the code cannot read quarantines its entity; its neighbours and everything else go on."""
    async with connect(journal_url) as d:
        await d.counter("c").increment()
        await d.counter("c").increment()
        await d.map[str, int]("m").put("k", 1)
    ((entity, slot),) = await rows(journal_url, "SELECT id, slot FROM casty_entities WHERE name = 'c'")
    columns = (
        f"slot, (SELECT max(position) + 1 FROM casty_events WHERE slot = {slot}), epoch, entity, 3, '{type_}', "
        f"{version}, {payload}, metadata, command_id, idempotency_key, recorded_at, hash"
    )
    before = await rows(
        journal_url,
        FROM_THE_FUTURE.format(columns=columns, entity=entity),
        "SELECT count(*) FROM casty_events WHERE entity IS NOT NULL",
    )

    async with connect(journal_url) as d:
        for attempt in (d.counter("c").get, d.counter("c").increment, d.counter("c").destroy, d.counter("c").get):
            with pytest.raises(
                EntityQuarantinedError, match=r"counter 'c'.*slot \d+, position \d+, sequence 3.*Install"
            ):
                await attempt()
        assert await rows(journal_url, "SELECT count(*) FROM casty_events WHERE entity IS NOT NULL") == before
        results = await asyncio.gather(
            d.counter("c").get(), d.counter("b").increment(), d.map[str, int]("m").get("k"), return_exceptions=True
        )
        assert isinstance(results[0], EntityQuarantinedError)
        assert results[1:] == [1, 1]


@pytest.mark.parametrize(("text", "version"), [("{}", 99), ("[]", 1), ("", 1), ('{"value":"x"}', 1)])
async def test_a_snapshot_that_cannot_be_read_costs_nothing_but_time(
    journal_url: str, rows: Rows, text: str, version: int
) -> None:
    """A snapshot that cannot be read is passed over while the events are there, and the next one is written anew."""
    async with connect(journal_url) as d:
        for _ in range(3):
            await d.counter("c").increment()
    await rows(
        journal_url,
        f"INSERT INTO casty_snapshots SELECT id, 2, '{text}', {version}, 1 FROM casty_entities WHERE name = 'c'",
        "SELECT 1",
    )

    async with connect(journal_url) as d:
        assert await d.counter("c").get() == 3
        assert await d.counter("c").increment() == 4
        assert await d.counter("c").at(sequence=3).get() == 3


async def test_an_unreadable_snapshot_in_place_of_cut_events_closes_its_entity_alone(
    journal_url: str, tmp_path: Path
) -> None:
    """A snapshot that cannot be read, and is all that is left of cut events, quarantines its entity alone."""
    journal = SqlJournal(journal_url)
    await journal.open()
    async with ClusteredActorSystem(journal=SqlJournal(journal_url)) as system:
        for _ in range(3):
            await system.distributed().counter("c").increment()
        await set_retention(journal, "counter", "c", 1)
        assert (await run_retention(system, journal, tmp_path, pace=0)).events == 2
    await journal.close()
    await Tamperer(journal_url).run("UPDATE casty_snapshots SET version = 99")

    async with connect(journal_url) as d:
        with pytest.raises(EntityQuarantinedError, match=r"slot \d+, sequence 2.*state version 99.*were cut"):
            await d.counter("c").get()
        with pytest.raises(EntityQuarantinedError, match="state version 99"):
            await d.counter("c").at(sequence=3).get()
        assert await d.counter("b").increment() == 1


async def test_before_the_start_and_after_the_close(journal_url: str) -> None:
    """A system that does not run says so, for every kind of call."""
    system = ClusteredActorSystem(journal=SqlJournal(journal_url))
    d = Distributed(system)
    calls = (d.counter("c").increment, d.set[int]("s").size, d.lock("l").acquire, lambda: d.barrier("b").arrive(1))
    for call in calls:
        with pytest.raises(UsageError, match=r"not been started.*async with"):
            await call()

    async with system:
        assert await d.counter("c").increment() == 1
        with pytest.raises(UsageError, match="running already"):
            await system.__aenter__()
        assert await d.counter("c").increment() == 2

    for call in calls:
        with pytest.raises(UsageError, match="been closed"):
            await call()


async def test_from_another_event_loop(d: Distributed) -> None:
    """A handle belongs to the event loop of its system; a thread with another loop is refused, and harms nothing."""
    counter = d.counter("c")
    await counter.increment()
    errors: list[BaseException] = []

    def elsewhere() -> None:
        for call in (counter.increment, d.lock("l").acquire, d.set[int]("s").size):
            try:
                asyncio.run(call())
            except UsageError as error:
                errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)

    assert len(errors) == 3
    assert all("another event loop" in str(error) for error in errors)
    assert await counter.increment() == 2


async def forked(task: Callable[[], None]) -> int:
    """Run a task in a fork of this process, and return its exit code: 0 when it did not raise."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(20)  # a child that hangs must not outlive the test
            asyncio._set_running_loop(None)
            task()
            code = 0
        finally:
            os._exit(code)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    return os.waitstatus_to_exitcode(status)


async def test_after_a_fork(d: Distributed) -> None:
    """A forked child cannot use the system of its parent; the parent goes on."""
    counter = d.counter("c")
    await counter.increment()

    def in_the_child() -> None:
        with pytest.raises(UsageError, match="fork"):
            asyncio.run(counter.increment())
        with pytest.raises(UsageError, match="fork"):
            asyncio.run(d.lock("l").acquire())

    assert await forked(in_the_child) == 0
    assert await counter.increment() == 2


async def test_a_forked_child_does_not_give_away_the_leases(journal_url: str) -> None:
    """When a child lets go of what it inherited, its parent is alive to others, and owns what it owned."""
    system = ClusteredActorSystem(journal=SqlJournal(journal_url), node_id="parent")
    async with system:
        await system.distributed().counter("c").increment()

        assert await forked(gc.collect) == 0

        async with ClusteredActorSystem(journal=SqlJournal(journal_url)) as other:
            await other.wait_for(2, timeout=60.0)
            assert await other.distributed().counter("c").increment() == 2
        assert await system.distributed().counter("c").increment() == 3
