"""Programs of the tests in processes that start in milliseconds: forked from the process of ``warm.py``.

A forked process is the program's own: it has the id that is told, and whoever kills or freezes that kills or freezes
the program. Where processes cannot be forked so, an interpreter is started.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

__all__ = ["CAN_FORK", "Forked", "Started", "address", "end", "start", "started"]

CAN_FORK = sys.platform == "linux"
"""Whether there are sockets that keep messages apart, and a fork is safe."""

_ROOT = Path(__file__).parents[1]
_BYTES = 1024 * 1024


@functools.cache
def _parent() -> tuple[subprocess.Popen[bytes], str]:
    folder = tempfile.mkdtemp(prefix="casty-warm-")
    place = f"{folder}/socket"
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("warm.py")), place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    atexit.register(end)
    return process, place


def address() -> str:
    """Return where the process listens from which others are forked; it is started when it is first asked for."""
    return _parent()[1]


def end() -> None:
    """End that process, if there is one."""
    if not _parent.cache_info().currsize:
        return
    process, place = _parent()
    _parent.cache_clear()
    with process:
        assert process.stdin is not None
        process.stdin.close()
    shutil.rmtree(Path(place).parent)


class Forked:
    """What a ``subprocess.Popen`` with pipes is, of a process that was forked."""

    def __init__(self, words: list[str]) -> None:
        self.args = words
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BYTES)
        self._connection.connect(address())
        theirs, ours = os.pipe()
        mine, their = os.pipe()
        self.stdin: IO[bytes] | None = os.fdopen(ours, "wb")
        self.stdout: IO[bytes] | None = os.fdopen(mine, "rb")
        request = repr((words, str(_ROOT), {**os.environ, "PYTHONPATH": str(_ROOT)})).encode()
        socket.send_fds(self._connection, [request], [theirs, their, 2])
        os.close(theirs)
        os.close(their)
        self.pid = int(self._connection.recv(_BYTES))

    def poll(self) -> int | None:
        """Return how it ended, a signal as a negative number, or nothing while it runs."""
        with contextlib.suppress(TimeoutError):
            return self.wait(0.0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; return how."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                return self._ended(self._connection.recv(_BYTES))
            except BlockingIOError:
                raise TimeoutError from None
        return self.returncode

    async def aside(self) -> int:
        """Wait in an event loop until it has ended; return how."""
        self._connection.setblocking(False)
        return self._ended(await asyncio.get_running_loop().sock_recv(self._connection, _BYTES))

    def _ended(self, told: bytes) -> int:
        self._connection.close()
        self.returncode = int(told)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


def start(module: str, *arguments: str) -> Forked | subprocess.Popen[bytes]:
    """Run ``python -m MODULE`` in the project's folder, with pipes for its standard input and output."""
    words = ["-m", module, *arguments]
    if CAN_FORK:
        return Forked(words)
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


class Started:
    """What an ``asyncio.subprocess.Process`` with pipes is, of a process that was forked."""

    def __init__(self, forked: Forked, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader) -> None:
        self._forked = forked
        self._ended = asyncio.create_task(forked.aside())
        self.pid = forked.pid
        self.stdin: asyncio.StreamWriter | None = stdin
        self.stdout: asyncio.StreamReader | None = stdout

    @property
    def returncode(self) -> int | None:
        """How it ended, a signal as a negative number; nothing while it runs."""
        return self._forked.returncode

    async def wait(self) -> int:
        """Wait until it has ended; return how."""
        code = await asyncio.shield(self._ended)
        assert self.stdin is not None
        self.stdin.close()
        return code

    async def communicate(self) -> tuple[bytes, None]:
        """Wait until it has ended; return what it printed last."""
        assert self.stdin is not None
        assert self.stdout is not None
        self.stdin.close()
        return await self.stdout.read(), await self.wait() and None

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and nobody has said so here yet
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


async def started(module: str, *arguments: str, limit: int = 2**16) -> Started | asyncio.subprocess.Process:
    """Do the same as ``start``, for an event loop; ``limit`` is how long a line may be."""
    words = ["-m", module, *arguments]
    if not CAN_FORK:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=limit,
        )
    forked = await asyncio.to_thread(Forked, words)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit)
    protocol = asyncio.StreamReaderProtocol(reader)
    await loop.connect_read_pipe(lambda: protocol, forked.stdout)
    transport, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, forked.stdin)
    return Started(forked, asyncio.StreamWriter(transport, flow, None, loop), reader)
