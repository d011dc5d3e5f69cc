"""One world's part of a run, in a process of its own."""

from __future__ import annotations

import sys
import time
from random import Random
from typing import Final

import msgspec

from .report import Report
from .runs import journals, of_way, run, run_processes, sampled

__all__ = ["one_place", "say"]

_KILLS: Final = 12
"""How often a process is killed or frozen in each way in a whole run, with some hundred operations in flight."""


def one_place(place: tuple[str, str], seed: int, times: int, *, everything: bool, patience: float) -> bytes:
    """Interrupt what there is in one place; give the report as bytes."""
    dice = Random(f"{seed} {place}")  # noqa: S311 - a table, not a secret
    trials = of_way(place[1]) if everything else sampled(place[1], dice, 1)
    dice.shuffle(trials)
    began = time.monotonic()

    def tell(report: Report) -> None:
        say(
            f"{time.monotonic() - began:7.1f} s  seed {seed}, {', '.join(place)}: {report.interrupted:,} interrupted, "
            f"{report.found:,} findings"
        )

    with journals([place[0]]) as fresh:
        report = run(fresh, place, trials, dice, times=times, tell=tell, patience=patience)
        rounds = _KILLS if everything else 1
        report.join(run_processes(fresh, place, dice, rounds=rounds, times=3 * times))
        tell(report)
        return msgspec.msgpack.encode(report.plain())


def say(words: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()
