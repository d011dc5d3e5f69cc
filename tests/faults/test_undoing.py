"""What a caller asked for that is gone is undone, whatever stands in the way for a while; and nobody is told a lie."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from casty_es import ClusteredActorSystem, Distributed, Settings
from casty_es.domain.counter import Increment
from casty_es.errors import (
    AppendUnknownError,
    CastyError,
    JournalUnavailableError,
    NotDoneError,
    OutcomeUnknownError,
    OverloadedError,
    PeerLostError,
    StoredValueError,
    UnsafeDurabilityError,
    UsageError,
)
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import EntityName
from casty_es.owner.pending import Pending, Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from casty_es.journal.port import Append, RecordedEvent


class Slowed(InMemoryJournal):
    """A journal whose appends and searches for keys take a while, and fail when they are told to."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.key_seconds = 0.0
        self.errors: list[BaseException | None] = []

    async def append(self, append: Append) -> None:
        """Write after a while, or fail."""
        await asyncio.sleep(self.seconds)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        await super().append(append)

    async def find_key(self, entity: int, idempotency_key: str) -> list[RecordedEvent]:
        """Search after a while."""
        await asyncio.sleep(self.key_seconds)
        return await super().find_key(entity, idempotency_key)


@asynccontextmanager
async def running(journal: InMemoryJournal, **settings: Any) -> AsyncIterator[tuple[ClusteredActorSystem, Distributed]]:
    """Run a system over a journal in memory."""
    async with ClusteredActorSystem(journal=journal, settings=Settings(**settings)) as system:
        yield system, Distributed(system)


async def types(handle: Any) -> list[str]:
    """Return the types of all events of a structure."""
    return [event.type async for event in handle.history()]


def owner_of(system: ClusteredActorSystem) -> Any:
    """Return the owner of a system's slots."""
    assert system._node is not None
    return system._node.owner


async def until(what: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(5.0):
        while not what():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)


def stands(system: ClusteredActorSystem, command: str, stage: Stage) -> Callable[[], bool]:
    """Tell, when called, whether a command of this name has come so far."""
    table = owner_of(system)._table
    return lambda: any(type(one.command).__name__ == command and one.stage is stage for one in table.values())


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and see it cancelled."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("kind", ["queue", "lock"])
async def test_a_command_that_was_refused_once_is_undone_like_any_other(kind: str) -> None:
    """Given a caller whose first attempt was refused, when it is cancelled in the second, then it is undone."""
    journal = Slowed()
    async with running(journal) as (system, d):
        queue, lock = d.queue[str]("q"), d.lock("l")
        await queue.enqueue("a")
        await lock.acquire()
        journal.seconds = 0.05
        structure: Any = queue if kind == "queue" else lock
        call = queue.dequeue if kind == "queue" else d.lock("l", timeout=60.0).acquire
        command = "Dequeue" if kind == "queue" else "Acquire"
        slot = owner_of(system).in_memory(EntityName(kind, structure.name, ""))
        busy = asyncio.create_task(queue.enqueue("b") if kind == "queue" else d.lock("l").try_acquire())
        await asyncio.sleep(0.01)
        fence = asyncio.create_task(owner_of(system).fence(slot, slot.term))
        await asyncio.sleep(0)
        caller = asyncio.create_task(call())
        await asyncio.gather(busy, fence)
        await until(stands(system, command, Stage.DECIDED))
        await cancelled(caller)
        assert (await types(structure))[-1] == ("queue.given_back" if kind == "queue" else "lock.withdrawn")


async def test_a_second_caller_of_a_key_that_is_cancelled_takes_nothing_with_it() -> None:
    """Given two callers of one key, when the second is cancelled while the first looks, then the first is granted."""
    journal = Slowed()
    async with running(journal) as (_, d):
        free, first, second = d.lock("free"), d.lock("free", timeout=5.0), d.lock("free", timeout=5.0)
        await free.acquire()
        await free.release()
        journal.key_seconds = 0.05
        calls = [asyncio.create_task(one.acquire(idempotency_key="k")) for one in (first, second)]
        await asyncio.sleep(0.01)
        await cancelled(calls[1])
        await calls[0]
        assert first.token is not None


async def test_the_last_of_those_who_asked_under_a_key_takes_the_request_along() -> None:
    """Given two callers of one key in line, when both are cancelled one after the other, then nobody stands there."""
    async with running(InMemoryJournal()) as (system, d):
        holder = d.lock("l")
        await holder.acquire()
        handles = [d.lock("l", timeout=60.0) for _ in range(2)]
        calls = [asyncio.create_task(handles[0].acquire(idempotency_key="k"))]
        await until(stands(system, "Acquire", Stage.IN_LINE))
        calls.append(asyncio.create_task(handles[1].acquire(idempotency_key="k")))
        table = owner_of(system)._table
        await until(lambda: any(one.joined for one in table.values()))
        for call in calls:
            await cancelled(call)
        assert (await types(holder))[-2:] == ["lock.requested", "lock.withdrawn"]
        await holder.release()
        assert await d.lock("l").try_acquire()


@pytest.mark.parametrize("obstacle", ["overload", "unavailable"])
async def test_undoing_goes_on_while_something_stands_in_the_way(obstacle: str) -> None:
    """Given a caller that is cancelled while the owner refuses commands, then its item goes back all the same."""
    journal = Slowed()
    async with running(journal, max_pending=10) as (system, d):
        queue, counter = d.queue[str]("q"), d.counter("c")
        await queue.enqueue("a")
        await counter.increment()
        journal.seconds = 0.03
        done = asyncio.Event()

        async def load() -> None:
            while not done.is_set():
                try:
                    await counter.increment()
                except OverloadedError:
                    await asyncio.sleep(0)

        caller = asyncio.create_task(queue.dequeue())
        await until(stands(system, "Dequeue", Stage.DECIDED))
        loads = [asyncio.create_task(load()) for _ in range(40)] if obstacle == "overload" else []
        if obstacle == "unavailable":
            journal.errors = [None, JournalUnavailableError("away. Nothing was written."), None]
        await asyncio.sleep(0)
        await cancelled(caller)
        done.set()
        await asyncio.gather(*loads)
        assert await types(queue) == ["queue.enqueued", "queue.dequeued", "queue.given_back"]


async def in_wait_for(call: Awaitable[Any]) -> None:
    """Call with a timeout around."""
    await asyncio.wait_for(call, 60.0)


async def in_group(call: Awaitable[Any]) -> None:
    """Call in a group of tasks."""
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.wait_for(call, 60.0))


@pytest.mark.parametrize("around", [in_wait_for, in_group])
async def test_a_caller_that_is_cancelled_as_the_system_closes_loses_nothing(
    around: Callable[[Awaitable[Any]], Any],
) -> None:
    """Given a worker that is cancelled as the last thing before a close, then its item is in the queue afterwards."""
    journal = Slowed()
    async with running(journal) as (_, d):
        queue = d.queue[str]("q")
        await queue.enqueue("a")
        journal.seconds = 0.02
        worker = asyncio.create_task(around(queue.dequeue()))
        await asyncio.sleep(0.01)
        worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    async with running(journal) as (_, d):
        assert await d.queue[str]("q").size() == 1


async def test_a_repeat_looks_before_it_is_told_that_its_key_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a committed command whose answer is lost, and another one under its key, then the repeat has its reply."""
    journal = Slowed()
    async with running(journal) as (system, d):
        counter = d.counter("c", timeout=5.0)
        await counter.increment(10)
        journal.key_seconds = 0.03
        owner = owner_of(system)
        submit, others = owner.submit, list[Pending]()

        def lose_the_first_answer(name: Any, shards: Any, command: Any, command_id: Any, **more: Any) -> Pending:
            pending: Pending = submit(name, shards, command, command_id, **more)
            monkeypatch.setattr(owner, "submit", submit)
            lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

            def lose(_: object) -> None:
                others.append(submit(name, shards, Increment(2), command_id, **{**more, "repeat_after": None}))
                lost.set_exception(PeerLostError("The link is lost.", sent=True))

            pending.future.add_done_callback(lose)
            return Pending(command, command_id, lost, {})

        monkeypatch.setattr(owner, "submit", lose_the_first_answer)
        assert await counter.increment(1, idempotency_key="k") == 11
        (told,) = await asyncio.gather(others[0].future, return_exceptions=True)
        assert isinstance(told, CastyError)
        assert await counter.get() == 11


async def test_a_search_that_is_refused_denies_nothing_that_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a request in line whose slot is lost, and a database that may not be used, then its outcome is unknown."""
    async with running(InMemoryJournal()) as (system, d):
        holder = d.lock("l")
        await holder.acquire()
        waiter = asyncio.create_task(d.lock("l", timeout=5.0).acquire())
        await until(stands(system, "Acquire", Stage.IN_LINE))
        leases = owner_of(system).leases

        async def refuse(*_: object) -> None:
            raise UnsafeDurabilityError("The server loses commits. Nothing was opened.")

        with monkeypatch.context() as patched:
            patched.setattr(leases._manager, "open", refuse)
            patched.setattr(leases._session, "stands", lambda: False)
            leases._session.lost.set_result("the connection is lost")
            with pytest.raises(OutcomeUnknownError):
                await waiter


async def test_a_cancellation_from_within_an_append_leaves_it_in_doubt() -> None:
    """Given an append in which something is cancelled, then its caller is in doubt, and the state is the journal's."""
    journal = Slowed()
    async with running(journal) as (system, d):
        counter = d.counter("c", timeout=5.0)
        await counter.increment()
        journal.errors = [asyncio.CancelledError()]
        with pytest.raises(OutcomeUnknownError):
            await counter.increment(10)
        assert await counter.increment() == 2
        assert not owner_of(system)._table


@pytest.mark.parametrize(("task", "slow"), [("casty-activation", "entities"), ("casty-takes", "heads")])
async def test_work_that_is_cut_off_stops_the_node_where_everybody_sees_it(
    monkeypatch: pytest.MonkeyPatch, task: str, slow: str
) -> None:
    """Given a task of a node's that somebody cancels, then the node has stopped, and says so to everybody."""
    journal = InMemoryJournal()
    reached, never = asyncio.Event(), asyncio.Event()
    async with running(journal) as (_, d):

        async def hang(*_: object) -> None:
            reached.set()
            await never.wait()

        with monkeypatch.context() as patched:
            patched.setattr(journal, slow, hang)
            caller = asyncio.create_task(d.counter("c", timeout=1.0).increment())
            await reached.wait()
            [mine] = [one for one in asyncio.all_tasks() if one.get_name() == task]
            mine.cancel()
            with pytest.raises((NotDoneError, UsageError)):
                await caller
        with pytest.raises(UsageError, match=f"{task} was cancelled from outside"):
            await d.counter("c").increment()


async def test_a_search_that_is_cut_off_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a search for an owner that somebody cancels, then the command is done."""
    journal = InMemoryJournal()
    reached = asyncio.Event()
    async with running(journal) as (_, d):
        read = journal.slot_rows

        async def hang() -> Any:
            reached.set()
            await asyncio.sleep(0.05)
            return await read()

        monkeypatch.setattr(journal, "slot_rows", hang)
        caller = asyncio.create_task(d.counter("c").increment())
        await reached.wait()
        [search] = [one for one in asyncio.all_tasks() if one.get_name() == "casty-locate"]
        search.cancel()
        assert await caller == 1


async def test_a_close_does_not_wait_for_the_patience_of_callers_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a database that is away and callers with an hour's patience, then the close takes some seconds."""
    journal = Slowed()
    async with running(journal) as (system, d):
        first, second = d.counter("c", timeout=3600.0), d.counter("e", timeout=3600.0)
        await first.increment()
        await second.increment()

        async def away(*_: object) -> None:
            raise JournalUnavailableError("away")

        for asked in ("heads", "closed_slots", "find"):
            monkeypatch.setattr(journal, asked, away)
        journal.errors = [AppendUnknownError("The connection is lost.") for _ in range(100)]
        calls = [asyncio.create_task(first.increment())]
        await until(stands(system, "Increment", Stage.DECIDED))
        calls.append(asyncio.create_task(second.increment()))
        await asyncio.sleep(0.05)
        began = time.monotonic()
    assert time.monotonic() - began < 30.0
    assert all(isinstance(one, CastyError) for one in await asyncio.gather(*calls, return_exceptions=True))


@pytest.mark.parametrize("away", [False, True])
async def test_an_item_that_cannot_be_read_is_never_denied(monkeypatch: pytest.MonkeyPatch, *, away: bool) -> None:
    """Given an item of another type whose return meets trouble, then it is back, or its taker has it and is told so."""
    monkeypatch.setattr("casty_es.handles.queue.UNDO_SECONDS", 0.5 if away else 5.0)
    journal = Slowed()
    async with running(journal) as (_, d):
        await d.queue[str]("q").enqueue("text")
        error = JournalUnavailableError("The database is away. Nothing was written.")
        journal.errors = [None, *[error] * (1_000 if away else 1)]
        with pytest.raises(StoredValueError, match="is not known to be back" if away else "went back") as told:
            await d.queue[int]("q").dequeue()
        journal.errors = []
        assert told.value.raw == '"text"'
        assert told.value.command_id is not None
        assert await d.queue[str]("q").size() == (0 if away else 1)
