"""Leases beside an SQLite file: one lock of the operating system per node, and rows that say who holds which slot.

1. A node locks a file of its own beside the database, and another one under the id of its process if it has a name
   besides. The kernel releases the locks when the process dies, however it dies, so whether it lives needs neither a
   clock nor a heartbeat. A frozen process keeps its slots until it is killed.
2. A slot is a row of ``casty_slots`` that names its node. It may be taken when it names nobody, or a node whose lock is
   free.
3. Between the look at a lock and the writing of a name a process of the same name may have started. That costs its
   slots, and no data: the log decides who may write, because every append names its predecessor.
4. The lock file is never the database's: closing any descriptor of that would drop SQLite's own locks
   (sqlite.org/howtocorrupt.html). It is removed only by who has it locked, and who locks it looks whether it is still
   the file of that name: otherwise two processes could hold locks on two files of one name.
5. Once a second a session looks whether its lock file and the journal's files are still those at their paths. If not,
   it is lost, and the node gives up its slots. While the database itself is in its place and only its log or index was
   taken away, the lock stays until the session is closed: SQLite still writes the log back then, unless somebody else
   has opened the file, and the lock is what keeps other nodes from that.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from casty_es.background import finished
from casty_es.errors import CastyError, JournalError, JournalMovedError, JournalUnavailableError, NodeInUseError
from casty_es.journal.sql import SqlJournal
from casty_es.journal.sqlite_connection import OpenFiles, is_at
from casty_es.leases import lock_files
from casty_es.leases.filesystem import refuse_network
from casty_es.leases.lock_files import LockNote
from casty_es.printing import log_of

_LOG: Final = log_of("casty_es.leases")

# A look at a lock holds it for some microseconds, and a process that was killed dies a moment later.
_PATIENCE_SECONDS: Final = 1.0
_ASK_AGAIN_SECONDS: Final = 0.02
_LOOK_SECONDS: Final = 1.0


class FileLeaseSession:
    """A locked file or two, and the rows that name its node."""

    lasts = True

    def __init__(self, node_id: str, locks: list[FileLock], database: Path, journal: SqlJournal) -> None:
        self._node_id = node_id
        self._locks = locks
        self._database = database
        self._journal = journal
        self._held: set[int] = set()
        self._files = {Path(lock.lock_file): Path(lock.lock_file).stat().st_ino for lock in locks}
        self._noted: OpenFiles | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._watch = asyncio.create_task(self._watching(), name="casty-file-watch")
        self._watch.add_done_callback(self._stood_still)

    def stands(self) -> bool:
        """Return whether the session is not closed."""
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

    async def living(self, names: Collection[str]) -> set[str]:
        """Return whose lock files are locked."""
        files = {name: lock_files.lock_file(self._database, name) for name in names}
        try:
            return await asyncio.to_thread(lambda: {name for name, file in files.items() if lock_files.locked(file)})
        except OSError as error:
            raise JournalUnavailableError(
                f"A lock file beside {self._database} cannot be looked at: {error}. Nothing was taken. This process "
                f"needs to be able to read and write the folder of the journal."
            ) from error

    async def _watching(self) -> None:
        while True:
            try:
                await self._look()
            except CastyError as error:  # whoever needs the journal is told; whether it has moved is not known
                _LOG.debug("Node %s could not look at its files: %s", self._node_id, error)
            if self.lost.done():
                return
            await asyncio.sleep(_LOOK_SECONDS)  # no operating system tells portably when a file is renamed

    async def _look(self) -> None:
        try:
            files = await self._journal.open_files()
        except JournalMovedError as error:
            self._lose(str(error), locked=self._noted is not None and is_at(self._database, self._noted.database))
            return
        gone = await asyncio.to_thread(self._gone)
        if gone is not None:
            self._lose(gone, locked=False)
        elif files is not None and files != self._noted:
            await finished(asyncio.to_thread(self._note, files))  # after the close it would be another session's file

    def _gone(self) -> str | None:
        for file, inode in self._files.items():
            try:
                if file.stat().st_ino != inode:
                    return f"The lock file {file} was replaced: it is another file."
            except OSError as error:
                return f"The lock file {file} was removed or replaced: it cannot be looked at ({error})."
        return None

    def _note(self, files: OpenFiles) -> None:
        file = next(iter(self._files))  # that of its name
        try:
            lock_files.note(file, LockNote(self._node_id, os.getpid(), files))
        except OSError as error:  # others know less then, and this node works on
            _LOG.warning("Node %s could not write into its lock file %s: %s", self._node_id, file, error)
        self._noted = files

    def _stood_still(self, watch: asyncio.Task[None]) -> None:
        """End the session with its watch, whatever ended that: whoever serves under it is told."""
        why = "was cancelled" if watch.cancelled() else f"failed: {watch.exception()!r}"
        self._lose(f"The watch over the files of node {self._node_id} {why}.", locked=True)

    def _lose(self, reason: str, *, locked: bool) -> None:
        if not self.lost.done():
            self._held.clear()
            self.lost.set_result(reason)
            if not locked:
                self._unlock()

    def _unlock(self) -> None:
        for lock, (file, inode) in zip(self._locks, self._files.items(), strict=True):
            if lock.is_locked:
                try:
                    lock_files.remove(file, inode)
                except OSError as error:  # whoever finds it unlocked removes it
                    _LOG.warning("The lock file %s could not be removed and stays behind: %s", file, error)
                finally:
                    lock.release()

    async def strangers(self) -> dict[int, str]:
        """Return who holds slots and is no node: nobody can."""
        return {}

    async def close(self) -> None:
        """Forget the slots and unlock the file."""
        lost = not self.lost.cancel()
        self._watch.cancel()
        await asyncio.wait({self._watch})
        if lost:
            self._unlock()
            return
        try:
            if self._held:
                await self._journal.forget_slots(sorted(self._held), self._node_id)
        except JournalError as error:
            _LOG.warning("Node %s stays named in its slots, which others may take now: %s", self._node_id, error)
        finally:
            self._held.clear()
            self._unlock()

    def abandon_after_fork(self) -> None:
        """Do nothing: the library that locked the file closes its descriptor in every forked child."""

    def _refuse_closed(self) -> None:
        if self.lost.done():
            raise JournalUnavailableError("The lease session is closed. No slot is held. Open another session.")


class FileLeaseManager:
    """Locks ``<journal>.casty-node-<name>.lock``, beside the file of an open journal.

    The locks of a network file system are trusted only if that is allowed.
    """

    def __init__(self, journal_file: Path, journal: SqlJournal, *, allow_network_filesystem: bool = False) -> None:
        # One name for one file, whatever links lead to it: the lock files of all its nodes lie side by side.
        self._database = journal_file.resolve()
        self._journal = journal
        self._allow_network_filesystem = allow_network_filesystem

    async def open(self, node_id: str, process: str = "") -> FileLeaseSession:
        """Lock the node's file, and that of its process."""
        await self._journal.open_files()
        if not self._allow_network_filesystem:
            refuse_network(self._database)
        locks: list[FileLock] = []
        try:
            for name in dict.fromkeys((node_id, process or node_id)):
                locks += [await self._locked(name, node_id)]
            return FileLeaseSession(node_id, locks, self._database, self._journal)
        except BaseException as error:
            for lock in locks:
                lock.release()
            if isinstance(error, OSError):
                raise JournalUnavailableError(
                    f"A lock file beside {self._database} cannot be looked at: {error}. Nothing was started. Find out "
                    f"who removes it, and start again."
                ) from error
            raise

    async def _locked(self, name: str, node_id: str) -> FileLock:
        file = lock_files.lock_file(self._database, name)
        # One owner per process and task: neither re-entrant by thread nor shared by path.
        # A soft lock would stay behind when its process is killed: where the real one is missing, this is an error.
        lock = FileLock(
            file,
            thread_local=False,
            is_singleton=False,
            fallback_to_soft=False,
            mode=lock_files.lock_mode(file, self._database),
        )
        give_up_at = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while not _lock(lock):
            if asyncio.get_running_loop().time() >= give_up_at:
                raise await self._in_use(node_id, file)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)  # no operating system tells when a lock becomes free
        return lock

    async def _in_use(self, node_id: str, file: Path) -> NodeInUseError:
        holder = [node for node in await self._journal.nodes() if node.node_id == node_id]
        who = f"process {holder[0].pid} on host {holder[0].host}" if holder else "a process that did not say its name"
        return NodeInUseError(
            f"Node {node_id!r} is {who}, which has locked {file}. Nothing was started. Stop that process, or give this "
            f"one another node_id."
        )


def _lock(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
        os.truncate(lock.lock_file, 0)  # what a dead node of that name said of its files is not said of these
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        lock.release()  # if it was got before
        raise JournalUnavailableError(
            f"The lock file {lock.lock_file} cannot be used: {error}. Nothing was written. This process needs to be "
            f"able to write the folder of the journal."
        ) from error
    return True
