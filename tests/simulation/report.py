"""What came of many seeds: the numbers, the findings, and how each is replayed."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .broken import Switch
    from .run import Outcome

__all__ = ["Report", "broken_table", "replay"]

_SHOWN = 5


def replay(seed: int, switch: Switch | None = None) -> str:
    """Return the command that runs a seed again."""
    line = f"python -m tests.simulation --seed {seed}"
    return line if switch is None else f'{line} --without "{switch.title}"'


class Report:
    """The sums over all runs so far.

    Parameters
    ----------
    switch : Switch | None
        The rule that was broken in all of them.
    """

    def __init__(self, switch: Switch | None = None) -> None:
        self.switch = switch
        self.done: set[int] = set()
        self.seconds = 0.0
        self.steps = 0
        self.virtual_seconds = 0.0
        self.told: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.worlds: Counter[str] = Counter()
        self.failed: list[Outcome] = []

    @property
    def seeds(self) -> int:
        """How many seeds have run."""
        return len(self.done)

    def took(self, since: float) -> float:
        """Count the seconds since a moment, and return the moment that it is now."""
        now = time.time()
        self.seconds += now - since
        return now

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Count some runs."""
        for one in outcomes:
            self.done.add(one.seed)
            self.steps += one.steps
            self.virtual_seconds += one.seconds
            self.told.update(one.told)
            self.faults.update(fault.split(" for ")[0].split(" ", 1)[1] for fault in one.faults)
            self.worlds[one.world] += 1
            if one.findings:
                self.failed.append(one)

    def failures(self) -> str:
        """Return the findings, each with the line that replays it."""
        return "\n".join(
            "\n".join([replay(one.seed, self.switch), *(f"  {finding}" for finding in one.findings[:_SHOWN])])
            for one in sorted(self.failed, key=lambda one: one.seed)
        )

    def text(self, processes: int) -> str:
        """Return the report as Markdown."""
        rate = self.seeds / max(self.seconds, 0.001)
        took = f"{self.seconds:,.0f} s in {processes} processes: {rate:.1f} seeds a second"
        done = f"{self.steps:,} callbacks, {self.virtual_seconds:,.0f} s of virtual time"
        counted = f"{self.seeds:,} seeds, {len(self.failed)} with findings; {sum(self.told.values()):,} operations"
        lines = [
            "# Simulation",
            "",
            f"{counted}, {done}. It took {took}.",
            "",
            *_table("journal", self.worlds),
            *_table("what callers were told", self.told),
            *_table("fault", self.faults),
        ]
        if self.failed:
            lines += ["## Findings", "", "```text", self.failures(), "```", ""]
        return "\n".join(lines)


def _table(title: str, counts: Counter[str]) -> list[str]:
    rows = [f"| {name} | {number:,} |" for name, number in counts.most_common()]
    return [f"| {title} | times |", "|---|---|", *rows, ""]


def broken_table(found: Iterable[tuple[Switch, Outcome | None]]) -> str:
    """Return which seed found which switch first, as Markdown."""
    lines = ["| broken rule | found by seed | finding |", "|---|---|---|"]
    for switch, outcome in found:
        told = "" if outcome is None else outcome.findings[0].replace("|", "\\|").replace("\n", " ")[:160]
        lines.append(f"| {switch.title} | {'none' if outcome is None else outcome.seed} | {told} |")
    return "\n".join(["## Broken rules", "", *lines, ""])
