"""Lock files beside an SQLite file that will not do as they should: none of it leaves a lock held by nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from casty_es.journal.sql import SqlJournal
from casty_es.leases.lock_files import lock_file, locked
from tests.leases.conftest import Cluster


def file_of(cluster: Cluster) -> Path:
    """Give the journal's file."""
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
    """Tell which of these names' lock files are locked."""
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
