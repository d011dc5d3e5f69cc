"""A run: which interruptions in which world, under a seed, and the journals that they need."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from casty_es.journal.migrating import upgrade
from tests.conftest import POSTGRES_VARIABLE, embedded, postgres_database

from .cases import Case
from .interruptions import EVERY, Interruption
from .operations import ROWS, Row
from .oracle import still_true
from .processes import OF_PROCESSES
from .report import Report
from .running import trial
from .worlds import PATIENCE_SECONDS, World

__all__ = ["PLACES", "Fresh", "fresh_from", "journals", "of_way", "run", "run_processes", "sampled"]

PLACES: Final = (
    ("memory", "local"),
    *((journal, way) for journal in ("sqlite", "postgres") for way in ("local", "routed", "client")),
)
"""Each journal, and each way to the owner; a journal in memory has one process."""

Fresh: TypeAlias = Callable[[str], AbstractContextManager[str | None]]
"""Gives the URL of a fresh, migrated journal of a kind, ``None`` for one in memory."""

# Journals are read whole by prefix; a new one now and then keeps that short.
_TRIALS_A_WORLD: Final = 25


def of_way(way: str) -> list[Interruption]:
    """Return the interruptions that there can be in worlds of this way."""
    return [one for one in EVERY if way in one.ways]


def sampled(way: str, dice: Random, number: int) -> list[Interruption]:
    """Return so many moments of each family, and of those where most goes wrong twice as many."""
    families: dict[str, list[Interruption]] = {}
    for one in of_way(way):
        families.setdefault(one.family, []).append(one)
    return [
        one
        for family, moments in families.items()
        for one in dice.sample(moments, min(len(moments), number * (2 if family in _MOST else 1)))
    ]


_MOST: Final = {"cancelled at a turn", "caller closed"}


def run(
    fresh: Fresh,
    place: tuple[str, str],
    trials: Sequence[Interruption],
    dice: Random,
    *,
    times: int,
    rows: Iterable[Row] = ROWS,
    tell: Callable[[Report], None] = lambda _: None,
    patience: float = PATIENCE_SECONDS,
) -> Report:
    """Interrupt operations in each of these ways, and return what came of it."""
    report = Report()
    for first in range(0, len(trials), _TRIALS_A_WORLD):
        with fresh(place[0]) as url, asyncio.Runner() as runner:
            some = trials[first : first + _TRIALS_A_WORLD]
            report.join(
                runner.run(_one_world(World(url, place[1], patience=patience), place, some, dice, times, tuple(rows)))
            )
        tell(report)
    return report


def run_processes(
    fresh: Fresh,
    place: tuple[str, str],
    dice: Random,
    *,
    rounds: int,
    times: int,
    families: Iterable[str] = (),
    rows: Sequence[Row] = ROWS,
    tell: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Take a process away from operations in flight, so often in each way; by default in every way that there is."""
    report = Report()
    journal, way = place
    wanted = [one for one in OF_PROCESSES if way in one.ways and one.family.startswith(tuple(families) or "")]
    for interruption in wanted * rounds if journal != "memory" else ():
        with fresh(journal) as url, asyncio.Runner() as runner:
            trial_ = OF_PROCESSES[interruption](url, way, dice, times=times, rows=rows)
            report.add(place, str(interruption), interruption.family, *runner.run(trial_))
        tell(report)
    return report


async def _one_world(
    world: World,
    place: tuple[str, str],
    trials: Sequence[Interruption],
    dice: Random,
    times: int,
    rows: Sequence[Row],
) -> Report:
    report = Report()
    done: list[tuple[Interruption, Case]] = []
    async with world:
        for interruption in trials:
            cases, verdicts = await trial(world, interruption, dice, times=times, rows=rows)
            report.add(place, str(interruption), interruption.family, cases, verdicts)
            known = {id(verdict.case) for verdict in verdicts}
            done += [(interruption, case) for case in cases if id(case) not in known]
    gc.collect()  # what nobody retrieved is told when it is collected
    await asyncio.sleep(0)
    report.unheard(place, trials[0].family if len(trials) == 1 else "any", world.unheard)
    lives = await world.read("t")
    for interruption, case in done:
        life = lives.get((case.row.kind, case.name))
        late = [] if life is None else still_true([case], life)
        report.add(place, f"{interruption}, after the end", interruption.family, (), late)
    return report


@contextmanager
def journals(kinds: Iterable[str]) -> Iterator[Fresh]:
    """Yield journals without pytest: files in a temporary folder, databases of a server of our own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="casty-truth-")))
        upgrade(f"sqlite:///{folder / 'template.db'}")
        server = template = ""
        if "postgres" in kinds:
            server = os.environ.get(POSTGRES_VARIABLE) or stack.enter_context(_server())
            url = stack.enter_context(postgres_database(server))
            upgrade(url)
            template = urlsplit(url).path.removeprefix("/")

        yield fresh_from(folder / "template.db", folder, server, template)


def fresh_from(file: Path, folder: Path, server: str, template: str) -> Fresh:
    """Return what makes journals out of these templates."""

    @contextmanager
    def fresh(kind: str) -> Iterator[str | None]:
        match kind:
            case "memory":
                yield None
            case "sqlite":
                with tempfile.TemporaryDirectory(dir=folder) as place:
                    shutil.copyfile(file, Path(place) / "casty.db")
                    yield f"sqlite:///{place}/casty.db"
            case _:
                with postgres_database(server, template) as url:
                    yield url

    return fresh


@contextmanager
def _server() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="casty-pg-")
    try:
        server = embedded().get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
