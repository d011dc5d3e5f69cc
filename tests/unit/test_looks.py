"""Commands that look before they are decided, and those that wait behind them: none overtakes another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_es import ClusteredActorSystem
from casty_es.domain import lock
from casty_es.errors import CastyError, JournalUnavailableError
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import Append, EntityName, RecordedEvent
from casty_es.owner.pending import Pending
from casty_es.runtime import SystemRuntime

NAME = EntityName("lock", "l", "")
OTHERS, MINE = "018bcfe5-6a1a-7ba3-9f72-2226c32168ca", "4f282690-40ee-869d-8080-fc258f6ba058"


class Gated(InMemoryJournal):
    """A journal in which nobody finds a key before the gate is open."""

    def __init__(self) -> None:
        super().__init__(slots=4)
        self.gate, self.asked = asyncio.Event(), asyncio.Event()

    async def find_key(self, entity: int, idempotency_key: str) -> list[RecordedEvent]:
        """Wait at the gate."""
        self.asked.set()
        await self.gate.wait()
        return await super().find_key(entity, idempotency_key)


async def events(journal: InMemoryJournal) -> list[tuple[str, str]]:
    """Return what happened to the lock: the types of its events, and whose requests they are of."""
    [stored] = await journal.entities([NAME])
    assert stored is not None
    read = [event for slot in range(4) for event in await journal.records(slot)]
    return [(event.type, event.payload) for event in read if event.entity == stored.id]


class Here:
    """The lock of a running system, and its owner."""

    def __init__(self, system: ClusteredActorSystem) -> None:
        assert system._node is not None
        self.owner = system._node.owner
        slot = self.owner.in_memory(NAME)
        assert slot is not None
        self.slot = slot

    def send(self, command: Any, command_id: bytes | None = None, **how: Any) -> Pending:
        """Submit a command."""
        id_ = command_id or SystemRuntime().new_id()
        return self.owner.submit(NAME, 100, command, id_, slot=self.slot, term=self.slot.term, **how)


@pytest.mark.parametrize("later", ["while it is read again", "before it is forgotten", "behind another key"])
async def test_a_withdrawal_waits_for_its_request_whose_entity_is_forgotten(later: str) -> None:
    """Given a request that looks, when its entity is forgotten meanwhile, then its withdrawal does not pass it."""
    journal = Gated()
    async with ClusteredActorSystem(journal=journal) as system:
        await system.distributed().lock("l").acquire()
        here = Here(system)
        send, owner, slot = here.send, here.owner, here.slot
        request = send(lock.Acquire("me", MINE), idempotency_key="k")
        await journal.asked.wait()
        told = []
        if later == "before it is forgotten":
            told.append(send(lock.Withdraw(MINE, keep_grant=False)))
        owner.drop([slot])
        if later == "behind another key":
            told.append(send(lock.Acquire("other", OTHERS), idempotency_key="k2"))
        told.append(send(lock.Withdraw(MINE, keep_grant=False)))
        journal.gate.set()
        with pytest.raises(CastyError, match="withdrawn"):
            await request.future
        assert await told[-1].future is None

        log = [(type_, MINE in payload) for type_, payload in await events(journal)]
    assert log.index(("lock.requested", True)) < log.index(("lock.withdrawn", True))


async def test_the_end_of_a_lease_does_not_pass_the_search_for_the_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given somebody dead in line, when a lease ends while it is found out, then the dead one is granted nothing."""
    journal = InMemoryJournal(slots=4)
    async with ClusteredActorSystem(journal=journal) as system:
        await system.distributed().lock("l").acquire()
        here = Here(system)
        holder = next(iter(here.owner._waiters._leases))
        here.send(lock.Acquire("dead", MINE), process="P-dead")
        while ("lock.requested", True) not in [(one, MINE in said) for one, said in await events(journal)]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        asked, found = asyncio.Event(), asyncio.Event()

        async def gone(_: object) -> set[str]:
            asked.set()
            await found.wait()
            return {"P-dead"}

        monkeypatch.setattr(here.owner._mourning._deaths, "concern", lambda process: process == "P-dead")
        monkeypatch.setattr(here.owner._mourning._deaths, "gone", gone)
        here.owner.drop([here.slot])
        await asked.wait()
        here.owner._waiters._expire([holder], died=False)
        found.set()
        while ("lock.expired", True) not in (log := [(one, MINE in said) for one, said in await events(journal)]):  # noqa: ASYNC110 - nor here
            await asyncio.sleep(0)
        assert ("lock.granted", True) not in log


async def test_who_waits_behind_a_key_enters_once() -> None:
    """Given a command behind another under its key, when that is given up and its look fails, then it enters once."""
    journal = Gated()
    async with ClusteredActorSystem(journal=journal) as system:
        await system.distributed().lock("l").acquire()
        here, id_ = Here(system), SystemRuntime().new_id()
        first = here.send(lock.Acquire("a", OTHERS), id_, idempotency_key="k")
        await journal.asked.wait()
        second = here.send(lock.Release("b", MINE), id_, idempotency_key="k")
        first.future.cancel()
        assert first.dropped()
        first.fail(JournalUnavailableError("As its look is told."))
        assert second.joined == ()
        journal.gate.set()
        assert await second.future is False


class Refusing(InMemoryJournal):
    """A journal that refuses one append, when it is let."""

    def __init__(self) -> None:
        super().__init__(slots=4)
        self.refuses = False
        self.gate, self.asked = asyncio.Event(), asyncio.Event()

    async def append(self, append: Append) -> None:
        """Refuse it."""
        if self.refuses:
            self.asked.set()
            await self.gate.wait()
            self.refuses = False
            raise JournalUnavailableError("The disk is full.")
        await super().append(append)


async def test_what_stood_on_a_refused_append_comes_back_before_what_came_later() -> None:
    """Given a try that was False by an append that is refused, when it is tried again, then before its withdrawal."""
    journal = Refusing()
    async with ClusteredActorSystem(journal=journal) as system:
        await system.distributed().lock("l").acquire()
        here = Here(system)
        holder = next(iter(here.owner._waiters._leases))
        await here.send(lock.Withdraw(holder, keep_grant=False)).future
        journal.refuses = True
        other = here.send(lock.Acquire("other", OTHERS))
        tried = here.send(lock.TryAcquire("me", MINE))
        await journal.asked.wait()
        withdrawal = here.send(lock.Withdraw(MINE, keep_grant=False))
        journal.gate.set()
        with pytest.raises(CastyError):
            await other.future
        assert await tried.future
        await withdrawal.future
        log = [(type_, MINE in payload) for type_, payload in await events(journal)]
    assert log[-2:] == [("lock.granted", True), ("lock.released", True)]


async def test_those_who_died_together_leave_before_anybody_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a holder and the next in line of two processes, when both are found dead, then neither is granted."""
    journal = InMemoryJournal(slots=4)
    async with ClusteredActorSystem(journal=journal) as system:
        await system.distributed().lock("l").try_acquire()
        here = Here(system)
        mine = next(iter(here.owner._waiters._leases))
        await here.send(lock.Withdraw(mine, keep_grant=False)).future
        await here.send(lock.Acquire("first", OTHERS), process="P-1").future
        here.send(lock.Acquire("second", MINE), process="P-2")

        async def gone(_: object) -> list[str]:
            return ["P-1", "P-2"]

        monkeypatch.setattr(here.owner._mourning._deaths, "concern", lambda process: process.startswith("P-"))
        monkeypatch.setattr(here.owner._mourning._deaths, "gone", gone)
        while ("lock.requested", True) not in [(one, MINE in said) for one, said in await events(journal)]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        here.owner.mourn()
        while ("lock.expired", True) not in (log := [(one, MINE in said) for one, said in await events(journal)]):  # noqa: ASYNC110 - nor here
            await asyncio.sleep(0)
        assert ("lock.granted", True) not in log
