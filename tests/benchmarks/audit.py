"""Ours: how fast a journal of a million events is verified, and folded with the installed code, by one process.

``python -m tests.benchmarks.audit`` prints both for SQLite and Postgres, and fails if anything is found in a journal
that nobody touched. The goals are 150,000 events a second on SQLite and 100,000 on Postgres, for each core.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from casty_es.audit.check_replay import check_replay
from casty_es.audit.verify import verify
from tests.audit.verifying.journals import LongWriter
from tests.benchmarks.clock import peak_mib
from tests.benchmarks.databases import Databases


async def timed(what: str, events: int, work: Callable[[], Awaitable[tuple[bool, int]]]) -> bool:
    """Do it, and print how fast it was: by the clock, and by the processor time of this process."""
    begin, used = time.perf_counter(), time.process_time()
    ok, looked_at = await work()
    took, cpu = time.perf_counter() - begin, time.process_time() - used
    sys.stdout.write(
        f"{what}: {looked_at:,} of {events:,} events, {looked_at / took:,.0f}/s by the clock, "
        f"{looked_at / cpu:,.0f}/s of processor time, at most {peak_mib():.0f} MiB, "
        f"{'nothing found' if ok else 'SOMETHING FOUND'}\n"
    )
    sys.stdout.flush()
    return ok and looked_at >= events


async def measure(name: str, url: str, events: int) -> bool:
    """Write a journal, verify it, and fold it."""
    await LongWriter(url, counters=16).write(events)

    async def verified() -> tuple[bool, int]:
        report = await verify(url)
        return report.ok, report.records

    async def folded() -> tuple[bool, int]:
        report = await check_replay(url)
        return report.ok, report.events

    good = await timed(f"{name} verify", events, verified)
    return await timed(f"{name} check-replay", events, folded) and good


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    given = parser.parse_args()
    events = given.events - given.events % 16
    good = True
    with tempfile.TemporaryDirectory() as folder:
        databases = Databases(Path(folder))
        with databases.sqlite_url() as url:
            good &= asyncio.run(measure("SQLite", url, events))
        with databases.postgres(), databases.postgres_url() as url:
            good &= asyncio.run(measure("Postgres", url, events))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
