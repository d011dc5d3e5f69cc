"""What every model is, and breadth-first search over its states: the first violation has a shortest way to it."""

from __future__ import annotations

import enum
import gc
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Generic, Self, TypeVar

__all__ = ["Model", "Part", "Result", "explore"]

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True)
class Model(ABC, Generic[S]):
    """One configuration to explore: what is there, what may go wrong, and the rules that are switched off."""

    name: str
    off: frozenset[enum.Enum] = field(default=frozenset(), kw_only=True)

    def keeps(self, rule: enum.Enum) -> bool:
        """Return whether a rule is in force."""
        return rule not in self.off

    def without(self, rule: enum.Enum) -> Self:
        """Return the same with one rule switched off."""
        return replace(self, off=frozenset({rule}))

    @abstractmethod
    def initial(self) -> S:
        """Return the state in which everything begins."""

    @abstractmethod
    def steps(self, s: S) -> Iterator[tuple[str, S]]:
        """Return every step from a state, described in words, with the state it leads to."""

    @abstractmethod
    def judged(self, s: S) -> str:
        """Return what is wrong with a state, or nothing."""

    def tidied(self, s: S) -> S:
        """Forget what can make no difference any more."""
        return s


@dataclass(frozen=True)
class Part:
    """One protocol: its configurations, and for each rule the configuration in which it is switched off."""

    title: str
    models: dict[str, Any]  # of one kind of state each
    rules: dict[Any, str]
    long: dict[str, Any] = field(default_factory=dict)  # more of the same, for those who have the time

    def without(self, rule: enum.Enum) -> Any:
        """Return the configuration in which this rule is needed, without it."""
        return self.models[self.rules[rule]].without(rule)


@dataclass(frozen=True)
class Result:
    """What a search found: how many states, in how many seconds, and what went wrong on which way."""

    name: str
    states: int
    seconds: float
    violation: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Print the counterexample in numbered steps."""
        head = f"{self.name}: {self.states:,} states in {self.seconds:.1f} s: {self.violation or 'nothing wrong'}"
        return "\n".join([head, *(f"  {i:2}. {step}" for i, step in enumerate(self.trace, 1))])


def explore(m: Model[S], *, wrong: Callable[[S], str] | None = None, limit: int = 5_000_000) -> Result:
    """Look at every state that can be reached, until one is wrong: ``wrong`` says what about it is.

    Raises
    ------
    RuntimeError
        There are more states than ``limit``: the search proves nothing.
    """
    began = time.perf_counter()
    with _uncollected():
        violation, states, trace = _searched(m, wrong or m.judged, limit)
    return Result(m.name, states, time.perf_counter() - began, violation, trace)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let the collector rest: no state is a circle, and it would look through all again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _searched(m: Model[S], judged: Callable[[S], str], limit: int) -> tuple[str, int, tuple[str, ...]]:
    start = m.initial()
    # Every state that was seen, with the one it was first reached from.
    came: dict[S, S | None] = {start: None}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        for _, reached in m.steps(state):
            after = m.tidied(reached)
            if after in came:
                continue
            came[after] = state
            if found := judged(after):
                return found, len(came), _trace(m, came, after)
            queue.append(after)
        if len(came) > limit:
            raise RuntimeError(f"{m.name}: more than {limit} states, {len(queue)} of them not looked at.")
    return "", len(came), ()


def _trace(m: Model[S], came: dict[S, S | None], last: S) -> tuple[str, ...]:
    way = [last]
    while (before := came[way[-1]]) is not None:
        way.append(before)
    way.reverse()
    return tuple(
        next(label for label, to in m.steps(before) if m.tidied(to) == after) for before, after in pairwise(way)
    )
