"""``idempotency_key=`` where one holds or waits: one request, one place in line, one grant."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from casty_es import Distributed, NotDoneError
from casty_es.handles.renewals import renewals_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    Opened = Callable[..., AbstractAsyncContextManager[Distributed]]
    Log = Callable[..., Awaitable[list[str]]]
    InLine = Callable[..., Awaitable[None]]


async def test_a_restarted_program_gets_its_own_grant_back_and_can_release_it(reopen: Opened) -> None:
    """Given a lock held under a key, when a new process acquires under it, then it has the same token, and releases."""
    async with reopen() as d:
        lock = d.lock("l")
        await lock.acquire(idempotency_key="job-1")
        token = lock.token
    async with reopen() as d:
        lock = d.lock("l")
        await lock.acquire(idempotency_key="job-1")
        assert lock.token == token
        assert not await d.lock("l").try_acquire()
        assert await lock.release()
        assert not await lock.locked()


async def test_a_grant_that_was_given_back_is_not_had_again(reopen: Opened) -> None:
    """Given a keyed acquire whose grant was released, when it is repeated, then nobody believes to hold the lock."""
    async with reopen() as d:
        lock = d.lock("l")
        await lock.acquire(idempotency_key="job-1")
        assert await lock.release()
        with pytest.raises(NotDoneError, match="Nothing is held by it"):
            await lock.acquire(idempotency_key="job-1")
        assert (lock.token, await lock.locked()) == (None, False)
    async with reopen() as d:
        pool = d.semaphore("p", permits=1)
        assert await pool.try_acquire(idempotency_key="k")
        assert await pool.release()
        with pytest.raises(NotDoneError, match="Nothing is held by it"):
            await pool.try_acquire(idempotency_key="k")
        assert await pool.available() == 1


async def test_a_failed_try_stays_failed(d: Distributed) -> None:
    """Given a try that failed under a key, when the lock is free again, then the same try tells the same."""
    lock = d.lock("l")
    await lock.acquire()
    other = d.lock("l")
    assert not await other.try_acquire(idempotency_key="k")
    await lock.release()
    assert not await other.try_acquire(idempotency_key="k")
    assert not await lock.locked()


async def test_one_who_waits_under_a_key_waits_in_one_place(
    journal_url: str, reopen: Opened, in_line: InLine, log: Log
) -> None:
    """Given a keyed acquire in line, when it is sent again, then there is one request, and both get its one grant."""
    async with reopen() as d:
        holder, one, other = d.lock("l"), d.lock("l"), d.lock("l")
        await holder.acquire()
        waiting = [asyncio.create_task(one.acquire(idempotency_key="k"))]
        await in_line(journal_url, "lock", "l", 1)
        waiting.append(asyncio.create_task(other.acquire(idempotency_key="k")))
        await holder.release()
        await asyncio.gather(*waiting)
        assert one.token == other.token
        assert await one.release()
        assert not await other.release()
    granted = [type_ for type_ in await log(journal_url, "lock", "l") if type_ == "lock.granted"]
    assert len(granted) == 2


async def test_giving_up_one_of_two_calls_leaves_the_other_in_line(
    journal_url: str, reopen: Opened, in_line: InLine
) -> None:
    """Given two calls in line under one key, when one is cancelled, then the other is granted all the same."""
    async with reopen() as d:
        holder, one, other = d.lock("l"), d.lock("l"), d.lock("l")
        await holder.acquire()
        stays = asyncio.create_task(one.acquire(idempotency_key="k"))
        await in_line(journal_url, "lock", "l", 1)
        leaves = asyncio.create_task(other.acquire(idempotency_key="k"))
        await asyncio.sleep(0)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        await holder.release()
        await stays
        assert one.token is not None
        assert await one.release()


async def test_cancelling_a_repeat_does_not_take_the_grant_from_who_has_it(d: Distributed) -> None:
    """Given a lock held under a key, when a second call under it is cancelled, then the lock is held as before."""
    lock = d.lock("l")
    await lock.acquire(idempotency_key="k")
    token = lock.token
    again = asyncio.create_task(d.lock("l").acquire(idempotency_key="k"))
    await asyncio.sleep(0)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    assert (lock.token, await lock.locked()) == (token, True)
    assert await lock.release()


async def test_a_keyed_acquire_that_was_given_up_is_over(journal_url: str, reopen: Opened, in_line: InLine) -> None:
    """Given a keyed acquire that left its line, when it is repeated, then it is not granted; a new key is."""
    async with reopen() as d:
        holder, late = d.lock("l"), d.lock("l")
        await holder.acquire()
        await given_up(late.acquire(idempotency_key="k"), in_line(journal_url, "lock", "l", 1))
        await holder.release()
        with pytest.raises(NotDoneError, match="Nothing is held by it"):
            await late.acquire(idempotency_key="k")
        await late.acquire(idempotency_key="k2")
        assert await late.release()


async def test_a_grant_acquired_twice_under_its_key_is_held_once(d: Distributed) -> None:
    """Given a lock acquired twice under one key, when it is released once, then it is free and renewed no more."""
    lock = d.lock("l")
    await lock.acquire(idempotency_key="k")
    await lock.acquire(idempotency_key="k")
    assert await lock.release()
    assert (await lock.locked(), await lock.release()) == (False, False)
    assert renewals_of(d._gateway)._held == {}


async def test_repeating_a_release_gives_nothing_else_back(d: Distributed) -> None:
    """Given two permits, when one is released twice under one key, then the other is held and kept alive."""
    pool = d.semaphore("p", permits=2)
    await pool.acquire()
    await pool.acquire()
    assert await pool.release(idempotency_key="r")
    assert await pool.release(idempotency_key="r")
    assert (await pool.available(), pool.token is None, pool.lost.is_set()) == (1, False, False)
    assert await pool.release()
    assert await pool.available() == 2


async def test_repeating_a_destroy_keeps_what_was_acquired_since(d: Distributed) -> None:
    """Given a lock destroyed under a key and acquired again, when the key comes again, then the lock is still held."""
    lock = d.lock("l")
    await lock.acquire()
    assert await lock.destroy(idempotency_key="k")
    assert lock.token is None
    await lock.acquire()
    assert await lock.destroy(idempotency_key="k")
    assert (lock.token is None, await lock.locked()) == (False, True)
    assert await lock.release()


async def test_an_arrival_is_counted_once_and_answered_rounds_later(reopen: Opened) -> None:
    """Given a keyed arrival of a past round, when it is repeated two rounds on and after a restart, then it is over."""
    async with reopen() as d:
        for number in range(3):
            await asyncio.gather(
                d.barrier("b").arrive(2, idempotency_key=f"a{number}"),
                d.barrier("b").arrive(2, idempotency_key=f"b{number}"),
            )
        await d.barrier("b").arrive(2, idempotency_key="a0")
        await d.barrier("b").arrive(2, idempotency_key="b0")
    async with reopen() as d:
        await d.barrier("b").arrive(2, idempotency_key="a0")
        await d.barrier("b").arrive(2, idempotency_key="b0")


async def test_an_arrival_that_was_given_up_stays_so(journal_url: str, reopen: Opened, in_line: InLine) -> None:
    """Given a keyed arrival that was cancelled, when it is repeated, then it is told so and does not count."""
    async with reopen() as d:
        await given_up(d.barrier("b").arrive(2, idempotency_key="k"), in_line(journal_url, "barrier", "b", 1))
        with pytest.raises(NotDoneError, match="withdrawn"):
            await d.barrier("b").arrive(2, idempotency_key="k")


async def given_up(waiting: Coroutine[Any, Any, None], stands_in_line: Awaitable[None]) -> None:
    """Cancel a call once its request stands in line."""
    task = asyncio.create_task(waiting)
    await stands_in_line
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
