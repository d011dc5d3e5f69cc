"""casty with its SqliteJournal: increments of one counter, or puts on distinct keys, by 100 callers.

Runs alone, in an environment that has nothing but casty: it imports nothing of this repository.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import socket
import sys
import time
from typing import Any

import casty

_WARM_UP_SHARE = 0.1
_CALLERS = 100
_TIMEOUT_SECONDS = 5.0  # the default of both libraries


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _increments(d: Any, seconds: float) -> dict[str, float]:
    counter = d.counter("hits")
    done = 0

    async def call(end: float) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await counter.increment()
            done += 1

    async def all_callers(seconds: float) -> float:
        begin = time.perf_counter()
        await asyncio.gather(*(call(begin + seconds) for _ in range(_CALLERS)))
        return time.perf_counter() - begin

    await all_callers(seconds * _WARM_UP_SHARE)
    warm = done
    took = await all_callers(seconds)
    value = await counter.get()
    if value != done:
        raise SystemExit(f"The counter is {value} after {done} increments: nothing was measured.")
    return {"per_second": (done - warm) / took, "operations": done - warm}


async def _puts(d: Any, seconds: float) -> dict[str, float]:
    users = d.map[str, str]("users", timeout=_TIMEOUT_SECONDS)
    done = failed = 0
    numbers = iter(range(sys.maxsize))
    begin = time.perf_counter()

    async def call() -> None:
        nonlocal done, failed
        while time.perf_counter() - begin < seconds:
            try:
                await users.put(f"user-{next(numbers):09}", "a value of this length")
            except TimeoutError:
                failed += 1
            else:
                done += 1

    await asyncio.gather(*(call() for _ in range(_CALLERS)))
    return {"per_second": done / (time.perf_counter() - begin), "operations": done, "timeouts": failed}


async def _main(file: str, action: str, seconds: float) -> None:
    journal = casty.SqliteJournal(file)
    synchronous = journal._conn.execute("PRAGMA synchronous").fetchone()[0]
    async with casty.ClusteredActorSystem(name="bench", host="127.0.0.1", port=_free_port(), node_id="one") as system:
        d = casty.Distributed(system, journal=journal)
        result = await (_increments if action == "increments" else _puts)(d, seconds)
    sys.stdout.write(json.dumps({**result, "synchronous": synchronous}) + "\n")


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["increments", "puts"])
    parser.add_argument("file")
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(_main(given.file, given.action, given.seconds))
