"""What happens behind the structures: snapshots, passivation, shards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import pytest

from casty_es import Distributed
from tests.audit.verifying.tampering import Tamperer

pytestmark = pytest.mark.usefixtures("snapshots_at_once")

Reopen: TypeAlias = Callable[..., AbstractAsyncContextManager[Distributed]]
Rows: TypeAlias = Callable[..., Awaitable[list[tuple[Any, ...]]]]

SNAPSHOTS = """
    SELECT n.kind, n.name, s.sequence FROM casty_snapshots s JOIN casty_entities n ON n.id = s.entity
    ORDER BY n.kind, n.name, s.sequence
"""
BYTES = """
    SELECT coalesce(sum(length(s.state)), 0),
           (SELECT sum(length(payload)) FROM casty_events WHERE entity IS NOT NULL)
    FROM casty_snapshots s
"""


async def test_a_long_log_gets_snapshots_and_a_short_one_none(reopen: Reopen, rows: Rows, journal_url: str) -> None:
    """With a threshold of 50 events an entity of 200 has snapshots, one of ten has none."""
    async with reopen(snapshot_events=50) as d:
        for _ in range(200):
            await d.counter("long").increment()
        for _ in range(10):
            await d.counter("short").increment()

    found = await rows(journal_url, SNAPSHOTS)

    assert {name for _, name, _ in found} == {"long"}
    assert 2 <= len(found) <= 4
    assert all(1 <= sequence <= 200 for _, _, sequence in found)


async def test_snapshots_write_at_most_twice_the_bytes_of_events(reopen: Reopen, rows: Rows, journal_url: str) -> None:
    """A large set that keeps changing a little is written rarely enough."""
    async with reopen(snapshot_events=50) as d:
        tags, jobs = d.set[str]("tags"), d.queue[str]("jobs")
        await asyncio.gather(*(tags.add(f"member {n}" * 5) for n in range(500)))
        await asyncio.gather(*(jobs.enqueue(f"item {n}" * 5) for n in range(500)))
        for n in range(300):
            await tags.remove(f"member {n}" * 5)
            await tags.add(f"member {n}" * 5)
            await jobs.dequeue()

    ((snapshots, events),) = await rows(journal_url, BYTES)

    assert 0 < snapshots <= 2 * events


async def test_reopening_starts_from_the_snapshot(reopen: Reopen, journal_url: str) -> None:
    """A snapshot's state counts, not the events that it covers: that one of those cannot be read shows it."""
    async with reopen(snapshot_events=50) as d:
        for _ in range(70):
            await d.counter("c").increment()
    await Tamperer(journal_url).run("UPDATE casty_events SET payload = '{' WHERE sequence = 10")

    async with reopen() as d:
        assert await d.counter("c").increment() == 71


async def test_every_structure_survives_its_snapshot(reopen: Reopen, rows: Rows, journal_url: str) -> None:
    """After many changes and a snapshot, each structure reads the same as before."""
    async with reopen(snapshot_events=10) as d:
        for n in range(40):
            await d.set[int]("x").add(n)
            await d.queue[int]("x").enqueue(n)
            await d.map[str, int]("x").put("k", n)
            await d.barrier("x").arrive(1)
            async with d.lock("x"), d.semaphore("x", permits=2):
                pass
        await d.lock("x").acquire(idempotency_key="kept over the close")
    kinds = {kind for kind, _, _ in await rows(journal_url, SNAPSHOTS)}
    assert kinds == {"set", "queue", "map", "barrier", "lock", "semaphore"}

    async with reopen() as d:
        assert [await d.set[int]("x").contains(n) for n in (0, 39, 40)] == [True, True, False]
        assert await d.set[int]("x").size() == 40
        assert [await d.queue[int]("x").dequeue() for _ in range(41)] == [*range(40), None]
        assert await d.map[str, int]("x").get("k") == 39
        await d.barrier("x").arrive(1)
        assert await d.lock("x").try_acquire() is False
        assert await d.semaphore("x", permits=2).available() == 2


async def test_few_entities_in_memory_serve_many_keys(
    open_d: Callable[..., AbstractAsyncContextManager[Distributed]],
) -> None:
    """With room for ten entities, a thousand keys of a map are all right, at once and one after the other."""
    async with open_d(max_entities=10) as d:
        users = d.map[int, int]("users")
        await asyncio.gather(*(users.put(key, key) for key in range(1000)))
        for key in range(0, 1000, 50):
            assert await users.put(key, -key) == key
        values = await asyncio.gather(*(users.get(key) for key in range(1000)))

        assert values == [-key if key % 50 == 0 else key for key in range(1000)]


async def test_passivation_keeps_locks_and_their_lines(
    open_d: Callable[..., AbstractAsyncContextManager[Distributed]],
) -> None:
    """A lock that left memory while it was held and waited for is still held, and then granted."""
    async with open_d(max_entities=2) as d:
        mine, next_one = d.lock("l", timeout=60.0), d.lock("l", timeout=60.0)
        await mine.acquire()
        waiting = asyncio.create_task(next_one.acquire())
        for key in range(50):
            await d.counter(f"c{key}").increment()
        assert await d.lock("l").try_acquire() is False
        for key in range(50):
            await d.counter(f"c{key}").increment()

        assert not waiting.done()
        assert await mine.release() is True
        await waiting
        assert await next_one.release() is True


async def test_two_numbers_of_shards_reach_the_same_entity(d: Distributed, caplog: pytest.LogCaptureFixture) -> None:
    """The first recorded number of shards counts; another one is warned about once, and then works."""
    caplog.set_level(logging.WARNING, "casty_es")
    await d.map[str, int]("users", shards=10).put("alice", 1)

    other = d.map[str, int]("users", shards=50)
    values = [await other.get("alice"), await other.put("alice", 2), await other.put("bob", 3)]

    assert values == [1, 1, None]
    assert await d.map[str, int]("users", shards=10).get("bob") == 3
    assert [record for record in caplog.messages if "shards" in record] == [
        "The map 'users' has 10 shards; shards=50 is not used"
    ]


async def test_the_number_of_shards_is_remembered(reopen: Reopen, caplog: pytest.LogCaptureFixture) -> None:
    """After a reopening the recorded number of shards still counts."""
    async with reopen() as d:
        for n in range(20):
            await d.map[int, int]("users", shards=7).put(n, n)

    caplog.set_level(logging.WARNING, "casty_es")
    async with reopen() as d:
        users = d.map[int, int]("users", shards=100)
        assert [await users.get(n) for n in range(20)] == list(range(20))
        assert await users.put(3, 4) == 3
    assert len([record for record in caplog.messages if "shards" in record]) == 1
