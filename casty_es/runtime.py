"""Where the outside world comes in: the clock, randomness, ids and work for another thread.

Owners and gateways reach none of these by themselves, so that a deterministic simulation can run them unchanged.
Monotonic time and timers are the event loop's own (``loop.time``, ``loop.call_at``), which a simulation replaces by its
loop.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import uuid_utils

__all__ = ["Runtime", "SystemRuntime"]

T = TypeVar("T")


class Runtime(Protocol):
    """What a node may ask of the world."""

    def now(self) -> int:
        """Return the wall clock in microseconds since 1970-01-01 UTC."""
        ...

    def new_id(self) -> bytes:
        """Return a fresh UUIDv7 (RFC 9562) as its 16 bytes."""
        ...

    def salt(self) -> bytes:
        """Return 16 unpredictable bytes."""
        ...

    async def offload(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function that takes long in another thread."""
        ...


class SystemRuntime:
    """The real clock, the operating system's randomness, real threads."""

    def now(self) -> int:
        """Return the system's clock."""
        return time.time_ns() // 1_000

    def new_id(self) -> bytes:
        """Return a fresh UUIDv7."""
        return uuid_utils.uuid7().bytes

    def salt(self) -> bytes:
        """Return bytes of the operating system's generator."""
        return os.urandom(16)

    async def offload(self, function: Callable[..., T], *arguments: object) -> T:
        """Run in a thread of the loop's default executor."""
        return await asyncio.to_thread(function, *arguments)
