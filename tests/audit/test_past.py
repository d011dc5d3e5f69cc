"""Time travel: what a structure answered then, by moment, by cursor and by sequence."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casty_es import (
    ClusterClient,
    ClusteredActorSystem,
    Distributed,
    InMemoryJournal,
    InvalidArgumentError,
    InvalidTypeError,
    ReadOnlyError,
    SqlJournal,
    UsageError,
)
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Query
from casty_es.gateway import ShardEnvelope, StructureFactory
from casty_es.gateway.cursor import decode_cursor, encode_cursor
from casty_es.gateway.time_travel import PastGateway, past_of
from casty_es.journal.port import EntityName, EventJournal
from casty_es.replay import Positions, Then
from tests.domain.history import POOL, attempt
from tests.domain.models import MODELS
from tests.domain.strategies import commands_of

from .conftest import NOON, SetClock
from .recorder import Recorder

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(microseconds: int) -> datetime:
    """Return a moment."""
    return EPOCH + timedelta(microseconds=microseconds)


def queries_of(kind: str) -> list[Query]:
    """Return every query of the pool, once."""
    found = [command for group in POOL[kind] for command in group if isinstance(command, Query)]
    return [query for number, query in enumerate(found) if query not in found[:number]]


async def told(gateway: PastGateway, name: EntityName, query: Query) -> Any:
    """Ask a query of the past."""
    ref = gateway.region_ref(name.name, StructureFactory(name.kind), num_shards=100)
    entity = name.key if name.kind == "map" else name.name
    return await gateway.entity_ask(ref, lambda _: ShardEnvelope(entity, query), timeout=30)


async def as_the_model(system: ClusteredActorSystem, journal: EventJournal, data: st.DataObject, kind: str) -> None:
    """Record a random history with random snapshots beside the model, then compare random points of it."""
    structure = CATALOG[kind]
    name = EntityName(kind, uuid4().hex, "s:key" if kind == "map" else "")
    slots = (await journal.open()).slots
    recorder = Recorder(journal, name, slots)
    time = NOON
    await recorder.begin(time)
    model, ran = MODELS[kind](), attempt(structure)
    models, cursors = [(time, copy.deepcopy(model))], [(encode_cursor(await positions(journal)), copy.deepcopy(model))]
    states = [structure.initial]
    for command in data.draw(commands_of(structure), label="commands"):
        step, snapshot, cursor = data.draw(
            st.tuples(st.sampled_from([0, 0, 1, 1_000_000]), st.booleans(), st.integers(0, 9)), label="step"
        )
        time += step
        ran = attempt(structure, command, after=ran._replace(events=()))
        model.tell(command)
        state = recorder.state
        for event in ran.events:
            state = structure.evolve(state, event)
            states.append(state)
        await recorder.record(ran.events, time)
        models.append((time, copy.deepcopy(model)))
        if snapshot and ran.events:
            await recorder.snapshot(time)
        if cursor == 0:
            cursors.append((encode_cursor(await positions(journal)), copy.deepcopy(model)))

    queries = queries_of(kind)
    for at in data.draw(st.lists(st.integers(NOON - 1, time + 1), min_size=1, max_size=4), label="moments"):
        then = [model for when, model in models if when <= at]
        expected = then[-1] if then else MODELS[kind]()
        past = past_of(system, moment(at))
        assert [await told(past, name, query) for query in queries] == [
            copy.deepcopy(expected).tell(query) for query in queries
        ]
    for token, model in cursors:
        past = past_of(system, token)
        assert [await told(past, name, query) for query in queries] == [model.tell(query) for query in queries]
    sequence = data.draw(st.integers(0, len(states) - 1), label="sequence")
    past = PastGateway(system, Then(sequence=sequence), name)
    assert [await told(past, name, query) for query in queries] == [
        structure.answer(states[sequence], query) for query in queries
    ]


async def positions(journal: EventJournal) -> Positions:
    """Return how far every slot is."""
    meta = await journal.open()
    heads = await journal.heads(range(meta.slots))
    return Positions(meta.created_at, tuple(heads[slot].position for slot in range(meta.slots)))


@pytest.mark.parametrize("kind", CATALOG)
@pytest.mark.parametrize("where", ["memory", "sqlite", "postgres"])
def test_the_past_equals_the_model(kind: str, where: str, request: pytest.FixtureRequest) -> None:
    """Given any history, when it is read as of any moment, cursor or sequence, then it is as the model was."""
    journal: EventJournal
    if where == "memory":
        journal = InMemoryJournal()
    else:
        journal = SqlJournal(str(request.getfixturevalue(f"{where}_journal_url")))
    with asyncio.Runner() as runner:
        system = ClusteredActorSystem(journal=journal)
        runner.run(system.__aenter__())
        try:

            @settings(
                max_examples=25 if where == "memory" else 6,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            )
            @given(data=st.data())
            def check(data: st.DataObject) -> None:
                runner.run(as_the_model(system, journal, data, kind))

            check()
        finally:
            runner.run(system.__aexit__(None, None, None))


async def test_every_read_method(
    d: Distributed, system: ClusteredActorSystem, journal: SqlJournal, clock: SetClock
) -> None:
    """Given all structures changed after a moment, when a node and a client read as of it, then as they were."""
    users, tags, jobs = d.map[str, dict[str, int]]("users"), d.set[str]("tags"), d.queue[int]("jobs")
    lock, pool = d.lock("deploy"), d.semaphore("pool", permits=3)
    await d.counter("hits").increment(5)
    await users.put("alice", {"age": 30})
    await tags.add("a")
    await jobs.enqueue(1)
    await lock.acquire()
    await pool.acquire()
    token = await d.cursor()
    clock.time += 1_000_000
    await d.counter("hits").increment(5)
    await users.delete("alice")
    await users.put("bob", {"age": 1})
    await tags.add("b")
    await tags.remove("a")
    await jobs.dequeue()
    await lock.release()
    await pool.release()

    async with ClusterClient(contact_points=[system.self_node], secret=await journal.secret()) as client:
        for there in (d, client.distributed()):
            for past in (there.at(moment(NOON)), there.at(moment(NOON + 999_999)), there.at(token)):
                assert await past.counter("hits").get() == 5
                assert await past.map[str, dict[str, int]]("users").get("alice") == {"age": 30}
                assert await past.map[str, dict[str, int]]("users").contains("alice")
                assert not await past.map[str, dict[str, int]]("users").contains("bob")
                assert await past.set[str]("tags").contains("a")
                assert await past.set[str]("tags").size() == 1
                assert await past.queue[int]("jobs").peek() == 1
                assert await past.queue[int]("jobs").size() == 1
                assert await past.lock("deploy").locked()
                assert await past.semaphore("pool", permits=3).available() == 2
                assert [event.payload async for event in past.counter("hits").history()] == [{"amount": 5, "value": 5}]
            now = there.at(moment(NOON + 1_000_000))
            assert await now.counter("hits").get() == 10
            assert not await now.lock("deploy").locked()
            assert await there.at(moment(NOON - 1)).counter("hits").get() == 0
            assert await there.at(token).counter("never").get() == 0
            assert await there.at(moment(NOON)).queue[int]("never").peek() is None


async def test_one_entity_by_sequence(d: Distributed, system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given a counter and a key, when they are read as of an event, then they are as it left them."""
    for _ in range(3):
        await d.counter("hits").increment(2)
    users = d.map[str, int]("users")
    await users.put("alice", 1)
    await users.put("alice", 2)

    async with ClusterClient(contact_points=[system.self_node], secret=await journal.secret()) as client:
        for there in (d, client.distributed()):
            hits, users = there.counter("hits"), there.map[str, int]("users")
            assert [await hits.at(sequence=number).get() for number in range(4)] == [0, 2, 4, 6]
            assert [await users.at("alice", sequence=number).get("alice") for number in range(3)] == [None, 1, 2]
            with pytest.raises(InvalidArgumentError, match="no event 4: the last one is 3"):
                await hits.at(sequence=4).get()
            with pytest.raises(InvalidArgumentError, match="belongs to one entity"):
                await users.at("alice", sequence=1).get("bob")
            with pytest.raises(InvalidArgumentError, match="no events"):
                await there.counter("never").at(sequence=1).get()
            assert [event.sequence async for event in hits.at(sequence=2).history()] == [1, 2]
            with pytest.raises(ReadOnlyError):
                await hits.at(sequence=1).increment()


async def test_nothing_changes_the_past(d: Distributed, journal: SqlJournal) -> None:
    """Given the past, when anything that writes is called, then it is refused, and nothing is written or kept alive."""
    lock = d.lock("deploy")
    await lock.acquire()
    past = d.at(await d.cursor())
    before = await positions(journal)
    there = past.lock("deploy")
    changes: list[Callable[[], Awaitable[Any]]] = [
        past.counter("a").increment,
        past.counter("a").decrement,
        past.counter("a").destroy,
        lambda: past.map[str, int]("a").put("k", 1),
        lambda: past.map[str, int]("a").delete("k"),
        lambda: past.set[int]("a").add(1),
        lambda: past.set[int]("a").remove(1),
        past.set[int]("a").destroy,
        lambda: past.queue[int]("a").enqueue(1),
        past.queue[int]("a").dequeue,
        past.queue[int]("a").destroy,
        there.acquire,
        there.try_acquire,
        there.release,
        there.destroy,
        past.semaphore("a", permits=1).acquire,
        past.semaphore("a", permits=1).try_acquire,
        past.semaphore("a", permits=1).release,
        past.semaphore("a", permits=1).destroy,
        lambda: past.barrier("a").arrive(expected=1),
        past.barrier("a").destroy,
        lock.at(sequence=1).release,
    ]
    for change in changes:
        with pytest.raises(ReadOnlyError, match="past"):
            await change()

    assert await positions(journal) == before
    assert await lock.locked()
    assert await lock.release()


async def test_unusable_moments(d: Distributed) -> None:
    """Given something that is no moment of the past, when it is asked for, then it is refused with the reason."""
    with pytest.raises(InvalidArgumentError, match="time zone"):
        d.at(datetime(2025, 1, 1))  # noqa: DTZ001 - that is the point
    with pytest.raises(InvalidArgumentError, match="not come yet"):
        d.at(datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(InvalidTypeError, match="int"):
        d.at(5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="past already"):
        d.at(moment(NOON)).at(moment(NOON))
    with pytest.raises(InvalidTypeError):
        d.counter("a").at(sequence="1")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        d.counter("a").at(sequence=-1)


async def test_a_cursor_of_another_journal(d: Distributed) -> None:
    """Given a cursor of another journal, when it is read by, then it is refused, also where the slots are fewer."""
    await d.counter("hits").increment()
    mine = decode_cursor(await d.cursor())

    with pytest.raises(InvalidArgumentError, match="another journal"):
        await d.at(encode_cursor(Positions(mine.journal + 1, mine.positions))).counter("hits").get()
    with pytest.raises(InvalidArgumentError, match="another journal"):
        await d.at(encode_cursor(Positions(mine.journal, ()))).counter("hits").get()


@given(st.text() | st.binary(max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_any_text_is_no_cursor(text: str) -> None:
    """Given any text, when it is taken for a cursor, then it is refused and nothing else happens."""
    with pytest.raises(InvalidArgumentError, match="not a cursor"):
        decode_cursor(text)


@given(st.integers(0, 2**62), st.lists(st.integers(0, 2**62), max_size=300))
def test_cursors_come_back(journal: int, numbers: list[int]) -> None:
    """Given any positions, when they are written as a cursor, then they are read back."""
    assert decode_cursor(encode_cursor(Positions(journal, tuple(numbers)))) == Positions(journal, tuple(numbers))


def test_a_cursor_that_inflates_too_far() -> None:
    """Given a cursor of zeros without end, when it is read, then it is refused before it fills the memory."""
    bomb = encode_cursor(Positions(0, (0,) * 300_000))
    assert len(bomb) < 2_000
    with pytest.raises(InvalidArgumentError, match="not whole"):
        decode_cursor(bomb)
