"""Starting, asking, freezing and killing node processes (``program.py``)."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from casty_es import Settings
from tests.faults.recording import from_lines
from tests.forked import start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.recording import Operation

# Whoever waits longer than this for anything waits for something that will not happen.
_PATIENCE_SECONDS = 60.0

# Short leases: what a killed process held is free again soon. Few events a snapshot: some kills meet one.
SETTINGS = Settings(snapshot_events=20, lease_seconds=1.0, membership_seconds=0.2, session_seconds=6.0)


class Node:
    """A node process, and everything that it told."""

    def __init__(self, nodes: Nodes, number: int, name: str, url: str) -> None:
        self._changed = nodes.changed
        self.name = name
        settings = msgspec.json.encode(nodes.settings).decode()
        seed = str(nodes.seed + number)
        self.process = start("tests.faults.cluster.program", url, name, str(number), seed, settings)
        self.operations: dict[bytes, Operation] = {}
        self.answered: list[Operation] = []
        self.acknowledged = 0
        self.ended = False
        self._asked = 0
        self._said: dict[int, dict[str, Any]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(b'{"said"'):
                said = json.loads(line)
                with self._changed:
                    self._said[said["said"]] = said
                    self._changed.notify_all()
                continue
            for operation in from_lines([line]):
                with self._changed:
                    self.operations[operation.id] = operation
                    if operation.returned is not None:
                        self.answered.append(operation)
                        self.acknowledged += operation.reply is not None
                        self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait(self, enough: Callable[[], bool], what: str) -> None:
        """Wait until something holds that this or another node tells."""
        with self._changed:
            found = self._changed.wait_for(lambda: enough() or self.ended, _PATIENCE_SECONDS)
            assert found, f"{self.name}: {what} did not come"
            assert enough(), f"{self.name} ended while {what} was waited for, with {self.process.wait()}"

    def order(self, what: str, *arguments: object) -> int:
        """Ask for something without waiting for it."""
        self._asked += 1
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([self._asked, what, *arguments]).encode() + b"\n")
        self.process.stdin.flush()
        return self._asked

    def came_of(self, number: int) -> dict[str, Any]:
        """Wait for what came of an order."""
        self.wait(lambda: number in self._said, f"the answer to order {number}")
        return self._said[number]

    def said(self, number: int) -> bool:
        """Return whether an order is done."""
        return number in self._said

    def ask(self, what: str, *arguments: object) -> Any:
        """Ask for something that works; return what came of it."""
        came = self.came_of(self.order(what, *arguments))
        assert "error" not in came, f"{self.name}: {what} {arguments} failed: {came}"
        return came["reply"]

    def started(self) -> Node:
        """Wait until it is one of the nodes."""
        self.came_of(0)
        return self

    def answers(self, number: int) -> None:
        """Wait until so many more operations were acknowledged."""
        wanted = self.acknowledged + number
        self.wait(lambda: self.acknowledged >= wanted, f"{number} more answers")

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop the process and return when it stands still."""
        self.send(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)  # nothing tells when a process of ours stands still, but the kernel's table

    def thaw(self) -> None:
        """Let the process go on."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process, which learns nothing of it, and take in everything that it ever told."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self._gone()

    def end(self) -> int:
        """End it in an orderly way; return its exit code."""
        self.send(signal.SIGTERM)
        return self._gone()

    def _gone(self) -> int:
        code = self.process.wait(_PATIENCE_SECONDS)
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return code


class Nodes:
    """Node processes on one journal."""

    def __init__(self, url: str, seed: int, settings: Settings) -> None:
        self.url = url
        self.seed = seed * 1_000
        self.settings = settings
        self.changed = threading.Condition()
        self.all: list[Node] = []

    def start(self, number: int = 1) -> list[Node]:
        """Start so many nodes, at the same time."""
        numbers = range(len(self.all) + 1, len(self.all) + 1 + number)
        fresh = [Node(self, each, f"node-{each}", self.url) for each in numbers]
        self.all += fresh
        return [node.started() for node in fresh]

    def again(self, node: Node) -> Node:
        """Start a node under the name of one that is gone."""
        number = len(self.all) + 1
        self.all.append(Node(self, number, node.name, self.url))
        return self.all[-1].started()

    def client(self, of: Node, secret: bytes) -> Node:
        """Start a process that is no node, but a client of one."""
        host, port = of.ask("address")
        number = len(self.all) + 1
        self.all.append(Node(self, number, f"client-{number}", f"cluster://{host}:{port}/{secret.hex()}"))
        return self.all[-1].started()

    @property
    def living(self) -> list[Node]:
        """Those that run."""
        return [node for node in self.all if node.process.returncode is None]

    def named(self, name: str) -> Node:
        """Return a node."""
        return next(node for node in self.all if node.name == name)

    def go(self) -> None:
        """Put every load to work."""
        for node in self.living:
            node.ask("go")

    def pause(self) -> None:
        """Let every load finish what it is at."""
        for node, number in [(node, node.order("pause")) for node in self.living]:
            node.came_of(number)

    def operations(self) -> list[Operation]:
        """Everything that the load of any node, living or dead, ever asked for."""
        with self.changed:
            return [operation for node in self.all for operation in node.operations.values()]


@contextlib.contextmanager
def nodes(url: str, number: int, *, seed: int = 1, settings: Settings = SETTINGS) -> Iterator[Nodes]:
    """So many nodes, started, whose processes are gone at the end whatever happens."""
    cluster = Nodes(url, seed, settings)
    try:
        cluster.start(number)
        yield cluster
    finally:
        for node in cluster.living:
            node.kill()
