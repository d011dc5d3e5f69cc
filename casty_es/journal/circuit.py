"""When to try a server again that cannot be reached: one answer for all who want to connect to it.

1. While connections can be made, everybody makes theirs at once.
2. After a failure there is one attempt at a time, after a pause that doubles up to a second. Whoever wants to connect
   meanwhile waits for that attempt. When it fails they have all been told; when it does not, they all connect.
3. The circuit is shared by everything in this event loop that connects to the same URL: a node's writer, its reader and
   its lease session do not each try for themselves.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from casty_es import runtime

# A server that only restarts is found soon; one that stays away for a minute is tried sixty times by each process.
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 1.0
# Processes that lost the server together do not come back together.
_JITTER: Final = (0.8, 1.2)

T = TypeVar("T")


def pause_after(failures: int) -> float:
    """Return the pause after so many failures in a row, in seconds, before jitter.

    Examples
    --------
    >>> [pause_after(failures) for failures in (1, 2, 3, 4, 5, 6)]
    [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    """
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 10), _LONGEST_PAUSE_SECONDS)


class Circuit:
    """The attempts to connect to one server.

    Whoever finds ``failed`` changed has been told by an attempt that failed meanwhile.
    """

    def __init__(self) -> None:
        self.failed = 0
        self._in_a_row = 0
        self._next = 0.0
        self._error: Exception | None = None
        self._turn = asyncio.Lock()

    async def attempt(self, connect: Callable[[], Awaitable[T]]) -> T:
        """Connect, now or when it is time to try again.

        Raises what ``connect`` raises, or what it raised for somebody else while this caller waited.
        """
        if not self._in_a_row:
            return await self._try(connect)
        seen = self.failed
        async with self._turn:
            self.refuse_since(seen)
            await asyncio.sleep(max(0.0, self._next - asyncio.get_running_loop().time()))
            return await self._try(connect)

    def refuse_since(self, seen: int) -> None:
        """Raise what the last attempt raised, if one has failed since ``failed`` was as given."""
        if self.failed != seen and self._error is not None:
            again = copy.copy(self._error)  # one that is raised for many would gather their tracebacks
            raise again from self._error.__cause__

    async def _try(self, connect: Callable[[], Awaitable[T]]) -> T:
        seen = self.failed
        try:
            connection = await connect()
        except Exception as error:
            if self.failed == seen:  # those that fail together are one failure
                self._in_a_row += 1
            self.failed += 1
            self._error = error
            pause = pause_after(self._in_a_row) * runtime.spread(*_JITTER)
            self._next = asyncio.get_running_loop().time() + pause
            raise
        self._in_a_row = 0
        return connection


_CIRCUITS: Final[dict[asyncio.AbstractEventLoop, dict[str, Circuit]]] = {}


def circuit_of(url: str) -> Circuit:
    """Return the running event loop's circuit for a URL."""
    circuits = _CIRCUITS.get(asyncio.get_running_loop())
    if circuits is None:
        for loop in [loop for loop in _CIRCUITS if loop.is_closed()]:
            _CIRCUITS.pop(loop, None)
        circuits = _CIRCUITS[asyncio.get_running_loop()] = {}
    return circuits.setdefault(url, Circuit())
