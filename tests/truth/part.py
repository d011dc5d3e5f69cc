"""One world's part of a run, in a process of its own."""

from __future__ import annotations

import sys
import time
from random import Random
from typing import Final, NamedTuple

import msgspec

from .report import Report
from .runs import journals, of_way, run, run_processes, sampled

__all__ = ["Plan", "one_place", "say"]

_KILLS: Final = 12
"""How often a process is killed or frozen in each way in a whole run, with some hundred operations in flight."""


class Plan(NamedTuple):
    """How much of the table is run.

    Attributes
    ----------
    moments : int | None
        How many moments of each interruption; all without a number.
    times : int
        How many entities of each operation in a trial.
    families : tuple[str, ...]
        How the names of the interruptions begin; all when there is none.
    patience : float
        Seconds until what does not settle is a finding.
    """

    moments: int | None
    times: int
    families: tuple[str, ...]
    patience: float


def one_place(place: tuple[str, str], seed: int, plan: Plan) -> bytes:
    """Interrupt what there is in one place; return the report as bytes."""
    dice = Random(f"{seed} {place}")  # noqa: S311 - a table, not a secret
    trials = of_way(place[1]) if plan.moments is None else sampled(place[1], dice, plan.moments)
    trials = [one for one in trials if one.family.startswith(plan.families or "")]
    dice.shuffle(trials)
    began = time.monotonic()

    def tell(report: Report) -> None:
        say(
            f"{time.monotonic() - began:7.1f} s  seed {seed}, {', '.join(place)}: {report.interrupted:,} interrupted, "
            f"{report.found:,} findings"
        )

    with journals([place[0]]) as fresh:
        report = run(fresh, place, trials, dice, times=plan.times, tell=tell, patience=plan.patience)
        rounds, times = plan.moments or _KILLS, 3 * plan.times
        report.join(run_processes(fresh, place, dice, rounds=rounds, times=times, families=plan.families))
        tell(report)
        return msgspec.msgpack.encode(report.plain())


def say(words: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()
