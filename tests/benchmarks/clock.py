"""Many callers against a clock or a number of operations, and the one JSON object that a measurement prints."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

_HIGH_WATER = "VmHWM:"


async def for_seconds(operation: Callable[[], Awaitable[object]], *, callers: int, seconds: float) -> tuple[int, float]:
    """Let each caller repeat an operation until the time is up; return how many were done, and the seconds it took."""
    done = 0
    begin = time.perf_counter()
    end = begin + seconds

    async def call() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await operation()
            done += 1

    await asyncio.gather(*(call() for _ in range(callers)))
    return done, time.perf_counter() - begin


async def for_numbers(operation: Callable[[int], Awaitable[object]], *, callers: int, count: int) -> float:
    """Do an operation once for each number below ``count``; return the seconds it took."""
    numbers = iter(range(count))
    begin = time.perf_counter()

    async def call() -> None:
        for number in numbers:
            await operation(number)

    await asyncio.gather(*(call() for _ in range(callers)))
    return time.perf_counter() - begin


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of the values that so many percent of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def peak_mib() -> float:
    """Return the most memory that this process ever had resident, the interpreter included, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: on Linux a child inherits its parent's through exec.
        line = next(line for line in status.read_text().splitlines() if line.startswith(_HIGH_WATER))
        return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def tell(**result: object) -> None:
    """Print a measurement for the program that started it."""
    sys.stdout.write(json.dumps(result) + "\n")
