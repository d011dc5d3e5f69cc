"""Whether the file at a journal's path is the one that this process writes.

1. SQLite goes on writing a file that was removed, renamed or replaced, and its log and index lie beside the path: what
   it acknowledges then is found by nobody (sqlite.org/howtocorrupt.html, section 4). So each connection notes which
   files it has open, by device and inode, and every use of it looks whether they are still those at the path. While a
   file is open its inode is nobody else's.
2. Once they differ, this journal stays closed until it is opened anew. Files that were put back may have been changed
   meanwhile, page by page, beneath what SQLite has in memory.
3. The files are only looked at, never opened: closing any descriptor of them drops SQLite's locks.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Final, NamedTuple

from casty_es.errors import ConfigurationError, JournalMovedError, JournalUnavailableError
from casty_es.leases.filesystem import is_mount_point, mounts
from casty_es.leases.lock_files import lock_mode, locked, notes

# The header of a rollback journal; one without it rolls nothing back (sqlite.org/fileformat2.html, section 3).
_ROLLBACK: Final = bytes.fromhex("d9d505f920a163d7")
# A file that SQLite makes has a rollback journal while it is switched to a write-ahead log. It has one page then.
_LARGEST_PAGE: Final = 65_536

# The file may be replaced in the microseconds between a look and SQLite's opening it. Where layers of file systems lie
# on each other, opening it to write gives it another number, once.
_ATTEMPTS: Final = 3

# Each look costs three calls of the operating system, and each of these hands Python's lock to another thread.
_NOW_SECONDS: Final = 0.02

_WHAT_TO_DO: Final = (
    "Everything that this process does with the journal is refused. Stop every process that uses it, put the database "
    "and its -wal together where they belong (what was committed and is not there is in the old ones), and start again."
)


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


def refuse_parted(file: Path) -> None:
    """Refuse to open a file that others would see with another log or other locks, or write already somewhere else.

    Raises ``ConfigurationError`` if it has several names, or is mounted without its folder, and
    ``JournalMovedError`` if a rollback journal, a log or a living node beside it belongs to another file.
    """
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        _refuse_notes(file.resolve())
        return
    if S_ISREG(found.st_mode) and found.st_nlink > 1:
        raise ConfigurationError(
            f"The SQLite file {file} has {found.st_nlink} names (hard links). SQLite puts the log beside the name by "
            f"which a file is opened, so two processes could write it without seeing each other. Nothing was opened. "
            f"Remove the other names, or make the journal a copy of its own: find / -xdev -samefile '{file}'."
        )
    there = file.resolve()
    mountinfo = mounts()
    if mountinfo is not None and is_mount_point(PurePosixPath(there), mountinfo):
        raise ConfigurationError(
            f"The SQLite file {file} is mounted by itself, without its folder. Its log and lock files would lie in "
            f"this container alone: others would not see them, and what they hold would be gone with it. Nothing was "
            f"opened. Mount the folder that holds the file."
        )
    if found.st_size > _LARGEST_PAGE:
        _refuse_rollback(there)
    _refuse_notes(there)


def _refuse_rollback(file: Path) -> None:
    journal = file.with_name(f"{file.name}-journal")
    try:
        with journal.open("rb") as opened:  # SQLite holds no lock on it
            hot = opened.read(len(_ROLLBACK)) == _ROLLBACK
    except FileNotFoundError:
        return
    if hot:
        raise JournalMovedError(
            f"{journal} lies beside the SQLite file {file}, which has a write-ahead log and never leaves such a file. "
            f"It belongs to another file that had this name, and SQLite would write its old pages into this one. "
            f"Nothing was opened. Move it away, or restore the database that it belongs to."
        )


def _refuse_notes(file: Path) -> None:
    """Refuse what the lock files of nodes say of other files at this path."""
    for lock_file, note in notes(file):
        # In this order: a node that opens its files writes the note afterwards, one that closes them unlocks before.
        here = (at(file), at(f"{file}-wal"), at(f"{file}-shm"))
        stale = note.files[1] != here[1]  # and its log's number may be another file's by now
        try:
            living = locked(lock_file, clear=stale)
        except OSError:  # another user's: nothing can be known
            continue
        if living and note.files != here:
            raise JournalMovedError(
                f"Node {note.node_id!r}, process {note.pid}, has other files open than those at {file}: the database, "
                f"its -wal or its -shm was removed or replaced while the node ran. Nothing was opened. Put the files "
                f"back where they belong, or end that process, and try again."
            )
        if not living and not stale and note.files[0] != here[0]:
            raise JournalMovedError(
                f"{file}-wal is the log of another database: node {note.node_id!r} wrote it beside a file that is not "
                f"the one at {file}. SQLite would put its records into this one. Nothing was opened. Restore the "
                f"database that it belongs to, or move {file}-wal, {file}-shm and {lock_file} away."
            )


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


@contextmanager
def alone_with(file: Path) -> Iterator[tuple[str, FileId | None] | None]:
    """Hold the lock of who maintains a database; yield its path and the file there, ``None`` where another holds it."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only maintenance waits for it to be loaded

    # One name for one file, whatever links lead to it.
    path = f"{file.resolve()}.maintenance.lock"
    # A soft lock would stay behind when its process is killed: where the real one is missing, this is an error.
    lock = FileLock(path, thread_local=False, mode=lock_mode(Path(path), file), fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield None
        return
    except (OSError, NotImplementedError) as error:
        raise JournalUnavailableError(
            f"The lock file {path} cannot be used: {error}. Nothing was done. This process needs to be able to write "
            f"the folder of the journal."
        ) from error
    try:
        yield path, at(path)
    finally:
        lock.release()
