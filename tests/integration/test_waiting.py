"""Waiting in line for locks and semaphores, and at barriers: first come, first served, and never granted too late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import pytest

from casty_es import ClusteredActorSystem, ConfigurationError, DestroyedError, Distributed, NotDoneError

Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Distributed]]
Log: TypeAlias = Callable[..., Awaitable[list[str]]]
InLine: TypeAlias = Callable[..., Awaitable[None]]

PATIENT = 60.0
IMPATIENT = 1.0  # long enough to get into line on a busy machine


async def test_a_lock_is_granted_in_the_order_of_asking(d: Distributed) -> None:
    """Ten waiters get the lock one after the other, in the order in which they asked."""
    order: list[int] = []

    async def caller(number: int) -> None:
        async with d.lock("l", timeout=PATIENT):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(caller(number) for number in range(10)))

    assert order == list(range(10))


async def test_what_a_closed_system_left_behind_ends_when_the_next_one_looks(
    reopen: Open, journal_url: str, log: Log, in_line: InLine
) -> None:
    """Callers whose system is closed are told; what they left in line or held is over when it is opened again."""
    async with reopen() as d:
        await d.lock("l").acquire()
        waiting = asyncio.create_task(d.lock("l", timeout=PATIENT).acquire())
        await in_line(journal_url, "lock", "l", 1)
    with pytest.raises(Exception, match="closed"):
        await waiting

    async with reopen(lease_seconds=10 * PATIENT) as d:
        await d.lock("l", timeout=PATIENT).acquire()
        types = await log(journal_url, "lock", "l")
        assert types[:2] == ["lock.granted", "lock.requested"]
        assert types.count("lock.granted") == 2


async def test_a_lock_that_timed_out_is_never_granted_later(
    reopen: Open, journal_url: str, log: Log, in_line: InLine
) -> None:
    """A waiter whose time is up is withdrawn: the release grants to the one behind it."""
    async with reopen() as d:
        holder, late, behind = d.lock("l"), d.lock("l", timeout=IMPATIENT), d.lock("l", timeout=PATIENT)
        await holder.acquire()
        timing_out = asyncio.create_task(late.acquire())
        await in_line(journal_url, "lock", "l", 1)
        next_one = asyncio.create_task(behind.acquire())

        with pytest.raises(NotDoneError, match="will not be granted later"):
            await timing_out
        assert await holder.release() is True
        await next_one
        assert await late.release() is False
        assert late.token is None
        assert await behind.release() is True

        types = await log(journal_url, "lock", "l")
        assert types.count("lock.withdrawn") == 1
        assert types.count("lock.granted") == 2


async def test_a_timeout_is_a_builtin_timeout_error(d: Distributed) -> None:
    """``except TimeoutError`` catches what a lock raises when it was not granted in time."""
    await d.lock("l").acquire()

    with pytest.raises(TimeoutError):
        await d.lock("l", timeout=IMPATIENT).acquire()


async def test_a_cancelled_waiter_is_never_granted_later(
    reopen: Open, journal_url: str, log: Log, in_line: InLine
) -> None:
    """A cancelled waiter has left the line when the cancellation reaches its caller."""
    async with reopen() as d:
        holder = d.lock("l")
        await holder.acquire()
        waiting = asyncio.create_task(d.lock("l", timeout=PATIENT).acquire())
        await in_line(journal_url, "lock", "l", 1)

        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert "lock.withdrawn" in await log(journal_url, "lock", "l")
        assert await holder.release() is True

        assert await holder.locked() is False
        assert (await log(journal_url, "lock", "l")).count("lock.granted") == 1


@pytest.mark.parametrize("ticks", range(8))
@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_a_grant_that_meets_a_cancellation_is_given_back(d: Distributed, kind: str, ticks: int) -> None:
    """Cancelled at the moment of the release, a waiter either has left the line or gives its grant back."""
    make = {
        "lock": lambda: d.lock("x", timeout=PATIENT),
        "semaphore": lambda: d.semaphore("x", permits=1, timeout=PATIENT),
    }[kind]
    holder, late, last = make(), make(), make()
    await holder.acquire()
    waiting = asyncio.create_task(late.acquire())
    await make().try_acquire()  # decided behind the request, so that one is in line now

    releasing = asyncio.create_task(holder.release())
    for _ in range(ticks):
        await asyncio.sleep(0)
    waiting.cancel()
    cancelled = (await asyncio.gather(waiting, return_exceptions=True))[0]
    assert await releasing is True

    if cancelled is None:  # it had its grant before the cancellation reached it
        assert await late.release() is True
    else:
        assert isinstance(cancelled, asyncio.CancelledError)
        assert late.token is None
    await last.acquire()
    assert await last.release() is True
    assert await last.release() is False


async def test_one_lock_object_is_shared_as_an_asyncio_lock_is(d: Distributed) -> None:
    """Tasks that share a ``Lock`` exclude each other; it is not re-entrant, and each release frees one of them."""
    lock = d.lock("shared", timeout=PATIENT)
    inside = most = 0
    tokens = []

    async def task() -> None:
        nonlocal inside, most
        async with lock:
            inside += 1
            most = max(most, inside)
            tokens.append(lock.token)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(task() for _ in range(20)))

    assert most == 1
    assert tokens == sorted(set(tokens))
    assert await lock.locked() is False
    assert lock.token is None


async def test_a_second_acquire_on_the_same_object_waits(d: Distributed) -> None:
    """A holder that acquires again waits for itself, and its time runs out."""
    lock = d.lock("once", timeout=IMPATIENT)
    await lock.acquire()

    with pytest.raises(NotDoneError):
        await lock.acquire()

    assert await d.lock("once").locked() is True
    assert await lock.release() is True
    assert await d.lock("once").locked() is False


async def test_async_with_releases_after_an_error(d: Distributed) -> None:
    """A block that raises gives back its lock and its permit, and the error goes on."""
    lock, pool = d.lock("l"), d.semaphore("p", permits=1)

    async def body() -> None:
        async with lock, pool:
            assert (await lock.locked(), await pool.available()) == (True, 0)
            raise KeyError

    with pytest.raises(KeyError):
        await body()

    assert (await lock.locked(), await pool.available()) == (False, 1)


async def test_permits_are_never_exceeded(d: Distributed) -> None:
    """Fifty tasks on three permits: never more than three are inside, and all get in."""
    inside = most = entered = 0

    async def task() -> None:
        nonlocal inside, most, entered
        async with d.semaphore("pool", permits=3, timeout=PATIENT):
            inside, entered = inside + 1, entered + 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(task() for _ in range(50)))

    assert (most, entered) == (3, 50)
    assert await d.semaphore("pool", permits=3).available() == 3


async def test_another_number_of_permits_is_refused(reopen: Open, journal_url: str, log: Log) -> None:
    """The first number of permits counts, also after a reopening, until the semaphore is destroyed."""
    async with reopen() as d:
        await d.semaphore("pool", permits=3).acquire()
        before = await log(journal_url, "semaphore", "pool")
        for attempt in (d.semaphore("pool", permits=2).acquire, d.semaphore("pool", permits=4).try_acquire):
            with pytest.raises(ConfigurationError, match="3"):
                await attempt()
        assert await log(journal_url, "semaphore", "pool") == before

    async with reopen() as d:
        with pytest.raises(ConfigurationError):
            await d.semaphore("pool", permits=2).acquire()
        assert await d.semaphore("pool", permits=3).try_acquire() is True
        await d.semaphore("pool", permits=3).destroy()
        assert await d.semaphore("pool", permits=2).try_acquire() is True


async def test_a_semaphores_line_is_first_in_first_out(d: Distributed) -> None:
    """Permits go to the waiters in the order in which they asked, past those who gave up."""
    holder = d.semaphore("pool", permits=1)
    await holder.acquire()
    order: list[int] = []
    handles = [d.semaphore("pool", permits=1, timeout=PATIENT) for _ in range(5)]

    async def caller(number: int) -> None:
        await handles[number].acquire()
        order.append(number)
        await handles[number].release()

    tasks = [asyncio.create_task(caller(number)) for number in range(5)]
    await d.semaphore("pool", permits=1).try_acquire()
    tasks[2].cancel()
    await asyncio.gather(tasks[2], return_exceptions=True)
    await holder.release()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert order == [0, 1, 3, 4]


async def test_destroying_tells_those_who_wait(reopen: Open, journal_url: str, in_line: InLine) -> None:
    """Waiters of a destroyed lock, semaphore and barrier get a ``DestroyedError``, and the structures begin anew."""
    async with reopen() as d:
        lock, pool, barrier = d.lock("x"), d.semaphore("x", permits=1), d.barrier("x")
        await lock.acquire()
        await pool.acquire()
        waiting = [
            asyncio.create_task(d.lock("x", timeout=PATIENT).acquire()),
            asyncio.create_task(d.semaphore("x", permits=1, timeout=PATIENT).acquire()),
            asyncio.create_task(d.barrier("x").arrive(2)),
        ]
        for kind in ("lock", "semaphore", "barrier"):
            await in_line(journal_url, kind, "x", 1)

        for one in (lock, pool, barrier):
            assert await one.destroy() is True
        errors: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)

        assert [type(error) for error in errors] == [DestroyedError] * 3
        assert (await lock.release(), await pool.release()) == (False, False)
        assert await d.lock("x").try_acquire() is True
        assert await d.semaphore("x", permits=7).try_acquire() is True
        await d.barrier("x").arrive(1)


async def test_a_barrier_releases_all_at_once(d: Distributed) -> None:
    """Nobody passes before the last one arrives; then all do, and the next round begins."""
    passed: list[str] = []

    async def participant(name: str) -> None:
        for round_ in "12":
            await d.barrier("start").arrive(expected=5)
            passed.append(round_ + name)

    tasks = [asyncio.create_task(participant(name)) for name in "abcd"]
    await d.counter("meanwhile").increment()
    assert passed == []
    await asyncio.gather(*tasks, participant("e"))

    assert sorted(passed) == [round_ + name for round_ in "12" for name in "abcde"]
    assert [one[0] for one in passed] == ["1"] * 5 + ["2"] * 5


async def test_tasks_may_share_one_barrier_object(d: Distributed) -> None:
    """Without a ``node_id`` every call counts, also through one object."""
    barrier = d.barrier("shared")

    await asyncio.gather(*(barrier.arrive(4) for _ in range(4)))

    assert await barrier.destroy() is True


async def test_an_explicit_node_id_counts_once_a_round(reopen: Open, journal_url: str, in_line: InLine) -> None:
    """Two arrivals of one ``node_id`` are one participant, and both pass when another one comes."""
    async with reopen() as d:
        first, again = d.barrier("b", node_id="a"), d.barrier("b", node_id="a")
        waiting = [asyncio.create_task(first.arrive(2)), asyncio.create_task(again.arrive(2))]
        await in_line(journal_url, "barrier", "b", 2)

        assert not any(task.done() for task in waiting)
        await d.barrier("b", node_id="b").arrive(2)
        await asyncio.gather(*waiting)

        with pytest.raises(NotDoneError):  # a new round: nobody is there
            await d.barrier("b", node_id="b", timeout=IMPATIENT).arrive(2)


async def test_another_expected_in_the_same_round_is_refused(reopen: Open, journal_url: str, in_line: InLine) -> None:
    """The first arrival fixes how many are expected in its round, and only there."""
    async with reopen() as d:
        waiting = asyncio.create_task(d.barrier("b").arrive(2))
        await in_line(journal_url, "barrier", "b", 1)

        with pytest.raises(ConfigurationError, match="2"):
            await d.barrier("b").arrive(3)
        assert not waiting.done()
        await d.barrier("b").arrive(2)
        await waiting
        await asyncio.gather(*(d.barrier("b").arrive(3) for _ in range(3)))


async def test_an_arrival_that_timed_out_does_not_count(reopen: Open, journal_url: str, log: Log) -> None:
    """Who gave up has left the round: the next two make it full, not the next one."""
    async with reopen() as d:
        with pytest.raises(NotDoneError, match="withdrawn"):
            await d.barrier("b", timeout=IMPATIENT).arrive(2)
        with pytest.raises(NotDoneError):
            await d.barrier("b", timeout=IMPATIENT).arrive(2)
        assert await log(journal_url, "barrier", "b") == ["barrier.arrived", "barrier.withdrawn"] * 2
        await asyncio.gather(d.barrier("b").arrive(2), d.barrier("b").arrive(2))


async def test_a_cancelled_arrival_does_not_count(reopen: Open, journal_url: str, log: Log, in_line: InLine) -> None:
    """A cancelled participant is out of the round when its caller sees the cancellation."""
    async with reopen() as d:
        waiting = asyncio.create_task(d.barrier("b").arrive(2))
        await in_line(journal_url, "barrier", "b", 1)

        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        assert await log(journal_url, "barrier", "b") == ["barrier.arrived", "barrier.withdrawn"]
        await asyncio.gather(d.barrier("b").arrive(3), d.barrier("b").arrive(3), d.barrier("b").arrive(3))


class _Between:
    """A gateway that lets something happen between what a handle asks and what it asks next."""

    def __init__(self, system: ClusteredActorSystem, happens: Callable[[], Awaitable[object]]) -> None:
        self._system = system
        self._happens = happens
        self._asked = 0
        self.settings = system.settings

    def region_ref(self, key: str, factory: Any, *, num_shards: int) -> Any:
        return self._system.region_ref(key, factory, num_shards=num_shards)

    async def entity_ask(self, ref: Any, msg_factory: Any, *, timeout: float) -> Any:  # noqa: ASYNC109 - as gateways do
        self._asked += 1
        if self._asked > 1:
            await self._happens()
        return await self._system.entity_ask(ref, msg_factory, timeout=timeout)


async def test_an_arrival_that_is_let_through_while_its_time_is_up_is_not_denied() -> None:
    """Given a withdrawal that comes rounds later, then its caller was let through, and is told so."""
    async with ClusteredActorSystem() as system:
        rounds = system.distributed().barrier("b")

        async def goes_on() -> None:
            await rounds.arrive(2)
            await asyncio.gather(rounds.arrive(2), rounds.arrive(2))

        late = Distributed(_Between(system, goes_on)).barrier("b", node_id="late", timeout=IMPATIENT)
        await late.arrive(2)
        # one that nobody joins is not
        with pytest.raises(NotDoneError):
            await system.distributed().barrier("b", timeout=IMPATIENT).arrive(2)
