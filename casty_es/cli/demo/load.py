"""The child of the demo: callers that keep the structures busy, and the thread that kills them all.

Run as ``python -m casty_es.cli.demo.load``; the demo's parent does. Progress goes to stdout as JSON Lines.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

from casty_es.cli.demo.ledger import Operation, acknowledge, kind_of, opened, read_ledger
from casty_es.cli.demo.structures import JOURNAL_FILE, SETTINGS, Structures
from casty_es.handles.lock import Lock
from casty_es.handles.semaphore import Semaphore
from casty_es.node import connect

__all__ = ["KILLED", "Order", "Progress"]

KILLED: Final = 137
"""The exit code of a process that killed itself: the one that ``kill -9`` gives."""

_REPORT_SECONDS: Final = 0.1


class Order(msgspec.Struct, frozen=True):
    """What the parent asks for, as JSON on the command line.

    Attributes
    ----------
    seconds : float
        How long the load lasts, in seconds from the first acknowledgement.
    kill : bool
        Whether the process ends by killing itself, instead of in order.
    """

    folder: str
    callers: int
    seconds: float
    kill: bool


class Progress(msgspec.Struct, frozen=True):
    """How far the load is: operations acknowledged by this process, and seconds since the first of them was sent."""

    acknowledged: int
    seconds: float

    @property
    def per_second(self) -> float:
        """The measured rate, in operations a second."""
        return self.acknowledged / self.seconds if self.seconds else 0.0


class _Load:
    def __init__(self, order: Order, structures: Structures, ledger: int, following: dict[int, int]) -> None:
        self._order = order
        self._structures = structures
        self._ledger = ledger
        self._following = following
        self._acknowledged = 0
        self._started = time.perf_counter()
        self._over = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            reporter = group.create_task(self._report())
            callers = [group.create_task(self._call(caller)) for caller in range(self._order.callers)]
            await asyncio.wait(callers, return_when=asyncio.FIRST_EXCEPTION)
            reporter.cancel()
        self._print()

    async def _call(self, caller: int) -> None:
        first = kind_of(caller, 1)
        handle: Lock | Semaphore | None = None
        if first == "locked":
            handle = self._structures.account_lock()
        elif first == "permitted":
            handle = self._structures.upload_permits()
        number = self._following.get(caller, 1)
        while not self._over.is_set():
            operation = Operation(caller, number, kind_of(caller, number))
            answer = await self._structures.perform(operation.kind, f"{caller}-{number}", handle)
            acknowledge(self._ledger, operation, answer)
            self._count()
            number += 1

    def _count(self) -> None:
        self._acknowledged += 1
        if self._acknowledged == 1:
            if self._order.kill:
                threading.Thread(target=_die, args=(self._order.seconds,), daemon=True).start()
            else:
                asyncio.get_running_loop().call_later(self._order.seconds, self._over.set)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            self._print()

    def _print(self) -> None:
        progress = Progress(self._acknowledged, time.perf_counter() - self._started)
        os.write(1, msgspec.json.encode(progress) + b"\n")


def _die(seconds: float) -> None:
    """End the process in whatever the other threads are doing: nothing is flushed, closed or given back."""
    time.sleep(seconds)
    os._exit(KILLED)


async def _main(order: Order) -> None:
    folder = Path(order.folder)
    following = read_ledger(folder).following
    ledger = opened(folder)
    async with connect(f"sqlite:///{folder / JOURNAL_FILE}", settings=SETTINGS) as d:
        await _Load(order, Structures(d), ledger, following).run()
    os.close(ledger)


if __name__ == "__main__":
    asyncio.run(_main(msgspec.json.decode(sys.argv[1], type=Order)))
