"""Files that hold what a journal holds: their owner may read them and nobody else, and no link leads elsewhere.

A new file has its mode before anything is in it, whatever the umask. The mode of a file that was there is its owner's
affair and stays. A file that an interrupted run left is only gone on with if it is this user's, and no link: in a
folder where others may write, it could be theirs.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO, Final

_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_NO_DETOUR: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe without a reader would be waited for


def create(file: Path) -> BinaryIO:
    """Create a file and open it for writing; one that is there, or a link, is a ``FileExistsError``.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> file = Path(mkdtemp()) / "secret"
    >>> create(file).close()
    >>> oct(file.stat().st_mode)
    '0o100600'
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_DETOUR, _MODE)
    os.fchmod(descriptor, _MODE)  # the umask may have taken the owner's rights, too
    return os.fdopen(descriptor, "wb")


def create_anew(file: Path) -> BinaryIO:
    """Create a file in place of what an interrupted run left, if that is a file of this user's."""
    with contextlib.suppress(FileNotFoundError):
        _refuse_others(file, file.lstat())
        file.unlink()
    return create(file)


def replace(file: Path, content: bytes) -> None:
    """Write a file so that it is whole whatever happens: as it was, or with this content, which is on the disk.

    Raises ``OSError`` if it cannot be written, or beside it stands ``NAME.new`` that is not a file of this user's.
    """
    new = file.with_name(file.name + ".new")
    with create_anew(new) as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


def append_to(file: Path) -> BinaryIO:
    """Open a file of this user's to write behind what it has, or ``OSError``."""
    _refuse_others(file, file.lstat())  # a link's error would speak of its levels
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | _NO_DETOUR)
    try:
        _refuse_others(file, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "ab")


def make_folder(folder: Path) -> None:
    """Make a folder, or take the one of this user's that is there; a link is an ``OSError``."""
    try:
        folder.mkdir(_FOLDER_MODE)
    except FileExistsError:
        found = folder.lstat()
        if not S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise _others(folder) from None
    else:
        folder.chmod(_FOLDER_MODE)


def _refuse_others(file: Path, found: os.stat_result) -> None:
    if not S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != os.geteuid():
        raise _others(file)


def _others(file: Path) -> OSError:
    return FileExistsError(f"{file} is there already, and is a link or not a file of this user's: remove it")
