"""What is held or waited for while its caller is cancelled, its table is full, or its system is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from casty_es import ClusteredActorSystem, Distributed
from casty_es.config import Settings
from casty_es.domain import lock, semaphore
from casty_es.domain.decider import Command
from casty_es.errors import AppendRejectedError, OutcomeUnknownError, UsageError
from casty_es.gateway import CommandContext, RegionRef, ShardEnvelope, StructureFactory
from casty_es.handles.renewals import renewals_of
from casty_es.journal.memory import InMemoryJournal

pytestmark = pytest.mark.timeout(30)  # a mend that is undone shows as a caller who waits for ever


class Held:
    """The calls of one method of a journal, held back until they are let through."""

    def __init__(self, journal: InMemoryJournal, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.pass_on = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None
        self._real = getattr(journal, name)
        monkeypatch.setattr(journal, name, self._call)

    async def _call(self, *args: Any, **options: Any) -> Any:
        self.reached.set()
        await self.pass_on.wait()
        error, self.error = self.error, None
        if error is not None:
            raise error
        return await self._real(*args, **options)


class RenewalGateway:
    """Renews often, while the leases of the system behind it are long; some renewals are held back."""

    settings = Settings(lease_seconds=0.5)  # a machine that is busy for so long loses what is to be renewed here

    def __init__(self, system: ClusteredActorSystem) -> None:
        self._system = system
        self.stuck: dict[str, asyncio.Event] = {}
        self.renewed: list[tuple[str, tuple[str, ...]]] = []

    def region_ref(self, key: str, factory: StructureFactory, *, num_shards: int) -> RegionRef:
        """Return the system's ref."""
        return self._system.region_ref(key, factory, num_shards=num_shards)

    async def entity_ask(
        self,
        ref: RegionRef,
        msg_factory: Callable[[CommandContext], ShardEnvelope],
        *,
        timeout: float,  # noqa: ASYNC109 - the protocol's name
    ) -> Any:
        """Ask the system; note what is renewed, hold the answer back if told so, and let none end for want of time."""
        commands: list[Command] = []

        def noted(context: CommandContext) -> ShardEnvelope:
            envelope = msg_factory(context)
            commands.append(envelope.command)
            if isinstance(envelope.command, lock.Renew | semaphore.Renew):
                self.renewed.append((ref.name, envelope.command.requests))
            return envelope

        answer = await self._system.entity_ask(ref, noted, timeout=max(timeout, 30.0))
        if ref.name in self.stuck and isinstance(commands[0], lock.Renew | semaphore.Renew):
            await self.stuck[ref.name].wait()
        return answer

    def rounds(self, name: str) -> int:
        """Return how often a structure was renewed."""
        return sum(renewed == name for renewed, _ in self.renewed)


async def until(true: Callable[[], bool]) -> None:
    """Let the others run until something is so."""
    while not true():  # noqa: ASYNC110 - what it waits for has no event
        await asyncio.sleep(0)


async def test_a_release_that_is_cancelled_while_its_lock_is_cold_is_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever is cancelled in the exit of `async with` while the lock is read from the journal still releases it."""
    journal = InMemoryJournal()
    async with ClusteredActorSystem(journal=journal, settings=Settings(max_entities=1)) as system:
        d = Distributed(system)
        deploy, inside, leave = d.lock("deploy"), asyncio.Event(), asyncio.Event()

        async def work() -> None:
            async with deploy:
                inside.set()
                await leave.wait()

        # given a held lock that left memory, and a holder who leaves
        working = asyncio.create_task(work())
        await inside.wait()
        await d.counter("a").increment()
        await d.counter("b").increment()
        reading = Held(journal, "entities", monkeypatch)
        leave.set()
        await reading.reached.wait()
        # when the holder is cancelled before the release was decided
        working.cancel()
        await asyncio.sleep(0)
        reading.pass_on.set()
        await asyncio.wait({working})
        # then the lock is free
        assert working.cancelled()
        assert not await d.lock("deploy").locked()
        assert deploy.token is None


async def test_a_lock_whose_release_failed_is_not_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the journal refuses a release the lock expires with its lease, instead of being renewed for ever."""
    journal = InMemoryJournal()
    async with ClusteredActorSystem(journal=journal, settings=Settings(lease_seconds=0.1)) as system:
        d = Distributed(system)
        # given a holder
        deploy = d.lock("deploy")
        await deploy.acquire()
        # when its release is refused
        writing = Held(journal, "append", monkeypatch)
        writing.error = AppendRejectedError("The fault: refused. Nothing was written.")
        writing.pass_on.set()
        with pytest.raises(AppendRejectedError):
            await deploy.release()
        # then nobody renews it, and the next one gets it
        assert renewals_of(system)._held == {}
        await d.lock("deploy").acquire()


async def test_a_release_that_is_cancelled_after_its_decision_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handle whose release was cancelled on its way knows that it holds nothing, and is not told of a loss."""
    journal = InMemoryJournal()
    async with ClusteredActorSystem(journal=journal) as system:
        d = Distributed(system)
        # given a release whose events are on their way
        deploy = d.lock("deploy")
        await deploy.acquire()
        writing = Held(journal, "append", monkeypatch)
        releasing = asyncio.create_task(deploy.release())
        await writing.reached.wait()
        # when its caller is cancelled
        releasing.cancel()
        await asyncio.sleep(0)
        writing.pass_on.set()
        await asyncio.wait({releasing})
        # then the lock is free, and its handle knows
        assert releasing.cancelled()
        assert not await deploy.locked()
        assert deploy.token is None
        assert not deploy.lost.is_set()
        assert renewals_of(system)._held == {}


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_a_try_that_is_cancelled_after_its_decision_gives_its_grant_back(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grant that nobody waits for any more is free at once, not when its lease ends."""
    journal = InMemoryJournal()
    async with ClusteredActorSystem(journal=journal) as system:
        d = Distributed(system)
        first, second = (d.lock("one") if kind == "lock" else d.semaphore("one", permits=1) for _ in range(2))
        # given a try that was decided and is on its way
        assert await first.try_acquire()
        assert await first.release()
        writing = Held(journal, "append", monkeypatch)
        trying = asyncio.create_task(first.try_acquire())
        await writing.reached.wait()
        # when its caller is cancelled
        trying.cancel()
        await asyncio.sleep(0)
        writing.pass_on.set()
        await asyncio.wait({trying})
        # then the next one gets it
        assert trying.cancelled()
        assert first.token is None
        assert await second.try_acquire()


async def test_a_renewal_that_is_not_answered_does_not_hold_up_the_others() -> None:
    """Each structure is renewed by itself: one whose owner is silent does not let the others expire."""
    async with ClusteredActorSystem() as system:
        gateway = RenewalGateway(system)
        d = Distributed(gateway)
        # given two locks, and no answer to the renewal of the first
        silent, other = d.lock("silent"), d.lock("other")
        gateway.stuck["silent"] = asyncio.Event()
        await silent.acquire()
        await other.acquire()
        # when renewals are sent
        await until(lambda: gateway.rounds("silent") == 1)
        # then the second lock is renewed all the same
        await until(lambda: gateway.rounds("other") >= 1)
        assert gateway.rounds("silent") == 1
        gateway.stuck.pop("silent").set()
        await renewals_of(gateway).stop()


async def test_a_request_that_ends_during_a_round_of_renewals_does_not_let_the_next_one_down() -> None:
    """A permit is renewed in every round, also when one in front of it was given back after the round began."""
    async with ClusteredActorSystem() as system:
        gateway = RenewalGateway(system)
        d = Distributed(gateway)
        # given a round of renewals that has begun, and two permits behind its first lock
        leader, pool = d.lock("leader"), d.semaphore("pool", permits=2)
        await leader.acquire()
        await pool.acquire()
        await pool.acquire()
        _, kept = pool._holdings._grants
        gateway.stuck["leader"], before = asyncio.Event(), gateway.rounds("leader")
        await until(lambda: gateway.rounds("leader") == before + 1)
        begun = len(gateway.renewed) - 1 - [name for name, _ in reversed(gateway.renewed)].index("leader")
        # when the first permit is given back
        await pool.release()
        gateway.stuck.pop("leader").set()
        await until(lambda: gateway.rounds("leader") >= before + 2)  # on a slow machine more than one passes
        # then the second one was renewed in that round, and is not lost
        ended = [name for name, _ in gateway.renewed].index("leader", begun + 1)
        assert any(name == "pool" and kept in requests for name, requests in gateway.renewed[begun:ended])
        assert not pool.lost.is_set()
        await renewals_of(gateway).stop()


async def test_those_in_line_do_not_keep_the_holder_from_releasing() -> None:
    """Waiters do not count against `max_pending`: what would let them go on is accepted."""
    async with ClusteredActorSystem(settings=Settings(max_pending=5)) as system:
        d = Distributed(system)
        assert system._node is not None
        waiters = system._node.owner._waiters
        # given as many in line as commands may be pending
        holder = d.lock("deploy")
        await holder.acquire()
        locks = [d.lock("deploy") for _ in range(5)]
        waiting = [asyncio.create_task(one.acquire()) for one in locks]
        await until(lambda: waiters.in_line == 5)
        # when the holder releases, and each of them in turn, then each is granted the lock
        assert await holder.release()
        for one, acquiring in zip(locks, waiting, strict=True):
            await acquiring
            assert await one.release()
        assert waiters.in_line == 0


async def test_closing_while_an_append_is_refused_tells_every_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is decided again while the system closes is told that it did not happen, and does not hang."""
    journal = InMemoryJournal()
    system = ClusteredActorSystem(journal=journal)
    await system.__aenter__()
    assert system._node is not None
    owner, counter = system._node.owner, Distributed(system).counter("hits", timeout=1_000.0)
    await counter.increment()
    # given an append on its way, a command decided on top of it, and a journal that is slow to read
    writing = Held(journal, "append", monkeypatch)
    writing.error = AppendRejectedError("The fault: refused. Nothing was written.")
    first = asyncio.create_task(counter.increment())
    await writing.reached.wait()
    second = asyncio.create_task(counter.increment())
    await until(lambda: len(owner._writer._open) == 1)
    reading = Held(journal, "entities", monkeypatch)
    # when the system is closed, and the append refused meanwhile
    closing = asyncio.create_task(system.__aexit__(None, None, None))
    gateway = system._node.gateway
    await until(lambda: gateway.closed)
    writing.pass_on.set()
    await reading.reached.wait()
    await until(lambda: owner.closing)
    reading.pass_on.set()
    await closing
    # then both are told
    with pytest.raises(AppendRejectedError):
        await first
    with pytest.raises(UsageError):
        await second
    async with ClusteredActorSystem(journal=journal) as later:
        assert await Distributed(later).counter("hits").get() == 1


async def test_whoever_holds_something_is_told_when_the_system_stops_by_itself() -> None:
    """A holder whose node has stopped, because one of its tasks was ended, does not take itself for one for ever."""
    async with ClusteredActorSystem(settings=Settings(lease_seconds=0.5)) as system:
        d = Distributed(system)
        # given a lock and a permit, and one who waits for the lock
        deploy, pool = d.lock("deploy"), d.semaphore("pool", permits=1)
        await deploy.acquire()
        await pool.acquire()
        waiting = asyncio.create_task(d.lock("deploy", timeout=1_000.0).acquire())
        assert system._node is not None
        await until(lambda: system._node is not None and system._node.owner._waiters.in_line == 1)
        # when a program cancels what the node cannot do without
        [writing] = [task for task in asyncio.all_tasks() if task.get_name() == "casty-writer"]
        writing.cancel()
        # then everybody is told
        async with asyncio.timeout(10.0):
            await deploy.lost.wait()
            await pool.lost.wait()
            with pytest.raises(OutcomeUnknownError):
                await waiting
        assert system._node.failure is not None
        assert (deploy.token, pool.token) == (None, None)


async def test_whoever_cancels_every_task_leaves_no_holder_untold() -> None:
    """A program that cancels all tasks but its own: whoever holds something learns that nobody renews it."""
    async with ClusteredActorSystem() as system:
        deploy = Distributed(system).lock("deploy")
        await deploy.acquire()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        async with asyncio.timeout(10.0):  # the lease is 30 s
            await deploy.lost.wait()
        assert deploy.token is None


async def test_closing_while_nothing_can_be_written_tells_the_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be given back is renewed by nobody after the close: its handle holds nothing any more."""
    journal = InMemoryJournal()
    system = ClusteredActorSystem(journal=journal)
    await system.__aenter__()
    deploy = Distributed(system).lock("deploy")
    await deploy.acquire()

    async def refuse(*_: Any, **__: Any) -> Any:
        raise AppendRejectedError("The fault: refused. Nothing was written.")

    monkeypatch.setattr(journal, "append", refuse)
    await system.__aexit__(None, None, None)
    assert deploy.lost.is_set()
    assert deploy.token is None


async def test_closing_lets_a_grant_that_is_on_its_way_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiter whose grant is being written when the system closes is told of it, and then that it is given back."""
    journal = InMemoryJournal()
    system = ClusteredActorSystem(journal=journal)
    await system.__aenter__()
    assert system._node is not None
    d, owner = Distributed(system), system._node.owner
    # given a holder, one in line behind it, and a release that is on its way
    holder, waiter = d.lock("deploy"), d.lock("deploy")
    await holder.acquire()
    acquiring = asyncio.create_task(waiter.acquire())
    await until(lambda: owner._waiters.in_line == 1)
    writing = Held(journal, "append", monkeypatch)
    releasing = asyncio.create_task(holder.release())
    await writing.reached.wait()
    # when the system is closed before the release is written
    closing = asyncio.create_task(system.__aexit__(None, None, None))
    await until(lambda: system._closing)
    writing.pass_on.set()
    await closing
    # then the waiter was told of its grant, and that it was given back
    assert await releasing
    await acquiring
    assert waiter.lost.is_set()
    assert waiter.token is None
    async with ClusteredActorSystem(journal=journal) as later:
        deploy = Distributed(later).lock("deploy")
        assert [event.type async for event in deploy.history()] == [
            *("lock.granted", "lock.requested", "lock.released", "lock.granted", "lock.released")
        ]
        assert not await deploy.locked()
