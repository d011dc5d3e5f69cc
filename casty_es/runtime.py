"""Where the outside world comes in: the clock, randomness, ids and work for another thread.

No part reaches any of these by itself, so that a deterministic simulation can run them unchanged. Monotonic time and
timers are the event loop's own (``loop.time``, ``loop.call_at``), which a simulation replaces by its loop.

A node asks the ``Runtime`` that it was given. What has no node around it, such as a link or a handle, asks the
functions of this module, always through the module, so that replacing them here replaces them everywhere.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar
from uuid import UUID, uuid4

import uuid_utils

from casty_es.errors import ClockAheadError
from casty_es.printing import log_of

T = TypeVar("T")

_LOG: Final = log_of("casty_es.clock")

_MICROSECONDS: Final = 1_000_000

_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def wall_clock() -> int:
    """Return this host's clock in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000


def steady() -> float:
    """Return the seconds of a clock that never jumps, and also runs while the machine sleeps, where there is one."""
    return time.clock_gettime(_STEADY)


def spread(least: float, most: float) -> float:
    """Return a number from ``least`` to ``most`` that is another one each time, so that many do not act at once."""
    return random.uniform(least, most)  # noqa: S311 - it spreads, and hides nothing


def unpredictable(length: int) -> bytes:
    """Return so many bytes of the operating system's generator."""
    return os.urandom(length)


def fresh_uuid() -> UUID:
    """Return a random UUID, for what lives no longer than this process."""
    return uuid4()


class Runtime(Protocol):
    """What a node may ask of the world."""

    def now(self) -> int:
        """Return the wall clock in microseconds since 1970-01-01 UTC."""

    def new_id(self) -> bytes:
        """Return a fresh UUIDv7 (RFC 9562) as its 16 bytes."""

    def salt(self) -> bytes:
        """Return 16 unpredictable bytes."""

    async def offload(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function that takes long in another thread."""


class SystemRuntime:
    """The real clock, the operating system's randomness, real threads."""

    def now(self) -> int:
        """Return the system's clock."""
        return wall_clock()

    def new_id(self) -> bytes:
        """Return a fresh UUIDv7."""
        return uuid_utils.uuid7().bytes

    def salt(self) -> bytes:
        """Return bytes of the operating system's generator."""
        return unpredictable(16)

    async def offload(self, function: Callable[..., T], *arguments: object) -> T:
        """Run in a thread of the loop's default executor."""
        return await asyncio.to_thread(function, *arguments)


class CheckedClock:
    """A runtime that records are written by: its clock is this host's, while that is not far ahead of the database's.

    Times never go back within a slot. So one record from a clock that is ten years ahead would give its time to every
    later one of its slot, for ten years. A clock that is behind does no such harm, and is not refused.

    The database is asked now and then. In between, a clock that does not jump says where its clock is by now: so a jump
    of this host's is noticed with the next record and not with the next question.

    Parameters
    ----------
    ask : Callable[[], Awaitable[int]] | None
        Asks the database for its clock; a journal in memory has no other to compare with.
    """

    def __init__(self, runtime: Runtime, ask: Callable[[], Awaitable[int]] | None, max_ahead_seconds: float) -> None:
        self._runtime = runtime
        self._ask = ask
        self._most = round(max_ahead_seconds * _MICROSECONDS)
        self._offset: int | None = None  # of the database's clock from the steady one
        self.new_id = runtime.new_id
        self.salt = runtime.salt

    async def compare(self) -> None:
        """Ask the database for its clock."""
        if self._ask is None:
            return
        asked = _steady()  # what it answers is as old as this at most
        before, self._offset = self._offset, await self._ask() - asked
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
    return round(steady() * _MICROSECONDS)
