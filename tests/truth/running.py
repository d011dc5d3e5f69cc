"""Running trials: bring the entities about, interrupt their operations, let everything settle, and ask the oracle."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from casty_es import CastyError, UsageError

from .cases import Case, Told
from .interruptions import Interruption, Scene
from .operations import LOOK, PERMITS, ROWS, Entity, Row
from .oracle import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from .worlds import World

__all__ = ["trial"]

_NUMBERS: Final = itertools.count(1)
_HUNG_SECONDS: Final = 20.0
"""Who was not told anything for so long after an interruption will never be."""
_ALONE_SECONDS: Final = 0.15
_WARM: Final = 0.6
"""In how many trials the caller knows the way to the owner before it begins."""


def make_cases(world: World, interruption: Interruption, dice: Random, rows: Iterable[Row], times: int) -> list[Case]:
    """Return cases for each row, on entities of their own."""
    prefix = f"t{next(_NUMBERS):06}-"
    cases: list[Case] = []
    for row in rows:
        for _ in range(times):
            name = world.name(row.kind, prefix)
            for _ in range(row.crowd):
                number = next(_NUMBERS)
                keyed = not interruption.closes and not interruption.misread and dice.random() < 0.15
                case = Case(row, name, number, seconds=interruption.seconds, key=f"key-{number}" if keyed else None)
                case.misread = interruption.misread
                cases.append(case)
    return cases


async def prepare(world: World, cases: list[Case], dice: Random, seconds: float) -> tuple[Scene, list[Any]]:
    """Bring the entities of the cases about."""
    hold = min(seconds, 0.05) + 0.02
    parked: list[asyncio.Task[None]] = []
    entities = {
        case.name: (case.row, Entity(case.name, world.helper, world.caller, dice.uniform(0, hold), parked))
        for case in cases
    }
    meanwhile = await asyncio.gather(
        *(row.before(entity) for row, entity in entities.values() if row.before is not None)
    )
    if dice.random() < _WARM:
        await asyncio.gather(*(LOOK[row.kind](world.caller, entity.name) for row, entity in entities.values()))
    return Scene(world, cases, [work for work in meanwhile if work is not None]), parked


async def trial(
    world: World, interruption: Interruption, dice: Random, *, times: int, rows: Iterable[Row] = ROWS
) -> tuple[list[Case], list[Verdict]]:
    """Interrupt operations of every row in this way, and ask the oracle."""
    cases = make_cases(world, interruption, dice, rows, times)
    scene, parked = await prepare(world, cases, dice, interruption.seconds)
    try:
        await interruption.strike(scene, dice)
        await _told(scene)
    finally:
        world.delay = None
    for case in cases:
        case.lasting = not interruption.closes
        if case.told is Told.NOTHING and not interruption.cancels and not interruption.leniency.died:
            case.told = Told.AMISS
    await world.reopen()
    verdicts = await settled(world, scene, parked, interruption)
    return cases, verdicts


async def _told(scene: Scene) -> None:
    """Wait until every caller knows what it will ever know."""
    _, hung = await asyncio.wait(scene.tasks, timeout=max(case.seconds for case in scene.cases[:1]) + _HUNG_SECONDS)
    for task, case in zip(scene.tasks, scene.cases, strict=True):
        if task in hung:
            task.cancel()
            await asyncio.wait({task}, timeout=_HUNG_SECONDS)
            case.told = Told.NEVER


async def settled(world: World, scene: Scene, parked: list[Any], interruption: Interruption) -> list[Verdict]:
    """Let everybody who lives give back what it has; then ask the oracle until it has nothing to say, or for long."""
    await asyncio.gather(*scene.others)
    await asyncio.gather(*(_give_back(world, case) for case in scene.cases if case.lasting))
    for task in parked:
        task.cancel()
    await asyncio.gather(*parked, return_exceptions=True)
    probed = await _probe(world, scene.cases, interruption)
    by_name: dict[tuple[str, str], list[Case]] = {}
    for case in scene.cases:
        by_name.setdefault((case.row.kind, case.name), []).append(case)
    prefix = scene.cases[0].name.partition("-")[0] + "-"
    until = asyncio.get_running_loop().time() + world.patience
    while True:
        lives = await world.read(prefix)
        found = [
            verdict
            for name, cases in by_name.items()
            if name in lives
            for verdict in judge(cases, lives[name], interruption.leniency)
        ]
        if not found or asyncio.get_running_loop().time() > until:
            return [*found, *probed]
        await asyncio.sleep(0.05)


async def _give_back(world: World, case: Case) -> None:
    """Release what the caller was granted, or what it could not release."""
    holds = case.row.stands and case.told is Told.DONE and case.result is not False and case.row.kind != "barrier"
    failed = case.row.title.endswith(".release") and case.told in {Told.NOT_DONE, Told.UNKNOWN}
    if holds or failed:
        case.handle._timeout = world.patience
        with suppress(CastyError):
            await case.handle.release()


async def _probe(world: World, cases: list[Case], interruption: Interruption) -> list[Verdict]:
    """Let a fresh caller take what nobody holds, and arrive alone where nobody stands."""
    excused = {case.name for case in cases if case.told is Told.UNKNOWN and interruption.leniency.unknown_stands}
    places = {case.name: case for case in cases if case.row.kind in _PROBES and case.name not in excused}
    said = await asyncio.gather(*(_PROBES[case.row.kind](world, name) for name, case in places.items()))
    return [
        Verdict(case, fault, f"{fault}: {case}")
        for case, fault in zip(places.values(), said, strict=True)
        if fault is not None
    ]


async def _probe_lock(world: World, name: str) -> str | None:
    return await _taken(world.helper.lock(name, shards=1, timeout=world.patience), 1)


async def _probe_semaphore(world: World, name: str) -> str | None:
    return await _taken(world.helper.semaphore(name, permits=PERMITS, shards=1, timeout=world.patience), PERMITS)


async def _taken(handle: Any, grants: int) -> str | None:
    got = 0
    try:
        for _ in range(grants):
            await handle.acquire()
            got += 1
    except UsageError:
        raise
    except CastyError:
        return "a fresh caller cannot have what nobody holds"
    finally:
        for _ in range(got):
            with suppress(CastyError):
                await handle.release()
    return None


async def _probe_barrier(world: World, name: str) -> str | None:
    gate = world.helper.barrier(name, node_id="probe", shards=1, timeout=_ALONE_SECONDS)
    until = asyncio.get_running_loop().time() + world.patience
    # Who died a moment ago has arrived, until its death is known.
    while (await LOOK["barrier"](world.helper, name)).arrived:
        if asyncio.get_running_loop().time() > until:
            break
        await asyncio.sleep(0.02)
    try:
        await gate.arrive(2)
    except CastyError:
        return None
    return "a barrier for two lets one through alone"


_PROBES: Final = {"lock": _probe_lock, "semaphore": _probe_semaphore, "barrier": _probe_barrier}
