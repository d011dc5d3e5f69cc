"""Connections that break: every command is done once, whatever was on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from casty_es import ClusteredActorSystem

from .nodes import PATIENT, client, named_for, node, settled, slot
from .proxy import Proxy, behind_proxy

InLine: TypeAlias = Callable[..., Awaitable[None]]

CUTS = {
    "early": [2_000, 3_000, 5_000],
    "late": [20_000, 30_000, 45_000],
    "in the handshake": [50, 300, 4_000],
}


async def together(*systems: ClusteredActorSystem) -> None:
    """Wait until these know each other."""
    for system in systems:
        await system.wait_for(len(systems))


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("direction", ["asked", "answered"])
async def test_increments_over_links_that_break_are_done_once(
    journal_url: str, cuts: list[int], direction: str
) -> None:
    """Cut in the middle of what is asked or answered, again and again, callers are told 1 to N, each number once."""
    async with behind_proxy(journal_url) as (owner, proxy), node(journal_url) as caller:
        await together(owner, caller)
        hits = caller.distributed().counter(named_for(owner, [owner, caller]), timeout=PATIENT)
        told = [await hits.increment()]
        await settled([owner, caller], [slot("counter", hits.name)])
        proxy.cuts = [(direction == "asked", after) for after in cuts]
        proxy.break_all()

        async def twenty() -> None:
            told.extend([await hits.increment() for _ in range(20)])

        while proxy.cut < len(cuts):
            await asyncio.gather(*(twenty() for _ in range(20)))

        assert sorted(told) == list(range(1, len(told) + 1))
        assert await owner.distributed().counter(hits.name).get() == len(told)


async def test_increments_under_repeated_hang_ups_are_done_once(journal_url: str) -> None:
    """Each time replies have come through, every connection is cut; callers of a node and a client see none of it."""
    async with behind_proxy(journal_url) as (owner, proxy), node(journal_url) as caller:
        await together(owner, caller)
        async with client(caller) as connected:
            name = named_for(owner, [owner, caller])
            places = [one.counter(name, timeout=PATIENT) for one in (caller.distributed(), connected.distributed())]
            told: list[int] = []
            progress = asyncio.Event()

            async def many(number: int) -> None:
                for _ in range(30):
                    told.append(await places[number % 2].increment())
                    progress.set()

            async def hang_up() -> None:
                for _ in range(5):
                    progress.clear()
                    await progress.wait()
                    proxy.break_all()

            breaking = asyncio.create_task(hang_up())
            await asyncio.gather(*(many(number) for number in range(20)))
            breaking.cancel()

            assert sorted(told) == list(range(1, 601))
            assert await owner.distributed().counter(name).get() == 600


async def test_a_line_outlives_the_links_of_those_who_wait(journal_url: str, in_line: InLine) -> None:
    """A waiter whose connection breaks keeps its place, is granted once, and in turn."""
    async with behind_proxy(journal_url) as (owner, proxy), node(journal_url) as caller:
        await together(owner, caller)
        name = named_for(owner, [owner, caller], kind="lock")
        holder = owner.distributed().lock(name, timeout=PATIENT)
        await holder.acquire()
        order: list[int] = []

        async def wait(number: int) -> None:
            async with caller.distributed().lock(name, timeout=PATIENT):
                order.append(number)

        waiting = []
        for number in range(5):
            waiting.append(asyncio.create_task(wait(number)))
            await in_line("lock", name, number + 1)
            if number % 2:
                proxy.break_all()
        proxy.break_all()
        assert await holder.release() is True
        await asyncio.gather(*waiting)

        assert order == list(range(5))
        assert await holder.locked() is False


async def test_a_proxy_that_never_answers_is_given_up(journal_url: str) -> None:
    """An owner that falls silent keeps its slots; who cannot reach it is told within the time that was given."""
    async with behind_proxy(journal_url) as (owner, proxy), node(journal_url) as caller:
        await together(owner, caller)
        hits = caller.distributed().counter(named_for(owner, [owner, caller]), timeout=PATIENT)
        assert await hits.increment() == 1
        await settled([owner, caller], [slot("counter", hits.name)])
        silent(proxy)

        with pytest.raises(TimeoutError):
            await caller.distributed().counter(hits.name, timeout=1.0).increment()

        proxy.swallowed.clear()
        proxy.break_all()
        assert await hits.increment() == await owner.distributed().counter(hits.name).get()


def silent(proxy: Proxy) -> None:
    """Let nothing through in either direction."""
    proxy.swallowed = {True, False}
