"""``python -m tests.truth.campaigns``: the three counts that ``guarantees.md`` gives, on each journal.

1. Items lost by dequeues that were cancelled, or timed out from outside or by the handle's own time.
2. Locks and permits held by nobody after contended acquisitions with a timeout around them, about the handle's own.
3. Denials that are not true, of commands in flight when their node or client is closed under load.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from random import Random
from typing import Any, Final

from casty_es import CastyError, ClusteredActorSystem, Distributed, InMemoryJournal, OutcomeUnknownError
from tests.cluster.nodes import client, named_for, node

from .part import say
from .runs import PLACES, Fresh, journals

_BATCH: Final = 50
_SOON_SECONDS: Final = 10.0  # far below the lease of 30 s


class Place:
    """The structures as a caller sees them, and as the owner does."""

    def __init__(self, d: Distributed, owner: Distributed, named: Callable[[str, int], str]) -> None:
        self.d = d
        self.owner = owner
        self.named = named


async def enter(stack: AsyncExitStack, url: str | None, way: str) -> Place:
    """Open an owner and a caller that reaches it in this way."""
    owner = ClusteredActorSystem(journal=InMemoryJournal()) if url is None else node(url)
    await stack.enter_async_context(owner)
    if way == "client":
        caller: Any = await stack.enter_async_context(client(owner))
    elif way == "routed":
        assert url is not None
        caller = await stack.enter_async_context(node(url))
        await caller.wait_for(2)
    else:
        caller = owner
    everybody = [owner, caller] if way == "routed" else [owner]

    def named(kind: str, number: int) -> str:
        return named_for(owner, everybody, kind=kind, stem=f"{kind}{number}")

    return Place(Distributed(caller), Distributed(owner), named)


async def dequeues(place: Place, dice: Random, number: int) -> str:
    """Cut dequeues off; return how many items are gone."""
    lost = unknown = 0
    for first in range(0, number, _BATCH):
        name = place.named("queue", first)
        queue = place.d.queue[int](name)
        await asyncio.gather(*(place.owner.queue[int](name).enqueue(item) for item in range(_BATCH)))

        async def cut(queue: Any = queue, name: str = name) -> Any:
            seconds = dice.uniform(0.0, 0.01)
            match dice.randrange(3):
                case 0:
                    return await asyncio.wait_for(queue.dequeue(), seconds)
                case 1:
                    async with asyncio.timeout(seconds):
                        return await queue.dequeue()
                case _:
                    return await place.d.queue[int](name, timeout=max(0.0005, seconds)).dequeue()

        told = await asyncio.gather(*(cut() for _ in range(_BATCH)), return_exceptions=True)
        got = [one for one in told if isinstance(one, int)]
        unknown += sum(isinstance(one, OutcomeUnknownError) for one in told)
        left = place.owner.queue[int](name)
        got += [item for _ in range(await left.size()) if (item := await left.dequeue()) is not None]
        assert len(got) == len(set(got))
        lost += _BATCH - len(got)
    return f"{number:,} dequeues cut off: {lost} items gone, {unknown} outcomes unknown"


async def acquisitions(place: Place, dice: Random, number: int) -> str:
    """Acquire what others hold with a timeout around it; return what nobody can have afterwards."""
    stuck = 0
    for first in range(0, number, 4 * _BATCH):
        kinds = [dice.choice(["lock", "semaphore"]) for _ in range(4)]

        def make(d: Distributed, which: int, timeout: float, first: int = first, kinds: Any = kinds) -> Any:
            name = place.named(kinds[which], first * 4 + which)
            return (d.lock if kinds[which] == "lock" else _single(d))(name, timeout=timeout)

        holders = [make(place.owner, which, _SOON_SECONDS) for which in range(4)]
        for holder in holders:
            await holder.acquire()

        async def attempt(which: int, make: Callable[..., Any] = make) -> None:
            own = dice.uniform(0.02, 0.08)
            held = make(place.d, which, own)
            with suppress(TimeoutError, CastyError):
                async with asyncio.timeout(own + dice.uniform(-0.005, 0.020)):
                    await held.acquire()
                    await held.release()

        attempts = [asyncio.create_task(attempt(which)) for which in range(4) for _ in range(_BATCH)]
        await asyncio.sleep(dice.uniform(0.02, 0.1))
        await asyncio.gather(*(holder.release() for holder in holders))
        await asyncio.gather(*attempts)
        for which in range(4):
            fresh = make(place.owner, which, _SOON_SECONDS)
            try:
                await fresh.acquire()
                await fresh.release()
            except CastyError:
                stuck += 1
    return f"{number:,} contended acquisitions cut off: {stuck} locks or permits held by nobody"


def _single(d: Distributed) -> Callable[..., Any]:
    return lambda name, timeout: d.semaphore(name, permits=1, timeout=timeout)


async def closings(url: str, way: str, dice: Random, number: int) -> str:
    """Close callers with commands in flight; return how many were denied and happened, or were told and did not."""
    false = told_unknown = denied = 0
    async with node(url) as owner:
        theirs = Distributed(owner)
        for turn in range(number):
            async with AsyncExitStack() as stack:
                caller: Any = await stack.enter_async_context(client(owner) if way == "client" else node(url))
                if way != "client":
                    await caller.wait_for(2)
                everybody = [owner, caller] if way != "client" else [owner]
                name = named_for(owner, everybody, stem=f"closing-{turn}-")
                counter = Distributed(caller).counter(name)
                if dice.random() < 0.7:
                    await counter.get()
                calls = [asyncio.create_task(counter.increment()) for _ in range(20)]
                await asyncio.sleep(dice.uniform(0.0, 0.004))
                await caller.__aexit__(None, None, None)
                told = await asyncio.gather(*calls, return_exceptions=True)
            done = sum(isinstance(one, int) for one in told)
            unknown = sum(isinstance(one, OutcomeUnknownError) for one in told)
            denied += len(told) - done - unknown
            told_unknown += unknown
            false += not done <= await theirs.counter(name).get() <= done + unknown
    return f"{number:,} closings with 20 commands in flight: {false} false, {denied} denied, {told_unknown} unknown"


def campaign(place: tuple[str, str], fresh: Fresh, given: argparse.Namespace) -> None:
    """Run all three in one place, each on a journal of its own."""
    kind, way = place
    dice = Random(f"{given.seed} {place}")  # noqa: S311 - moments, not secrets

    async def in_place(part: Callable[[Place, Random, int], Awaitable[str]], url: str | None, number: int) -> str:
        async with AsyncExitStack() as stack:
            return await part(await enter(stack, url, way), dice, number)

    for part, number in ((dequeues, given.dequeues), (acquisitions, given.acquisitions)):
        with fresh(kind) as url:
            say(f"{', '.join(place)}: {asyncio.run(in_place(part, url, number))}")
    if way != "local":
        with fresh(kind) as url:
            assert url is not None
            say(f"{', '.join(place)}: {asyncio.run(closings(url, way, dice, given.closings))}")


def main() -> int:
    """Run, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth.campaigns")
    parser.add_argument("--journal", action="append", choices=["memory", "sqlite", "postgres"])
    parser.add_argument("--way", action="append", choices=["local", "routed", "client"])
    parser.add_argument("--dequeues", type=int, default=2_000)
    parser.add_argument("--acquisitions", type=int, default=10_000)
    parser.add_argument("--closings", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for place in PLACES:
        if place[0] in (given.journal or place[0]) and place[1] in (given.way or place[1]):
            with journals([place[0]]) as fresh:
                campaign(place, fresh, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
