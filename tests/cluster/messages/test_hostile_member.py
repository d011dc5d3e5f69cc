"""A member that knows the secret sends every field of every message wrong: nothing changes, and nobody is harmed.

``CASTY_ES_HOSTILE_FRAMES``  how many frames it sends, 4,000 unless it is given; the full run is 20,000
``CASTY_ES_HOSTILE_SEED``    the seed of a run to be repeated; a fresh one unless it is given, and always printed
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from casty_es import Distributed
from casty_es.audit.verify import verify
from casty_es.transport.wire import Failed
from tests.memory import most_memory

from .conftest import Victim, member
from .making import every, random_ones

FRAMES = int(os.environ.get("CASTY_ES_HOSTILE_FRAMES", "4000"))
MOST_BYTES = 200 * 2**20
TYPED = {"InvalidArgumentError", "InvalidTypeError", "InvalidValueError", "BoundsError", "NotDoneError"}
TABLES = ("entities", "structures", "closed_slots", "seals", "retired_salts")

pytestmark = pytest.mark.timeout(120 + FRAMES / 20)


async def prepare(d: Distributed) -> list[Any]:
    """Make structures of every kind that wrong commands could change; return the handles that hold something."""
    await d.counter("victim").increment(7)
    await d.map[str, int]("victim").put("k", 7)
    await d.set[int]("victim").add(7)
    await d.queue[int]("victim").enqueue(7)
    await d.barrier("victim", node_id="n").arrive(1)
    await d.flag("victim").raise_()
    holding = [d.lock("victim"), d.semaphore("victim", permits=3)]
    for handle in holding:
        await handle.acquire()
    return holding


async def work(d: Distributed, first: int, stop: asyncio.Event) -> int:
    """Do what honest clients do, until they are to stop; whatever fails fails the test."""
    counter, people, jobs = d.counter("honest"), d.map[str, int]("honest"), d.queue[int]("honest")
    for number in itertools.count(first):
        assert await counter.increment() == number
        assert await people.put("k", number) == (number - 1 or None)
        await jobs.enqueue(number)
        assert await jobs.dequeue() == number
        if stop.is_set():
            return number
    raise AssertionError


def seen(rows: Callable[[str], list[tuple[Any, ...]]]) -> dict[str, Any]:
    """Read all that is in the journal beside what honest clients do."""
    events = rows(
        "SELECT e.slot, e.position, e.type, e.payload, e.command_id FROM casty_events e LEFT JOIN casty_entities n "
        "ON n.id = e.entity WHERE n.name IS NULL OR n.name <> 'honest' ORDER BY e.slot, e.position"
    )
    return {"events": events} | {table: rows(f"SELECT * FROM casty_{table} ORDER BY 1, 2") for table in TABLES}


async def test_every_field_wrong(
    victim: Victim, journal_url: str, sql: Callable[..., list[tuple[Any, ...]]], rng: random.Random
) -> None:
    """Given a member with the secret, when it sends every field wrong, then all is refused and nothing changes."""

    def rows(statement: str) -> list[tuple[Any, ...]]:
        return sql(journal_url, statement)

    refused: Counter[str] = Counter()
    taken: dict[str, object] = {}
    stop = asyncio.Event()
    async with victim.client() as client, member(victim) as bad:
        d = client.distributed()
        holding = await prepare(d)
        places = await bad.places()
        stop.set()
        await work(d, 1, stop)
        stop.clear()
        before = await asyncio.to_thread(seen, rows)
        working = asyncio.create_task(work(d, 2, stop))
        frames = itertools.islice(itertools.chain(every(places), random_ones(rng, places)), FRAMES)
        try:
            async for what, answer in bad.attack(frames):
                if isinstance(answer, Failed) and answer.error in TYPED:
                    refused[answer.error] += 1
                else:
                    taken[what] = answer
        finally:
            stop.set()
            done = await working
        after = await asyncio.to_thread(seen, rows)
        assert await d.counter("victim").get() == 7
        assert await d.counter("honest").get() == done
        assert [handle.token is not None for handle in holding] == [True, True]

    assert taken == {}
    assert refused.total() == FRAMES
    assert after == before
    assert await victim.problems() == []
    assert most_memory(victim.process.pid) < MOST_BYTES
    assert done > 3
    assert (await verify(journal_url)).ok
