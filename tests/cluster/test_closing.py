"""Closing in order: callers are told what is known, and nothing is held or waited for by nobody afterwards."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest

from casty_es import (
    ClusterClient,
    ClusteredActorSystem,
    Distributed,
    NotDoneError,
    OutcomeUnknownError,
    UsageError,
)

from .nodes import PATIENT, client, named_for, node, nodes, until

InLine: TypeAlias = Callable[..., Awaitable[None]]
Gateway: TypeAlias = ClusteredActorSystem | ClusterClient

SOON = 5.0  # far below the lease of 30 s, and long enough for a busy machine


async def caller_of(stack: AsyncExitStack, way: str, owner: ClusteredActorSystem, url: str) -> Gateway:
    """Enter a gateway of its own for the caller: a client, a second node, or the owner itself."""
    if way == "client":
        return await stack.enter_async_context(client(owner))
    if way == "owner":
        return owner
    second = await stack.enter_async_context(node(url))
    await second.wait_for(2)
    return second


def name_at(owner: ClusteredActorSystem, caller: Gateway, kind: str) -> str:
    """Return the name of a structure that the owner keeps when the caller's node joins."""
    everybody = [owner, caller] if isinstance(caller, ClusteredActorSystem) and caller is not owner else [owner]
    return named_for(owner, everybody, kind=kind)


@pytest.mark.parametrize("way", ["client", "node"])
@pytest.mark.parametrize("wait", [0.0, 0.001, 0.003])
async def test_a_command_in_flight_is_not_denied_although_it_happens(journal_url: str, way: str, wait: float) -> None:
    """Given increments on their way to another node, when the caller closes, then what is denied did not happen."""
    async with node(journal_url) as owner, AsyncExitStack() as stack:
        caller = await caller_of(stack, way, owner, journal_url)
        name = name_at(owner, caller, "counter")
        counter, theirs = Distributed(caller).counter(name), Distributed(owner).counter(name)
        await theirs.increment()
        await counter.get()  # the way is known
        calls = [asyncio.create_task(counter.increment()) for _ in range(30)]
        await asyncio.sleep(wait)
        await caller.__aexit__(None, None, None)
        told = await asyncio.gather(*calls, return_exceptions=True)
        done = sum(isinstance(one, int) for one in told)
        unknown = sum(isinstance(one, OutcomeUnknownError) for one in told)
        denied = sum(isinstance(one, UsageError) for one in told)
        assert done + unknown + denied == len(told), told
        assert done <= await theirs.get() - 1 <= done + unknown


@pytest.mark.parametrize("way", ["client", "node", "owner"])
@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_whoever_stands_in_line_is_withdrawn(journal_url: str, way: str, kind: str, in_line: InLine) -> None:
    """When a gateway closes under a waiter, then the waiter is told, and the next one is granted at once."""

    def make(gateway: Gateway) -> Any:
        d = Distributed(gateway)
        return d.lock(name, timeout=PATIENT) if kind == "lock" else d.semaphore(name, permits=1, timeout=PATIENT)

    async with node(journal_url) as other, AsyncExitStack() as stack:
        owner = other if way != "owner" else await stack.enter_async_context(node(journal_url))
        await owner.wait_for(2 if way == "owner" else 1)
        caller = await caller_of(stack, way, owner, journal_url)
        name = name_at(owner, caller, kind) if way != "owner" else named_for(owner, [owner, other], kind=kind)
        holder, waiter, behind = make(other), make(caller), make(other)
        await holder.acquire()
        waiting = asyncio.create_task(waiter.acquire())
        await in_line(kind, name, 1)
        await caller.__aexit__(None, None, None)
        with pytest.raises(UsageError, match="withdrawn"):
            await waiting
        await holder.release()
        async with asyncio.timeout(SOON):
            await behind.acquire()


@pytest.mark.parametrize("way", ["client", "node"])
async def test_an_arrival_of_a_closed_gateway_lets_nobody_through(journal_url: str, way: str, in_line: InLine) -> None:
    """Given a party that waits at a barrier, when its gateway closes, then another party alone does not pass."""
    async with node(journal_url) as owner, AsyncExitStack() as stack:
        caller = await caller_of(stack, way, owner, journal_url)
        name = name_at(owner, caller, "barrier")
        waiting = asyncio.create_task(Distributed(caller).barrier(name, node_id="gone", timeout=PATIENT).arrive(2))
        await in_line("barrier", name, 1)
        await caller.__aexit__(None, None, None)
        with pytest.raises(UsageError):
            await waiting
        with pytest.raises(NotDoneError):
            await Distributed(owner).barrier(name, node_id="alone", timeout=0.5).arrive(2)


@pytest.mark.parametrize("way", ["client", "node", "owner"])
async def test_what_is_held_is_free_after_the_close(journal_url: str, way: str) -> None:
    """Given a lock and a permit, when their gateway closes in order, then both are free, far before their leases."""
    async with node(journal_url) as other, AsyncExitStack() as stack:
        owner = other if way != "owner" else await stack.enter_async_context(node(journal_url))
        caller = await caller_of(stack, way, owner, journal_url)
        d = Distributed(caller)
        lock, pool = d.lock("l"), d.semaphore("p", permits=1)
        await lock.acquire()
        await pool.acquire()
        await caller.__aexit__(None, None, None)
        assert lock.lost.is_set()
        assert lock.token is None
        theirs = Distributed(other)
        async with asyncio.timeout(SOON):
            assert await theirs.lock("l").try_acquire()
            assert await theirs.semaphore("p", permits=1).try_acquire()


@pytest.mark.parametrize("way", ["client", "node", "owner"])
async def test_whoever_holds_what_stays_is_told_that_it_is_renewed_no_more(journal_url: str, way: str) -> None:
    """Given a lock and a permit under keys, when their gateway closes, then their handles hold nothing any more."""
    async with node(journal_url) as owner, AsyncExitStack() as stack:
        caller = await stack.enter_async_context(node(journal_url)) if way == "owner" else None
        caller = caller or await caller_of(stack, way, owner, journal_url)
        d = Distributed(caller)
        lock, pool = d.lock("l"), d.semaphore("p", permits=1)
        await lock.acquire(idempotency_key="mine")
        await pool.acquire(idempotency_key="mine")
        await caller.__aexit__(None, None, None)
        assert lock.lost.is_set()
        assert pool.lost.is_set()
        assert (lock.token, pool.token) == (None, None)


async def test_what_is_held_stays_so_for_who_asks_for_it(journal_url: str) -> None:
    """A lock that was acquired under an idempotency key is held after the close, and who has the key has it again."""
    async with node(journal_url) as other:
        async with node(journal_url) as system:
            await Distributed(system).lock("named").acquire(idempotency_key="mine")
        d = Distributed(other)
        assert not await d.lock("named").try_acquire()
        again = d.lock("named")
        await again.acquire(idempotency_key="mine")
        assert again.token is not None


@pytest.mark.parametrize("way", ["node", "client"])
async def test_closing_from_another_event_loop_touches_nothing(journal_url: str, way: str) -> None:
    """When a thread closes what belongs to another loop, then it is refused, and everything goes on; then it closes."""
    async with nodes(journal_url, 1) as [owner], AsyncExitStack() as stack:
        gateway = owner if way == "node" else await stack.enter_async_context(client(owner))
        counter = Distributed(gateway).counter("c")
        assert await counter.increment() == 1
        raised: list[BaseException] = []

        def close() -> None:
            try:
                asyncio.run(gateway.__aexit__(None, None, None))
            except UsageError as error:
                raised.append(error)

        thread = threading.Thread(target=close)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert "another event loop" in str(raised[0])
        assert await counter.increment() == 2
        await gateway.__aexit__(None, None, None)
        with pytest.raises(UsageError):
            await counter.increment()


async def test_closing_under_load_tells_everybody_the_truth(journal_url: str) -> None:
    """Given callers of all sorts on three nodes, when one closes, then done is there and denied is not."""
    async with nodes(journal_url, 2) as [one, other]:
        leaving = node(journal_url)
        await leaving.__aenter__()
        d, theirs = Distributed(leaving), Distributed(other)
        names = [named_for(system, [one, other], kind="counter", stem=f"s{n}") for n, system in enumerate((one, other))]
        queue = d.queue[int]("jobs")
        for item in range(100):
            await theirs.queue[int]("jobs").enqueue(item)
        counts = [asyncio.create_task(d.counter(name).increment()) for name in names * 20]
        taking = [asyncio.create_task(queue.dequeue()) for _ in range(40)]
        locking = [asyncio.create_task(d.lock("hot", timeout=PATIENT).acquire()) for _ in range(10)]
        await asyncio.sleep(0.005)
        await leaving.__aexit__(None, None, None)
        told = await asyncio.gather(*counts, return_exceptions=True)
        items = await asyncio.gather(*taking, return_exceptions=True)
        await asyncio.gather(*locking, return_exceptions=True)
        done = sum(isinstance(one_, int) for one_ in told)
        unknown = sum(isinstance(one_, OutcomeUnknownError) for one_ in told)
        assert done <= sum([await theirs.counter(name).get() for name in names]) <= done + unknown
        had = [item for item in items if isinstance(item, int)]
        in_doubt = sum(isinstance(item, OutcomeUnknownError) for item in items)
        left = await theirs.queue[int]("jobs").size()
        assert len(set(had)) == len(had)
        assert 100 - in_doubt <= left + len(had) <= 100
        async with asyncio.timeout(SOON):
            assert await until(theirs.lock("hot").try_acquire)
