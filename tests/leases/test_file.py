"""Leases beside an SQLite file: its lock files, and the rows that name nodes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from casty_es.errors import JournalUnavailableError, NodeInUseError
from casty_es.journal.port import NodeRow
from casty_es.journal.sql import SqlJournal
from casty_es.leases.file import FileLeaseManager
from tests.leases.conftest import Cluster


def lock_files(cluster: Cluster) -> list[Path]:
    """Return the lock files beside the journal."""
    assert isinstance(cluster.journal, SqlJournal)
    assert cluster.journal.file is not None
    return sorted(cluster.journal.file.parent.glob("casty.db.casty-node-*.lock"))


async def test_the_journals_file_is_not_the_lock(file_cluster: Cluster) -> None:
    """Given two nodes, when they are there, then each has a lock file of its own, which goes with it."""
    a = await file_cluster.open("a")
    [first] = lock_files(file_cluster)
    b = await file_cluster.open("b")
    assert len(lock_files(file_cluster)) == 2

    await b.close()
    assert lock_files(file_cluster) == [first]
    await a.close()
    assert lock_files(file_cluster) == []


async def test_what_a_dead_node_left_is_cleared_away(file_cluster: Cluster) -> None:
    """Given a lock file and slots of a node that died, when another takes them, then file and name are gone."""
    a = await file_cluster.open("a")
    left = await file_cluster.open("left")
    [name] = [file for file in lock_files(file_cluster) if file not in _files_of(file_cluster, "a")]
    await left.close()
    name.touch()
    await file_cluster.journal.claim_slots([1, 2], "left", dead=[])

    assert await a.acquire([1, 2, 3]) == {1, 2, 3}
    assert not name.exists()
    assert {row.node_id for row in await file_cluster.journal.slot_rows()} == {"a"}


def _files_of(cluster: Cluster, node_id: str) -> list[Path]:
    from casty_es.leases.lock_files import lock_file

    assert isinstance(cluster.journal, SqlJournal)
    assert cluster.journal.file is not None
    return [lock_file(cluster.journal.file.resolve(), node_id)]


async def test_a_link_to_the_file_is_the_file(file_cluster: Cluster, tmp_path: Path) -> None:
    """Given a link to the journal, when a node opens it there, then nodes by both names see each other."""
    assert isinstance(file_cluster.journal, SqlJournal)
    assert file_cluster.journal.file is not None
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(file_cluster.journal.file)
    a = await file_cluster.open("a")

    b = await FileLeaseManager(link, file_cluster.journal).open("b")

    assert await a.living(["b"]) == {"b"}
    assert await b.living(["a"]) == {"a"}
    await b.close()


async def test_the_error_names_the_process(file_cluster: Cluster) -> None:
    """Given a registered node, when its name is used again, then the error names its process and host."""
    await file_cluster.open("a")
    await file_cluster.journal.register_node(NodeRow("a", "here", 4711, None, 1, 1))

    with pytest.raises(NodeInUseError, match="process 4711 on host here"):
        await file_cluster.open("a")


async def test_a_file_that_is_not_the_name_any_more_stays(file_cluster: Cluster) -> None:
    """Given a lock file that was replaced, when its old holder closes, then the new file of that name stays."""
    a = await file_cluster.open("a")
    [file] = lock_files(file_cluster)
    file.unlink()
    successor = await file_cluster.open("a")

    await a.close()

    assert file.exists()
    assert await (await file_cluster.open("b")).living(["a"]) == {"a"}
    await successor.close()


async def test_a_look_does_not_end_a_lock(file_cluster: Cluster) -> None:
    """Given a living node, when it is looked at many times, then its lock file stays and is still locked."""
    a, b = await file_cluster.open("a"), await file_cluster.open("b")
    inodes = [file.stat().st_ino for file in lock_files(file_cluster)]

    for _ in range(20):
        assert await b.living(["a", "b"]) == {"a", "b"}
        assert await a.living(["a", "b"]) == {"a", "b"}

    assert [file.stat().st_ino for file in lock_files(file_cluster)] == inodes


async def test_lock_file_that_cannot_be_made(file_cluster: Cluster, tmp_path: Path) -> None:
    """Given a file where the folder should be, when a session is opened, then the error names the lock file."""
    (tmp_path / "absent").touch()

    with pytest.raises(JournalUnavailableError, match=r"casty\.db\.casty-node-[0-9a-f]{12}\.lock cannot be used"):
        await FileLeaseManager(tmp_path / "absent" / "casty.db", file_cluster.journal).open("a")


async def test_lock_file_that_cannot_be_looked_at(file_cluster: Cluster) -> None:
    """Given a link in the place of a lock file, when it is looked at, then it is not followed."""
    a = await file_cluster.open("a")
    [b_file] = _files_of(file_cluster, "b")
    b_file.symlink_to(os.devnull)

    with pytest.raises(JournalUnavailableError, match="cannot be looked at"):
        await a.living(["b"])


async def test_odd_names(file_cluster: Cluster) -> None:
    """Given names that no file could have, when nodes use them, then they are nodes like others."""
    names = ["../../etc/passwd", "ä" * 400, "a/b", "a b"]
    sessions = [await file_cluster.open(name) for name in names]

    assert await sessions[0].living(names) == set(names)
