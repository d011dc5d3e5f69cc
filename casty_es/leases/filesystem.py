"""Which file system a file is on, and whether its locks can be trusted."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Final

from casty_es.errors import ConfigurationError

_MOUNTS: Final = Path("/proc/self/mountinfo")

# Their locks and their shared memory end at the host, at best.
_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "afs", "vboxsf", "gfs2", "ocfs2"})

# FUSE says nothing of what is behind it (sshfs, s3fs, glusterfs). fuseblk is a disk of this host, such as NTFS.
_FUSE: Final = re.compile(r"fuse(\..+)?")

_POINT: Final = 4  # the field of a mount's point
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def file_system_of(path: PurePosixPath, mountinfo: str) -> str | None:
    """Return the type of the file system that holds an absolute path, by the text of ``/proc/self/mountinfo``.

    Of the mounts above the path the longest one holds it, and of several on one point the last (proc(5)).
    """
    best: tuple[int, str] | None = None
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if "-" not in fields[6:]:
            continue
        point = _decoded(fields[_POINT])
        if path.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = len(point.parts), fields[fields.index("-", 6) + 1]
    return None if best is None else best[1]


def is_network(file_system: str) -> bool:
    """Return whether a file system may reach other hosts, which do not see this host's locks."""
    return file_system in _NETWORK or _FUSE.fullmatch(file_system) is not None


def refuse_network(file: Path) -> None:
    """Refuse a file on a network file system."""
    mountinfo = mounts()
    if mountinfo is None:  # not Linux: there is nothing to read it from
        return
    file_system = file_system_of(PurePosixPath(file.resolve()), mountinfo)
    if file_system is not None and is_network(file_system):
        raise ConfigurationError(
            f"The SQLite file {file} is on a network file system ({file_system}), where hosts may not see each other's "
            f"locks and two of them could write at once. Nothing was started. Put the file on a local disk, or use "
            f"Postgres. If the processes that use it all run on this host, set allow_network_filesystem=True."
        )


def mounts() -> str | None:
    """Return the text of this process's mounts, where the system has one."""
    return _MOUNTS.read_text(errors="surrogateescape") if _MOUNTS.exists() else None


def is_mount_point(path: PurePosixPath, mountinfo: str) -> bool:
    """Return whether something is mounted at an absolute path itself, by the text of ``/proc/self/mountinfo``."""
    return any(
        len(fields) > _POINT and _decoded(fields[_POINT]) == path
        for fields in (line.split(" ") for line in mountinfo.splitlines())
    )


def _decoded(point: str) -> PurePosixPath:
    return PurePosixPath(_OCTAL.sub(lambda code: chr(int(code[1], 8)), point))
