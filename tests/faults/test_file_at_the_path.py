# ruff: noqa: ASYNC110, ASYNC240 -- no system tells when a file is renamed, and a look at one blocks nobody
"""The file at the path is not the file that is written: what parts them, and what is told afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

import casty_es
from casty_es import ClusteredActorSystem, Distributed, Settings, SqlJournal
from casty_es.audit.verify import verify
from casty_es.cli.app import run
from casty_es.errors import ConfigurationError, JournalMovedError, JournalUnavailableError, OutcomeUnknownError
from casty_es.journal.port import Meta, StructureRow
from casty_es.journal.restoring import Restored, restoring
from casty_es.journal.urls import sqlite_file
from casty_es.leases import filesystem, lock_files
from tests.forked import Started, started


class Node:
    """A node in a process of its own."""

    def __init__(self, process: Started | asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> dict[str, Any]:
        """Wait for its next line."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, "the node ended by itself"
        said: dict[str, Any] = json.loads(line)
        return said

    async def do(self, command: str) -> dict[str, Any]:
        """Let it do something; return what it was told."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        return await self.line()

    async def close(self) -> int:
        """End it in order; return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"close\n")
        return await self.process.wait()


@asynccontextmanager
async def node(file: Path) -> AsyncIterator[Node]:
    """Start a node; kill it at the end."""
    process = await started("tests.faults.file_node", f"sqlite:///{file}")
    try:
        one = Node(process)
        assert await one.line() == {}
        yield one
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def remove_all(file: Path) -> None:
    """``rm casty.db*``."""
    for one in file.parent.glob("casty.db*"):
        one.unlink()


async def test_a_removed_journal_acknowledges_nothing(
    sqlite_journal_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a node whose files were removed, when it is asked for more, then what survives is what was told since."""
    file = sqlite_file(sqlite_journal_url)
    async with node(file) as old:
        assert [(await old.do("increment"))["told"] for _ in range(6)] == [1, 2, 3, 4, 5, 6]

        remove_all(file)
        refused = [await old.do("increment") for _ in range(5)]
        async with node(file) as new:
            assert [(await new.do("increment"))["told"] for _ in range(3)] == [1, 2, 3]
            refused += [await old.do("increment"), await old.do("get")]

        assert {answer.get("error") for answer in refused} == {"JournalMovedError"}
        assert all("casty.db" in answer["text"] for answer in refused)
        capsys.readouterr()
        assert await asyncio.to_thread(run, ["verify", "--url", sqlite_journal_url]) == 1
        assert f"Process {old.process.pid} has {file} open, which was removed" in capsys.readouterr().out
        assert await asyncio.to_thread(run, ["doctor", "--url", sqlite_journal_url, "--json"]) == 1
        checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
        assert str(old.process.pid) in checks["open files"]["found"]


# What parts the files from their path. Each is given the path at which the node opened its journal.


def remove_database(file: Path) -> None:
    """``rm casty.db``."""
    file.resolve().unlink()


def move_away(file: Path) -> None:
    """``mv casty.db elsewhere``."""
    there = file.resolve()
    there.rename(there.with_name("elsewhere.db"))


def restore_by_rename(file: Path) -> None:
    """``mv backup.db casty.db``, where the backup is older."""
    there = file.resolve()
    shutil.copyfile(there, there.with_name("backup.db"))
    there.with_name("backup.db").replace(there)


def lead_the_link_elsewhere(file: Path) -> None:
    """``ln -sfn another.db casty.db``."""
    another = file.parent / "another.db"
    shutil.copyfile(file.resolve(), another)
    file.unlink()
    file.symlink_to(another)


def move_the_folder(file: Path) -> None:
    """``mv data data.old``."""
    there = file.resolve().parent
    there.rename(there.with_name("data.old"))


def replace_the_folder(file: Path) -> None:
    """``mv data data.old; cp -r data.old data``."""
    move_the_folder(file)
    there = file.resolve().parent
    # Python, other than cp, does not copy sockets.
    shutil.copytree(there.with_name("data.old"), there, ignore=shutil.ignore_patterns("*.sock"))


def remove_beside(suffix: str) -> Callable[[Path], None]:
    """``rm casty.db-wal``."""

    def remove(file: Path) -> None:
        Path(f"{file.resolve()}{suffix}").unlink()

    return remove


def replace_beside(suffix: str) -> Callable[[Path], None]:
    """``cp casty.db-wal copy; mv copy casty.db-wal``."""

    def replace(file: Path) -> None:
        one = Path(f"{file.resolve()}{suffix}")
        shutil.copyfile(one, f"{one}.copy")
        Path(f"{one}.copy").replace(one)

    return replace


PARTED: dict[str, Callable[[Path], None]] = {
    "rm casty.db*": lambda file: remove_all(file.resolve()),
    "rm casty.db": remove_database,
    "mv casty.db away": move_away,
    "mv backup.db casty.db": restore_by_rename,
    "the link leads elsewhere": lead_the_link_elsewhere,
    "mv the folder": move_the_folder,
    "another folder of that name": replace_the_folder,
    "rm casty.db-wal": remove_beside("-wal"),
    "rm casty.db-shm": remove_beside("-shm"),
    "another casty.db-wal": replace_beside("-wal"),
    "another casty.db-shm": replace_beside("-shm"),
}
# While the database is in its place SQLite writes its log back at the end, however the log's name was taken away.
WRITTEN_BACK = {"rm casty.db-wal", "rm casty.db-shm", "another casty.db-wal", "another casty.db-shm"}

OPERATIONS: dict[str, Callable[[Distributed], Awaitable[object]]] = {
    "append": lambda d: d.counter("c").increment(),
    "append to what is not in memory": lambda d: d.counter("other").increment(),
    "read": lambda d: d.counter("c").get(),
    "read of what is not in memory": lambda d: d.counter("other").get(),
    "lock": lambda d: d.lock("l", timeout=2.0).acquire(),
    "release": lambda d: d.lock("held").release(),
    "many at once": lambda d: asyncio.gather(*(d.counter(f"c{n}").increment() for n in range(50))),
}


@pytest.fixture
def linked(tmp_path: Path, sqlite_template: Path) -> Path:
    """A journal in a folder of its own, by the name of a link to it."""
    (tmp_path / "data").mkdir()
    shutil.copyfile(sqlite_template, tmp_path / "data" / "casty.db")
    (tmp_path / "casty.db").symlink_to(tmp_path / "data" / "casty.db")
    return tmp_path / "casty.db"


@asynccontextmanager
async def running(file: Path) -> AsyncIterator[ClusteredActorSystem]:
    """Run a node in this process, that has counted to 3 and holds a lock."""
    journal, settings = SqlJournal(f"sqlite:///{file}"), Settings(membership_seconds=0.1)  # slots are given up then
    async with ClusteredActorSystem(journal=journal, settings=settings) as system:
        d = system.distributed()
        for _ in range(3):
            await d.counter("c").increment()
        yield system


def holds_slots(system: ClusteredActorSystem) -> bool:
    """Return whether a node holds any slot."""
    assert system._node is not None
    return any(slot.epoch for slot in system._node.owner.slots)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("parting", PARTED)
async def test_nothing_is_acknowledged(parting: str, operation: str, linked: Path) -> None:
    """Given files that are parted from the path, when anything is asked for, then it is refused, and so is the rest."""
    async with running(linked) as system:
        d = system.distributed()
        await d.lock("held").acquire()

        PARTED[parting](linked)
        with pytest.raises((JournalMovedError, OutcomeUnknownError), match=r"casty\.db") as told:
            await OPERATIONS[operation](d)

        # for ever, whatever is put back; and the slots are given up
        for other in OPERATIONS.values():
            with pytest.raises(JournalMovedError, match=r"while process \d+ had it open.*start again"):
                await other(d)
        while holds_slots(system):
            await asyncio.sleep(0.01)

    if parting in WRITTEN_BACK:
        async with casty_es.connect(f"sqlite:///{linked}") as d:
            # what was unknown may have been written
            assert await d.counter("c").get() - 3 in {0, int(told.type is OutcomeUnknownError)}


@pytest.mark.parametrize("parting", PARTED)
async def test_an_idle_node_notices(parting: str, linked: Path) -> None:
    """Given a node of which nothing is asked, when its files part from the path, then it gives up its slots."""
    async with running(linked) as system:
        assert holds_slots(system)
        PARTED[parting](linked)
        while holds_slots(system):
            await asyncio.sleep(0.01)


async def test_files_that_are_put_back_need_a_restart(linked: Path) -> None:
    """Given a database that was moved away and back, when the node is restarted, then it has what was acknowledged."""
    there = linked.resolve()
    async with running(linked) as system:
        move_away(linked)
        with pytest.raises(JournalMovedError, match="Nothing was written"):
            await system.distributed().counter("c").increment()
        there.with_name("elsewhere.db").rename(there)
        with pytest.raises(JournalMovedError, match="start again"):
            await system.distributed().counter("c").increment()
    async with casty_es.connect(f"sqlite:///{linked}") as d:
        assert await d.counter("c").increment() == 4


async def test_a_lock_file_that_was_removed_is_made_anew(linked: Path) -> None:
    """Given a node whose lock file was removed, when it notices, then it takes its slots again under another one."""
    pattern = "casty.db.casty-node-*.lock"
    async with running(linked) as system:
        [lock] = linked.resolve().parent.glob(pattern)
        lock.unlink()
        while not list(linked.resolve().parent.glob(pattern)):
            await asyncio.sleep(0.01)
        assert await system.distributed().counter("c").increment() == 4


async def test_what_was_on_its_way_is_unknown(linked: Path) -> None:
    """Given an append that waits for another writer, when its file is moved meanwhile, then its outcome is unknown."""
    async with running(linked) as system:
        assert isinstance(system.journal, SqlJournal)
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()
        writer = system.journal._backend._writer  # type: ignore[attr-defined]

        def traced(text: str) -> None:
            if text == "BEGIN IMMEDIATE":
                loop.call_soon_threadsafe(begun.set)

        await writer.run(lambda: writer.sqlite.set_trace_callback(traced))
        with closing(sqlite3.connect(linked.resolve(), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(system.distributed().counter("c").increment())
            await begun.wait()
            move_away(linked)
            other.execute("COMMIT")
            with pytest.raises(OutcomeUnknownError, match="maybe not to the file at the path") as unknown:
                await waiting
        assert unknown.value.command_id is not None


# What is seen at opening.


async def opening(file: Path) -> None:
    """Open a journal, as every program does, and close it."""
    async with casty_es.connect(f"sqlite:///{file}"):
        pass


async def test_a_file_of_two_names_is_refused(linked: Path, tmp_path: Path) -> None:
    """Given a hard link to a journal, when it is opened by either name, then it is refused until the link is gone."""
    other = tmp_path / "other.db"
    other.hardlink_to(linked.resolve())
    for name in (linked, other):
        with pytest.raises(ConfigurationError, match=r"2 names \(hard links\).*Nothing was opened"):
            await opening(name)
    other.unlink()
    await opening(linked)


async def test_a_file_that_is_mounted_by_itself_is_refused(
    linked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a journal that is mounted without its folder, when it is opened, then the folder is asked for."""
    there = linked.resolve()
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"63 43 254:0 /host/casty.db {there} rw,relatime - ext4 /dev/vda rw\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", mountinfo)
    with pytest.raises(ConfigurationError, match=r"mounted by itself.*Mount the folder"):
        await opening(linked)
    mountinfo.write_text(f"63 43 254:0 /host {there.parent} rw,relatime - ext4 /dev/vda rw\n")
    await opening(linked)


async def test_a_rollback_journal_of_another_file_is_refused(linked: Path) -> None:
    """Given a rollback journal beside a journal, when it is opened, then nothing of it is written into the file."""
    there = linked.resolve()
    leftover = there.with_name("casty.db-journal")
    with closing(sqlite3.connect(there.with_name("old.db"), isolation_level=None)) as old:
        old.execute("CREATE TABLE t (a)")
        old.execute("BEGIN IMMEDIATE")
        old.execute("CREATE TABLE u (a)")
        shutil.copyfile(there.with_name("old.db-journal"), leftover)
    content = bytes.fromhex("d9d505f920a163d7") + leftover.read_bytes()[8:]  # as when it was synced
    leftover.write_bytes(content)
    before = there.read_bytes()
    with pytest.raises(JournalMovedError, match="belongs to another file that had this name"):
        await opening(linked)
    assert there.read_bytes() == before
    leftover.unlink()
    await opening(linked)


async def test_a_log_of_another_file_is_refused(linked: Path) -> None:
    """Given the log of a node that was killed, when a copy takes its database's place, then the copy is not opened."""
    there = linked.resolve()
    backup = there.with_name("backup.db")
    shutil.copyfile(there, backup)
    async with node(linked) as killed:
        assert await killed.do("increment") == {"told": 1}
        while not list(lock_files.notes(there)):
            await asyncio.sleep(0.01)
        killed.process.kill()
        await killed.process.wait()
    original = there.rename(there.with_name("original.db"))
    backup.rename(there)
    with pytest.raises(JournalMovedError, match="is the log of another database"):
        await opening(linked)

    original.replace(there)
    async with casty_es.connect(f"sqlite:///{linked}") as d:
        assert await d.counter("c").get() == 1


@pytest.mark.parametrize("parting", ["rm casty.db", "mv backup.db casty.db", "rm casty.db-wal", "another casty.db-shm"])
async def test_a_node_that_writes_elsewhere_is_named(
    parting: str, linked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a frozen node whose files were parted from the path, when it is opened there, then the node is named."""
    url = f"sqlite:///{linked}"
    async with node(linked) as frozen:
        await frozen.do("increment")
        while not list(lock_files.notes(linked.resolve())):
            await asyncio.sleep(0.01)
        os.kill(frozen.process.pid, signal.SIGSTOP)
        PARTED[parting](linked)
        for open_it in (opening(linked), verify(url)):
            with pytest.raises(JournalMovedError, match=f"process {frozen.process.pid}, has other files open"):
                await open_it
        assert await asyncio.to_thread(run, ["doctor", "--url", url]) == 3
        assert f"process {frozen.process.pid}" in " ".join(capsys.readouterr().out.split())


async def test_maintenance_is_alone_by_whatever_name(linked: Path) -> None:
    """Given a link to a journal, when two maintain it by both names, then one of them does not."""
    one, other = SqlJournal(f"sqlite:///{linked}"), SqlJournal(f"sqlite:///{linked.resolve()}")
    await one.open()
    await other.open()
    async with one._backend.alone() as first, other._backend.alone() as second:
        assert (first, second) == (True, False)
    await one.close()
    await other.close()


async def test_maintenance_stops_when_its_lock_is_gone(linked: Path) -> None:
    """Given a maintenance whose lock file was removed, when its next step comes, then it is not done."""
    journal = SqlJournal(f"sqlite:///{linked}")
    await journal.open()
    step = ("UPDATE casty_meta SET incarnation = incarnation + 1", ())
    async with journal._backend.alone():
        await journal._backend.maintain([step])
        linked.resolve().with_name("casty.db.maintenance.lock").unlink()
        with pytest.raises(JournalUnavailableError, match="another process may maintain"):
            await journal._backend.maintain([step])
    assert await journal.incarnation() == 2
    await journal.close()


async def test_filling_stops_when_its_file_is_gone(linked: Path) -> None:
    """Given a database that is being filled, when another takes its place, then the filling ends with an error."""
    url = f"sqlite:///{linked}"
    async with restoring(url) as target:
        await target.begin(Meta(256, 1, 1))
        restore_by_rename(linked)
        with pytest.raises(JournalMovedError, match="may be in the other file alone"):
            await target.write(Restored(structures=[StructureRow("counter", "c", 1, None)]))
