"""Two things at once, in the one order that hurts: reads beside a rival, batches beside each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

from casty_es import ClusteredActorSystem, Distributed, node
from casty_es.errors import AppendRejectedError, JournalUnavailableError
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import EntityName
from casty_es.leases.memory import ProcessLeaseManager, ProcessLeaseSession
from casty_es.owner import activation

if TYPE_CHECKING:
    from casty_es.journal.port import Append, TailEvent

pytestmark = pytest.mark.timeout(30)  # a mend that is undone may show as a caller who waits for ever


class Leases:
    """Gives every slot to whoever asks, and remembers the sessions, so that they can be lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[ProcessLeaseSession] = []
        monkeypatch.setattr(node, "lease_manager", lambda *_, **__: self)

    async def open(self, node_id: str, process: str = "") -> ProcessLeaseSession:
        """Return a session."""
        self.given.append(await ProcessLeaseManager(InMemoryJournal()).open(node_id, process))
        return self.given[-1]


async def test_a_read_is_not_proven_by_a_later_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that stands on what a rival has overtaken is decided again when its slot was lost and taken meanwhile."""
    leases, inner, gated = Leases(monkeypatch), InMemoryJournal(), InMemoryJournal()
    gated.__dict__ = dict(inner.__dict__)  # the same records, but calls of its own
    written, answer, alone, go_on = (asyncio.Event() for _ in range(4))
    appends = 0

    async def append(append: Append) -> None:
        nonlocal appends
        appends += 1
        if appends == 1:  # written, and its answer is late
            await inner.append(append)
            written.set()
            await answer.wait()
            return
        if appends == 2:
            raise AppendRejectedError("The fault: refused. Nothing was written.")
        if appends == 3:
            alone.set()
            await go_on.wait()
        await inner.append(append)

    async with ClusteredActorSystem(journal=gated) as system:
        d = Distributed(system)
        x, t, u = d.counter("x"), d.counter("t"), d.counter("u")
        for counter in (x, t, u):
            await counter.increment()
        assert system._node is not None
        entities = system._node.owner._entities
        assert len({entity.slot for entity in entities.values()}) == 3
        monkeypatch.setattr(gated, "append", append)
        # given an increment whose answer is late, and a rival who wrote behind it and told its caller
        increment = asyncio.create_task(x.increment())
        await written.wait()
        async with ClusteredActorSystem(journal=inner) as rival:
            assert await Distributed(rival).counter("x").increment(100) == 102
        # and a read that begins now, in an append that is refused, so that each slot is tried alone
        others = [asyncio.create_task(counter.increment()) for counter in (t, u)]
        reading = asyncio.create_task(x.get())
        await asyncio.sleep(0)
        answer.set()
        await alone.wait()
        # when the slot of the read is lost and taken again before its turn comes
        leases.given[0].lost.set_result("the fault: the lease is gone")
        await asyncio.sleep(0)
        fresh = asyncio.create_task(x.increment(1_000))
        while EntityName("counter", "x", "") not in entities:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        go_on.set()
        # then it sees what was acknowledged before it began
        assert await reading in {102, 1_102}
        assert await increment == 2
        assert await fresh == 1_102
        await asyncio.gather(*others, return_exceptions=True)


class TwoBatches:
    """Reads of two entities in one batch, of which the first is handed on to a second batch, and the other fails.

    Pages hold one event, so that the first entity is done while the other one is still to be read. The second batch
    is held back until the first one has failed. ``during`` says what else happens while a page is read.
    """

    def __init__(self, journal: InMemoryJournal, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = journal.tails
        ids = sorted((row[0], name.name) for name, row in journal._directory.items() if name.name in {"x", "y"})
        (self._early_id, self.early), (self._late_id, self.late) = ids
        self.reads = 0
        self.during: dict[int, Callable[[], object]] = {}
        self.second, self.failed = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(activation, "_PAGE_EVENTS", 1)
        monkeypatch.setattr(journal, "tails", self._tails)

    async def _tails(self, after: Mapping[int, int], *, limit: int) -> list[TailEvent]:
        self.reads += 1
        page = await self._real(after, limit=limit)
        if self.reads in self.during:
            self.during[self.reads]()
            await asyncio.sleep(0)
        if set(after) == {self._late_id} and not self.failed.is_set():
            await self.second.wait()
            raise JournalUnavailableError("The fault: the journal is away.")
        if self.reads > 2:
            self.second.set()
            await self.failed.wait()
        return page


async def test_a_batch_that_fails_takes_no_entity_with_it_that_another_batch_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Queries that another batch reads for are answered, whatever becomes of the batch that they came from."""
    journal = InMemoryJournal()
    async with ClusteredActorSystem(journal=journal) as system:
        for name, amount in (("x", 1), ("y", 1), ("z", 5)):
            await Distributed(system).counter(name).increment(amount)
    batches = TwoBatches(journal, monkeypatch)
    async with ClusteredActorSystem(journal=journal) as system:
        d = Distributed(system)
        later: list[asyncio.Task[int]] = []
        # given a query that comes too late for the first batch, and one that joins it in the second
        batches.during[1] = lambda: later.append(asyncio.create_task(d.counter(batches.early).get()))
        batches.during[2] = lambda: later.append(asyncio.create_task(d.counter("z").get()))
        early = asyncio.create_task(d.counter(batches.early).get())
        late = asyncio.create_task(d.counter(batches.late).get())
        # when the first batch fails while the second one reads
        with pytest.raises(JournalUnavailableError):
            await late
        batches.failed.set()
        # then everybody else is answered
        assert await early == 1
        assert await asyncio.gather(*later) == [1, 5]


async def test_a_batch_that_fails_does_not_make_a_second_one_of_an_entity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that come after a failed batch join those that another batch reads for: each counts once."""
    journal, leases = InMemoryJournal(), Leases(monkeypatch)
    async with ClusteredActorSystem(journal=journal) as system:
        for name in ("x", "y"):
            await Distributed(system).counter(name).increment()
    batches = TwoBatches(journal, monkeypatch)
    async with ClusteredActorSystem(journal=journal) as system:
        d = Distributed(system)
        # given a slot that is lost while its entity is read, so that a second batch reads it again
        batches.during[1] = lambda: leases.given[-1].lost.set_result("the fault: the lease is gone")
        counter = d.counter(batches.early)
        first = asyncio.create_task(counter.increment())
        late = asyncio.create_task(d.counter(batches.late).increment())
        # when the first batch fails, and another command comes
        with pytest.raises(JournalUnavailableError):
            await late
        then = asyncio.create_task(counter.increment(10))
        await asyncio.sleep(0)
        batches.failed.set()
        # then both are done, one after the other
        assert [await first, await then, await counter.get()] == [2, 12, 12]
