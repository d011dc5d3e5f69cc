"""Leases: a holder that lives keeps what it has, one that died does not, and tokens only grow."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import pytest

from casty_es import Distributed, JournalUnavailableError, Lock
from casty_es.domain.lock import Renew
from casty_es.gateway import CommandContext
from casty_es.handles.renewals import renewals_of

Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Distributed]]
Log: TypeAlias = Callable[..., Awaitable[list[str]]]
Until: TypeAlias = Callable[..., Awaitable[Any]]

PATIENT = 60.0
SHORT_LEASE = 0.3


async def free(lock: Lock) -> bool:
    """Return whether nobody holds a lock."""
    return not await lock.locked()


HOLDER = """
    async def main():
        async with connect(sys.argv[1]) as d:
            lock, pool = d.lock("l"), d.semaphore("p", permits=1)
            await lock.acquire()
            await pool.acquire()
            arriving = asyncio.create_task(d.barrier("b").arrive(2))
            say(lock.token, pool.token)
            await asyncio.Event().wait()

    asyncio.run(main())
"""


async def test_what_a_killed_holder_held_is_free_after_its_lease(
    reopen: Open, journal_url: str, child: Callable[..., Any], log: Log
) -> None:
    """What was acquired under a key is meant to be found again after a restart: a lease decides how long it is kept."""
    holder = child(HOLDER.replace("acquire()", 'acquire(idempotency_key="mine")'), journal_url)
    old_lock, old_pool = map(int, (await holder.line()).split())
    await holder.kill()

    async with reopen(lease_seconds=SHORT_LEASE) as d:
        lock, pool = d.lock("l", timeout=PATIENT), d.semaphore("p", permits=1, timeout=PATIENT)
        assert await lock.try_acquire() is False
        await lock.acquire()
        await pool.acquire()

        types = [one for one in await log(journal_url, "lock", "l") if one != "lock.unheard"]
        assert types == ["lock.granted", "lock.requested", "lock.expired", "lock.granted"]
        assert lock.token is not None
        assert pool.token is not None
        assert lock.token > old_lock
        assert pool.token > old_pool


async def test_what_a_killed_holder_held_is_free_at_once(
    reopen: Open, journal_url: str, child: Callable[..., Any], log: Log
) -> None:
    """A process that is killed with a lock and a permit does not keep them; the next grants have higher tokens."""
    holder = child(HOLDER, journal_url)
    old_lock, old_pool = map(int, (await holder.line()).split())
    await holder.kill()

    async with reopen(lease_seconds=10 * PATIENT) as d:
        lock, pool = d.lock("l", timeout=PATIENT), d.semaphore("p", permits=1, timeout=PATIENT)
        assert await lock.try_acquire() is True
        assert await pool.try_acquire() is True

        assert await log(journal_url, "lock", "l") == ["lock.granted", "lock.expired", "lock.granted"]
        assert lock.token is not None
        assert pool.token is not None
        assert lock.token > old_lock
        assert pool.token > old_pool


AS_BEFORE = """
    from casty_es.domain.decider import Request

    Request.made_by = lambda command, process: command
"""


async def test_what_was_held_by_nobody_knows_whom_is_free_after_its_lease(
    reopen: Open, journal_url: str, child: Callable[..., Any], log: Log
) -> None:
    """Events of older versions do not name the process: nobody can tell whether it lives, and the lease counts."""
    holder = child(AS_BEFORE + HOLDER, journal_url)
    await holder.line()
    await holder.kill()

    async with reopen(lease_seconds=SHORT_LEASE) as d:
        assert await d.lock("l").try_acquire() is False
        lock, pool = d.lock("l", timeout=PATIENT), d.semaphore("p", permits=1, timeout=PATIENT)
        await lock.acquire()
        await pool.acquire()
        expired = [one for one in await log(journal_url, "lock", "l") if one != "lock.unheard"]
        assert expired == ["lock.granted", "lock.requested", "lock.expired", "lock.granted"]


async def test_a_living_holder_keeps_its_lock_over_many_leases(
    open_d: Open, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    """While others' leases end one after the other, the renewed one stays."""
    async with open_d(lease_seconds=SHORT_LEASE) as d:
        lock = d.lock("l")
        await lock.acquire()
        gateway = d._gateway
        asked = []
        ask = gateway.entity_ask

        async def counting(ref: Any, *rest: Any, **more: Any) -> Any:
            known = await ask(ref, *rest, **more)
            asked.append(known)
            return known

        gateway.entity_ask = counting  # type: ignore[method-assign]

        async def renewed_often() -> bool:
            return len(asked) >= 12  # three in a lease: four leases

        await until(renewed_often)
        gateway.entity_ask = ask  # type: ignore[method-assign]

        assert await d.lock("l").try_acquire() is False
        assert lock.lost.is_set() is False
        assert await lock.release() is True
    assert not [message for message in caplog.messages if "lost" in message]


async def test_renewals_are_not_events(reopen: Open, journal_url: str, log: Log, until: Until) -> None:
    """A lock that is held over several leases leaves one event in the log; what is not renewed leaves a few more."""
    async with reopen(lease_seconds=SHORT_LEASE) as d:
        lock, dying = d.lock("l"), d.lock("dying")
        await lock.acquire()
        for _ in range(3):
            await dying.acquire()
            for request in list(dying._holdings._grants):
                renewals_of(d._gateway).drop(request)
            await until(lambda: free(dying))

        assert await log(journal_url, "lock", "l") == ["lock.granted"]
        unheard = await log(journal_url, "lock", "dying")
        assert [one for one in unheard if one != "lock.unheard"] == ["lock.granted", "lock.expired"] * 3
        assert 3 <= unheard.count("lock.unheard") <= 6


async def test_what_a_collected_handle_held_comes_free(
    open_d: Open, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    """Given a handler that acquired and raised, when its handle is gone, then nobody renews, the log says so."""

    async def handler(d: Distributed) -> None:
        await d.lock("l").acquire()
        await d.semaphore("p", permits=1).acquire()
        raise LookupError

    async with open_d(lease_seconds=SHORT_LEASE) as d:
        with pytest.raises(LookupError):
            await handler(d)
        gc.collect()
        assert await until(lambda: free(d.lock("l")))
        assert await until(d.semaphore("p", permits=1).available)
        assert renewals_of(d.gateway)._held == {}
    assert len([message for message in caplog.messages if "collected without a release" in message]) == 2


async def test_a_waiter_is_renewed_too(open_d: Open, until: Until) -> None:
    """Waiting longer than a lease does not cost the place in line."""
    async with open_d(lease_seconds=SHORT_LEASE) as d:
        holder, waiter, dying = d.lock("l"), d.lock("l", timeout=PATIENT), d.lock("dying", timeout=PATIENT)
        await holder.acquire()
        waiting = asyncio.create_task(waiter.acquire())
        for _ in range(3):
            await dying.acquire()
            for request in list(dying._holdings._grants):
                renewals_of(d._gateway).drop(request)
            await until(lambda: free(dying))

        assert not waiting.done()
        await holder.release()
        await waiting
        assert await waiter.release() is True


async def test_a_holder_learns_that_its_lease_is_over(open_d: Open, until: Until) -> None:
    """When renewing stopped for longer than a lease, ``lost`` is set, the token is gone and nothing can be released."""
    async with open_d(lease_seconds=SHORT_LEASE) as d:
        lock, pool = d.lock("l"), d.semaphore("p", permits=1)
        await lock.acquire()
        await pool.acquire()
        await renewals_of(d._gateway).stop()  # as if the event loop had stood still
        await until(lambda: free(lock))
        await until(pool.available)
        assert lock.lost.is_set() is False

        await d.lock("another").acquire()  # renewing goes on
        await lock.lost.wait()
        await pool.lost.wait()

        assert (lock.token, pool.token) == (None, None)
        assert (await lock.release(), await pool.release()) == (False, False)
        await lock.acquire()
        assert lock.lost.is_set() is False


async def test_a_holder_learns_that_its_lock_was_destroyed(open_d: Open) -> None:
    """``lost`` is also set when somebody else destroyed the lock."""
    async with open_d(lease_seconds=SHORT_LEASE) as d:
        lock = d.lock("l")
        await lock.acquire()

        assert await d.lock("l").destroy() is True
        await lock.lost.wait()

        assert lock.token is None


async def test_whoever_shares_a_handle_learns_that_it_was_destroyed(open_d: Open) -> None:
    """Two tasks hold permits through one semaphore; when one destroys it, the other is told, and releases nothing."""
    async with open_d() as d:
        pool, granted, go_on = d.semaphore("p", permits=2), asyncio.Event(), asyncio.Event()

        async def other() -> bool:
            await pool.acquire()
            granted.set()
            await pool.lost.wait()
            await go_on.wait()
            return await pool.release()

        holder = asyncio.create_task(other())
        await granted.wait()
        assert await pool.destroy() is True
        async with asyncio.timeout(PATIENT):
            await pool.lost.wait()
        assert pool.token is None

        await pool.acquire()
        go_on.set()
        assert await holder is False
        assert await pool.release() is True


async def test_what_is_granted_after_a_destruction_is_kept(open_d: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a destruction whose answer is slow, when a task is granted the lock before it comes, then it holds it."""
    async with open_d() as d:
        lock, destroyed, answer = d.lock("l"), asyncio.Event(), asyncio.Event()
        ask = d._gateway.entity_ask

        async def slow(ref: Any, make: Any, **more: Any) -> Any:
            told = await ask(ref, make, **more)
            if not destroyed.is_set():
                destroyed.set()
                await answer.wait()
            return told

        await d.lock("l").acquire()
        monkeypatch.setattr(d._gateway, "entity_ask", slow)
        destroying = asyncio.create_task(lock.destroy())
        await destroyed.wait()
        await lock.acquire()
        answer.set()

        assert await destroying is True
        assert lock.lost.is_set() is False
        assert lock.token is not None
        assert len(renewals_of(d.gateway)._held) == 1
        assert await lock.release() is True


@pytest.mark.parametrize("operation", ["destroy", "release"])
async def test_what_nobody_can_say_is_held_is_renewed(
    open_d: Open, operation: str, monkeypatch: pytest.MonkeyPatch, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """Given the repeat under a key of what ended an earlier grant, when nobody answers what is held now, it is kept."""
    async with open_d(lease_seconds=SHORT_LEASE) as d:
        lock = d.lock("l")
        await lock.acquire()
        assert await getattr(lock, operation)(idempotency_key="once") is True
        await lock.acquire()
        ask, failed, renewed = d._gateway.entity_ask, 0, 0

        async def away(ref: Any, make: Any, **more: Any) -> Any:
            nonlocal failed, renewed
            asked = make(CommandContext(bytes(16), 0.0)).command
            if isinstance(asked, Renew) and not failed:
                failed += 1
                raise JournalUnavailableError("away")
            renewed += isinstance(asked, Renew)
            return await ask(ref, make, **more)

        renewals = renewals_of(d.gateway)
        await renewals.stop()  # the next to ask is the handle
        monkeypatch.setattr(d._gateway, "entity_ask", away)
        assert await getattr(lock, operation)(idempotency_key="once") is True
        assert failed == 1
        renewals._go_on()

        async def over_a_lease() -> bool:
            return renewed >= 4

        await until(over_a_lease)
        assert lock.lost.is_set() is False
        assert lock.token is not None
        assert await d.lock("l").try_acquire() is False
        assert await lock.release() is True
        assert "not known" in caplog.text


async def test_tokens_grow_through_everything(reopen: Open) -> None:
    """Every grant has a higher token than the one before: by another handle, after a destroy, after a reopening."""
    tokens = []
    for _ in range(3):
        async with reopen() as d:
            for _ in range(2):
                async with d.lock("l") as lock:
                    tokens.append(lock.token)
            last = d.lock("l")
            assert await last.try_acquire() is True
            tokens.append(last.token)
            assert await last.destroy() is True
            assert last.token is None

    assert tokens == sorted(set(tokens))
    assert len(tokens) == 9


async def test_a_release_of_a_shared_lock_frees_the_oldest_grant(open_d: Open) -> None:
    """A semaphore object with two permits shows the newest token until that one is released too."""
    async with open_d() as d:
        pool = d.semaphore("p", permits=2)
        await pool.acquire()
        first = pool.token
        await pool.acquire()
        second = pool.token

        assert first is not None
        assert second is not None
        assert second > first
        await pool.release()
        assert pool.token == second
        await pool.release()
        assert pool.token is None


async def test_who_lost_a_shared_lock_does_not_release_its_next_holder(open_d: Open) -> None:
    """Two tasks share a lock; the first loses its lease and the second is granted: the first has nothing to release."""
    async with open_d(lease_seconds=SHORT_LEASE) as d:
        lock, granted, go_on = d.lock("l"), asyncio.Event(), asyncio.Event()

        async def first() -> bool:
            await lock.acquire()
            renewals_of(d._gateway).drop(next(iter(lock._holdings._grants)))  # as if its renewals did not arrive
            granted.set()
            await go_on.wait()
            return await lock.release()

        holder = asyncio.create_task(first())
        await granted.wait()
        await lock.acquire()
        go_on.set()

        assert await holder is False
        assert await d.lock("l").try_acquire() is False
        assert await lock.release() is True
