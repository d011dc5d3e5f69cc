"""Whether the file at a journal's path may be opened: not where others see another log or other locks beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Final

from casty_es.errors import ConfigurationError, JournalMovedError, JournalUnavailableError
from casty_es.journal.sqlite_connection import FileId, at
from casty_es.leases.filesystem import is_mount_point, mounts
from casty_es.leases.lock_files import lock_mode, locked, notes

# The header of a rollback journal; one without it rolls nothing back (sqlite.org/fileformat2.html, section 3).
_ROLLBACK: Final = bytes.fromhex("d9d505f920a163d7")
# A file that SQLite makes has a rollback journal while it is switched to a write-ahead log. It has one page then.
_LARGEST_PAGE: Final = 65_536


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
