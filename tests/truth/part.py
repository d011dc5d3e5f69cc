"""One world's part of a run, in a process of its own."""

from __future__ import annotations

import sys
import time
from random import Random

import msgspec

from .report import Report
from .runs import journals, of_way, run, sampled

__all__ = ["one_place", "say"]


def one_place(place: tuple[str, str], seed: int, times: int, *, everything: bool) -> bytes:
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
        return msgspec.msgpack.encode(run(fresh, place, trials, dice, times=times, tell=tell).plain())


def say(words: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()
