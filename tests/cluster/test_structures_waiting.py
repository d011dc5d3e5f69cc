"""Waiting in one line from many nodes: order, timeouts, cancellations, destruction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from casty_es import ClusteredActorSystem, DestroyedError, Distributed, NotDoneError

from .nodes import PATIENT, named_for, nodes, settled, slot, structures

Log: TypeAlias = Callable[..., Awaitable[list[str]]]
InLine: TypeAlias = Callable[..., Awaitable[None]]

IMPATIENT = 1.0  # long enough to get into line on a busy machine


def make(kind: str, d: Distributed, timeout: float = PATIENT) -> Any:
    """Return a lock, or a semaphore with one permit."""
    return d.lock("x", timeout=timeout) if kind == "lock" else d.semaphore("x", permits=1, timeout=timeout)


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_the_line_is_served_in_the_order_of_asking(
    everywhere: list[Distributed], in_line: InLine, kind: str
) -> None:
    """Waiters of different nodes are served as they came, each under a higher token."""
    order: list[tuple[int, int]] = []

    async def caller(number: int, d: Distributed) -> None:
        async with make(kind, d) as held:
            order.append((number, held.token))

    holder = make(kind, everywhere[0])
    await holder.acquire()
    callers = []
    for number, d in enumerate(everywhere * 2):
        callers.append(asyncio.create_task(caller(number, d)))
        await in_line(kind, "x", number + 1)
    assert await holder.release() is True
    await asyncio.gather(*callers)

    assert [number for number, _ in order] == list(range(2 * len(everywhere)))
    assert [token for _, token in order] == sorted({token for _, token in order})


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_a_waiter_that_timed_out_is_never_granted_later(
    everywhere: list[Distributed], log: Log, in_line: InLine, kind: str
) -> None:
    """Its request is withdrawn before it is told, from whichever node it asked: the release skips it."""
    holder = make(kind, everywhere[0])
    await holder.acquire()
    late = [make(kind, d, IMPATIENT) for d in everywhere]
    timing_out = asyncio.gather(*(one.acquire() for one in late), return_exceptions=True)
    await in_line(kind, "x", len(late))
    behind = make(kind, everywhere[-1])
    patient = asyncio.create_task(behind.acquire())

    for error in await timing_out:
        assert type(error) is NotDoneError
        assert "will not be granted later" in str(error)
    assert await holder.release() is True
    await patient
    assert [await one.release() for one in late] == [False] * len(late)
    assert await behind.release() is True

    types = await log(kind, "x")
    assert types.count(f"{kind}.withdrawn") == len(late)
    assert types.count(f"{kind}.granted") == 2


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_a_waiter_that_was_cancelled_is_never_granted_later(
    everywhere: list[Distributed], log: Log, in_line: InLine, kind: str
) -> None:
    """When the cancellation reaches its caller the request has left the line, from whichever node it asked."""
    holder = make(kind, everywhere[0])
    await holder.acquire()
    waiting = [asyncio.create_task(make(kind, d).acquire()) for d in everywhere]
    await in_line(kind, "x", len(waiting))

    for task in waiting:
        task.cancel()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, asyncio.CancelledError)
    assert (await log(kind, "x")).count(f"{kind}.withdrawn") == len(waiting)
    assert await holder.release() is True

    assert (await log(kind, "x")).count(f"{kind}.granted") == 1
    assert await make(kind, everywhere[-1]).try_acquire() is True


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_a_line_is_destroyed_from_another_node(everywhere: list[Distributed], in_line: InLine, kind: str) -> None:
    """Everybody in line is told on whichever node they wait, and the next holder has a higher token."""
    holder = make(kind, everywhere[0])
    await holder.acquire()
    token = holder.token
    waiting = [asyncio.create_task(make(kind, d).acquire()) for d in everywhere]
    await in_line(kind, "x", len(waiting))

    assert await make(kind, everywhere[-1]).destroy() is True

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {(type(error), str(error)) for error in outcomes} == {(DestroyedError, str(outcomes[0]))}
    after = make(kind, everywhere[-1])
    await after.acquire()
    assert after.token > token


async def test_arrivals_that_gave_up_do_not_count(everywhere: list[Distributed], in_line: InLine) -> None:
    """A barrier forgets who timed out and who was cancelled; it trips for those who stay."""
    first, last = everywhere[0], everywhere[-1]
    with pytest.raises(NotDoneError):
        await first.barrier("b", node_id="late", timeout=IMPATIENT).arrive(2)
    cancelled = asyncio.create_task(last.barrier("b", node_id="gone", timeout=PATIENT).arrive(2))
    await in_line("barrier", "b", 2)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled

    waiting = asyncio.create_task(first.barrier("b", node_id="one", timeout=PATIENT).arrive(2))
    await in_line("barrier", "b", 3)
    assert not waiting.done()
    await last.barrier("b", node_id="two", timeout=PATIENT).arrive(2)
    await waiting


async def test_a_barrier_that_is_destroyed_tells_those_who_wait(everywhere: list[Distributed], in_line: InLine) -> None:
    """Everybody who waits at it is told, on whichever node they wait."""
    size = len(everywhere) + 1
    waiting = [
        asyncio.create_task(d.barrier("b", node_id=f"n{number}", timeout=PATIENT).arrive(size))
        for number, d in enumerate(everywhere)
    ]
    await in_line("barrier", "b", len(waiting))

    assert await everywhere[-1].barrier("b", node_id="x").destroy() is True

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {(type(error), str(error)) for error in outcomes} == {(DestroyedError, str(outcomes[0]))}


async def test_a_node_shows_its_address_at_a_barrier(two: list[ClusteredActorSystem]) -> None:
    """Without a name for the participant every arrival counts, and two of one node make two."""
    first, second = structures(two)

    await asyncio.gather(*(first.barrier("b", timeout=PATIENT).arrive(2) for _ in range(2)))
    await asyncio.gather(*(d.barrier("b", timeout=PATIENT).arrive(2) for d in (first, second)))


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_a_line_survives_the_handover_of_its_slot(journal_url: str, log: Log, in_line: InLine, kind: str) -> None:
    """Whoever holds and whoever waits goes on doing so under the next owner, in order, and nobody enters twice."""
    async with nodes(journal_url, 2) as systems:
        first, second = systems
        name = named_for(second, systems, kind=kind)
        opened = {
            "lock": lambda d: d.lock(name, timeout=PATIENT),
            "semaphore": lambda d: d.semaphore(name, permits=1, timeout=PATIENT),
        }[kind]
        order: list[int] = []

        async def caller(number: int, d: Distributed) -> None:
            async with opened(d):
                order.append(number)

        one = first.distributed()
        holder = opened(one)
        await holder.acquire()
        await settled(systems, [slot(kind, name)])
        callers = []
        for number in range(4):
            callers.append(asyncio.create_task(caller(number, one)))
            await in_line(kind, name, number + 1)

        await second.__aexit__(None, None, None)
        assert await opened(one).try_acquire() is False
        assert await holder.release() is True
        await asyncio.gather(*callers)

    assert order == list(range(4))
    assert (await log(kind, name)).count(f"{kind}.requested") == 4
