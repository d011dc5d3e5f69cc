"""One of three nodes under mixed load is killed with SIGKILL, again and again, and replaced.

Nothing that was acknowledged is lost, nothing happens twice, and whoever asks goes on being answered. The full run::

    CASTY_ES_KILL_ROUNDS=100 CASTY_ES_KILL_REPORT=report.txt pytest tests/faults/cluster/test_kill9.py
"""

from __future__ import annotations

import asyncio
import statistics
import time
from random import Random
from typing import TYPE_CHECKING

import pytest

from casty_es.domain.decider import Query
from casty_es.journal.port import EntityName
from tests.faults.audit import audit, read_sql, timelines
from tests.faults.conftest import KILL_ROUNDS

from .nodes import nodes
from .promises import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.recording import Operation

    from .nodes import Node, Nodes

_SECONDS_PER_ROUND = 60

pytestmark = pytest.mark.timeout(60 + _SECONDS_PER_ROUND * KILL_ROUNDS)

# What every node's callers use all the time, without waiting for one another.
_BUSY = [EntityName("counter", "shared", ""), EntityName("queue", "jobs", ""), EntityName("set", "tags", "")]

_OWNED = """
    SELECT o.node_id, e.kind, e.name, e.key FROM casty_slots o JOIN casty_entities e ON e.slot = o.slot
    JOIN casty_nodes n ON n.node_id = o.node_id"""


class Deaths:
    """How often an owner died, and how long it took until somebody else wrote to what it had owned."""

    def __init__(self) -> None:
        self.first: list[float] = []
        self.each: list[float] = []
        self.slowest: tuple[float, str] = (0.0, "")

    def note(self, killed_at: int, told: dict[EntityName, int]) -> None:
        """Note when each entity of a dead owner was first written again."""
        gaps = [(returned - killed_at) / 1e6 for returned in told.values()]
        self.first.append(min(gaps))
        self.each += gaps
        self.slowest = max(self.slowest, *zip(gaps, map(str, map(tuple, told)), strict=True))

    def __str__(self) -> str:
        lines = [f"  {len(self.first)} failovers; first acknowledged write after the kill, in ms:"]
        for what, gaps in (("on anything it owned", self.first), ("on each busy entity it owned", self.each)):
            lines.append(
                f"    {what}: n={len(gaps)}, p50={statistics.median(gaps):.0f}, "
                f"p99={sorted(gaps)[int(0.99 * (len(gaps) - 1))]:.0f}, most={max(gaps):.0f}"
            )
        return "\n".join([*lines, f"    the slowest was {self.slowest[1]}"])


def written(running: Nodes, since: int) -> dict[EntityName, int]:
    """Return when the living nodes' callers were first told, after some time, that an entity was written."""
    told: dict[EntityName, int] = {}
    for node in running.living:
        for one in node.answered:
            returned = one.returned or 0
            if one.reply is not None and returned > since and not isinstance(one.command, Query):
                told[one.name] = min(returned, told.get(one.name, returned))
    return told


def victim_of(running: Nodes, sql: Callable[..., list[tuple[str, ...]]], dice: Random) -> tuple[Node, set[EntityName]]:
    """Choose an owner, and give which busy entities it owns: those that the others use too."""
    owned: dict[str, set[EntityName]] = {}
    for node_id, *name in sql(running.url, _OWNED):
        if EntityName(*name) in _BUSY or name[0] == "map":
            owned.setdefault(node_id, set()).add(EntityName(*name))
    name = dice.choice(sorted(owned))
    return running.named(name), owned[name]


def test_what_was_acknowledged_survives_the_kill_of_an_owner(
    journal_url: str,
    database_kind: str,
    kill_rounds: int,
    kill_seed: int,
    kill_report: Path,
    sql: Callable[..., list[tuple[str, ...]]],
) -> None:
    """After every SIGKILL each acknowledged operation is there once, nothing twice, and the chains are whole."""
    dice = Random(kill_seed)  # noqa: S311 - to be repeated, not to be secret
    deaths = Deaths()
    _add(kill_report, f"{database_kind}, seed {kill_seed}: an owner of three nodes killed {kill_rounds} times")
    findings: list[str] = []
    operations: list[Operation] = []
    # given three nodes
    with nodes(journal_url, 3, seed=kill_seed) as running:
        for number in range(1, kill_rounds + 1):
            # under load
            running.go()
            for node in running.living:
                node.answers(dice.randint(1, 200))
            victim, owned = victim_of(running, sql, dice)
            # when one that owns something is killed
            victim.kill()
            killed_at = time.monotonic_ns()
            # then the others write to all of that again, and go on
            running.living[0].wait(
                lambda since=killed_at, of=owned: of <= written(running, since).keys(), "the dead one's work"
            )
            for node in running.living:
                node.answers(dice.randint(1, 100))
            running.pause()
            told = written(running, killed_at)
            deaths.note(killed_at, {name: told[name] for name in owned})
            # and the journal has what callers were told, once
            operations = running.operations()
            log = asyncio.run(read_sql(journal_url))
            findings = [*audit(log, operations), *check(operations, timelines(log))]
            _add(
                kill_report,
                f"  {database_kind}, round {number}: {victim.name} killed with {len(owned)} busy entities; "
                f"{len(log.records)} records, {len(operations)} operations so far, {len(findings)} findings",
            )
            if findings:
                break
            # and somebody takes its place
            running.start()
        # and who is left can be ended in an orderly way
        running.go()
        running.pause()
        assert [node.end() for node in running.living] == [0, 0, 0]
    _add(kill_report, f"{database_kind}, all rounds:", _figures(operations), str(deaths))
    _add(kill_report, *(f"  {finding}" for finding in findings))
    assert not findings, "\n".join(findings)


def _add(report: Path, *lines: str) -> None:
    """Say it at once, so that a run that is ended has said what it found; the seed is what repeats a failure."""
    print("\n".join(lines))  # noqa: T201 - pytest shows it with a failure
    with report.open("a") as file:
        file.write("\n".join(lines) + "\n")


def _figures(operations: list[Operation]) -> str:
    errors = [operation.error for operation in operations if operation.error is not None]
    counted = ", ".join(f"{errors.count(error)} {error}" for error in sorted(set(errors)))
    acknowledged = sum(one.reply is not None for one in operations)
    open_ = sum(one.returned is None for one in operations)
    return (
        f"  {len(operations)} operations: {acknowledged} acknowledged, {open_} never answered; {counted or 'no error'}"
    )
