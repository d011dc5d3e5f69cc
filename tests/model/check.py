"""Breadth-first search over all states: the first violation that it meets has a shortest way to it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from .model import judged, steps, tidied
from .state import Model, State

__all__ = ["Result", "explore"]


@dataclass(frozen=True)
class Result:
    """What a search found: how many states, in how many seconds, and what went wrong on which way."""

    model: Model
    states: int
    seconds: float
    violation: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Print the counterexample in numbered steps."""
        head = f"{self.model.name}: {self.states} states in {self.seconds:.1f} s: {self.violation or 'nothing wrong'}"
        return "\n".join([head, *(f"  {i:2}. {step}" for i, step in enumerate(self.trace, 1))])


def explore(m: Model, *, wrong: Callable[[Model, State], str] = judged, limit: int = 5_000_000) -> Result:
    """Look at every state that can be reached, until one is wrong: ``wrong`` says what about it is.

    Raises
    ------
    RuntimeError
        There are more states than ``limit``: the search proves nothing.
    """
    began = time.perf_counter()
    start = m.initial()
    # Every state that was seen, with the one it was first reached from.
    came: dict[State, State | None] = {start: None}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        for _, reached in steps(m, state):
            after = tidied(m, reached)
            if after in came:
                continue
            came[after] = state
            if found := wrong(m, after):
                return Result(m, len(came), time.perf_counter() - began, found, _trace(m, came, after))
            queue.append(after)
        if len(came) > limit:
            raise RuntimeError(f"{m.name}: more than {limit} states, {len(queue)} of them not looked at.")
    return Result(m, len(came), time.perf_counter() - began)


def _trace(m: Model, came: dict[State, State | None], last: State) -> tuple[str, ...]:
    way = [last]
    while (before := came[way[-1]]) is not None:
        way.append(before)
    way.reverse()
    return tuple(
        next(label for label, to in steps(m, before) if tidied(m, to) == after) for before, after in pairwise(way)
    )
