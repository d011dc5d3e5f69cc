"""When callers' time is up: one timer of the event loop for all commands that have the same time.

Commands with the same timeout run out of time in the order in which they came, so only the first of them needs a timer.
One for each command would be set and cancelled again within milliseconds, at a cost that an increment feels.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from itertools import takewhile
from typing import Final

from casty_es.owner.pending import Pending

# Programs use a few timeouts. For one that computes another timeout for each call, a line is no dearer than a timer.
_LINES: Final = 16


class Line:
    """The commands that wait for one timeout, in the order of their deadlines, of which the first is given."""

    __slots__ = ("_loop", "_timer", "_waiting", "kept")

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        self._loop = loop
        self._waiting: dict[Pending, float] = {}
        self._timer: asyncio.TimerHandle | None = loop.call_at(deadline, self._ring, deadline)
        self.kept = True

    def add(self, pending: Pending, deadline: float) -> None:
        """Tell a command's caller when its time is up. No deadline is before the last one's."""
        self._waiting[pending] = deadline
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._ring, deadline)

    def leave(self, pending: Pending) -> None:
        """Forget a command that nobody waits for any more."""
        self._waiting.pop(pending, None)
        if not self._waiting and not self.kept:
            self.drop()

    def drop(self) -> None:
        """Keep nothing for further commands: when the last one has left, nothing is left of the line."""
        self.kept = False
        if self._timer is not None and not self._waiting:
            self._timer.cancel()
            self._timer = None

    def _ring(self, until: float) -> None:
        until = max(until, self._loop.time())
        for pending, _ in list(takewhile(lambda one: one[1] <= until, self._waiting.items())):
            del self._waiting[pending]
            pending.time_out()
        first = next(iter(self._waiting.values()), None)
        self._timer = None if first is None else self._loop.call_at(first, self._ring, first)


class Deadlines:
    """The lines of one gateway, by timeout; the least recently made one goes first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: OrderedDict[float, Line] = OrderedDict()

    def line(self, timeout: float, deadline: float) -> Line:
        """Return the line for a timeout, to which a command with this deadline is added now."""
        line = self._lines.get(timeout)
        if line is None:
            line = self._lines[timeout] = Line(self._loop, deadline)
            if len(self._lines) > _LINES:
                self._lines.popitem(last=False)[1].drop()
        return line

    def close(self) -> None:
        """Keep no timer beyond those that somebody waits for."""
        while self._lines:
            self._lines.popitem()[1].drop()
