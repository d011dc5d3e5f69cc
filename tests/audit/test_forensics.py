"""Who held what, against the states that a real system went through, on both databases."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from casty_es import ClusteredActorSystem, SqlJournal
from casty_es.audit.forensics import find_job, timeline, who_held
from casty_es.errors import InvalidArgumentError
from casty_es.runtime import SystemRuntime

START = 1_790_000_000_000_000
SECOND = 1_000_000


class Clock(SystemRuntime):
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> int:
        """Return the time that was set."""
        return self.time


def moment(seconds: float) -> datetime:
    """Return a moment after the start."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=START + int(seconds * SECOND))


async def test_lock_holder_and_waiter(journal_url: str) -> None:
    """Given a lock that one holds while another waits, when asked about each moment, then both are told exactly."""
    journal, clock = SqlJournal(journal_url), Clock()
    async with ClusteredActorSystem(journal=journal, runtime=clock) as system:
        d = system.distributed()
        first, second = d.lock("deploy"), d.lock("deploy")
        clock.time = START + 10 * SECOND
        await first.acquire()
        clock.time = START + 20 * SECOND
        waiting = asyncio.create_task(second.acquire())
        while not (await who_held(journal, "lock", "deploy", at=moment(20))).waiters:  # noqa: ASYNC110 - the journal tells nobody
            await asyncio.sleep(0)
        clock.time = START + 35 * SECOND
        await first.release()
        await waiting
        clock.time = START + 50 * SECOND
        await second.release()

        before = await who_held(journal, "lock", "deploy", at=moment(9))
        at_25 = await who_held(journal, "lock", "deploy", at=moment(25))
        at_40 = await who_held(journal, "lock", "deploy", at=moment(40))
        spans = [claim async for claim in timeline(journal, "lock", "deploy", moment(0), moment(60))]

    assert before is not None
    assert at_25 is not None
    assert at_40 is not None
    assert (before.sequence, before.holders, before.waiters) == (0, (), ())
    [holder], [waiter] = at_25.holders, at_25.waiters
    assert (holder.token, holder.asked_at, holder.waited) == (1, START + 10 * SECOND, 0)
    assert (holder.granted_at, holder.ended_at) == (START + 10 * SECOND, START + 35 * SECOND)
    assert holder.ending == "released"
    assert (waiter.asked_at, waiter.granted_at) == (START + 20 * SECOND, START + 35 * SECOND)
    assert (waiter.waited, waiter.ended_at, waiter.ending) == (15 * SECOND, START + 50 * SECOND, "released")
    # The same request, seen while it held: when it came to wait is found by going back.
    assert at_40.holders == (waiter,)
    assert spans == [holder, waiter]


async def test_barrier_round(journal_url: str) -> None:
    """Given a barrier of two, when asked between the arrivals, then the first is there and the trip is its end."""
    journal, clock = SqlJournal(journal_url), Clock()
    async with ClusteredActorSystem(journal=journal, runtime=clock) as system:
        arriving = asyncio.create_task(system.distributed().barrier("ready", node_id="a").arrive(2))
        while not (seen := await who_held(journal, "barrier", "ready", at=moment(1))) or not seen.waiters:  # noqa: ASYNC110 - the journal tells nobody
            await asyncio.sleep(0)
        clock.time = START + 5 * SECOND
        await system.distributed().barrier("ready", node_id="b").arrive(2)
        await arriving
        seen = await who_held(journal, "barrier", "ready", at=moment(1))

    assert seen is not None
    assert (seen.round, seen.expected) == (0, 2)
    [waiter] = seen.waiters
    assert (waiter.owner, waiter.waited, waiter.ending) == ("a", 5 * SECOND, "tripped")


async def test_jobs(journal_url: str) -> None:
    """Given a job enqueued twice, once taken, when it is looked for, then its wait and its place are told."""
    journal, clock = SqlJournal(journal_url), Clock()
    async with ClusteredActorSystem(journal=journal, runtime=clock) as system:
        jobs = system.distributed().queue[str]("jobs")
        for value in ("x", "y", "other", "x"):
            await jobs.enqueue(value)
        clock.time = START + 7 * SECOND
        assert await jobs.dequeue() == "x"
        found = [job async for job in find_job(journal, "jobs", "x")]

    [gone, there] = found
    assert (gone.waited, gone.ending, gone.place) == (7 * SECOND, "dequeued", None)
    assert (there.place_then, there.ending, there.place) == (4, None, 3)


async def test_what_cannot_be_asked(sqlite_journal_url: str) -> None:
    """Given an empty journal, when asked wrongly or about nobody, then it is refused or nothing is known."""
    journal = SqlJournal(sqlite_journal_url)
    await journal.open()
    try:
        assert await who_held(journal, "lock", "nobody", at=moment(0)) is None
        with pytest.raises(InvalidArgumentError, match="none of lock"):
            await who_held(journal, "counter", "hits", at=moment(0))
        with pytest.raises(InvalidArgumentError, match="no time zone"):
            await who_held(journal, "lock", "nobody", at=datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused
    finally:
        await journal.close()
