"""Three nodes under load, the hard kill of the one that owns the counter, and the others going on."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from casty_es.cli.demo.children import Child
from casty_es.cli.demo.ledger import mark_killed
from casty_es.cli.demo.load import Order
from casty_es.cli.demo.plan import Drive, NodeFigures, Plan
from casty_es.cli.demo.screen import Screen
from casty_es.hashes import shard_of, slot_of
from casty_es.journal.port import EventJournal, SlotRow
from casty_es.journal.sql import SqlJournal

__all__ = ["NODES", "drive"]

NODES: Final = 3

_COUNTER: Final = "page-views"

# Leases end with their process; this is for a machine that stands still.
_TAKEOVER_SECONDS: Final = 30.0
_ASK_AGAIN_SECONDS: Final = 0.02


async def drive(plan: Plan, screen: Screen) -> Drive:
    """Do it.

    Raises
    ------
    DemoError
        A node ended before its time.
    """
    journal = SqlJournal(plan.url)
    await journal.open()
    children: list[Child] = []
    try:
        with screen.phase(f"Starting {NODES} nodes", None):
            for number in range(NODES):
                callers = list(range(number, plan.callers, NODES))
                node_id = f"node-{number + 1}-{plan.run}"
                order = Order(plan.url, plan.prefix, str(plan.folder), node_id, callers, NODES)
                children.append(await Child.start(order, plan.folder))
            await asyncio.gather(*(child.ready() for child in children))
        for child in children:
            screen.say(f"{child.order.node_id} listens at {child.address} (process {child.pid})")
        return await _Driven(plan, screen, journal, children).run()
    finally:
        for child in children:
            await child.clean_up()
        await journal.close()


class _Driven:
    def __init__(self, plan: Plan, screen: Screen, journal: EventJournal, children: list[Child]) -> None:
        self._plan = plan
        self._screen = screen
        self._journal = journal
        self._children = children
        self._began = time.perf_counter()

    async def run(self) -> Drive:
        plan = self._plan
        what = f"{plan.callers} callers; the counter's owner will be killed"
        killed_after = random.uniform(0.3, 0.6) * plan.seconds  # noqa: S311 - nobody gains by guessing it
        self._began = time.perf_counter()
        with self._screen.phase(what, plan.seconds) as show:
            for child in self._children:
                await child.go()
            await self._under_load(self._children, killed_after, show)
            before = await self._owner()
            victim = next(child for child in self._children if child.order.node_id == before.node_id)
            killed_after, killed_at = time.perf_counter() - self._began, time.monotonic()
            await victim.kill()
            mark_killed(plan.folder, victim.order.callers)
            by_then = self._acknowledged()
            self._screen.say(f"kill -9 of {before.node_id}, which owned the counter: {by_then:,} acknowledged by then")
            others = [child for child in self._children if child is not victim]
            await self._under_load(others, plan.seconds - killed_after, show)
            after = await self._owner(other_than=before.node_id)
            seconds, in_time = time.perf_counter() - self._began, self._acknowledged()
            for child in others:
                await child.stop()
        return Drive(
            [_figures(child) for child in self._children],
            killed_after,
            killed_at,
            by_then,
            before.slot,
            before.node_id,
            after.node_id,
            seconds,
            in_time,
        )

    def _acknowledged(self) -> int:
        return sum(child.progress.acknowledged for child in self._children)

    async def _under_load(self, children: Sequence[Child], seconds: float, show: Callable[[int, float], None]) -> None:
        """Let the nodes work for so long."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for child in children:
                child.refuse_ended()
            show(self._acknowledged(), time.perf_counter() - self._began)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def _owner(self, other_than: str | None = None) -> SlotRow:
        """Return who owns the counter, as soon as it is another one than this."""
        name = f"{self._plan.prefix}{_COUNTER}"
        slots = (await self._journal.open()).slots
        async with asyncio.timeout(_TAKEOVER_SECONDS):
            while True:
                [shards] = await self._journal.structures([("counter", name)])
                slot = slot_of("counter", name, shard_of("counter", name, "", shards), slots) if shards else None
                for row in await self._journal.slot_rows():
                    if row.slot == slot and row.node_id != other_than:
                        return row
                await asyncio.sleep(_ASK_AGAIN_SECONDS)


def _figures(child: Child) -> NodeFigures:
    code = child.exit_code
    return NodeFigures(child.order.node_id, child.address, child.pid, child.progress.acknowledged, code)
