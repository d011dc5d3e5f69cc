"""Running a case: its programs take turns, each in a process of its own; medians are taken of the turns."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.environments import SkippedError
from tests.benchmarks.plan import Case, Line, Program

_ROOT = Path(__file__).parents[2]
_LONGEST_SECONDS = 1_800
_STDERR_LINES = 5


class CrashedError(Exception):
    """A program of the benchmark failed; the message is the end of what it said."""


@dataclass(frozen=True)
class Spread:
    """The median of the turns, and how far they lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Sum up the turns."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Measured:
    """A line with what came out: numbers, or the reason why there are none."""

    line: Line
    ours: Spread | None
    peer: Spread | None
    ratio: Spread | None
    reason: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; ``None`` when there is none, or that was not measured."""
        if self.line.goal is None:
            return None
        judged = self.ratio if self.line.goal.of_ratio else self.ours
        return None if judged is None else self.line.goal.met(judged.median)


@dataclass
class Turns:
    """What the programs of a case printed, turn by turn, and why some printed nothing."""

    results: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    crashed: dict[str, str] = field(default_factory=dict)

    def missing(self, name: str) -> str:
        """Return why a program has no results; nothing if it has."""
        return self.crashed.get(name) or self.skipped.get(name) or ""

    def attempt(self, name: str, action: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Run one program once; one that was skipped or crashed gets no further turn."""
        if self.missing(name):
            return None
        try:
            return action()
        except SkippedError as error:
            self.skipped[name] = f"not measured: {error}"
        except CrashedError as error:
            self.crashed[name] = f"crashed: {error}"
        self.results.pop(name, None)
        return None


def take_turns(case: Case, said: Callable[[str], None]) -> Turns:
    """Let the programs of a case run one after the other, A B A B, for its rounds."""
    turns = Turns()
    for name, command in case.prepare.items():
        said(f"{case.title}: preparing {name}")
        turns.attempt(name, lambda command=command: run(command()))
    for number in range(1, case.rounds + 1):
        for name, program in case.programs.items():
            said(f"{case.title}: round {number} of {case.rounds}, {name}")
            result = turns.attempt(name, lambda program=program: _measure(program))
            if result is not None:
                turns.results.setdefault(name, []).append(result)
    return turns


def judge(case: Case, turns: Turns) -> list[Measured]:
    """Make the lines of what was measured."""
    return [_judge(line, turns) for line in case.lines]


def _judge(line: Line, turns: Turns) -> Measured:
    ours = [float(result[line.value]) for result in turns.results.get(line.ours, [])]
    peer = [float(result[line.value]) for result in turns.results.get(line.peer or "", [])]
    ratios = [a / b for a, b in zip(ours, peer, strict=False) if b]
    ours_missing, peer_missing = turns.missing(line.ours), turns.missing(line.peer or "")
    reasons = [ours_missing, f"peer {peer_missing}" if peer_missing else ""]
    return Measured(
        line,
        Spread.of(ours) if ours else None,
        Spread.of(peer) if peer else None,
        Spread.of(ratios) if ratios else None,
        "; ".join(reason for reason in reasons if reason),
    )


def _measure(program: Program) -> dict[str, Any]:
    with program.database() as url:
        return run(program.command(url))


def run(command: list[str]) -> dict[str, Any]:
    """Run a command and give the JSON object of its last line.

    Raises
    ------
    CrashedError
        It failed, or took too long.
    """
    try:
        ended = subprocess.run(
            command, cwd=_ROOT, check=False, capture_output=True, text=True, timeout=_LONGEST_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise CrashedError(f"nothing came out of {' '.join(command)} in {_LONGEST_SECONDS} s") from error
    if ended.returncode:
        said = ended.stderr.strip().splitlines()[-_STDERR_LINES:]
        raise CrashedError(f"{' '.join(command)} ended with {ended.returncode}: {' | '.join(said)}")
    result: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return result
