"""The lease of a journal in a file: a lock on a file of its own beside it, held by the operating system.

The kernel releases the lock when the process dies, however it dies. The lock file is never removed, because two
processes could then hold locks on two files of one name (sqlite.org/howtocorrupt.html); it is not the database's file,
because closing any descriptor of that would drop SQLite's own locks.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from filelock import FileLock, Timeout

from casty_es.errors import JournalUnavailableError

__all__ = ["FileLeaseManager"]


class FileLease:
    """A locked file."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def release(self) -> None:
        """Unlock the file."""
        self._lock.release()


class FileLeaseManager:
    """Locks ``<journal>.casty-lock``.

    Parameters
    ----------
    journal : Path
        The SQLite file.
    """

    def __init__(self, journal: Path) -> None:
        self._path = journal.with_name(f"{journal.name}.casty-lock")

    async def try_acquire(self) -> FileLease | None:
        """Lock the file unless another process has."""
        # One owner per process and task: neither re-entrant by thread nor shared by path.
        # A soft lock would stay behind when its process is killed: where the real one is missing, this is an error.
        lock = FileLock(self._path, thread_local=False, is_singleton=False, fallback_to_soft=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return None
        except (OSError, NotImplementedError) as error:
            raise JournalUnavailableError(
                f"The lock file {self._path} cannot be used: {error}. Nothing was written. This process needs to be "
                f"able to write the folder of the journal."
            ) from error
        return FileLease(lock)
