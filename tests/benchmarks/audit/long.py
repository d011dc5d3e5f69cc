"""Ours: what an auditor asks of a long journal, and how long the answers take."""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

import casty_es
from casty_es.audit.verify import verify
from tests.audit.verifying.journals import BEGIN, LongWriter
from tests.benchmarks.clock import peak_mib, percentile, tell

_MOMENTS = 200
_COUNTERS = 8


async def build(url: str, events: int, counters: int, snapshot_every: int) -> None:
    begin = time.perf_counter()
    await LongWriter(url, counters=counters, snapshot_every=snapshot_every).write(events)
    tell(seconds=time.perf_counter() - begin, operations=events)


async def verified(url: str, events: int) -> None:
    """Walk through everything in one process, the one that is measured."""
    report = await verify(url)
    if report.findings or report.records <= events:
        raise SystemExit(f"{report.records} records, {report.findings}: nothing was measured.")
    tell(per_second=report.records_per_second, peak_mib=peak_mib(), operations=report.records)


async def travel(url: str, events: int) -> None:
    """Ask for the counter at random moments; each event took a microsecond and added one."""
    begun = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=BEGIN)
    chance = random.Random(4)  # noqa: S311 - the same moments every time
    took = []
    async with casty_es.connect(url) as d:
        for number in (events - 1, *(chance.randrange(events) for _ in range(_MOMENTS - 1))):
            begin = time.perf_counter()
            value = await d.at(begun + timedelta(microseconds=number)).counter("hits-0").get()
            took.append((time.perf_counter() - begin) * 1e3)
            if value != number + 1:
                raise SystemExit(f"The counter was {value} after {number + 1} increments: nothing was measured.")
    tell(p50=percentile(took, 50), most=max(took), peak_mib=peak_mib(), operations=len(took))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["build-many", "build-one", "verify", "travel"])
    parser.add_argument("url")
    parser.add_argument("--events", type=int, required=True)
    given = parser.parse_args()
    match given.action:
        case "build-many":
            asyncio.run(build(given.url, given.events, _COUNTERS, 10_000))
        case "build-one":
            asyncio.run(build(given.url, given.events, 1, casty_es.Settings().snapshot_events))
        case "verify":
            asyncio.run(verified(given.url, given.events))
        case _:
            asyncio.run(travel(given.url, given.events))


if __name__ == "__main__":
    main()
