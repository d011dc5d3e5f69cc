"""Leases beside an SQLite file: one lock of the operating system per node, and rows that say who holds which slot.

1. A node locks a file of its own beside the database. The kernel releases the lock when the process dies, however it
   dies, so whether a node lives needs neither a clock nor a heartbeat. A frozen process keeps its slots until it is
   killed.
2. A slot is a row of ``casty_slots`` that names its node. It may be taken when it names nobody, or a node whose lock is
   free.
3. Between the look at a lock and the writing of a name a process of the same name may have started. That costs its
   slots, and no data: the log decides who may write, because every append names its predecessor.
4. The lock file is never the database's: closing any descriptor of that would drop SQLite's own locks
   (sqlite.org/howtocorrupt.html). It is removed only by who has it locked, and who locks it looks whether it is still
   the file of that name: otherwise two processes could hold locks on two files of one name.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import Collection
from hashlib import blake2b
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from casty_es.errors import JournalError, JournalUnavailableError, NodeInUseError
from casty_es.journal.port import EventJournal
from casty_es.leases.filesystem import refuse_network

__all__ = ["FileLeaseManager"]

_LOG: Final = logging.getLogger("casty_es.leases")

# A look at a lock holds it for some microseconds, and a process that was killed dies a moment later.
_PATIENCE_SECONDS: Final = 1.0
_ASK_AGAIN_SECONDS: Final = 0.02


class FileLeaseSession:
    """A locked file, and the rows that name its node."""

    def __init__(self, node_id: str, lock: FileLock, database: Path, journal: EventJournal) -> None:
        self._node_id = node_id
        self._lock = lock
        self._database = database
        self._journal = journal
        self._held: set[int] = set()
        self._inode = os.stat(lock.lock_file).st_ino  # noqa: PTH116 - a path of the library's own type
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def stands(self) -> bool:
        """Tell whether the session is not closed."""
        return not self.lost.done()

    async def acquire(self, slots: Collection[int]) -> set[int]:
        """Take the slots that name nobody, or a dead node."""
        self._refuse_closed()
        wanted = set(slots)
        named = {row.node_id for row in await self._journal.slot_rows() if row.slot in wanted} - {self._node_id}
        dead = named - await self.living(named)
        self._held |= wanted  # before the answer: a caller that goes away leaves rows that close() forgets
        held = await self._journal.claim_slots(sorted(wanted), self._node_id, dead=sorted(dead))
        self._held -= wanted - held
        return held

    async def release(self, slots: Collection[int]) -> None:
        """Remove the node's name from slots."""
        given = self._held & set(slots)
        if given:
            await self._journal.forget_slots(sorted(given), self._node_id)
            self._held -= given

    async def living(self, node_ids: Collection[str]) -> set[str]:
        """Tell whose lock files are locked."""
        files = {node_id: _lock_file(self._database, node_id) for node_id in node_ids}
        try:
            return await asyncio.to_thread(lambda: {node_id for node_id, file in files.items() if _locked(file)})
        except OSError as error:
            raise JournalUnavailableError(
                f"A lock file beside {self._database} cannot be looked at: {error}. Nothing was taken. This process "
                f"needs to be able to read and write the folder of the journal."
            ) from error

    async def close(self) -> None:
        """Forget the slots and unlock the file."""
        if self.lost.done():
            return
        self.lost.cancel()
        try:
            if self._held:
                await self._journal.forget_slots(sorted(self._held), self._node_id)
        except JournalError as error:
            _LOG.warning("Node %s stays named in its slots, which others may take now: %s", self._node_id, error)
        finally:
            self._held.clear()
            _remove(Path(self._lock.lock_file), self._inode)
            self._lock.release()

    def abandon_after_fork(self) -> None:
        """The library that locked the file closes its descriptor in every forked child."""

    def _refuse_closed(self) -> None:
        if self.lost.done():
            raise JournalUnavailableError("The lease session is closed. No slot is held. Open another session.")


class FileLeaseManager:
    """Locks ``<journal>.casty-node-<name>.lock``.

    Parameters
    ----------
    journal_file : Path
        The SQLite file.
    journal : EventJournal
        The journal in it, opened.
    allow_network_filesystem : bool
        Trust the locks of a network file system.
    """

    def __init__(self, journal_file: Path, journal: EventJournal, *, allow_network_filesystem: bool = False) -> None:
        # One name for one file, whatever links lead to it: the lock files of all its nodes lie side by side.
        self._database = journal_file.resolve()
        self._journal = journal
        self._allow_network_filesystem = allow_network_filesystem

    async def open(self, node_id: str) -> FileLeaseSession:
        """Lock the node's file."""
        if not self._allow_network_filesystem:
            refuse_network(self._database)
        file = _lock_file(self._database, node_id)
        # One owner per process and task: neither re-entrant by thread nor shared by path.
        # A soft lock would stay behind when its process is killed: where the real one is missing, this is an error.
        lock = FileLock(file, thread_local=False, is_singleton=False, fallback_to_soft=False)
        give_up_at = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while not _lock(lock):
            if asyncio.get_running_loop().time() >= give_up_at:
                raise await self._in_use(node_id, file)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)  # no operating system tells when a lock becomes free
        return FileLeaseSession(node_id, lock, self._database, self._journal)

    async def _in_use(self, node_id: str, file: Path) -> NodeInUseError:
        holder = [node for node in await self._journal.nodes() if node.node_id == node_id]
        who = f"process {holder[0].pid} on host {holder[0].host}" if holder else "a process that did not say its name"
        return NodeInUseError(
            f"Node {node_id!r} is {who}, which has locked {file}. Nothing was started. Stop that process, or give this "
            f"one another node_id."
        )


def _lock_file(database: Path, node_id: str) -> Path:
    name = blake2b(node_id.encode(), digest_size=6).hexdigest()
    return database.with_name(f"{database.name}.casty-node-{name}.lock")


def _lock(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        raise JournalUnavailableError(
            f"The lock file {lock.lock_file} cannot be used: {error}. Nothing was written. This process needs to be "
            f"able to write the folder of the journal."
        ) from error
    return True


def _locked(file: Path) -> bool:
    """Tell whether a living process has a lock file locked, and remove it otherwise.

    The look is a shared lock, so that two processes that look at once do not take each other for the holder.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        with contextlib.suppress(BlockingIOError):  # somebody else looks too, and may remove it
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(file, os.fstat(descriptor).st_ino)
        return False
    finally:
        os.close(descriptor)


def _remove(file: Path, inode: int) -> None:
    """Remove a lock file that this process has locked, unless another one has its name by now."""
    with contextlib.suppress(FileNotFoundError):
        if file.stat().st_ino == inode:
            file.unlink()
