"""Every operation from every node and client of a cluster: the results are those of one structure."""

from __future__ import annotations

import asyncio
from itertools import cycle
from typing import Any
from uuid import UUID

from casty_es import BoundsError, Distributed

from .nodes import PATIENT


async def test_a_counter_is_one_counter_everywhere(everywhere: list[Distributed]) -> None:
    """Whoever counts continues where the one before stopped, and everybody reads what was acknowledged last."""
    hits = [d.counter("hits", timeout=PATIENT) for d in everywhere]

    assert [await one.get() for one in hits] == [0] * len(hits)
    for number, one in enumerate(hits, start=1):
        assert await one.increment() == number
        assert [await other.get() for other in hits] == [number] * len(hits)
    assert await hits[-1].increment(10) == len(hits) + 10
    assert await hits[0].decrement(4) == len(hits) + 6
    assert await hits[-1].destroy() is True
    assert [await one.destroy() for one in hits] == [False] * len(hits)
    assert [await one.get() for one in hits] == [0] * len(hits)
    assert await hits[0].increment() == 1


async def test_a_counter_is_set_and_bounded_from_everywhere(everywhere: list[Distributed]) -> None:
    """A value set from one place is what every other finds; of all who take of what is left, so many get one."""
    stock = [d.counter("stock", timeout=PATIENT) for d in everywhere]

    for number, one in enumerate(stock):
        assert await one.get_and_set(number + 1) == number
        assert await one.compare_and_set(number, 0) is False
    assert await stock[0].compare_and_set(len(stock), 10) is True
    told = await asyncio.gather(*(one.decrement(min=0) for one in stock for _ in range(9)), return_exceptions=True)

    assert sorted(value for value in told if isinstance(value, int)) == list(range(10))
    assert {type(one) for one in told} == {int, BoundsError}


async def test_concurrent_increments_are_counted_once_each(everywhere: list[Distributed]) -> None:
    """What all callers are told together is 1 to N: nothing doubled, nothing left out."""
    hits = [d.counter("hits", timeout=PATIENT) for d in everywhere for _ in range(10)]

    async def ten(counter: Any) -> list[int]:
        return [await counter.increment() for _ in range(10)]

    told = [value for values in await asyncio.gather(*map(ten, hits)) for value in values]

    assert sorted(told) == list(range(1, 10 * len(hits) + 1))
    assert await hits[0].get() == 10 * len(hits)


async def test_concurrent_first_increments_make_one_counter(everywhere: list[Distributed]) -> None:
    """When everybody is the first at once, slots get one owner each and every counter one value."""
    names = [f"fresh-{number}" for number in range(20)]

    told = await asyncio.gather(*(d.counter(name, timeout=PATIENT).increment() for name in names for d in everywhere))

    for start in range(0, len(told), len(everywhere)):
        assert sorted(told[start : start + len(everywhere)]) == list(range(1, len(everywhere) + 1))


async def test_a_map_is_one_map_everywhere(everywhere: list[Distributed]) -> None:
    """A value put from one place is seen, replaced and deleted from every other, whatever the type of its key."""
    for keys in (["alice", "bob", "c:d"], [1, -7, 2**70], [UUID(int=1), UUID(int=2**127)]):
        maps = [d.map[type(keys[0]), dict]("m-" + type(keys[0]).__name__, timeout=PATIENT) for d in everywhere]
        turns = cycle(maps)
        for key in keys:
            assert await next(turns).put(key, {"v": 1}) is None
            assert await next(turns).put(key, {"v": 2}) == {"v": 1}
            assert [await one.get(key) for one in maps] == [{"v": 2}] * len(maps)
            assert [await one.contains(key) for one in maps] == [True] * len(maps)
            assert await next(turns).get(key, local=True) == {"v": 2}
            assert await next(turns).delete(key) is True
            assert await next(turns).delete(key) is False
            assert [await one.get(key) for one in maps] == [None] * len(maps)
            assert [await one.contains(key) for one in maps] == [False] * len(maps)


async def test_a_set_is_one_set_everywhere(everywhere: list[Distributed]) -> None:
    """A member added from one place is one for all, and can be removed once."""
    tags = [d.set[str]("tags", timeout=PATIENT) for d in everywhere]

    assert [await one.add("a") for one in tags] == [True] + [False] * (len(tags) - 1)
    assert await tags[-1].add("b") is True
    assert [await one.size() for one in tags] == [2] * len(tags)
    assert [await one.contains("b") for one in tags] == [True] * len(tags)
    assert [await one.remove("b") for one in tags] == [True] + [False] * (len(tags) - 1)
    assert [await one.contains("b") for one in tags] == [False] * len(tags)
    assert await tags[-1].destroy() is True
    assert [await one.size() for one in tags] == [0] * len(tags)
    assert await tags[0].destroy() is False


async def test_a_queue_is_one_queue_everywhere(everywhere: list[Distributed]) -> None:
    """Items leave in the order in which they came, whoever brought them and whoever takes them."""
    jobs = [d.queue[int]("jobs", timeout=PATIENT) for d in everywhere]
    turns = cycle(jobs)
    for number in range(7):
        await next(turns).enqueue(number)

    assert [await one.size() for one in jobs] == [7] * len(jobs)
    assert [await one.peek() for one in jobs] == [0] * len(jobs)
    assert [await next(turns).dequeue() for _ in range(5)] == list(range(5))
    assert await jobs[0].size() == 2
    assert await jobs[-1].destroy() is True
    assert [await one.dequeue() for one in jobs] == [None] * len(jobs)
    assert [await one.peek() for one in jobs] == [None] * len(jobs)
    assert await jobs[0].destroy() is False


async def test_an_item_is_taken_once(everywhere: list[Distributed]) -> None:
    """When everybody puts and takes at once, each item goes to one taker and the rest are told that nothing is left."""
    jobs = [d.queue[str]("jobs", timeout=PATIENT) for d in everywhere]
    items = [f"{number}-{job}" for number in range(len(jobs)) for job in range(20)]

    await asyncio.gather(*(jobs[int(item.partition("-")[0])].enqueue(item) for item in items))
    taken = await asyncio.gather(*(one.dequeue() for one in jobs for _ in range(30)))

    assert sorted(item for item in taken if item is not None) == sorted(items)
    assert await jobs[0].size() == 0


async def test_a_lock_is_one_lock_everywhere(everywhere: list[Distributed]) -> None:
    """Held from one place it is held for all; tokens grow from holder to holder, wherever the holders are."""
    locks = [d.lock("l", timeout=PATIENT) for d in everywhere]
    tokens: list[int] = []

    for holder in locks:
        await holder.acquire()
        assert [await one.locked() for one in locks] == [True] * len(locks)
        assert [await one.try_acquire() for one in locks] == [False] * len(locks)
        assert [await one.release() for one in locks if one is not holder] == [False] * (len(locks) - 1)
        tokens.append(holder.token or 0)
        assert await holder.release() is True
        assert holder.token is None
        assert [await one.locked() for one in locks] == [False] * len(locks)
    assert await locks[-1].try_acquire() is True
    tokens.append(locks[-1].token or 0)
    assert await locks[0].destroy() is True
    assert await locks[-1].release() is False
    async with locks[0] as held:
        tokens.append(held.token or 0)

    assert tokens == sorted(set(tokens))


async def test_a_lock_excludes_everybody_else_in_the_cluster(everywhere: list[Distributed]) -> None:
    """Of all tasks of all nodes never two are inside, and their tokens come in the order of their holding."""
    inside: set[int] = set()
    tokens: list[int] = []

    async def task(number: int, d: Distributed) -> None:
        lock = d.lock("shared", timeout=PATIENT)
        for _ in range(3):
            async with lock:
                inside.add(number)
                assert inside == {number}
                tokens.append(lock.token or 0)
                await asyncio.sleep(0)
                inside.remove(number)

    await asyncio.gather(*(task(number, d) for number, d in enumerate(everywhere * 3)))

    assert len(tokens) == 9 * len(everywhere)
    assert tokens == sorted(set(tokens))


async def test_a_semaphore_is_one_semaphore_everywhere(everywhere: list[Distributed]) -> None:
    """Its permits are handed out to all places together, and come back from where they were held."""
    pools = [d.semaphore("pool", permits=2, timeout=PATIENT) for d in everywhere]

    assert [await one.available() for one in pools] == [2] * len(pools)
    await pools[0].acquire()
    assert await pools[-1].try_acquire() is True
    assert [await one.try_acquire() for one in pools] == [False] * len(pools)
    assert [await one.available() for one in pools] == [0] * len(pools)
    assert await pools[0].release() is True
    assert await pools[0].release() is False
    assert [await one.available() for one in pools] == [1] * len(pools)
    assert (pools[-1].token or 0) > 0
    assert await pools[0].destroy() is True
    assert [await one.available() for one in pools] == [2] * len(pools)
    assert await pools[-1].release() is False


async def test_no_more_than_the_permits_are_inside(everywhere: list[Distributed]) -> None:
    """Of all tasks of all nodes never more than three are inside, and every one gets its turn."""
    inside = most = turns = 0

    async def task(d: Distributed) -> None:
        nonlocal inside, most, turns
        for _ in range(3):
            async with d.semaphore("pool", permits=3, timeout=PATIENT):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                turns += 1
                inside -= 1

    await asyncio.gather(*(task(d) for d in everywhere * 3))

    assert most <= 3
    assert turns == 9 * len(everywhere)
    assert await everywhere[0].semaphore("pool", permits=3).available() == 3


async def test_a_barrier_releases_all_nodes_together(everywhere: list[Distributed]) -> None:
    """Nobody passes a round of the barrier before everybody has come to it."""
    expected = len(everywhere)
    come = [0, 0, 0]

    async def caller(number: int, d: Distributed) -> None:
        barrier = d.barrier("start", node_id=f"caller-{number}", timeout=PATIENT)
        for turn in range(3):
            come[turn] += 1
            await barrier.arrive(expected)
            assert come[turn] == expected

    await asyncio.gather(*(caller(number, d) for number, d in enumerate(everywhere)))

    assert await everywhere[0].barrier("start", node_id="x").destroy() is True
    assert await everywhere[-1].barrier("start", node_id="x").destroy() is False
