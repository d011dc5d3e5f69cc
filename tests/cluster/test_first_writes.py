"""The first write of a structure: whatever came before it, its number of shards is recorded before its first event."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import pytest

from casty_es import ClusteredActorSystem, Distributed, Settings, SqlJournal, connect
from casty_es.audit.verify import verify
from casty_es.errors import JournalUnavailableError, OutcomeUnknownError
from casty_es.journal.port import Append

from .nodes import PATIENT, client, structures, until

Rows: TypeAlias = Callable[..., Awaitable[list[tuple[Any, ...]]]]

TAKEN = 20
"""So many reads make a node take the slot, and bring the entity into memory."""

UNRECORDED = """
    SELECT e.kind, e.name FROM casty_entities e
    LEFT JOIN casty_structures s ON s.kind = e.kind AND s.name = e.name WHERE s.name IS NULL"""


async def often(read: Callable[[], Awaitable[Any]]) -> Any:
    """Read until the entity is in memory."""
    return [await read() for _ in range(TAKEN)][-1]


class Watching(SqlJournal):
    """A journal that notes the structures whose first event comes before their record."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.too_early: list[tuple[str, str]] = []

    async def append(self, append: Append) -> None:
        """Look before it is written."""
        names = [(row[2], row[3]) for row in append.entities]
        recorded = await self.structures(names)
        self.too_early += [name for name, shards in zip(names, recorded, strict=True) if shards is None]
        await super().append(append)


async def counter(d: Distributed) -> None:
    """Read and write."""
    c = d.counter("counter")
    await often(c.get)
    await c.increment()


async def read_locally(d: Distributed) -> None:
    """Read without a proof, and write."""
    prices = d.map[str, int]("locally")
    await often(lambda: prices.get("a", local=True))
    await prices.put("a", 1)


async def under_a_key(d: Distributed) -> None:
    """Read, then do nothing under a key, which is an event all the same."""
    queue = d.queue[int]("keyed")
    await often(queue.size)
    await queue.dequeue(idempotency_key="k")


async def map_keys(d: Distributed) -> None:
    """Read some keys and write others."""
    users = d.map[int, int]("users")
    await asyncio.gather(*(often(lambda key=key: users.get(key)) for key in range(10)))
    await asyncio.gather(*(users.put(key, key) for key in range(5, 15)))


async def a_set(d: Distributed) -> None:
    """Ask for a member, then add it."""
    tags = d.set[str]("tags")
    await often(lambda: tags.contains("a"))
    await tags.add("a")


async def a_lock(d: Distributed) -> None:
    """Look whether it is locked, then lock it."""
    lock = d.lock("lock")
    await often(lock.locked)
    async with lock:
        pass


async def a_semaphore(d: Distributed) -> None:
    """Look what is available, then take it."""
    semaphore = d.semaphore("semaphore", 2)
    await often(semaphore.available)
    async with semaphore:
        pass


async def a_barrier(d: Distributed) -> None:
    """Pass alone, where nothing is to be read."""
    await d.barrier("barrier", node_id="a").arrive(1)


async def side_by_side(d: Distributed) -> None:
    """Read and write in one turn of the event loop, and again when the entity is in memory."""
    c = d.counter("beside")
    await often(lambda: asyncio.gather(c.get(), c.get()))
    for _ in range(3):
        await asyncio.gather(c.get(), c.increment(), c.get())


WAYS = [counter, read_locally, under_a_key, map_keys, a_set, a_lock, a_semaphore, a_barrier, side_by_side]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("through", ["node", "client"])
async def test_a_structure_is_recorded_before_its_first_event(
    journal_url: str, rows: Rows, way: Callable[[Distributed], Awaitable[None]], through: str
) -> None:
    """Whatever is read before the first write, and whichever way it is written, the structure is recorded first."""
    settings = Settings(max_entities=2)  # the map's keys leave memory in between
    journal = Watching(journal_url)
    async with ClusteredActorSystem(journal=journal, settings=settings) as system:
        if through == "node":
            await way(system.distributed())
        else:
            async with client(system) as connected:
                await way(connected.distributed())

    assert await rows("SELECT count(*) FROM casty_entities") > [(0,)]
    assert journal.too_early == []
    assert await rows(UNRECORDED) == []


async def test_nothing_is_quarantined_after_a_restart_with_other_shards(journal_url: str) -> None:
    """Counters that were read before their first write are all there, and go on, under another number of shards."""
    names = [f"n{number}" for number in range(20)]
    async with connect(journal_url) as d:
        for name in names:
            await often(d.counter(name).get)
            await d.counter(name).increment()

    async with connect(journal_url) as d:
        assert [await d.counter(name, shards=50).get() for name in names] == [1] * len(names)
        assert [await d.counter(name, shards=50).increment() for name in names] == [2] * len(names)
    assert (await verify(journal_url)).findings == []


async def test_a_reader_sees_what_is_written_under_another_number(two: list[ClusteredActorSystem]) -> None:
    """A node that has read a structure before it was written sees what another node writes under another number."""
    first, second = structures(two)
    names = [f"c-{number}" for number in range(20)]
    read = [first.counter(name, shards=100, timeout=PATIENT) for name in names]
    assert [await often(c.get) for c in read] == [0] * len(names)

    written = [second.counter(name, shards=50, timeout=PATIENT) for name in names]
    assert [await c.increment() for c in written] == [1] * len(names)

    assert [await c.get() for c in read] == [1] * len(names)
    assert [await c.increment() for c in read] == [2] * len(names)


async def test_readers_of_two_numbers_write_at_once(two: list[ClusteredActorSystem], rows: Rows) -> None:
    """Two nodes that read a structure under two numbers and then write it at once count together, in one slot."""
    names = [f"c-{number}" for number in range(20)]
    counters = [
        [d.counter(name, shards=shards, timeout=PATIENT) for name in names]
        for d, shards in zip(structures(two), (3, 64), strict=True)
    ]
    for c in [*counters[0], *counters[1]]:
        await often(c.get)

    told = await asyncio.gather(*(c.increment() for pair in zip(*counters, strict=True) for c in pair))

    assert [sorted(told[at : at + 2]) for at in range(0, len(told), 2)] == [[1, 2]] * len(names)
    assert await rows(UNRECORDED) == []


class Failing(Watching):
    """A journal that does not record structures at first."""

    failures = 1

    async def record_structures(
        self, structures: Sequence[tuple[str, str, int]], *, populated: bool = False
    ) -> list[int | None]:
        """Fail once."""
        if self.failures:
            self.failures -= 1
            raise JournalUnavailableError("The structure could not be recorded. Nothing was done.")
        return await super().record_structures(structures, populated=populated)


async def test_a_structure_that_could_not_be_recorded(journal_url: str, rows: Rows) -> None:
    """When recording the structure fails, nothing of it is written, and the next write records it."""
    journal = Failing(journal_url)
    async with ClusteredActorSystem(journal=journal) as system:
        c = system.distributed().counter("c")
        assert await often(c.get) == 0
        with pytest.raises(JournalUnavailableError):
            await c.increment()
        assert await rows("SELECT count(*) FROM casty_entities") == [(0,)]

        assert await c.increment() == 1

    assert journal.too_early == []
    assert await rows(UNRECORDED) == []


@pytest.mark.parametrize("first", ["get", "increment"])
async def test_a_journal_whose_structures_were_not_recorded(journal_url: str, rows: Rows, first: str) -> None:
    """Where an older version recorded no structure, the entities say how many shards it has, whatever callers say."""
    names = [f"n{number}" for number in range(20)]
    async with connect(journal_url) as d:
        for name in names:
            await d.counter(name).increment()
        for key in range(40):
            await d.map[int, int]("m", shards=7).put(key, key)
    await rows("DELETE FROM casty_structures")

    async with connect(journal_url) as d:
        for name in names:
            await getattr(d.counter(name, shards=50), first)()
        users = d.map[int, int]("m", shards=50)
        assert await asyncio.gather(*(users.get(key) for key in range(41))) == [*range(40), None]
        await users.put(40, 40)

    assert set(await rows("SELECT kind, shards FROM casty_structures")) == {("counter", 100), ("map", 7)}
    assert (await verify(journal_url)).findings == []


async def test_a_record_that_the_database_lost(postgres_journal_url: str, sql: Callable[..., Any]) -> None:
    """Who lost its lease session looks again what is recorded: the database may not be the one that it was."""
    journal = Watching(postgres_journal_url)
    async with ClusteredActorSystem(journal=journal) as system:
        users = system.distributed().map[str, int]("users", timeout=PATIENT)
        assert not await users.delete("nobody")  # recorded, and no event
        lost = "DELETE FROM casty_structures"
        ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 LIMIT 1"
        await asyncio.to_thread(sql, postgres_journal_url, lost, ended)

        async def put() -> bool:
            try:
                await users.put("alice", 1)
            except OutcomeUnknownError:
                return False
            return True

        session = system._running().owner.leases._session  # its end is told to nobody outside
        assert session is not None
        await asyncio.wait({asyncio.shield(session.lost)}, timeout=PATIENT)
        await until(put)

    assert journal.too_early == []
