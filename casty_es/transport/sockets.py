"""Unix sockets at a path, however long it is: for nodes that share a file system, whatever networks they have."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISSOCK
from typing import Any, Final

from casty_es.transport.channel import Channel

AVAILABLE: Final = hasattr(socket, "AF_UNIX")

# What a socket's address holds, with the NUL behind it: 104 bytes on BSD and macOS, 108 on Linux.
_LONGEST_PATH: Final = 103


async def serve(path: Path, mode: int, accept: Callable[[], asyncio.Protocol]) -> tuple[asyncio.Server, int]:
    """Listen at a path that nobody else uses, in place of a socket that a dead process left there.

    ``mode`` says who may connect, as a file's mode does. Returns the server, and the inode of its socket.
    ``OSError`` if there can be no socket: the path is too long for this system, or the file system holds none.
    """
    loop = asyncio.get_running_loop()
    listening, inode = _bound(path, mode)
    try:
        # What is removed at the end is this module's affair; asyncio would look for the short name.
        own: dict[str, Any] = {"cleanup_socket": False} if _cleans_up(loop) else {}
        return await loop.create_unix_server(accept, sock=listening, **own), inode
    except BaseException:
        listening.close()
        unlink(path, inode)
        raise


def _bound(path: Path, mode: int) -> tuple[socket.socket, int]:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        with _short(path) as name:
            bound.bind(name)
        path.chmod(mode)  # nobody connects before it listens
        return bound, path.lstat().st_ino
    except BaseException:
        bound.close()
        raise


async def connect(path: Path, factory: Callable[[], Channel]) -> Channel:
    """Connect to the socket at a path, or raise an ``OSError``."""
    loop = asyncio.get_running_loop()
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        with _short(path) as name:
            await loop.sock_connect(connecting, name)
        _, channel = await loop.create_unix_connection(factory, sock=connecting)
    except BaseException:
        connecting.close()
        raise
    return channel


def unlink(path: Path, inode: int) -> None:
    """Remove a socket, unless another one has its name by now."""
    with contextlib.suppress(FileNotFoundError):
        if path.lstat().st_ino == inode:
            path.unlink()


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a name for a path that fits into a socket's address, for as long as it is needed."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"  # where there is no such thing, the system says so
    finally:
        os.close(folder)


def _remove_stale(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if S_ISSOCK(path.lstat().st_mode):
            path.unlink()


def _cleans_up(loop: asyncio.AbstractEventLoop) -> bool:
    return sys.version_info >= (3, 13) and isinstance(loop, asyncio.BaseEventLoop)
