"""The clock that records are written by: this host's, as long as it is not far ahead of the database's.

Times never go back within a slot. So one record from a clock that is ten years ahead would give its time to every later
one of its slot, for ten years. A clock that is behind does no such harm, and is not refused.

The database is asked now and then. In between, a clock that does not jump says where its clock is by now: so a jump of
this host's is noticed with the next record and not with the next question.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from casty_es import runtime as outside
from casty_es.errors import ClockAheadError
from casty_es.journal.database_clock import database_clock
from casty_es.journal.port import EventJournal
from casty_es.printing import log_of
from casty_es.runtime import Runtime

T = TypeVar("T")

_LOG: Final = log_of("casty_es.clock")

_MICROSECONDS: Final = 1_000_000


class CheckedClock:
    """A runtime whose clock is compared with the database's; a journal in memory has no other to compare with."""

    def __init__(self, runtime: Runtime, journal: EventJournal, max_ahead_seconds: float) -> None:
        self._runtime = runtime
        self._journal = journal
        self._most = round(max_ahead_seconds * _MICROSECONDS)
        self._offset: int | None = None  # of the database's clock from the steady one
        self.new_id = runtime.new_id
        self.salt = runtime.salt

    async def compare(self) -> None:
        """Ask the database for its clock."""
        if self._journal.volatile:
            return
        asked = _steady()  # what it answers is as old as this at most
        before, self._offset = self._offset, await database_clock(self._journal) - asked
        if before is not None and self._offset - before > self._most:
            jump = (self._offset - before) / _MICROSECONDS
            _LOG.warning(
                "The database's clock jumped ahead by %.1f s, and records are written by it. If it is wrong, stop "
                "every node at once and set it: times of a slot never go back",
                jump,
            )

    def now(self) -> int:
        """Return this host's clock in microseconds since 1970-01-01 UTC, or ``ClockAheadError`` if it is far ahead."""
        now = self._runtime.now()
        if self._offset is not None and (ahead := now - self._offset - _steady()) > self._most:
            raise ClockAheadError(
                f"This host's clock is {ahead / _MICROSECONDS:,.1f} s ahead of the database's, and "
                f"{self._most / _MICROSECONDS:,g} s are allowed: every later record of a slot would have to have the "
                f"time of the first one. Nothing was written. Set both clocks by NTP; when they agree again, the node "
                f"goes on by itself. Or raise the setting max_clock_ahead_seconds, if those times are right."
            )
        return now

    async def offload(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function that takes long in another thread."""
        return await self._runtime.offload(function, *arguments)


def _steady() -> int:
    return round(outside.steady() * _MICROSECONDS)
