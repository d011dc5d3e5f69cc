"""Many callers at once: nothing is lost, and nothing happens twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from casty_es import Distributed

Reopen: TypeAlias = Callable[..., AbstractAsyncContextManager[Distributed]]
Log: TypeAlias = Callable[..., Awaitable[list[str]]]

CALLERS = 100


async def together(calls: list[Awaitable[Any]]) -> list[Any]:
    """Run all calls at once."""
    return list(await asyncio.gather(*calls))


async def test_increments_of_many_callers_are_distinct_and_contiguous(d: Distributed) -> None:
    """A hundred callers with ten increments see each number from 1 to 1,000 once, each in rising order."""

    async def caller() -> list[int]:
        counter = d.counter("hits")
        return [await counter.increment() for _ in range(10)]

    seen = await together([caller() for _ in range(CALLERS)])

    assert sorted(number for numbers in seen for number in numbers) == list(range(1, 10 * CALLERS + 1))
    assert all(numbers == sorted(numbers) for numbers in seen)
    assert await d.counter("hits").get() == 10 * CALLERS


async def test_ups_and_downs_of_many_callers_cancel_out(d: Distributed) -> None:
    """As many decrements as increments, all at once, leave nothing."""
    counter = d.counter("balance")

    await together([counter.increment(3) if n % 2 else counter.decrement(3) for n in range(CALLERS)])

    assert await counter.get() == 0


async def test_one_of_many_callers_adds_a_member(d: Distributed) -> None:
    """When a hundred callers add the same member, one is told that it did; the same with removing."""
    tags = [d.set[str]("tags") for _ in range(CALLERS)]

    added = await together([one.add("same") for one in tags])
    size = await tags[0].size()
    removed = await together([one.remove("same") for one in tags])

    assert (added.count(True), size, removed.count(True)) == (1, 1, 1)


async def test_every_item_is_dequeued_once(d: Distributed) -> None:
    """A hundred producers and as many consumers: each item reaches one consumer."""
    jobs = d.queue[tuple[int, int]]("jobs")

    async def producer(number: int) -> None:
        for item in range(3):
            await jobs.enqueue((number, item))

    async def consumer() -> list[tuple[int, int]]:
        found = []
        while len(found) < 3:
            item = await jobs.dequeue()
            if item is not None:
                found.append(item)
        return found

    taken = await together([consumer() for _ in range(CALLERS)] + [producer(n) for n in range(CALLERS)])
    items = [item for found in taken[:CALLERS] for item in found]

    assert sorted(items) == [(n, item) for n in range(CALLERS) for item in range(3)]
    assert await jobs.size() == 0


async def test_one_dequeuing_caller_sees_the_order_of_the_queue(d: Distributed) -> None:
    """What is enqueued by concurrent calls comes out in the order of the calls."""
    jobs = d.queue[int]("ordered")

    await together([jobs.enqueue(n) for n in range(CALLERS)])

    assert await together([jobs.dequeue() for _ in range(CALLERS)]) == list(range(CALLERS))


async def test_puts_on_one_key_form_a_chain(d: Distributed) -> None:
    """Each ``put`` on a key is told the value that the one before it left; none is left out."""
    users = d.map[str, int]("users")

    previous = await together([users.put("k", n) for n in range(CALLERS)])
    last = await users.get("k")

    assert sorted([n for n in previous if n is not None] + [last]) == list(range(CALLERS))
    assert previous.count(None) == 1


async def test_puts_on_many_keys_do_not_disturb_each_other(d: Distributed) -> None:
    """A hundred callers on ten keys each find their own values."""
    users = d.map[int, int]("users")

    await together([users.put(key, -key) for key in range(10 * CALLERS)])

    assert await together([users.get(key) for key in range(10 * CALLERS)]) == [-key for key in range(10 * CALLERS)]


async def test_acknowledged_is_written(reopen: Reopen, journal_url: str, log: Log) -> None:
    """Everything that a hundred callers were told is in the log once, and counts after a reopening."""
    async with reopen() as d:
        await together([d.counter("hits").increment() for _ in range(5 * CALLERS)])
        assert await log(journal_url, "counter", "hits") == ["counter.incremented"] * 5 * CALLERS

    async with reopen() as d:
        assert await d.counter("hits").get() == 5 * CALLERS


async def test_cancelled_callers_do_not_disturb_the_others(reopen: Reopen, journal_url: str, log: Log) -> None:
    """Cancelled before it was decided, an increment never happens; the counter is what its log says."""
    async with reopen() as d:
        counter = d.counter("hits")
        calls = [asyncio.ensure_future(counter.increment()) for _ in range(CALLERS)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        kept = await asyncio.gather(*calls[1::2])
        value = await counter.get()

        assert len(set(kept)) == CALLERS // 2
        assert value == len(await log(journal_url, "counter", "hits"))
        assert value >= max(kept)
