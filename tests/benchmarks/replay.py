"""Ours: the time from a cold start to the state of a counter with many events, with or without snapshots."""

from __future__ import annotations

import argparse
import asyncio
import time

import casty_es
from tests.benchmarks.clock import for_numbers, tell

_CALLERS = 500
_NEVER = 10**9  # events before a snapshot: no counter here has as many


async def build(url: str, events: int, *, snapshots: bool) -> None:
    settings = None if snapshots else casty_es.Settings(snapshot_events=_NEVER)
    async with casty_es.connect(url, settings=settings) as d:
        counter = d.counter("hits")
        took = await for_numbers(lambda _: counter.increment(), callers=_CALLERS, count=events)
    tell(seconds=took, operations=events)


async def read(url: str, events: int) -> None:
    """Time the first ``get``: it replays, and changes nothing."""
    async with casty_es.connect(url, settings=casty_es.Settings(snapshot_events=_NEVER)) as d:
        begin = time.perf_counter()
        value = await d.counter("hits").get()
        took = time.perf_counter() - begin
    if value != events:
        raise SystemExit(f"The counter is {value} after {events} increments: nothing was measured.")
    tell(per_second=events / took, milliseconds=took * 1e3, operations=events)


async def write(url: str, events: int) -> None:
    """Time the first ``increment``: it takes the lease, reads the snapshot and the events after it, and commits."""
    async with casty_es.connect(url) as d:
        begin = time.perf_counter()
        value = await d.counter("hits").increment()
        took = time.perf_counter() - begin
    if value <= events:
        raise SystemExit(f"The counter is {value} after more than {events} increments: nothing was measured.")
    tell(milliseconds=took * 1e3, operations=events)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["build", "build-snapshots", "read", "write"])
    parser.add_argument("url")
    parser.add_argument("--events", type=int, required=True)
    given = parser.parse_args()
    if given.action.startswith("build"):
        asyncio.run(build(given.url, given.events, snapshots=given.action == "build-snapshots"))
    else:
        asyncio.run((read if given.action == "read" else write)(given.url, given.events))


if __name__ == "__main__":
    main()
