"""Which processes have a journal's files open, as far as Linux tells under ``/proc``; elsewhere nothing is known.

A process of another user, or of another container, may be hidden.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_LOCKS: Final = _PROC / "locks"
_MOUNTS: Final = Path("ns", "mnt")
_DELETED: Final = " (deleted)"
# A transaction that reads holds one of these bytes of the log's index locked (sqlite.org/walformat.html, section 2.3).
_READ_LOCKS: Final = range(123, 128)
_LONGEST_NAME: Final = 120


class Reader(NamedTuple):
    """A process that reads."""

    pid: int  # the process; 0 or less for one of another container
    command: str  # how it was started; empty where that is hidden


def told_by_system() -> bool:
    """Return whether this system says who reads."""
    return _LOCKS.exists()


def readers(log_index: int) -> list[Reader]:
    """Return the processes that hold an old state of a database, by the inode of its log's index."""
    found = set()
    for line in _LOCKS.read_text().splitlines() if told_by_system() else ():
        # 4: POSIX  ADVISORY  READ 10044 fe:00:2556049 123 123; one that waits has an arrow behind its number.
        fields = line.split()
        if len(fields) == 8 and fields[1] == "POSIX" and fields[5].rpartition(":")[2] == str(log_index):  # noqa: PLR2004
            first, last = int(fields[6]), fields[7]
            if last != "EOF" and first in _READ_LOCKS and int(last) in _READ_LOCKS:
                found.add(int(fields[4]))
    return [Reader(pid, _command(pid)) for pid in sorted(found)]


def strangers(file: Path) -> dict[int, str]:
    """Return the processes that have other files of a database's name open: those that were removed or replaced."""
    there = str(file.resolve())
    names = (there, f"{there}-wal")
    found: dict[int, str] = {}
    for pid, descriptor, link in _open_files():
        name = link.removesuffix(_DELETED)
        if name not in names or pid in found:
            continue
        if link != name:
            found[pid] = f"has {name} open, which was removed"
        elif not _is_the_file_at(descriptor, name):
            found[pid] = f"has another file open as {name}"
    return found


def _open_files() -> Iterator[tuple[int, Path, str]]:
    here = (_PROC / "self" / _MOUNTS).readlink() if told_by_system() else None
    for process in _PROC.glob("[0-9]*") if told_by_system() else ():
        with contextlib.suppress(OSError):  # it ended, or is not ours to see
            if (process / _MOUNTS).readlink() != here:
                continue  # in another container the same name is another file's
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):  # it was closed meanwhile
                    yield int(process.name), descriptor, str(descriptor.readlink())


def _is_the_file_at(descriptor: Path, name: str) -> bool:
    try:
        at, opened = os.stat(name), descriptor.stat()  # noqa: PTH116 - text as the system gave it
    except OSError:
        return True  # one of the two is just going away
    return (at.st_dev, at.st_ino) == (opened.st_dev, opened.st_ino)


def _command(pid: int) -> str:
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return words.replace(b"\0", b" ").decode(errors="replace").strip()[:_LONGEST_NAME]
