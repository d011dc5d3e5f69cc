"""Ours: increments of one counter by some callers of one process, per second."""

from __future__ import annotations

import argparse
import asyncio

import casty_es
from tests.benchmarks.clock import for_seconds, tell

_WARM_UP_SHARE = 0.1


async def measure(url: str, callers: int, seconds: float) -> None:
    async with casty_es.connect(url) as d:
        counter = d.counter("hits")
        warm, _ = await for_seconds(counter.increment, callers=callers, seconds=seconds * _WARM_UP_SHARE)
        done, took = await for_seconds(counter.increment, callers=callers, seconds=seconds)
        value = await counter.get()
    if value != warm + done:
        raise SystemExit(f"The counter is {value} after {warm + done} increments: nothing was measured.")
    tell(per_second=done / took, microseconds=took / done * 1e6, operations=done)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(measure(given.url, given.callers, given.seconds))


if __name__ == "__main__":
    main()
