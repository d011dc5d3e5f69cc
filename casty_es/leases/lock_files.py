"""The files that living nodes have locked beside an SQLite file, and what each says of itself.

The kernel releases a lock when its process dies, however it dies. A node's lock file also names the files that the node
has open, so that whoever opens the journal can tell whether they are those at the path.

Beside its lock file a node may have a socket, where the other nodes of the file reach it. It belongs to who has the
lock, and goes with the lock file: a socket that a dead process left is removed by whoever finds the lock free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from stat import S_IMODE
from typing import Final

import msgspec

_MAX_BYTES: Final = 4_096
_MAY: Final = 0o666
_OWNER: Final = 0o600


class LockNote(msgspec.Struct, frozen=True):
    """What a node writes into its lock file."""

    node_id: str  # the node, and its process
    pid: int
    # Device and inode of the database, of its log and of the log's index, as the node has them open.
    files: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def lock_file(database: Path, node_id: str) -> Path:
    """Return the lock file of a node; ``database`` is a path without links."""
    name = blake2b(node_id.encode(), digest_size=6).hexdigest()
    return database.with_name(f"{database.name}.casty-node-{name}.lock")


def socket_file(database: Path, node_id: str) -> Path:
    """Return the socket of a node; ``database`` is a path without links."""
    return _socket_beside(lock_file(database, node_id))


def _socket_beside(lock: Path) -> Path:
    # Hidden, because a socket cannot be copied: `cp casty.db* …` is not to fail over it.
    return lock.with_name(f".{lock.stem}.sock")


def sockets_beside(file: Path) -> Callable[[str], Path]:
    """Return what gives the socket of each node, whatever links lead to the journal's file."""
    return partial(socket_file, file.resolve())


def lock_mode(file: Path, database: Path) -> int:
    """Return the mode that a lock file has, or that of its database for a new one, as SQLite does with its own files.

    Who may use the journal has to look at the locks, and nobody else has to.
    """
    for there in (file, database):
        with contextlib.suppress(OSError):  # whoever locks it is told what is wrong
            return S_IMODE(there.stat().st_mode) & _MAY | _OWNER
    return _OWNER


def locked(file: Path, *, clear: bool = True) -> bool:
    """Return whether a living process has a lock file locked; otherwise remove the file, unless it is to stay.

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
        if clear:
            with contextlib.suppress(BlockingIOError):  # somebody else looks too, and may remove it
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(file, os.fstat(descriptor).st_ino)
        return False
    finally:
        os.close(descriptor)


def remove(file: Path, inode: int) -> None:
    """Remove a lock file that this process has locked, and its socket, unless another one has its name by now."""
    with contextlib.suppress(FileNotFoundError):
        if file.stat().st_ino == inode:
            with contextlib.suppress(OSError):  # what stays behind leads nowhere, and keeps nobody from the lock
                _socket_beside(file).unlink()
            file.unlink()


def note(file: Path, text: LockNote) -> None:
    """Write into a lock file that this process has locked. The lock is its descriptor's, and stays."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        content = msgspec.json.encode(text)
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)


def notes(database: Path) -> Iterator[tuple[Path, LockNote]]:
    """Read what the lock files beside a database say; one that says nothing, or is not ours to read, is left out."""
    for file in database.parent.glob(f"{_escaped(database.name)}.casty-node-*.lock"):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                content = os.pread(descriptor, _MAX_BYTES, 0)
            finally:
                os.close(descriptor)
            yield file, msgspec.json.decode(content, type=LockNote)


def _escaped(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)
