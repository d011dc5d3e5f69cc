"""Ours: what an auditor asks of a long journal, how long the answers take, and the least that verifying can cost."""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import casty_es
from casty_es import SqlJournal
from casty_es.audit.check_replay import check_replay
from casty_es.audit.verify import verify
from casty_es.journal.migrating import upgrade
from tests.audit.verifying.journals import BEGIN, LongWriter
from tests.benchmarks.clock import peak_mib, percentile, tell

_MOMENTS = 200
_COUNTERS = 8
_PAGE = 5_000
_SNAPSHOT_EVERY = 10_000


async def written(url: str, events: int, counters: int, snapshot_every: int) -> None:
    """Write the journal, unless it is there."""
    await asyncio.to_thread(upgrade, url)
    journal = SqlJournal(url)
    await journal.open()
    there = await journal.structure_rows()
    await journal.close()
    if not there:
        await LongWriter(url, counters=counters, snapshot_every=snapshot_every).write(events)


async def verified(url: str, events: int) -> None:
    """Walk through everything in one process, the one that is measured."""
    report = await verify(url)
    if report.findings or report.records < events - _COUNTERS:
        raise SystemExit(f"{report.records} records, {report.findings}: nothing was measured.")
    tell(per_second=report.records_per_second, peak_mib=peak_mib(), operations=report.records)


async def folded(url: str, events: int) -> None:
    """Fold everything with the installed code, in one process."""
    begin = time.perf_counter()
    report = await check_replay(url)
    took = time.perf_counter() - begin
    if not report.ok or report.events < events - _COUNTERS:
        raise SystemExit(f"{report.events} events, {report.differences}: nothing was measured.")
    tell(per_second=report.events / took, peak_mib=peak_mib(), operations=report.events)


async def floor(url: str, events: int) -> None:
    """Only read all rows, and compute three SHA-256 for each: those of a payload and of its record."""
    journal = SqlJournal(url)
    meta = await journal.open()
    begin, count = time.perf_counter(), 0
    for slot in range(meta.slots):
        after, previous = 0, bytes(96)
        while rows := await journal.rows(slot, after=after, limit=_PAGE):
            for row in rows:
                inner = sha256(previous + row[7].encode()).digest()
                previous = sha256(previous + sha256(previous + inner).digest()).digest() * 3
            after, count = rows[-1][1], count + len(rows)
    took = time.perf_counter() - begin
    await journal.close()
    if count < events - _COUNTERS:
        raise SystemExit(f"{count} records: nothing was measured.")
    tell(per_second=count / took, peak_mib=peak_mib(), operations=count)


async def travelled(url: str, events: int) -> None:
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
    parser.add_argument("action", choices=["build", "verify", "check-replay", "floor", "travel"])
    parser.add_argument("url")
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--counters", type=int, default=_COUNTERS)
    given = parser.parse_args()
    every = casty_es.Settings().snapshot_events if given.counters == 1 else _SNAPSHOT_EVERY
    asyncio.run(written(given.url, given.events, given.counters, every))
    work = {"verify": verified, "check-replay": folded, "floor": floor, "travel": travelled}.get(given.action)
    if work is None:
        tell(operations=given.events)
    else:
        asyncio.run(work(given.url, given.events))


if __name__ == "__main__":
    main()
