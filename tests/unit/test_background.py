"""Tasks that nobody awaits: what fails is said, and what has to go on goes on."""

from __future__ import annotations

import asyncio
import logging

import pytest

from casty_es import ClusteredActorSystem, Distributed
from casty_es.background import Errands, Loop
from casty_es.errors import OutcomeUnknownError, UsageError


async def test_a_loop_goes_on_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """Given a turn that fails, when it has failed, then the log has its traceback and the next turn comes."""
    turns, enough = 0, asyncio.Event()

    async def turn() -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            raise ZeroDivisionError
        enough.set()
        await asyncio.Event().wait()

    loop = Loop(turn, name="casty-test", ended=pytest.fail)
    await enough.wait()
    await loop.stop()

    [record] = [record for record in caplog.records if record.name == "casty_es.background"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_a_loop_outlives_what_it_waits_for() -> None:
    """Given a turn that waits for a task, when that task is cancelled, then the loop is not."""
    others: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()

    async def turn() -> None:
        other = asyncio.create_task(asyncio.sleep(60))
        others.put_nowait(other)
        await asyncio.shield(other)

    loop = Loop(turn, name="casty-test", ended=pytest.fail)
    for _ in range(2):
        (await others.get()).cancel()
    last = await others.get()
    await loop.stop()
    last.cancel()


async def test_a_loop_that_is_ended_from_outside_tells() -> None:
    """Given a loop, when somebody cancels its task, then its owner is told."""
    told: list[str] = []
    started = asyncio.Event()

    async def turn() -> None:
        started.set()
        await asyncio.Event().wait()

    loop = Loop(turn, name="casty-test", ended=told.append)
    await started.wait()
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == "casty-test"]
    task.cancel()
    await loop.over()
    await asyncio.sleep(0)

    assert told == ["its task casty-test was cancelled from outside"]


async def test_an_errand_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Given work that nobody awaits, when it fails, then the log has it."""

    async def work() -> None:
        raise ZeroDivisionError

    errands = Errands()
    errands.begin(work(), name="casty-test")
    await errands.settled()
    await asyncio.sleep(0)

    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["The task casty-test failed"]


@pytest.mark.parametrize("name", ["casty-writer", "casty-membership"])
async def test_a_node_without_one_of_its_tasks_stops(name: str) -> None:
    """Given a program that cancels every task, when it uses its node again, then it is told what has happened."""
    async with ClusteredActorSystem() as system:
        counter = Distributed(system).counter("hits")
        await counter.increment()
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == name]

        task.cancel()
        await asyncio.wait({task})
        await asyncio.sleep(0)

        with pytest.raises(UsageError, match=f"has stopped: its task {name} was cancelled from outside"):
            await counter.increment()
    async with system:
        assert await Distributed(system).counter("hits").get() in {0, 1}


async def test_a_command_in_the_writers_hands_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an append on its way, when the writer is cancelled, then its caller is told that it may have happened."""
    async with ClusteredActorSystem() as system:
        counter = Distributed(system).counter("hits")
        await counter.increment()
        sent = asyncio.Event()

        async def never(_append: object) -> None:
            sent.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(system.journal, "append", never)
        caller = asyncio.create_task(counter.increment())
        await sent.wait()
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == "casty-writer"]
        task.cancel()

        with pytest.raises(OutcomeUnknownError):
            await caller
