"""A load over all seven structures, made of the public API only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from casty_es.handles.distributed import Distributed

# A load that meets an outage asks again after this long, so that its history does not fill with refusals.
_PACE_SECONDS = 0.02
# Whose arrival failed arrives again, but a round that tripped without its answer is not waited for without end.
_ARRIVALS = 3


class Caller:
    """One of several concurrent callers. Errors are met, kept and survived."""

    def __init__(
        self, d: Distributed, number: int, prefix: str = "", *, parties: int = 1, seconds: float = 10.0
    ) -> None:
        self.number = number
        self.errors: list[Exception] = []
        self.shared = d.counter(f"{prefix}shared", timeout=seconds)
        self.own = d.counter(f"{prefix}own-{number}", timeout=seconds)
        self.users = d.map[str, dict](f"{prefix}users", timeout=seconds)
        self.tags = d.set[str](f"{prefix}tags", timeout=seconds)
        self.jobs = d.queue[int](f"{prefix}jobs", timeout=seconds)
        self.lock = d.lock(f"{prefix}lock", timeout=seconds)
        self.permits = d.semaphore(f"{prefix}permits", 2, timeout=seconds)
        self.gate = d.barrier(f"{prefix}gate", node_id=f"caller-{number}", timeout=seconds)
        self.parties = parties
        self.turn = 0

    async def met(self, operation: Awaitable[Any]) -> bool:
        """Await an operation; tell whether it was done."""
        try:
            await operation
        except Exception as error:  # noqa: BLE001 - one that is not ours is for the audit to complain about
            self.errors.append(error)
            await asyncio.sleep(_PACE_SECONDS)
            return False
        return True

    async def counting(self) -> None:
        """Count on two counters and read one."""
        await self.met(self.shared.increment(self.number + 1))
        await self.met(asyncio.gather(self.own.increment(), self.own.decrement(3)))
        await self.met(self.shared.get())

    async def mapping(self) -> None:
        """Put, read and delete keys of a map."""
        self.turn += 1
        keys = [f"k{(self.number + step) % 5}" for step in range(3)]
        await asyncio.gather(*map(self._put, keys))
        await self.met(self.users.get(keys[0]))
        await self.met(self.users.delete(keys[-1]))

    async def _put(self, key: str) -> None:
        await self.met(self.users.put(key, {"turn": self.turn, "by": self.number}))

    async def tagging(self) -> None:
        """Add to a set and take from it."""
        await self.met(self.tags.add(f"t{self.turn % 7}"))
        await self.met(self.tags.remove(f"t{(self.turn + self.number) % 7}"))
        await self.met(self.tags.size())

    async def queueing(self) -> None:
        """Put into a queue and take out."""
        self.turn += 1
        await self.met(self.jobs.enqueue(self.number * 1_000_000 + self.turn))
        await self.met(self.jobs.dequeue())
        await self.met(self.jobs.size())

    async def locking(self) -> None:
        """Count under the lock."""
        if await self.met(self.lock.acquire()):
            await self.met(self.shared.increment())
            while self.lock.token is not None and not await self.met(self.lock.release()):
                pass

    async def permitting(self) -> None:
        """Take a permit and give it back."""
        if await self.met(self.permits.acquire()):
            while not await self.met(self.permits.release()):
                pass

    async def gathering(self) -> None:
        """Meet the other callers at the barrier."""
        for _ in range(_ARRIVALS):
            if await self.met(self.gate.arrive(self.parties)):
                return

    async def every_structure(self) -> None:
        """Use each structure once."""
        await self.counting()
        await self.mapping()
        await self.tagging()
        await self.queueing()
        await self.locking()
        await self.permitting()
        await self.gathering()

    async def step(self, random: Random, *, in_line: bool = True) -> None:
        """Use one structure, whichever comes up; without ``in_line`` one where nobody waits for anybody."""
        steps: list[Callable[[], Awaitable[None]]] = [self.counting, self.mapping, self.tagging, self.queueing]
        if in_line:
            steps += [self.locking, self.permitting, self.gathering]
        await random.choice(steps)()

    async def forever(self, random: Random) -> None:
        """Use one structure after the other."""
        while True:
            await self.step(random)


async def run_once(d: Distributed, prefix: str, *, callers: int = 3, seconds: float = 10.0) -> list[Caller]:
    """Let several callers use every structure at the same time."""
    crowd = [Caller(d, number, prefix, parties=callers, seconds=seconds) for number in range(callers)]
    await asyncio.gather(*(caller.every_structure() for caller in crowd))
    return crowd
