"""Histories: what happened to a structure, through its handle, from a node and from a client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from casty_es import (
    ClusterClient,
    ClusteredActorSystem,
    Distributed,
    InMemoryJournal,
    InvalidArgumentError,
    InvalidTypeError,
    SqlJournal,
    UsageError,
)
from casty_es.replay import HistoryEvent

from .conftest import NOON, SetClock


def moment(seconds: float) -> datetime:
    """Return a moment of the test's day."""
    return datetime.fromtimestamp(NOON / 1_000_000, UTC) + timedelta(seconds=seconds)


async def filled(d: Distributed, clock: SetClock) -> None:
    """Count to five, one event a second from noon on."""
    for second in range(5):
        clock.time = NOON + second * 1_000_000
        await d.counter("hits").increment(second + 1)


async def numbers(history: Any) -> list[int]:
    """Return the sequences of a history."""
    return [event.sequence async for event in history]


async def test_every_field(d: Distributed, system: ClusteredActorSystem) -> None:
    """Given an increment, when its history is read, then the event says what, when, where and under whom."""
    await d.counter("hits").increment(5, idempotency_key="order-1")

    [event] = [event async for event in d.counter("hits").history()]

    assert isinstance(event, HistoryEvent)
    assert (event.kind, event.name, event.key, event.sequence) == ("counter", "hits", None, 1)
    assert (event.type, event.version, event.payload) == ("counter.incremented", 1, {"amount": 5, "value": 5})
    assert (event.recorded_at, event.redacted) == (moment(0), False)
    assert (event.node, event.idempotency_key) == (system.node_id, "order-1")
    assert event.position == event.epoch + 1
    assert isinstance(event.command_id, UUID)


async def test_every_structure_has_one(d: Distributed) -> None:
    """Given all seven structures with an operation each, when their histories are read, then each has its events."""
    await d.counter("a").increment()
    await d.map[str, int]("a").put("k", 1)
    await d.set[int]("a").add(1)
    await d.queue[int]("a").enqueue(1)
    async with d.lock("a"):
        pass
    async with d.semaphore("a", permits=2):
        pass
    await d.barrier("a").arrive(expected=1)

    histories: dict[str, Any] = {
        "counter": d.counter("a").history(),
        "map": d.map[str, int]("a").history("k"),
        "set": d.set[int]("a").history(),
        "queue": d.queue[int]("a").history(),
        "lock": d.lock("a").history(),
        "semaphore": d.semaphore("a", permits=2).history(),
        "barrier": d.barrier("a").history(),
    }
    for kind, history in histories.items():
        found = [event async for event in history]
        assert found
        assert {event.kind for event in found} == {kind}
        assert [event.sequence for event in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"after": 2}, [3, 4, 5]),
        ({"after": 5}, []),
        ({"after": 99}, []),
        ({"until": 2}, [1, 2]),
        ({"until": 0}, []),
        ({"after": 1, "until": 4}, [2, 3, 4]),
        ({"limit": 2}, [1, 2]),
        ({"after": 3, "limit": 1}, [4]),
        ({"after": moment(1)}, [3, 4, 5]),
        ({"after": moment(1.5)}, [3, 4, 5]),
        ({"after": moment(-1)}, [1, 2, 3, 4, 5]),
        ({"until": moment(1)}, [1, 2]),
        ({"until": moment(0.5)}, [1]),
        ({"until": moment(-1)}, []),
        ({"after": moment(0), "until": moment(3), "limit": 9}, [2, 3, 4]),
        ({"after": 1, "until": moment(2)}, [2, 3]),
    ],
)
async def test_bounds(
    d: Distributed,
    system: ClusteredActorSystem,
    journal: SqlJournal,
    clock: SetClock,
    bounds: dict[str, Any],
    expected: list[int],
) -> None:
    """Given five events, when a part is asked for, then a node and a client give that part."""
    await filled(d, clock)

    assert await numbers(d.counter("hits").history(**bounds)) == expected
    async with ClusterClient(contact_points=[system.self_node], secret=await journal.secret()) as client:
        assert await numbers(client.distributed().counter("hits").history(**bounds)) == expected


async def test_longer_than_a_page(d: Distributed, system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given events of many pages and large values, when they are read, then each comes once."""
    users = d.map[str, str]("users")
    for number in range(12):
        await users.put("alice", f"{number}" * 200_000)
    for _ in range(1_100):
        await d.counter("hits").increment()

    assert await numbers(users.history("alice")) == list(range(1, 13))
    async with ClusterClient(contact_points=[system.self_node], secret=await journal.secret()) as client:
        there = client.distributed()
        assert await numbers(there.map[str, str]("users").history("alice")) == list(range(1, 13))
        assert await numbers(there.counter("hits").history()) == list(range(1, 1_101))
        assert await numbers(there.counter("hits").history(limit=1_050)) == list(range(1, 1_051))


async def test_keys_of_a_map(d: Distributed) -> None:
    """Given keys of each type, when a key's history is read, then it is that key's, as the program knows it."""
    key = uuid4()
    await d.map[int, int]("ints").put(1, 1)
    await d.map[int, int]("ints").put(2, 2)
    await d.map[UUID, int]("uuids").put(key, 1)

    [event] = [event async for event in d.map[int, int]("ints").history(2)]
    assert (event.key, event.payload) == (2, {"value": 2})
    [event] = [event async for event in d.map[UUID, int]("uuids").history(key)]
    assert event.key == key
    with pytest.raises(InvalidTypeError):
        d.map[int, int]("ints").history("2")  # type: ignore[arg-type]


async def test_never_heard_of(d: Distributed) -> None:
    """Given nothing, when a history is read, then it is empty and nothing is made."""
    assert await numbers(d.counter("never").history()) == []
    assert await numbers(d.map[str, int]("never").history("k")) == []


async def test_unusable_bounds(d: Distributed) -> None:
    """Given bounds that say nothing, when a history is read, then it is refused with the reason."""
    hits = d.counter("hits")
    with pytest.raises(InvalidArgumentError, match="time zone"):
        await numbers(hits.history(after=datetime(2025, 1, 1)))  # noqa: DTZ001 - that is the point
    with pytest.raises(InvalidArgumentError, match="until is -1"):
        await numbers(hits.history(until=-1))
    with pytest.raises(InvalidTypeError, match="after"):
        await numbers(hits.history(after="1"))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="limit"):
        await numbers(hits.history(limit=0))


async def test_after_destroy_it_goes_on(d: Distributed) -> None:
    """Given a counter that was destroyed and changed again, when its history is read, then it has both lives."""
    hits = d.counter("hits")
    await hits.increment()
    await hits.destroy()
    await hits.increment(7)

    assert [(event.type, event.payload.get("value")) async for event in hits.history()] == [
        ("counter.incremented", 1),
        ("counter.destroyed", None),
        ("counter.incremented", 7),
    ]


async def test_in_memory_too() -> None:
    """Given the journal in memory, when a history is read, then it works; on a closed system it is refused."""
    async with ClusteredActorSystem(journal=InMemoryJournal()) as system:
        hits = system.distributed().counter("hits")
        await hits.increment()
        assert await numbers(hits.history()) == [1]
    with pytest.raises(UsageError):
        await numbers(hits.history())
