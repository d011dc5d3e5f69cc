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
from collections.abc import Callable
from typing import Final, Protocol, TypeVar
from uuid import UUID, uuid4

import uuid_utils

T = TypeVar("T")

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
