"""What is there after the journal was closed and opened again, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import pytest

from casty_es import ClusteredActorSystem, ConfigurationError, Distributed, InMemoryJournal, SqlJournal

Reopen: TypeAlias = Callable[..., AbstractAsyncContextManager[Distributed]]


async def test_every_structure_is_there_again(reopen: Reopen) -> None:
    """Counter, map, set, queue, lock, semaphore and barrier go on where they were."""
    async with reopen() as d:
        await d.counter("c").increment(2**70)
        await d.map[str, dict]("m").put("k", {"a": [1, None]})
        await d.map[str, dict]("m").put("gone", {})
        await d.map[str, dict]("m").delete("gone")
        await d.set[str]("s").add("a")
        await d.set[str]("s").add("b")
        await d.set[str]("s").remove("a")
        for item in ("one", "two", "three"):
            await d.queue[str]("q").enqueue(item)
        await d.queue[str]("q").dequeue()
        await d.lock("l").acquire(idempotency_key="kept over the close")
        pool = d.semaphore("p", permits=3)
        await pool.acquire(idempotency_key="one")
        await pool.acquire(idempotency_key="another")
        await d.barrier("b").arrive(1)

    async with reopen() as d:
        assert await d.counter("c").get() == 2**70
        assert await d.counter("c").increment() == 2**70 + 1
        assert await d.map[str, dict]("m").get("k") == {"a": [1, None]}
        assert await d.map[str, dict]("m").contains("gone") is False
        assert [await d.set[str]("s").contains(one) for one in "ab"] == [False, True]
        assert await d.set[str]("s").size() == 1
        assert [await d.queue[str]("q").dequeue() for _ in range(3)] == ["two", "three", None]
        assert await d.lock("l").try_acquire() is False
        assert await d.semaphore("p", permits=3).available() == 1
        assert await d.barrier("b").destroy() is True


async def test_what_was_destroyed_stays_destroyed(reopen: Reopen) -> None:
    """A destroyed structure is empty after a reopening, and its next life begins at nothing."""
    async with reopen() as d:
        await d.counter("c").increment(7)
        await d.set[int]("s").add(1)
        await d.queue[int]("q").enqueue(1)
        await d.lock("l").acquire()
        await d.semaphore("p", permits=1).acquire()
        await d.barrier("b").arrive(1)
        for one in (
            d.counter("c"),
            d.set[int]("s"),
            d.queue[int]("q"),
            d.lock("l"),
            d.semaphore("p", permits=1),
            d.barrier("b"),
        ):
            assert await one.destroy() is True

    async with reopen() as d:
        assert await d.counter("c").get() == 0
        assert await d.counter("c").destroy() is False
        assert await d.set[int]("s").size() == 0
        assert await d.queue[int]("q").dequeue() is None
        assert await d.lock("l").try_acquire() is True
        assert await d.semaphore("p", permits=5).available() == 5
        assert await d.barrier("b").destroy() is False
        assert await d.counter("c").increment() == 1

    async with reopen() as d:
        assert await d.counter("c").get() == 1


async def test_names_are_told_apart_after_reopening(reopen: Reopen) -> None:
    """Kinds, names and keys that look alike are still separate when they are read back."""
    async with reopen() as d:
        await d.counter("x").increment(3)
        await d.queue[int]("x").enqueue(7)
        await d.map[str, int]("a").put("b:c", 1)
        await d.map[str, int]("a:b").put("c", 2)
        await d.map[int, int]("a").put(1, 3)
        await d.map[str, int]("a").put("1", 4)
        await d.counter("Größe 🐍").increment(9)

    async with reopen() as d:
        assert await d.counter("x").get() == 3
        assert await d.queue[int]("x").peek() == 7
        assert await d.map[str, int]("a").get("b:c") == 1
        assert await d.map[str, int]("a:b").get("c") == 2
        assert await d.map[int, int]("a").get(1) == 3
        assert await d.map[str, int]("a").get("1") == 4
        assert await d.counter("Größe 🐍").get() == 9


async def test_one_system_can_be_opened_again(journal_url: str) -> None:
    """A system that was closed starts again on its journal, and its old handles work again."""
    system = ClusteredActorSystem(journal=SqlJournal(journal_url))
    async with system:
        counter = Distributed(system).counter("c")
        await counter.increment()

    async with system:
        assert await counter.increment() == 2
        assert await Distributed(system).counter("c").get() == 2


async def test_a_system_without_a_journal_forgets() -> None:
    """A volatile system keeps everything while it runs, and a new one knows nothing."""
    async with ClusteredActorSystem() as system:
        assert system.journal.volatile is True
        assert await Distributed(system).counter("c").increment() == 1
        assert await system.distributed().counter("c").get() == 1

    async with ClusteredActorSystem() as system:
        assert await Distributed(system).counter("c").get() == 0


async def test_another_journal_than_the_systems_is_refused(sqlite_journal_url: str) -> None:
    """``Distributed`` accepts the journal of its system and no other."""
    journal = SqlJournal(sqlite_journal_url)
    async with ClusteredActorSystem(journal=journal) as system:
        assert await Distributed(system, journal=journal).counter("c").increment() == 1

        with pytest.raises(ConfigurationError, match="ClusteredActorSystem\\(journal=journal\\)"):
            Distributed(system, journal=InMemoryJournal())
        with pytest.raises(ConfigurationError):
            Distributed(system, journal=SqlJournal(sqlite_journal_url))
