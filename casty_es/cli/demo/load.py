"""A child of the demo: a node, and callers in its process that keep the structures busy until it is told to stop.

Run as ``python -m casty_es.cli.demo.load``; the demo's parent does. It says on stdout, as JSON Lines, that it is ready
and how far it is; it is told ``go`` and ``stop`` on stdin.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from casty_es.cli.demo.ledger import Operation, acknowledge, kind_of, opened
from casty_es.cli.demo.structures import HERE, SETTINGS, Structures
from casty_es.handles.lock import Lock
from casty_es.handles.semaphore import Semaphore
from casty_es.journal.sql import SqlJournal
from casty_es.node import ClusteredActorSystem

__all__ = ["GO", "STOP", "Order", "Progress", "Ready", "Said"]

GO: Final = b"go\n"
STOP: Final = b"stop\n"

_REPORT_SECONDS: Final = 0.1
_JOIN_SECONDS: Final = 30.0


class Order(msgspec.Struct, frozen=True):
    """What the parent asks for, as JSON on the command line.

    Attributes
    ----------
    folder : str
        Where the ledger is.
    callers : list[int]
        The numbers of the callers of this process.
    nodes : int
        How many nodes there are to be before it is ready.
    """

    url: str
    prefix: str
    folder: str
    node_id: str
    callers: list[int]
    nodes: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The node is one of them all, and listens at this address."""

    address: str


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far the load is: operations acknowledged by this process, and seconds since the first of them was sent."""

    acknowledged: int = 0
    seconds: float = 0.0


Said = Ready | Progress


class _Load:
    def __init__(self, callers: list[int], structures: Structures, ledger: int, parent: asyncio.StreamReader) -> None:
        self._callers = callers
        self._structures = structures
        self._ledger = ledger
        self._parent = parent
        self._acknowledged = 0
        self._started = time.perf_counter()
        self.over = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            reporter = group.create_task(self._report())
            callers = [group.create_task(self._call(caller)) for caller in self._callers]
            stopper = group.create_task(self._stop())
            await asyncio.wait(callers)
            reporter.cancel()
            stopper.cancel()
        self._print()

    async def _stop(self) -> None:
        await _wait_for(STOP, self._parent)
        self.over = True

    async def _call(self, caller: int) -> None:
        first = kind_of(caller, 1)
        handle: Lock | Semaphore | None = None
        if first == "locked":
            handle = self._structures.account_lock()
        elif first == "permitted":
            handle = self._structures.upload_permits()
        number = 1
        while not self.over:
            operation = Operation(caller, number, kind_of(caller, number))
            answer = await self._structures.perform(operation.kind, f"{caller}-{number}", handle)
            acknowledge(self._ledger, operation, answer)
            self._acknowledged += 1
            number += 1

    async def _report(self) -> None:
        while True:
            self._print()
            await asyncio.sleep(_REPORT_SECONDS)

    def _print(self) -> None:
        _say(Progress(self._acknowledged, time.perf_counter() - self._started))


def _say(what: Said) -> None:
    os.write(1, msgspec.json.encode(what) + b"\n")


async def _wait_for(line: bytes, parent: asyncio.StreamReader) -> None:
    """Wait for a line from the parent; when the parent is gone, end."""
    heard = await parent.readline()
    if heard != line:
        sys.exit(f"The parent said {heard!r} instead of {line!r}.")


async def _main(order: Order) -> None:
    parent = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(parent), sys.stdin)
    ledger = opened(Path(order.folder))
    journal = SqlJournal(order.url)
    async with ClusteredActorSystem(journal=journal, node_id=order.node_id, settings=SETTINGS, **HERE) as system:
        await system.wait_for(order.nodes, timeout=_JOIN_SECONDS)
        _say(Ready("{}:{}".format(*system.self_node)))
        await _wait_for(GO, parent)
        structures = Structures(system.distributed(), order.prefix)
        await _Load(order.callers, structures, ledger, parent).run()
    os.close(ledger)


if __name__ == "__main__":
    asyncio.run(_main(msgspec.json.decode(sys.argv[1], type=Order)))
