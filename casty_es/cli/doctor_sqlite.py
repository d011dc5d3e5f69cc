"""What a node on an SQLite file rests on: the file system, its locks, and who else may read the file."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath
from typing import Final
from uuid import uuid4

from casty_es.errors import CastyError
from casty_es.journal.file_holders import readers, strangers, told_by_system
from casty_es.journal.sql import SqlJournal
from casty_es.journal.sqlite_log import LIMIT_BYTES
from casty_es.leases.checks import Check
from casty_es.leases.file import FileLeaseManager
from casty_es.leases.filesystem import file_system_of, is_network, mounts

_MIB: Final = 1_048_576
_READ_BY_OTHERS: Final = 0o004


async def examined(journal: SqlJournal, *, opened: bool) -> list[Check]:
    """Return the checks of a journal in a file."""
    assert journal.file is not None  # noqa: S101 - that is what its caller asked
    checks = [_file_system(journal.file)]
    if opened:
        checks += [
            Check("durability", ok=True, found="write-ahead log with synchronous=FULL, set and read back"),
            await _locks(journal, journal.file),
            await _one_file(journal.file),
            await asyncio.to_thread(_log, journal.file),
            _private(journal.file),
        ]
    return checks


def _file_system(file: Path) -> Check:
    mountinfo = mounts()  # not Linux: there is nothing to read it from
    found = None if mountinfo is None else file_system_of(PurePosixPath(file.resolve()), mountinfo)
    return Check(
        "file system",
        found is None or not is_network(found),
        "cannot be told on this system" if found is None else f"{file} is on {found}",
        "Put the file on a local disk, or use Postgres: on a network file system two hosts may not see each other's "
        "locks. If every process is on this host, set allow_network_filesystem=True.",
    )


async def _locks(journal: SqlJournal, file: Path) -> Check:
    """Whether lock files can be made and locked beside the journal."""
    # The network is told above; here only the locks themselves are tried.
    manager = FileLeaseManager(file, journal, allow_network_filesystem=True)
    try:
        session = await manager.open(f"doctor-{uuid4()}")
    except CastyError as error:
        return Check("lock files", ok=False, found=str(error))
    await session.close()
    return Check("lock files", ok=True, found="can be made and locked beside the journal")


async def _one_file(file: Path) -> Check:
    """Whether the processes that run have the file open that is at the path."""
    if not told_by_system():
        return Check("open files", ok=True, found="cannot be told on this system")
    found = await asyncio.to_thread(strangers, file)
    return Check(
        "open files",
        not found,
        "; ".join(f"process {pid} {what}" for pid, what in found.items()) or "no process has another file of this name",
        "What such a process acknowledged there may not be in this journal. End it; if its file was only moved, put "
        "the database and its -wal back first.",
    )


def _log(file: Path) -> Check:
    """Whether the write-ahead log is as short as it should be, and who keeps it long."""
    there = file.resolve()
    size = there.with_name(f"{there.name}-wal").stat().st_size
    log_index = there.with_name(f"{there.name}-shm").stat().st_ino
    listed = "; ".join(f"process {one.pid} ({one.command})" for one in readers(log_index)) or "nobody that is seen"
    return Check(
        "write-ahead log",
        size <= LIMIT_BYTES,
        f"{size / _MIB:.1f} MiB" + (f", read by {listed}" if size > LIMIT_BYTES else ""),
        "A transaction that reads keeps the log from being emptied. End it, or its process.",
        required=False,
    )


def _private(file: Path) -> Check:
    mode = file.stat().st_mode
    return Check(
        "secret is private",
        not mode & _READ_BY_OTHERS,
        f"the mode of {file.name} is {mode & 0o777:o}",
        f"Every user of this host may read the journal and the cluster's secret in it: chmod o-r {file}",
        required=False,
    )
