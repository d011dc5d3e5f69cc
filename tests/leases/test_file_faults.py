"""Lock files beside an SQLite file that will not do as they should: none of it leaves a lock held by nobody."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from casty_es.errors import JournalUnavailableError
from casty_es.journal.sql import SqlJournal
from casty_es.leases import lock_files
from casty_es.leases.lock_files import LockNote, lock_file, locked
from tests.leases.conftest import Cluster


def file_of(cluster: Cluster) -> Path:
    """Return the journal's file."""
    assert isinstance(cluster.journal, SqlJournal)
    assert cluster.journal.file is not None
    return cluster.journal.file.resolve()


@contextmanager
def folder_out_of_reach(cluster: Cluster) -> Iterator[None]:
    """Put a file where the journal's folder was, so that nothing in it can be looked at or removed."""
    folder = file_of(cluster).parent
    aside = folder.with_name(f"{folder.name}-aside")
    folder.rename(aside)
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


def held(cluster: Cluster, *names: str) -> set[str]:
    """Return which of these names' lock files are locked."""
    return {name for name in names if locked(lock_file(file_of(cluster), name), clear=False)}


async def test_a_lock_file_that_cannot_be_removed_is_unlocked(file_cluster: Cluster) -> None:
    """Given a folder out of reach, when a session is closed, then both its locks are free."""
    session = await file_cluster.open("a", "process")
    assert held(file_cluster, "a", "process") == {"a", "process"}

    with folder_out_of_reach(file_cluster):
        await session.close()

    assert held(file_cluster, "a", "process") == set()


async def test_a_session_that_loses_its_folder_is_lost(file_cluster: Cluster) -> None:
    """Given a folder that goes away, when the session looks, then it is lost and its locks are free."""
    session = await file_cluster.open("a", "process")

    with folder_out_of_reach(file_cluster):
        async with asyncio.timeout(20):
            assert "is gone" in await asyncio.shield(session.lost)

    assert not session.stands()
    assert held(file_cluster, "a", "process") == set()


async def test_a_watch_that_ends_ends_its_session(file_cluster: Cluster) -> None:
    """Given a watch that is cancelled from outside, when its lock files may vanish, then the session is lost before."""
    session = await file_cluster.open("a")
    [watch] = [task for task in asyncio.all_tasks() if task.get_name() == "casty-file-watch"]

    watch.cancel()

    async with asyncio.timeout(20):
        assert "was cancelled" in await asyncio.shield(session.lost)
    assert not session.stands()
    assert held(file_cluster, "a") == {"a"}  # until it is closed, nobody else writes
    await session.close()
    assert held(file_cluster, "a") == set()


async def test_a_watch_that_fails_ends_its_session(file_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a watch that fails as nobody foresaw, when it looks, then the session is lost with its reason."""

    async def fail() -> None:
        raise RuntimeError("as nobody foresaw")

    session = await file_cluster.open("a")
    monkeypatch.setattr(file_cluster.journal, "open_files", fail)

    async with asyncio.timeout(20):
        assert "as nobody foresaw" in await asyncio.shield(session.lost)


async def test_a_session_that_is_closed_is_not_lost(file_cluster: Cluster) -> None:
    """Given a session, when it is closed, then nobody is told that it was lost."""
    session = await file_cluster.open("a")

    await session.close()

    assert session.lost.cancelled()


async def test_a_note_of_a_closed_session_does_not_reach_the_next_one(
    file_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a note that is being written, when its session is closed, then the close waits for it."""
    began, go_on, write = asyncio.Event(), threading.Event(), lock_files.note
    loop = asyncio.get_running_loop()

    def slowly(file: Path, text: LockNote) -> None:
        loop.call_soon_threadsafe(began.set)
        go_on.wait(20)
        write(file, text)

    monkeypatch.setattr(lock_files, "note", slowly)
    session = await file_cluster.open("a")
    await began.wait()

    closing = asyncio.create_task(session.close())
    done, _ = await asyncio.wait({closing}, timeout=0.1)
    go_on.set()
    await closing

    assert not done
    assert not lock_file(file_of(file_cluster), "a").exists()


async def test_a_lock_file_that_goes_while_a_session_is_opened(file_cluster: Cluster) -> None:
    """Given one of two lock files that is removed before the other is free, then the error says so, and both are."""
    manager, process = file_cluster.manager(), await file_cluster.open("process")
    opening = asyncio.create_task(manager.open("a", "process"))
    file = lock_file(file_of(file_cluster), "a")
    while not file.exists():  # noqa: ASYNC110 - no system tells portably when a file is there
        await asyncio.sleep(0)

    file.unlink()
    await process.close()
    with pytest.raises(JournalUnavailableError, match=r"cannot be looked at.*Nothing was started"):
        await opening

    assert held(file_cluster, "a", "process") == set()


async def test_a_lock_that_cannot_be_cleared_is_let_go(file_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a lock file that cannot be emptied, when a session is refused, then its lock is free at once."""

    def fail(*_: object) -> None:
        raise OSError("not today")

    with monkeypatch.context() as failing:
        failing.setattr(os, "truncate", fail)
        with pytest.raises(JournalUnavailableError, match="not today") as refused:
            await file_cluster.open("a")

    assert held(file_cluster, "a") == set()
    assert refused.value.__traceback__ is not None  # which would keep the lock
