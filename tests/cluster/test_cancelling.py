"""Callers that are cancelled, by a timeout around them or at a shutdown: nothing is lost, and nothing stays held."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeAlias

import msgspec
import pytest

from casty_es import CastyError, ClusteredActorSystem, Distributed, InMemoryJournal, StoredValueError

from .nodes import client, named_for, node

Log: TypeAlias = Callable[..., Awaitable[list[str]]]

WAYS = ["local", "routed", "client"]
SOON = 5.0  # far below the lease of 30 s, and long enough for a busy machine


async def seen(stack: AsyncExitStack, way: str, url: str, kind: str) -> tuple[Distributed, Distributed, str]:
    """Return the structures as the caller sees them, as the owner does, and the name of one that the owner keeps."""
    owner = await stack.enter_async_context(node(url))
    if way == "local":
        return Distributed(owner), Distributed(owner), "x"
    if way == "client":
        return Distributed(await stack.enter_async_context(client(owner))), Distributed(owner), "x"
    caller = await stack.enter_async_context(node(url))
    await caller.wait_for(2)
    return Distributed(caller), Distributed(owner), named_for(owner, [owner, caller], kind=kind)


async def cancelled_after(work: Awaitable[Any], seconds: float, how: str) -> Any:
    """Run work and cancel it after a while, in one of three ways; return what it gave, ``None`` if it was cut off."""
    if how == "wait_for":
        with suppress(TimeoutError):
            return await asyncio.wait_for(work, seconds)
        return None
    if how == "timeout":
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await work
        return None
    task = asyncio.ensure_future(work)
    await asyncio.sleep(seconds)
    task.cancel()
    with suppress(asyncio.CancelledError):
        return await task
    return None


@pytest.mark.parametrize("how", ["wait_for", "timeout", "cancel"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_cancelled_dequeue_loses_nothing(journal_url: str, way: str, how: str) -> None:
    """Given 60 items, when they are taken by callers that are cut off at any moment, then each was got or is there."""
    chance = random.Random(7)  # noqa: S311 - moments, not secrets
    async with AsyncExitStack() as stack:
        d, theirs, name = await seen(stack, way, journal_url, "queue")
        queue, at_owner = d.queue[int](name), theirs.queue[int](name)
        await asyncio.gather(*(at_owner.enqueue(item) for item in range(60)))
        calls = [cancelled_after(queue.dequeue(), chance.uniform(0, 0.01), how) for _ in range(80)]
        got = [item for item in await asyncio.gather(*calls) if item is not None]
        left = [await at_owner.dequeue() for _ in range(await at_owner.size())]
        assert sorted(got + left) == list(range(60))


async def test_what_went_back_is_told_by_the_log(journal_url: str, log: Log) -> None:
    """An item that is given back says whose it was, and is the next to be taken."""
    async with AsyncExitStack() as stack:
        d, _, name = await seen(stack, "local", journal_url, "queue")
        queue = d.queue[str](name)
        await queue.enqueue("first")
        await queue.enqueue("second")
        task = asyncio.create_task(queue.dequeue())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        types = await log("queue", name)
        if "queue.dequeued" in types:
            assert types == ["queue.enqueued", "queue.enqueued", "queue.dequeued", "queue.given_back"]
            *_, took, gave = [event async for event in queue.history()]
            assert gave.payload == {"value": "first", "taken": str(took.command_id)}
        assert [await queue.dequeue(), await queue.dequeue()] == ["first", "second"]


async def test_a_cancelled_dequeue_with_a_key_is_had_again_under_it(journal_url: str) -> None:
    """With a key the item belongs to the key: it is not given back, and whoever asks again has it."""
    async with AsyncExitStack() as stack:
        d, _, name = await seen(stack, "local", journal_url, "queue")
        queue = d.queue[int](name)
        for item in range(20):
            await queue.enqueue(item)
        got = []
        for number in range(20):
            key = f"job-{number}"
            await cancelled_after(queue.dequeue(idempotency_key=key), 0.001, "wait_for")
            got.append(await queue.dequeue(idempotency_key=key))
        assert sorted(item for item in got if item is not None) == list(range(20))


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_request_that_is_cut_off_about_its_own_timeout_holds_nothing(
    journal_url: str, way: str, kind: str
) -> None:
    """Given contended locks, when callers are cut off from -5 to +20 ms about their own timeout, then all come free."""

    def make(d: Distributed, number: int, timeout: float = 5.0) -> Any:
        name = f"{kind}-{number}"
        return d.lock(name, timeout=timeout) if kind == "lock" else d.semaphore(name, permits=1, timeout=timeout)

    async def attempt(number: int, offset: int) -> None:
        held = make(d, number, 0.05)
        with suppress(TimeoutError, CastyError):
            async with asyncio.timeout(0.05 + offset / 1000):
                await held.acquire()
                await held.release()

    async with AsyncExitStack() as stack:
        d, theirs, _ = await seen(stack, way, journal_url, kind)
        holders = [make(theirs, number) for number in range(4)]
        for holder in holders:
            await holder.acquire()
        calls = [asyncio.create_task(attempt(number, offset)) for number in range(4) for offset in range(-5, 21)]
        await asyncio.sleep(0.055)
        await asyncio.gather(*(holder.release() for holder in holders))
        await asyncio.gather(*calls)
        for number in range(4):
            async with asyncio.timeout(SOON):
                await make(theirs, number, SOON).acquire()


class First(msgspec.Struct):
    """An item of the first release."""

    number: int


class Second(msgspec.Struct):
    """The same of the second one, with a field more that is required."""

    number: int
    unit: str


@pytest.mark.parametrize("way", WAYS)
async def test_an_item_that_a_reader_cannot_read_stays(journal_url: str, way: str) -> None:
    """Given an item of an older shape, when a newer release takes it, then it is told where it is, and it is there."""
    async with AsyncExitStack() as stack:
        d, theirs, name = await seen(stack, way, journal_url, "queue")
        await theirs.queue[First](name).enqueue(First(7))
        await theirs.queue[First](name).enqueue(First(8))
        newer = d.queue[Second](name)
        for _ in range(3):
            with pytest.raises(StoredValueError, match="went back to the front") as raised:
                await newer.dequeue()
            assert raised.value.raw == '{"number":7}'
            assert raised.value.command_id is not None
        with pytest.raises(StoredValueError, match="stays where it is"):
            await newer.peek()
        older = theirs.queue[First](name)
        assert [await older.dequeue(), await older.dequeue(), await older.dequeue()] == [First(7), First(8), None]


async def test_a_value_that_a_reader_cannot_read_is_not_lost_and_the_put_is_not_denied(journal_url: str) -> None:
    """When a map's old value does not fit, then ``get`` says so, and ``put`` says that the new one is stored."""
    async with node(journal_url) as system:
        d = Distributed(system)
        await d.map[str, First]("m").put("k", First(1))
        newer = d.map[str, Second]("m")
        with pytest.raises(StoredValueError) as raised:
            await newer.get("k")
        assert raised.value.raw == '{"number":1}'
        with pytest.raises(StoredValueError, match="new value is stored"):
            await newer.put("k", Second(2, "kg"))
        assert await newer.get("k") == Second(2, "kg")


async def test_an_item_under_a_key_that_cannot_be_read_stays_recorded_under_it(journal_url: str) -> None:
    """Given a key, when its item cannot be read, then the same key gives it to whoever can."""
    async with node(journal_url) as system:
        d = Distributed(system)
        await d.queue[First]("q").enqueue(First(7))
        with pytest.raises(StoredValueError, match="idempotency key"):
            await d.queue[Second]("q").dequeue(idempotency_key="k")
        assert await d.queue[First]("q").dequeue(idempotency_key="k") == First(7)


async def test_a_cancelled_caller_is_served_on_a_volatile_system_too() -> None:
    """Without any database the same holds: what was taken for a caller that is gone goes back."""
    async with ClusteredActorSystem(journal=InMemoryJournal()) as system:
        queue = Distributed(system).queue[int]("q")
        for item in range(50):
            await queue.enqueue(item)
        got = []
        for turns in range(50):
            task = asyncio.create_task(queue.dequeue())
            for _ in range(turns % 7):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                got.append(await task)
        left = [await queue.dequeue() for _ in range(await queue.size())]
        assert sorted([*got, *left]) == list(range(50))
