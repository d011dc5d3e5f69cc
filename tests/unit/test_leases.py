# ruff: noqa: ASYNC240 -- a look at a file of the test blocks nobody
"""A lease has one holder; it is free when the holder gives it back or dies; the holder hears when it is lost."""

from __future__ import annotations

import asyncio
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from casty_es.errors import JournalUnavailableError
from casty_es.journal.urls import is_sqlite, postgres_dsn, sqlite_file
from casty_es.leases import postgres as postgres_leases
from casty_es.leases.file import FileLeaseManager
from casty_es.leases.memory import ProcessLeaseManager
from casty_es.leases.port import LeaseManager
from casty_es.leases.postgres import PostgresLeaseManager

WAIT_FOR_LOCK = "SELECT pg_advisory_lock('casty_events'::regclass::oid::int, -1)"

# A process that takes the lease, says so, and says so again when it has lost it.
HOLDER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from casty_es.leases import postgres
    from casty_es.leases.file import FileLeaseManager

    async def main():
        kind, where, idle = sys.argv[1:]
        postgres._SESSION["idle_session_timeout"] = idle
        if kind == "sqlite":
            manager = FileLeaseManager(Path(where))
        else:
            manager = postgres.PostgresLeaseManager(where, heartbeat_seconds=0.05)
        lease = await manager.try_acquire()
        print("held" if lease else "refused", flush=True)
        if lease:
            print("lost", await lease.lost, flush=True)

    asyncio.run(main())
""")


def make_manager(url: str, heartbeat_seconds: float = 0.1) -> LeaseManager:
    """Give the manager of a journal's lease, as one more process would have it."""
    if is_sqlite(url):
        return FileLeaseManager(sqlite_file(url))
    return PostgresLeaseManager(url, heartbeat_seconds=heartbeat_seconds)


@asynccontextmanager
async def another_process(url: str, idle: str = "6s") -> AsyncIterator[asyncio.subprocess.Process]:
    """Start another process that asks for the lease; it prints the answer."""
    kind, where = ("sqlite", str(sqlite_file(url))) if is_sqlite(url) else ("postgres", url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, kind, where, idle, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()  # to the end of its output, so that nothing of it stays open


async def line_of(process: asyncio.subprocess.Process) -> str:
    """Wait for the next line that a process prints."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode()


async def free_again(url: str) -> None:
    """Wait until nobody holds the lease."""
    if is_sqlite(url):
        return  # the kernel unlocked the file before it reported the process's death
    connection = await asyncpg.connect(postgres_dsn(url))
    await connection.execute(WAIT_FOR_LOCK)
    await connection.close()


@pytest_asyncio.fixture
async def watcher(postgres_journal_url: str) -> AsyncIterator[Any]:
    """A connection that looks at the sessions of the others."""
    connection = await asyncpg.connect(postgres_dsn(postgres_journal_url))
    yield connection
    await connection.close()


HOLDERS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"


async def test_one_holder(journal_url: str) -> None:
    """Given a lease that is held, when another manager asks, then it gets none until the lease is released."""
    first, second = make_manager(journal_url), make_manager(journal_url)
    lease = await first.try_acquire()
    assert lease is not None

    assert await second.try_acquire() is None
    assert await first.try_acquire() is None  # the lock does not count up for its own holder
    assert not lease.lost.done()

    await lease.release()
    await free_again(journal_url)
    taken = await second.try_acquire()
    assert taken is not None
    assert await first.try_acquire() is None
    await taken.release()


async def test_release_twice(journal_url: str) -> None:
    """Given a released lease, when it is released again, then the next holder keeps its own."""
    first, second = make_manager(journal_url), make_manager(journal_url)
    lease = await first.try_acquire()
    assert lease is not None
    await lease.release()
    await free_again(journal_url)
    taken = await second.try_acquire()
    assert taken is not None

    await lease.release()

    assert await first.try_acquire() is None
    assert not taken.lost.done()
    await taken.release()


async def test_many_ask_at_once(journal_url: str) -> None:
    """Given a free lease, when many managers ask at once, then exactly one gets it."""
    leases = await asyncio.gather(*[make_manager(journal_url).try_acquire() for _ in range(10)])

    held = [lease for lease in leases if lease is not None]
    assert len(held) == 1
    await held[0].release()


async def test_killed_holder(journal_url: str) -> None:
    """Given a process that holds the lease, when it is killed with SIGKILL, then the lease is free."""
    manager = make_manager(journal_url)
    async with another_process(journal_url) as process:
        assert await line_of(process) == "held\n"
        assert await manager.try_acquire() is None

        process.kill()
        assert await process.wait() == -signal.SIGKILL
    await free_again(journal_url)

    lease = await manager.try_acquire()
    assert lease is not None
    await lease.release()


async def test_refused_process(journal_url: str) -> None:
    """Given a lease held here, when another process asks, then it is told that it cannot have it."""
    lease = await make_manager(journal_url).try_acquire()
    assert lease is not None

    async with another_process(journal_url) as process:
        assert await line_of(process) == "refused\n"
    await lease.release()


async def test_frozen_holder_of_a_file(sqlite_journal_url: str) -> None:
    """Given a process that holds a file's lease, when it is frozen, then it keeps the lease until it is killed."""
    async with another_process(sqlite_journal_url) as process:
        assert await line_of(process) == "held\n"
        process.send_signal(signal.SIGSTOP)

        assert await make_manager(sqlite_journal_url).try_acquire() is None

    lease = await make_manager(sqlite_journal_url).try_acquire()
    assert lease is not None
    await lease.release()


async def test_lock_file_stays(sqlite_journal_url: str) -> None:
    """Given a lease on a file, when it is taken and released, then its lock file is another and stays."""
    file = sqlite_file(sqlite_journal_url)
    before = file.read_bytes()
    lock_file = Path(f"{file}.casty-lock")
    lease = await make_manager(sqlite_journal_url).try_acquire()
    assert lease is not None
    inode = lock_file.stat().st_ino
    await lease.release()

    again = await make_manager(sqlite_journal_url).try_acquire()
    assert again is not None
    assert lock_file.stat().st_ino == inode
    await again.release()
    assert lock_file.exists()
    assert file.read_bytes() == before


async def test_lock_file_that_cannot_be_made(tmp_path: Path) -> None:
    """Given a file where the folder should be, when the lease is asked for, then the error names the lock file."""
    (tmp_path / "absent").touch()
    with pytest.raises(JournalUnavailableError, match=r"casty\.db\.casty-lock cannot be used"):
        await FileLeaseManager(tmp_path / "absent" / "casty.db").try_acquire()


async def test_two_files_are_two_leases(tmp_path: Path) -> None:
    """Given two journals in one folder, when both leases are asked for, then both are given."""
    leases = [await FileLeaseManager(tmp_path / name).try_acquire() for name in ("a.db", "b.db")]

    for lease in leases:
        assert lease is not None
        await lease.release()


async def test_memory_lease() -> None:
    """Given a journal in memory, when its lease is asked for, then it is there and never lost."""
    lease = await ProcessLeaseManager().try_acquire()

    assert not lease.lost.done()
    await lease.release()


async def test_terminated_session(postgres_journal_url: str, watcher: Any) -> None:
    """Given a lease session, when Postgres ends it, then the holder hears that the lease is lost, and it is free."""
    lease = await make_manager(postgres_journal_url).try_acquire()
    assert lease is not None

    await watcher.execute(f"SELECT pg_terminate_backend(pid) FROM ({HOLDERS}) holder")

    assert "session" in await lease.lost
    await lease.release()
    await free_again(postgres_journal_url)
    taken = await make_manager(postgres_journal_url).try_acquire()
    assert taken is not None
    await taken.release()


async def test_terminated_session_with_a_slow_heart(postgres_journal_url: str, watcher: Any) -> None:
    """Given a heartbeat that is far away, when Postgres ends the session, then the loss is heard all the same."""
    lease = await make_manager(postgres_journal_url, heartbeat_seconds=3_600).try_acquire()
    assert lease is not None

    await watcher.execute(f"SELECT pg_terminate_backend(pid) FROM ({HOLDERS}) holder")

    assert "session" in await lease.lost
    await lease.release()


async def test_silent_session(postgres_journal_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a session without a heartbeat, when it has been idle too long, then Postgres ends it and it is lost."""
    monkeypatch.setitem(postgres_leases._SESSION, "idle_session_timeout", "100ms")
    lease = await make_manager(postgres_journal_url, heartbeat_seconds=3_600).try_acquire()
    assert lease is not None

    assert "session" in await lease.lost
    await lease.release()


async def test_heartbeat_keeps_the_lease(
    postgres_journal_url: str, watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a heartbeat, when the session is older than Postgres lets one be idle, then it still holds the lease."""
    monkeypatch.setitem(postgres_leases._SESSION, "idle_session_timeout", "2s")
    lease = await make_manager(postgres_journal_url).try_acquire()
    assert lease is not None
    [holder] = await watcher.fetch(HOLDERS)
    age = "SELECT clock_timestamp() - backend_start > interval '3s' FROM pg_stat_activity WHERE pid = $1"

    while not await watcher.fetchval(age, holder["pid"]):  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.05)  # Postgres tells nobody how old a session becomes

    assert await watcher.fetch(HOLDERS) == [holder]
    assert not lease.lost.done()
    await lease.release()
    await free_again(postgres_journal_url)


async def test_frozen_holder_on_postgres(postgres_journal_url: str) -> None:
    """Given a frozen holder, when Postgres has ended its session, then the lease is free and the holder hears it."""
    async with another_process(postgres_journal_url, idle="1s") as process:
        assert await line_of(process) == "held\n"
        process.send_signal(signal.SIGSTOP)
        await free_again(postgres_journal_url)
        lease = await make_manager(postgres_journal_url).try_acquire()
        assert lease is not None
        process.send_signal(signal.SIGCONT)

        assert (await line_of(process)).startswith("lost")

    assert not lease.lost.done()
    await lease.release()


async def test_lease_is_per_database(postgres_journal_url: str, postgres_url: str) -> None:
    """Given the application's own advisory locks, when it holds the same numbers, then the lease is free."""
    application = await asyncpg.connect(postgres_dsn(postgres_journal_url))
    elsewhere = await asyncpg.connect(postgres_dsn(postgres_url))
    [oid] = await application.fetchrow("SELECT 'casty_events'::regclass::oid::bigint")
    await application.execute(f"SELECT pg_advisory_lock({oid}), pg_advisory_lock(-1), pg_advisory_lock(0, -1)")
    await elsewhere.execute(f"SELECT pg_advisory_lock({oid}, -1)")

    lease = await make_manager(postgres_journal_url).try_acquire()

    assert lease is not None
    await lease.release()
    await application.close()
    await elsewhere.close()


async def test_lease_without_tables(postgres_url: str) -> None:
    """Given a database without the journal's tables, when the lease is asked for, then the error says which."""
    with pytest.raises(JournalUnavailableError, match="casty_events"):
        await make_manager(postgres_url).try_acquire()


async def test_unreachable_server(tmp_path: Path) -> None:
    """Given no server, when the lease is asked for, then the error names it without its password."""
    url = f"postgresql://app:secret@/shop?host={tmp_path}"
    with pytest.raises(JournalUnavailableError, match="cannot be reached") as unreachable:
        await make_manager(url).try_acquire()

    assert "secret" not in str(unreachable.value)


async def test_refused_lease_leaves_no_session(postgres_journal_url: str, watcher: Any) -> None:
    """Given a held lease, when it is refused to many, then no session but the holder's stays behind."""
    lease = await make_manager(postgres_journal_url).try_acquire()
    assert lease is not None
    for _ in range(5):
        assert await make_manager(postgres_journal_url).try_acquire() is None

    sessions = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'casty_es' AND datname = current_database()"
    )
    while await watcher.fetchval(sessions) > 1:  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.01)  # a backend ends a moment after its connection
    assert not lease.lost.done()
    await lease.release()
