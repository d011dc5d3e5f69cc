"""Starting, reading and killing the process of ``load.py``."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from typing import TYPE_CHECKING

from tests.forked import start

from .recording import from_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .recording import Operation

# A child that says nothing for so long is broken; the tests fail then instead of waiting for pytest's timeout.
_SILENCE_SECONDS = 60.0


class Child:
    """A load on a journal, in a process of its own."""

    def __init__(self, url: str, seed: int) -> None:
        self.process = start("tests.faults.load", url, str(seed))
        self.lines: list[bytes] = []
        self._arriving: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._arriving.put(line)
        self._arriving.put(b"")

    def read_until(self, enough: Callable[[Operation], bool]) -> None:
        """Read lines until an operation is the one that is waited for."""
        while True:
            line = self._arriving.get(timeout=_SILENCE_SECONDS)
            assert line, f"the load ended by itself with {self.process.wait()}"
            self.lines.append(line)
            if enough(from_lines([line])[0]):
                return

    def answers(self, number: int) -> None:
        """Read until so many more operations were acknowledged."""
        left = number

        def counted(operation: Operation) -> bool:
            nonlocal left
            left -= operation.reply is not None
            return left <= 0

        self.read_until(counted)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> list[Operation]:
        """Kill the process, which learns nothing of it, and give everything that it ever told."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        while line := self._arriving.get():
            self.lines.append(line)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        return from_lines(self.lines)


@contextlib.contextmanager
def load(url: str, seed: int) -> Iterator[Child]:
    """A load that is killed at the end, whatever happens."""
    child = Child(url, seed)
    try:
        yield child
    finally:
        if child.process.returncode is None:
            child.kill()
