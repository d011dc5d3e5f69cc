"""A connection to SQLite, the one thread that uses it, and whether its file is still the one at the journal's path.

1. SQLite goes on writing a file that was removed, renamed or replaced, and its log and index lie beside the path: what
   it acknowledges then is found by nobody (sqlite.org/howtocorrupt.html, section 4). So each connection notes which
   files it has open, by device and inode, and every use of it looks whether they are still those at the path. While a
   file is open its inode is nobody else's.
2. Once they differ, this journal stays closed until it is opened anew. Files that were put back may have been changed
   meanwhile, page by page, beneath what SQLite has in memory.
3. The files are only looked at, never opened: closing any descriptor of them drops SQLite's locks.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from casty_es.errors import JournalMovedError, JournalUnavailableError
from casty_es.printing import log_of

T = TypeVar("T")

_LOG: Final = log_of("casty_es.journal")

# The file may be replaced in the microseconds between a look and SQLite's opening it. Where layers of file systems lie
# on each other, opening it to write gives it another number, once.
_ATTEMPTS: Final = 3

# Each look costs three calls of the operating system, and each of these hands Python's lock to another thread.
_NOW_SECONDS: Final = 0.02

_WHAT_TO_DO: Final = (
    "Everything that this process does with the journal is refused. Stop every process that uses it, put the database "
    "and its -wal together where they belong (what was committed and is not there is in the old ones), and start again."
)


class Connection:
    """A connection and the one thread that uses it."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self.sqlite: sqlite3.Connection | None = None  # while there is one
        self.files: OpenFiles | None = None  # those that it has open
        self.closed = False  # whether it is used up: what was asked of it is finished, and nothing more is begun

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Run in the thread. The loop's own ``run_in_executor`` chains two futures, which a lone caller would feel."""
        if self.closed:
            raise closed_meanwhile()
        return await self._begun(function, arguments)

    def _begun(self, function: Callable[..., T], arguments: tuple[object, ...]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._thread.submit(_report, loop, done, function, arguments)
        return done

    def run_later(self, function: Callable[[], None]) -> None:
        """Run in the thread, and wait for nothing."""
        if not self.closed:
            self._thread.submit(function).add_done_callback(_logged)

    async def close(self) -> None:
        """Finish what was asked, close the connection and end the thread."""
        if self.closed:
            return
        self.closed = True
        try:
            await self._begun(self.drop, ())
        finally:
            self._thread.shutdown()

    def drop(self) -> None:
        """Close the connection, in its thread."""
        sqlite, self.sqlite, self.files = self.sqlite, None, None  # before the log goes away with it: others look
        if sqlite is not None:
            sqlite.close()


class FileId(NamedTuple):
    """Which file it is, whatever its name."""

    device: int
    inode: int


class OpenFiles(NamedTuple):
    """The files that a connection has open: the database, its write-ahead log and the index of that."""

    database: FileId
    log: FileId
    log_index: FileId


class Place:
    """The path of a journal, and which files were seen there; ``moved`` is why the journal is not used any more."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.moved: str | None = None
        self._database: FileId | None = None
        self._paths = _paths(file)
        self._looked_at = 0.0

    @property
    def looked_now(self) -> bool:
        """Whether the files were found at their paths some milliseconds ago."""
        return self.moved is None and time.monotonic() - self._looked_at < _NOW_SECONDS

    def has(self, files: OpenFiles | None) -> bool:
        """Return whether the database at the path is the one of these files; a third of a whole look."""
        return files is not None and is_at(self._paths[0], files.database)

    def connected(self, connect: Callable[[], sqlite3.Connection]) -> tuple[sqlite3.Connection, OpenFiles]:
        """Connect; return the connection and the files that it has open.

        Raises ``JournalMovedError`` if this journal had another file open before, or the file is being replaced
        again and again.
        """
        for _ in range(_ATTEMPTS):
            if self.moved is not None:
                raise self._error("Nothing was written.")
            before = _file_id(os.stat(self._paths[0]))  # noqa: PTH116 - as below
            connection = connect()
            try:
                # SQLite opens the log when it first reads.
                connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
                self._paths = _paths(self.file)
                files = _files_at(self._paths)
                if self._database not in {None, files.database}:
                    self._part(f"{self.file} was replaced by another file")
            except BaseException:
                connection.close()
                raise
            if files.database == before:
                self._database = files.database
                return connection, files
            connection.close()  # whether it is the one before or the one after, nobody can say
        raise JournalMovedError(
            f"{self.file} was replaced each of {_ATTEMPTS} times that it was opened. Nothing was written. Wait until "
            f"whoever replaces it is done."
        )

    def check(self, files: OpenFiles, undone: str) -> int:
        """Return the log's size in bytes, after looking whether a connection's files are those at the path.

        Raises ``JournalMovedError`` if they are not, whose text says ``undone`` of the work at hand, and
        ``JournalUnavailableError`` if it cannot be found out.
        """
        if self.moved is None:
            database, log, index = self._paths
            try:
                # Before and after every append: a Path would take three times as long.
                data_at, log_at, index_at = os.stat(database), os.stat(log), os.stat(index)  # noqa: PTH116
            except (FileNotFoundError, NotADirectoryError) as error:
                self._part(f"{error.filename} is gone", undone)
            except OSError as error:
                raise JournalUnavailableError(
                    f"{error.filename} cannot be looked at: {error}. {undone} Try again when the cause is gone."
                ) from error
            else:
                if (data_at.st_ino, log_at.st_ino, index_at.st_ino) != (files[0][1], files[1][1], files[2][1]) or (
                    (data_at.st_dev, log_at.st_dev, index_at.st_dev) != (files[0][0], files[1][0], files[2][0])
                ):
                    self._part(self._replaced(files, (data_at, log_at, index_at)), undone)
                self._looked_at = time.monotonic()
                return log_at.st_size
        raise self._error(undone)

    def _replaced(self, files: OpenFiles, found: Sequence[os.stat_result]) -> str:
        for path, opened, there in zip(self._paths, files, found, strict=True):
            if _file_id(there) != opened:
                return f"{path} was replaced by another file"
        return f"{self.file} was replaced by another file"

    def _part(self, what: str, undone: str = "Nothing was written.") -> None:
        self.moved = f"{what} while process {os.getpid()} had it open"
        raise self._error(undone)

    def _error(self, undone: str) -> JournalMovedError:
        return JournalMovedError(f"{self.moved}. {undone} {_WHAT_TO_DO}")


def _paths(file: Path) -> tuple[str, str, str]:
    # The database by the name that others use, too; the rest where SQLite puts it, which follows links.
    there = os.path.realpath(file)
    return str(file), f"{there}-wal", f"{there}-shm"


def _file_id(found: os.stat_result) -> FileId:
    return FileId(found.st_dev, found.st_ino)


def _files_at(paths: tuple[str, str, str]) -> OpenFiles:
    database, log, index = (_file_id(os.stat(path)) for path in paths)  # noqa: PTH116 - as above
    return OpenFiles(database, log, index)


def closed_meanwhile() -> JournalUnavailableError:
    """Return what is said to whoever asks something of a connection that is used up."""
    return JournalUnavailableError("The journal was closed meanwhile. Nothing was done.")


def rolled_back(sqlite: sqlite3.Connection) -> bool:
    """Roll back what is open; tell whether nothing is any more."""
    try:
        if sqlite.in_transaction:
            sqlite.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def undo(sqlite: sqlite3.Connection | None, error: Exception) -> str:
    """Roll back what is open and return the error's code; one of doubt if that fails."""
    if sqlite is not None and not rolled_back(sqlite):
        return "SQLITE_IOERR"
    return getattr(error, "sqlite_errorname", None) or type(error).__name__


def _logged(work: Future[None]) -> None:
    error = work.exception()
    if error is not None:
        _LOG.error("Work in the background failed", exc_info=error)


def _report(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[T], function: Callable[..., T], arguments: tuple[object, ...]
) -> None:
    """Run in the thread, and let the loop know how it ended."""
    try:
        result = function(*arguments)
    except BaseException as error:  # noqa: BLE001 - whoever awaits it gets it
        loop.call_soon_threadsafe(_finish, done, done.set_exception, error)
    else:
        loop.call_soon_threadsafe(_finish, done, done.set_result, result)


def _finish(done: asyncio.Future[T], tell: Callable[[Any], None], outcome: object) -> None:
    if not done.cancelled():
        tell(outcome)


def at(path: Path | str) -> FileId | None:
    """Return which file is at a path now, if there is one."""
    try:
        return _file_id(os.stat(path))  # noqa: PTH116 - as above
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_at(path: Path | str, file: FileId | None) -> bool:
    """Return whether a file is known to be at a path now; it is not where nobody can look."""
    try:
        return at(path) == file
    except OSError:
        return False
