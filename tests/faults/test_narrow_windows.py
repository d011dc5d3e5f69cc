"""Faults that meet the writer at one exact moment, which a run over every append does not reach."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from casty_es import ClusteredActorSystem, Distributed
from casty_es.errors import AppendRejectedError, CastyError
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.sql import SqlJournal

from .audit import audit, read_memory, read_sql
from .faulty import Fault, FaultyJournal
from .recording import Recorder

if TYPE_CHECKING:
    from casty_es.journal.port import Append


class GatedJournal:
    """Refuses one append, and holds the next one back until it is let through."""

    def __init__(self, inner: InMemoryJournal) -> None:
        self._inner = inner
        self.refuse = False
        self.held = asyncio.Event()
        self.pass_on = asyncio.Event()
        self._hold = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(self, append: Append) -> None:
        """Refuse, hold back, or write."""
        if self.refuse:
            self.refuse, self._hold = False, True
            raise AppendRejectedError("The fault: refused. Nothing was written.")
        if self._hold:
            self._hold = False
            self.held.set()
            await self.pass_on.wait()
        await self._inner.append(append)


async def test_a_waiter_is_told_of_a_grant_whose_commit_went_unanswered(journal_url: str) -> None:
    """When a release is committed and its answer is lost, the next in line learns of its grant by itself."""
    faulty = FaultyJournal(SqlJournal(journal_url), Fault.UNKNOWN_WRITTEN, range(0))
    async with ClusteredActorSystem(journal=faulty) as system:
        recorder = Recorder(system)
        d = Distributed(recorder)
        # given a holder, and one who stands in line; renewals are far away
        holder, waiter = d.lock("deploy", timeout=2.0), d.lock("deploy", timeout=2.0)
        await holder.acquire()
        waiting = asyncio.ensure_future(waiter.acquire())
        await holder.locked()
        # when the answer to the release is lost
        faulty.at = range(faulty.appends + 1, faulty.appends + 2)
        assert await holder.release()
        # then the waiter is granted the lock in line, not only by asking again when its time is up
        await waiting
    assert [operation.error for operation in recorder.operations if operation.error] == []
    assert audit(await read_sql(journal_url), recorder.operations) == []


async def test_a_lease_lost_while_slots_are_retried_alone_does_no_harm() -> None:
    """An append that is retried slot by slot while the lease goes writes nothing under an epoch that is not held."""
    # given commands for two slots in one append, which is refused, so that each slot is tried alone
    inner = InMemoryJournal(slots=8)
    gated = GatedJournal(inner)
    async with ClusteredActorSystem(journal=gated) as system:
        recorder = Recorder(system)
        d = Distributed(recorder)
        counters = [d.counter(f"c{number}") for number in range(8)]
        for counter in counters:
            await counter.increment()
        gated.refuse = True
        writes = [asyncio.ensure_future(counter.increment()) for counter in counters]
        await gated.held.wait()
        # when the lease is lost while the first slot's append is on its way
        assert system._node is not None
        system._node.owner.lose_all()
        gated.pass_on.set()
        answers = await asyncio.gather(*writes, return_exceptions=True)
        # then everybody is told the truth, and the system goes on
        assert all(answer == 2 or isinstance(answer, CastyError) for answer in answers)
        for counter in counters:
            await counter.increment()
            await counter.get()
    assert audit(read_memory(inner), recorder.operations) == []


async def test_a_lease_lost_and_taken_again_while_slots_are_retried_alone_does_no_harm() -> None:
    """An append that waited while its slot was lost and taken again leaves no entity in memory behind the journal."""
    # given commands for two slots in one append, which is refused, so that each slot is tried alone
    inner = InMemoryJournal(slots=2)
    gated = GatedJournal(inner)
    async with ClusteredActorSystem(journal=gated) as system:
        recorder = Recorder(system)
        d = Distributed(recorder)
        counters = [d.counter(f"c{number}") for number in range(8)]
        for counter in counters:
            await counter.increment()
        gated.refuse = True
        writes = [asyncio.ensure_future(counter.increment()) for counter in counters]
        await gated.held.wait()
        # when the slots are lost meanwhile, and taken again by commands that have nothing to write
        assert system._node is not None
        system._node.owner.lose_all()
        for number in range(8):
            await d.counter(f"never-{number}").destroy()
        # and the entities are read again
        for counter in counters:
            assert await counter.get() == 1
        gated.pass_on.set()
        await asyncio.gather(*writes, return_exceptions=True)
        # then what is read is what is there
        for counter in counters:
            await counter.get()
    assert audit(read_memory(inner), recorder.operations) == []


async def test_a_rival_who_strikes_while_slots_are_retried_alone_is_noticed_at_once() -> None:
    """The slot that a rival took is given up with the first refusal, so that the next command is not refused too."""
    inner = InMemoryJournal(slots=8)
    faulty = FaultyJournal(inner, Fault.CONFLICT, range(0))
    async with ClusteredActorSystem(journal=faulty) as system:
        recorder = Recorder(system)
        d = Distributed(recorder)
        counters = [d.counter(f"c{number}") for number in range(8)]
        for counter in counters:
            await counter.increment()
        # given a batch over several slots, struck by a rival, and struck again when a slot is tried alone
        faulty.at = range(faulty.appends + 1, faulty.appends + 3)
        await asyncio.gather(*(counter.increment() for counter in counters), return_exceptions=True)
        # when everybody tries once more, then nobody is refused
        await asyncio.gather(*(counter.increment() for counter in counters))
    assert audit(read_memory(inner), recorder.operations) == []
