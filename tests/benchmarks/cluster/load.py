"""One caller for each of some slots, which tells when its slot answered: how long it stood still, when it came back.

Each caller is alone on its counter, so every reply must be the last one plus one. Whatever is measured here, a lost or
doubled increment ends the measurement.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

from casty_es import Distributed
from tests.benchmarks.cluster.processes import PATIENT


class Load:
    """Callers at work for as long as the block lasts.

    Parameters
    ----------
    names : dict[int, str]
        By slot, the name of a counter in it.
    rest : float
        How long a caller rests after each reply, in seconds, so that the processors are not what is measured.
    """

    def __init__(self, d: Distributed, names: dict[int, str], *, rest: float) -> None:
        self._d = d
        self._names = names
        self._rest = rest
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []
        self._replied: dict[int, float] = {}
        self._gaps: dict[int, float] = {}
        self._mark = 0.0
        self._back: dict[int, float] = {}
        self._all_back = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Put the callers to work; return when each had a reply."""
        begin = time.monotonic()
        self._tasks = [asyncio.create_task(self._call(number, name)) for number, name in self._names.items()]
        await self.back_after(begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the callers; raise what went wrong with them."""
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def _call(self, number: int, name: str) -> None:
        counter = self._d.counter(name, timeout=PATIENT)
        last: int | None = None
        while not self._stopped:
            begin = time.monotonic()
            value = await counter.increment()
            end = time.monotonic()
            if last is not None and value != last + 1:
                raise SystemExit(f"The counter {name} was {last} and is {value} after one increment more.")
            last = value
            self._gaps[number] = max(self._gaps.get(number, 0.0), end - self._replied.get(number, end))
            self._replied[number] = end
            if begin >= self._mark and number not in self._back:
                self._back[number] = end - self._mark
                if len(self._back) == len(self._names):
                    self._all_back.set()
            await asyncio.sleep(self._rest)

    async def back_after(self, mark: float) -> list[float]:
        """Wait until every slot has answered an increment that began after a moment; return how long after it, each."""
        self._mark, self._back, self._all_back = mark, {}, asyncio.Event()
        back = asyncio.create_task(self._all_back.wait())
        done, _ = await asyncio.wait({back, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        if back not in done:
            back.cancel()
            await asyncio.gather(*done)  # a caller ends only by failing
        return list(self._back.values())

    def reset(self) -> None:
        """Measure gaps from the last replies on."""
        self._gaps.clear()

    def gap(self, number: int) -> float:
        """Return the longest time between two replies of a slot since the last reset, in seconds."""
        return self._gaps[number]
