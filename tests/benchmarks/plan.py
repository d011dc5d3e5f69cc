"""The words of the benchmark: sizes, cases, the programs that measure, the lines of the report and their goals."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.environments import SkippedError, peer_python

_PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    kills : int
        How often a turn kills a node.
    moves : int
        How often a turn lets a node join and leave.
    nodes : int
        How many nodes share one Postgres.
    audit : int
        How many events a journal has that is verified and exported.
    travel : int
        How many events a counter has that is read as of moments.
    """

    name: str
    rounds: int
    seconds: float
    puts: int
    replay: int
    counter: int
    keys: int
    kills: int
    moves: int
    nodes: int
    idle_seconds: float
    audit: int
    travel: int
    downloads: bool = True


FULL = Sizes(
    "full",
    rounds=5,
    seconds=3.0,
    puts=50_000,
    replay=300_000,
    counter=1_000_000,
    keys=1_000_000,
    kills=4,
    moves=2,
    nodes=16,
    idle_seconds=10.0,
    audit=1_000_000,
    travel=10_000_000,
)
QUICK = Sizes(
    "quick",
    rounds=3,
    seconds=2.0,
    puts=20_000,
    replay=100_000,
    counter=100_000,
    keys=100_000,
    kills=2,
    moves=1,
    nodes=16,
    idle_seconds=10.0,
    audit=200_000,
    travel=1_000_000,
)
SMOKE = Sizes(
    "smoke",
    rounds=1,
    seconds=0.05,
    puts=200,
    replay=1_500,
    counter=1_500,
    keys=300,
    kills=1,
    moves=1,
    nodes=3,
    idle_seconds=2.0,
    audit=1_500,
    travel=1_500,
    downloads=False,
)


@dataclass(frozen=True)
class Goal:
    """A bound for our own number, or for its ratio to the peer's."""

    bound: float
    of_ratio: bool = False
    at_most: bool = False

    def met(self, value: float) -> bool:
        """Return whether a number keeps to it."""
        return value <= self.bound if self.at_most else value >= self.bound


@dataclass(frozen=True)
class Line:
    """One line of the report: one of the measurements, beside one of the peers'; without a goal, it explains others."""

    title: str
    unit: str
    goal: Goal | None = None
    peer: str | None = None
    ours: str = "ours"
    value: str = "per_second"
    note: str = ""


@dataclass(frozen=True)
class Program:
    """A program that measures: its command on a database, and where that comes from.

    Parameters
    ----------
    command : Callable[[str], list[str]]
        The command on a database's URL. It may raise ``SkippedError``.
    database : Callable[[], AbstractContextManager[str]]
        Gives the URL, and takes everything away after it.
    """

    command: Callable[[str], list[str]]
    database: Callable[[], AbstractContextManager[str]]


@dataclass(frozen=True)
class Case:
    """Programs that take turns, and the lines that come of them.

    Attributes
    ----------
    prepare : list[Callable[[], list[str]]]
        Commands that are run once before.
    """

    number: int
    title: str
    programs: dict[str, Program]
    lines: list[Line]
    rounds: int
    prepare: dict[str, Callable[[], list[str]]] = field(default_factory=dict)


def ours(module: str, *arguments: object) -> list[str]:
    """Return the command of a program of this package."""
    return [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)]


def alone(sizes: Sizes, requirement: str, minimum: tuple[int, int], program: str, *arguments: object) -> list[str]:
    """Return the command of a peer in an environment of its own.

    Raises
    ------
    SkippedError
        There is no such environment, and none could be made.
    """
    if not sizes.downloads:
        raise SkippedError(f"{requirement} is not installed for a smoke run")
    python = peer_python(requirement, minimum=minimum)
    return [python, "-I", str(_PEERS / program), *map(str, arguments)]
