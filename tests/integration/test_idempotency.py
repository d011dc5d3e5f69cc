"""``idempotency_key=``: an operation that its caller named happens once, and everybody gets its first result."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

import casty_es
from casty_es import (
    BoundsError,
    ClusteredActorSystem,
    Distributed,
    IdempotencyConflictError,
    InMemoryJournal,
    InvalidArgumentError,
    InvalidTypeError,
)
from casty_es.domain.counter import Increment
from casty_es.format.chain import digest, link
from casty_es.hashes import keyed_command_id
from casty_es.journal.port import ENTITY_NUMBER_BITS, EntityName
from casty_es.owner.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    Opened = Callable[..., AbstractAsyncContextManager[Distributed]]
    Log = Callable[..., Awaitable[list[str]]]
    Rows = Callable[..., Awaitable[list[tuple[Any, ...]]]]
    InLine = Callable[..., Awaitable[None]]

MUTATING = {
    "Counter": ["increment", "decrement", "set", "get_and_set", "compare_and_set", "destroy"],
    "Dict": ["put", "put_if_absent", "replace", "pop", "delete"],
    "Set": ["add", "remove", "destroy"],
    "Queue": ["enqueue", "dequeue", "destroy"],
    "Lock": ["acquire", "try_acquire", "release", "destroy"],
    "Semaphore": ["acquire", "try_acquire", "release", "destroy"],
    "Barrier": ["arrive", "destroy"],
}

# Per method: its kind, the call, and what comes before it.
Call = tuple[str, "Callable[[Distributed, dict[str, str]], Awaitable[Any]]", "Callable[[Distributed], Awaitable[Any]]"]


async def nothing(_: Distributed) -> None:
    """Come before an operation that needs nothing."""


async def held(d: Distributed) -> None:
    """Let everything that can be destroyed exist."""
    await d.counter("c").increment()
    await d.set[int]("s").add(1)
    await d.queue[int]("q").enqueue(1)
    await d.queue[int]("q").enqueue(2)
    await d.lock("other").try_acquire()
    await d.map[str, int]("m").put("k", 1)


CALLS: dict[str, Call] = {
    "Counter.increment": ("counter", lambda d, key: d.counter("c").increment(5, **key), held),
    "Counter.decrement": ("counter", lambda d, key: d.counter("c").decrement(5, **key), held),
    "Counter.set": ("counter", lambda d, key: d.counter("c").set(5, **key), held),
    "Counter.get_and_set": ("counter", lambda d, key: d.counter("c").get_and_set(5, **key), held),
    "Counter.compare_and_set": ("counter", lambda d, key: d.counter("c").compare_and_set(1, 5, **key), held),
    "Counter.destroy": ("counter", lambda d, key: d.counter("c").destroy(**key), held),
    "Dict.put": ("map", lambda d, key: d.map[str, int]("m").put("k", 2, **key), held),
    "Dict.put_if_absent": ("map", lambda d, key: d.map[str, int]("m").put_if_absent("k", 2, **key), held),
    "Dict.replace": ("map", lambda d, key: d.map[str, int]("m").replace("k", 1, 2, **key), held),
    "Dict.pop": ("map", lambda d, key: d.map[str, int]("m").pop("k", **key), held),
    "Dict.delete": ("map", lambda d, key: d.map[str, int]("m").delete("k", **key), held),
    "Set.add": ("set", lambda d, key: d.set[int]("s").add(2, **key), held),
    "Set.remove": ("set", lambda d, key: d.set[int]("s").remove(1, **key), held),
    "Set.destroy": ("set", lambda d, key: d.set[int]("s").destroy(**key), held),
    "Queue.enqueue": ("queue", lambda d, key: d.queue[int]("q").enqueue(3, **key), held),
    "Queue.dequeue": ("queue", lambda d, key: d.queue[int]("q").dequeue(**key), held),
    "Queue.destroy": ("queue", lambda d, key: d.queue[int]("q").destroy(**key), held),
    "Lock.acquire": ("lock", lambda d, key: d.lock("l").acquire(**key), nothing),
    "Lock.try_acquire": ("lock", lambda d, key: d.lock("l").try_acquire(**key), nothing),
    "Lock.release": ("lock", lambda d, key: d.lock("l").release(**key), nothing),
    "Lock.destroy": ("lock", lambda d, key: d.lock("l").destroy(**key), nothing),
    "Semaphore.acquire": ("semaphore", lambda d, key: d.semaphore("p", permits=2).acquire(**key), nothing),
    "Semaphore.try_acquire": ("semaphore", lambda d, key: d.semaphore("p", permits=2).try_acquire(**key), nothing),
    "Semaphore.release": ("semaphore", lambda d, key: d.semaphore("p", permits=2).release(**key), nothing),
    "Semaphore.destroy": ("semaphore", lambda d, key: d.semaphore("p", permits=2).destroy(**key), nothing),
    "Barrier.arrive": ("barrier", lambda d, key: d.barrier("b").arrive(1, **key), nothing),
    "Barrier.destroy": ("barrier", lambda d, key: d.barrier("b").destroy(**key), nothing),
}

KEYED = "SELECT type, idempotency_key, command_id FROM casty_events WHERE idempotency_key IS NOT NULL"
COUNT = "SELECT COUNT(*) FROM casty_events WHERE entity IS NOT NULL"


def test_every_mutating_method_is_among_the_calls() -> None:
    """Given the handles, when their methods with a key are listed, then each is called below, and no other."""
    takes = [
        f"{cls}.{name}"
        for cls in MUTATING
        for name, method in inspect.getmembers(getattr(casty_es, cls), inspect.iscoroutinefunction)
        if "idempotency_key" in inspect.signature(method).parameters and not name.startswith("_")
    ]
    assert (
        sorted(takes) == sorted(CALLS) == sorted(f"{cls}.{name}" for cls, names in MUTATING.items() for name in names)
    )


@pytest.mark.parametrize("method", CALLS)
def test_every_method_takes_the_key_by_name_only(method: str) -> None:
    """Given a mutating method, when its signature is read, then the key is keyword-only and may be left out."""
    cls, _, name = method.partition(".")
    key = inspect.signature(getattr(getattr(casty_es, cls), name)).parameters["idempotency_key"]
    assert (key.kind, key.default) == (inspect.Parameter.KEYWORD_ONLY, None)


@pytest.mark.parametrize("method", CALLS)
async def test_the_same_key_gives_the_first_result_and_adds_no_event(
    method: str, journal_url: str, reopen: Opened, rows: Rows
) -> None:
    """Given an operation done under a key, when it is asked for again, also after a restart, then it was done once."""
    _, call, before = CALLS[method]
    key = {"idempotency_key": "once"}
    async with reopen() as d:
        await before(d)
        first = await call(d, key)
        events = await rows(journal_url, COUNT)
        assert await call(d, key) == first
        assert await rows(journal_url, COUNT) == events
    async with reopen() as d:
        assert await call(d, key) == first
    assert await rows(journal_url, COUNT) == events
    assert [row[1] for row in await rows(journal_url, KEYED)] == ["once"]


async def test_the_command_id_is_made_of_entity_and_key(journal_url: str, reopen: Opened, rows: Rows) -> None:
    """Given keyed operations, when their records are read, then each first event has the key and the derived id."""
    async with reopen() as d:
        await d.counter("stock").increment(idempotency_key="order-4711")
        await d.map[str, int]("users").put("alice", 1, idempotency_key="order-4711")
    ids = {bytes(row[2]) for row in await rows(journal_url, KEYED)}
    assert ids == {
        UUID("382b8285-79d1-8b2e-81b6-e2c885a3300a").bytes,
        keyed_command_id("map", "users", "s:alice", "order-4711"),
    }


async def test_only_the_first_event_of_a_command_has_the_key(
    journal_url: str, reopen: Opened, rows: Rows, log: Log, in_line: InLine
) -> None:
    """Given a waiter, when a keyed release also grants to it, then the release alone has the key."""
    async with reopen() as d:
        first, second = d.lock("l"), d.lock("l")
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await in_line(journal_url, "lock", "l", 1)
        assert await first.release(idempotency_key="r")
        await waiting
    marked = await rows(journal_url, "SELECT type FROM casty_events WHERE metadata IS NOT NULL")
    assert marked == [("lock.released",)]
    assert [row[0] for row in await rows(journal_url, KEYED)] == ["lock.released"]
    assert (await log(journal_url, "lock", "l"))[:4] == [
        "lock.granted",
        "lock.requested",
        "lock.released",
        "lock.granted",
    ]


async def test_key_and_fingerprint_are_in_the_hash_chain() -> None:
    """Given a keyed operation, when its record's hash is made anew, then it is the same, and not without the key."""
    journal = InMemoryJournal()
    async with ClusteredActorSystem(journal=journal) as system:
        await system.distributed().counter("c").increment(idempotency_key="k")
        stored = (await journal.entities([EntityName("counter", "c", "")]))[0]
        assert stored is not None
        assert stored.salt is not None
        lease, event = await journal.records(stored.id >> ENTITY_NUMBER_BITS)
    assert (event.idempotency_key, event.metadata) == ("k", fingerprint(Increment(1), stored.salt))

    def hashed(idempotency_key: str | None, metadata: str | None) -> bytes:
        assert stored is not None
        return link(
            lease.hash,
            event.slot,
            event.position,
            event.epoch,
            event.entity,
            event.sequence,
            event.recorded_at,
            (event.type, event.version),
            event.command_id,
            idempotency_key,
            digest(stored.salt or b"", event.payload),
            None if metadata is None else digest(stored.salt or b"", metadata),
            EntityName("counter", "c", ""),
        )

    assert hashed(event.idempotency_key, event.metadata) == event.hash
    assert event.hash not in (hashed(None, event.metadata), hashed("k", None), hashed("l", event.metadata))


async def test_calls_at_once_under_one_key_happen_once(d: Distributed) -> None:
    """Given 50 calls at once under one key and others between them, when all are answered, then one counts."""
    counter = d.counter("c")
    keyed = [counter.increment(10, idempotency_key="k") for _ in range(50)]
    others = [counter.increment() for _ in range(50)]
    told = await asyncio.gather(*(call for pair in zip(keyed, others, strict=True) for call in pair))
    assert len(set(told[::2])) == 1
    assert len(set(told[1::2])) == 50
    assert await counter.get() == 60


async def test_calls_at_once_on_a_cold_entity_happen_once(reopen: Opened, journal_url: str, log: Log) -> None:
    """Given a counter that is not in memory, when calls under one key arrive together, then there is one event."""
    async with reopen() as d:
        await d.counter("c").increment(1)
    async with reopen() as d:
        told = await asyncio.gather(*(d.counter("c").increment(2, idempotency_key="k") for _ in range(20)))
    assert set(told) == {3}
    assert await log(journal_url, "counter", "c") == ["counter.incremented"] * 2


async def test_another_command_under_the_key_is_a_conflict(reopen: Opened, journal_url: str, rows: Rows) -> None:
    """Given a used key, when anything else is asked for under it, then it is refused and nothing is written."""
    async with reopen() as d:
        assert await d.counter("c").increment(5, idempotency_key="k") == 5
        await d.map[str, int]("m").put("a", 1, idempotency_key="k")
    async with reopen() as d:
        counter, users = d.counter("c"), d.map[str, int]("m")
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: counter.increment(6, idempotency_key="k"),
            lambda: counter.decrement(5, idempotency_key="k"),
            lambda: counter.destroy(idempotency_key="k"),
            lambda: users.put("a", 2, idempotency_key="k"),
            lambda: users.delete("a", idempotency_key="k"),
        ]
        before = await rows(journal_url, COUNT)
        for call in calls:
            with pytest.raises(IdempotencyConflictError, match="idempotency key 'k'"):
                await call()
        assert await rows(journal_url, COUNT) == before
        assert (await counter.get(), await users.get("a")) == (5, 1)
        assert await counter.increment(5, idempotency_key="k") == 5


async def test_another_command_at_the_same_time_is_a_conflict(d: Distributed) -> None:
    """Given two operations sent at once under one key, when both end, then one is done and the other refused."""
    counter = d.counter("c")
    told = await asyncio.gather(
        counter.increment(1, idempotency_key="k"), counter.increment(2, idempotency_key="k"), return_exceptions=True
    )
    done = [one for one in told if isinstance(one, int)]
    assert [type(one) for one in told if not isinstance(one, int)] == [IdempotencyConflictError]
    assert done == [await counter.get()]


async def test_a_conflict_at_the_same_time_keeps_nobody_from_his_result(reopen: Opened) -> None:
    """Given a used key, when its operation is asked for again while another one looks, then only that is refused."""
    async with reopen() as d:
        assert await d.counter("c").increment(5, idempotency_key="k") == 5
    for cold in (True, False):
        async with reopen() as d:
            counter = d.counter("c")
            if not cold:
                await counter.get()
            amounts = (6, 5, 7, 5)
            told = await asyncio.gather(
                *(counter.increment(amount, idempotency_key="k") for amount in amounts), return_exceptions=True
            )
            kinds = [one if isinstance(one, int) else type(one) for one in told]
            assert kinds == [IdempotencyConflictError, 5, IdempotencyConflictError, 5]
            assert await counter.get() == 5


async def test_what_had_nothing_to_do_is_remembered(reopen: Opened, journal_url: str, rows: Rows) -> None:
    """Given operations that had nothing to do under a key, when there would be now, then they still do nothing."""

    async def ask(d: Distributed) -> list[Any]:
        return [
            await d.map[str, int]("m").delete("a", idempotency_key="k"),
            await d.set[int]("s").remove(1, idempotency_key="k"),
            await d.queue[int]("q").dequeue(idempotency_key="k"),
            await d.counter("c").destroy(idempotency_key="k"),
            await d.lock("l").release(idempotency_key="k"),
        ]

    nothing_to_do = [False, False, None, False, False]
    async with reopen() as d:
        assert await ask(d) == nothing_to_do
        await d.map[str, int]("m").put("a", 1)
        await d.set[int]("s").add(1)
        await d.queue[int]("q").enqueue(1)
        await d.counter("c").increment()
        assert await ask(d) == nothing_to_do
    async with reopen() as d:
        assert await ask(d) == nothing_to_do
        assert (await d.map[str, int]("m").get("a"), await d.queue[int]("q").size()) == (1, 1)
    concluded = await rows(journal_url, "SELECT payload FROM casty_events WHERE type = 'command.concluded'")
    assert sorted(row[0] for row in concluded) == sorted(
        ['{"tag":"b","reply":false}'] * 4 + ['{"tag":"n","reply":null}']
    )


async def test_a_conclusion_makes_nothing_exist(reopen: Opened) -> None:
    """Given keys of a map that were only deleted, when the map's structures are opened anew, then nothing is there."""
    async with reopen() as d:
        assert await d.map[str, int]("m").delete("a", idempotency_key="k") is False
    async with reopen() as d:
        assert await d.map[str, int]("m").contains("a") is False
        assert await d.map[str, int]("m").put("a", 1) is None


async def test_a_refused_operation_may_be_tried_again_under_its_key(d: Distributed) -> None:
    """Given an increment that would leave the bounds, when there is room later, then the same key does it, once."""
    counter = d.counter("c")
    await counter.increment(10**4000)
    with pytest.raises(BoundsError):
        await counter.increment(1, idempotency_key="k")
    await counter.decrement(1)
    assert await counter.increment(1, idempotency_key="k") == 10**4000
    await counter.decrement(1)
    assert await counter.increment(1, idempotency_key="k") == 10**4000
    assert await counter.get() == 10**4000 - 1


async def test_a_key_outlives_its_structure(reopen: Opened) -> None:
    """Given a counter destroyed after a keyed increment, when the key comes again, then the first result is told."""
    async with reopen() as d:
        assert await d.counter("c").increment(7, idempotency_key="k") == 7
        assert await d.counter("c").destroy()
        assert await d.counter("c").increment(7, idempotency_key="k") == 7
    async with reopen() as d:
        assert await d.counter("c").increment(7, idempotency_key="k") == 7
        assert await d.counter("c").get() == 0


async def test_a_key_belongs_to_one_entity(d: Distributed) -> None:
    """Given one key on two counters, two keys of a map and two kinds, when each is asked, then each does its own."""
    assert await d.counter("a").increment(1, idempotency_key="k") == 1
    assert await d.counter("b").increment(2, idempotency_key="k") == 2
    users = d.map[str, int]("a")
    assert await users.put("x", 1, idempotency_key="k") is None
    assert await users.put("y", 2, idempotency_key="k") is None
    assert await d.set[int]("a").add(1, idempotency_key="k")
    assert (await d.counter("a").get(), await d.counter("b").get()) == (1, 2)
    assert (await users.get("x"), await users.get("y")) == (1, 2)


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("", InvalidArgumentError),
        ("x" * 256, InvalidArgumentError),
        ("a\0b", InvalidArgumentError),
        (1, InvalidTypeError),
    ],
    ids=["empty", "long", "nul", "int"],
)
async def test_a_bad_key_is_refused_before_anything_is_sent(method: str, key: Any, error: type[Exception]) -> None:
    """Given a gateway that must not be asked, when a method gets a bad key, then the error comes from the handle."""

    class Untouchable:
        """Knows where structures are, and fails the test when it is asked for more."""

        region_ref = staticmethod(ClusteredActorSystem().region_ref)
        self_node = ClusteredActorSystem().self_node

        async def entity_ask(self, *_: object, **__: object) -> None:
            pytest.fail("something was sent")

    _, call, _ = CALLS[method]
    with pytest.raises(error, match="idempotency_key"):
        await call(Distributed(Untouchable()), {"idempotency_key": key})
