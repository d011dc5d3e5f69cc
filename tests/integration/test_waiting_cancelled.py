"""Cancellation at every moment of waiting: the request is gone, or what it got is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import pytest

from casty_es import Distributed, NotDoneError
from casty_es.owner.pending import Pending, Stage

Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Distributed]]
Log: TypeAlias = Callable[..., Awaitable[list[str]]]
InLine: TypeAlias = Callable[..., Awaitable[None]]

PATIENT = 60.0


def handle(d: Distributed, kind: str) -> Any:
    """Make a fresh handle of the lock or semaphore ``x``."""
    if kind == "lock":
        return d.lock("x", timeout=PATIENT)
    return d.semaphore("x", permits=1, timeout=PATIENT)


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_a_grant_in_the_same_tick_as_the_cancellation_is_given_back(
    reopen: Open, journal_url: str, log: Log, in_line: InLine, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The grant is on its way to a task when that is cancelled: nobody holds it when the cancellation is seen."""
    async with reopen() as d:
        holder, late = handle(d, kind), handle(d, kind)
        await holder.acquire()
        waiting = asyncio.create_task(late.acquire())
        await in_line(journal_url, kind, "x", 1)
        resolve = Pending.resolve

        def resolve_and_cancel(pending: Pending, reply: object) -> None:
            in_the_line = pending.stage is Stage.IN_LINE
            resolve(pending, reply)
            if in_the_line:
                waiting.cancel()

        monkeypatch.setattr(Pending, "resolve", resolve_and_cancel)
        assert await holder.release() is True
        with pytest.raises(asyncio.CancelledError):
            await waiting

        assert late.token is None
        assert (await log(journal_url, kind, "x")).count(f"{kind}.granted") == 2
        assert await handle(d, kind).try_acquire() is True
        assert await late.release() is False


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_a_grant_in_the_same_tick_as_the_timeout_is_kept_or_never_made(d: Distributed, kind: str) -> None:
    """When release and timeout meet, the caller either holds what it asked for, or nobody does."""
    for number in range(20):
        holder = handle(d, kind)
        late = d.lock("x", timeout=0.02) if kind == "lock" else d.semaphore("x", permits=1, timeout=0.02)
        await holder.acquire()
        waiting = asyncio.create_task(late.acquire())
        await asyncio.sleep(0.015 + number / 2000)  # around the timeout; every moment must do
        assert await holder.release() is True
        (refused,) = await asyncio.gather(waiting, return_exceptions=True)

        assert refused is None or isinstance(refused, NotDoneError)
        assert await handle(d, kind).try_acquire() is (refused is not None)
        await d.lock("x").destroy() if kind == "lock" else await d.semaphore("x", permits=1).destroy()


async def test_a_task_that_is_cancelled_twice_still_leaves_the_line(
    reopen: Open, journal_url: str, log: Log, in_line: InLine
) -> None:
    """Impatient cancelling does not stop the withdrawal."""
    async with reopen() as d:
        holder = d.lock("x")
        await holder.acquire()
        waiting = asyncio.create_task(d.lock("x", timeout=PATIENT).acquire())
        await in_line(journal_url, "lock", "x", 1)

        for _ in range(5):
            waiting.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await waiting

        assert (await log(journal_url, "lock", "x")).count("lock.withdrawn") == 1


async def test_a_timeout_of_asyncio_withdraws_too(reopen: Open, journal_url: str, log: Log) -> None:
    """``asyncio.timeout`` around an acquire ends as a ``TimeoutError``, with the request withdrawn."""
    async with reopen() as d:
        await d.lock("x").acquire()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await d.lock("x", timeout=PATIENT).acquire()

        types = await log(journal_url, "lock", "x")
        assert types.count("lock.requested") == types.count("lock.withdrawn")
        assert types.count("lock.granted") == 1


async def test_cancelling_a_waiter_of_a_shared_lock_leaves_its_holder_alone(
    reopen: Open, journal_url: str, in_line: InLine
) -> None:
    """A task that gives up waiting on a shared ``Lock`` does not release what another task holds through it."""
    async with reopen() as d:
        lock = d.lock("x", timeout=PATIENT)
        await lock.acquire()
        token = lock.token
        waiting = asyncio.create_task(lock.acquire())
        await in_line(journal_url, "lock", "x", 1)

        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        assert await lock.locked() is True
        assert lock.token == token
        assert await lock.release() is True
        assert await lock.locked() is False


async def test_cancelled_before_it_was_sent_a_request_leaves_nothing(d: Distributed) -> None:
    """A task that is cancelled before it ran, or right after its first step, holds nothing."""
    for ticks in range(4):
        lock = d.lock("x", timeout=PATIENT)
        acquiring = asyncio.create_task(lock.acquire())
        for _ in range(ticks):
            await asyncio.sleep(0)
        acquiring.cancel()
        (outcome,) = await asyncio.gather(acquiring, return_exceptions=True)
        if outcome is None:
            await lock.release()

        assert lock.token is None
        assert await d.lock("x").locked() is False


async def test_many_cancelled_waiters_leave_room_for_the_rest(d: Distributed) -> None:
    """Every second of fifty waiters is cancelled; the others all get their turn, in order."""
    holder = d.lock("x")
    await holder.acquire()
    order: list[int] = []

    async def caller(number: int) -> None:
        async with d.lock("x", timeout=PATIENT):
            order.append(number)

    tasks = [asyncio.create_task(caller(number)) for number in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await holder.release()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert order == list(range(1, 50, 2))
    assert await holder.locked() is False
