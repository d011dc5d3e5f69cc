"""Ours: increments of one counter alone, and beside a verification or a retention run over a long journal, in turns."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator

import casty_es
from casty_es import SqlJournal
from casty_es.audit.retention import set_retention
from tests.benchmarks.audit.long import written
from tests.benchmarks.clock import for_seconds, tell

_CALLERS = 100
_TURNS = 3
_COUNTERS = 8
_KEPT = 10
_COMMAND = "from casty_es.cli import main; main()"


@contextlib.asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[None]:
    """Run ``casty-es`` with these arguments, again and again, until the block ends."""

    async def run() -> None:
        while True:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _COMMAND, *arguments, stdout=asyncio.subprocess.DEVNULL
            )
            try:
                code = await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            if code:
                raise SystemExit(f"casty-es {' '.join(arguments)} ended with {code}: nothing was measured.")

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def measure(url: str, seconds: float, command: list[str]) -> None:
    alone, beside = [], []
    async with casty_es.connect(url) as d:
        counter = d.counter("load")
        await for_seconds(counter.increment, callers=_CALLERS, seconds=seconds / 4)
        for _ in range(_TURNS):
            done, took = await for_seconds(counter.increment, callers=_CALLERS, seconds=seconds)
            alone.append(done / took)
            async with running(*command, "--url", url):
                done, took = await for_seconds(counter.increment, callers=_CALLERS, seconds=seconds)
            beside.append(done / took)
    tell(
        kept=100 * statistics.median(one / other for one, other in zip(beside, alone, strict=True)),
        alone=statistics.median(alone),
        beside=statistics.median(beside),
    )


async def prepare(url: str, events: int) -> None:
    await written(url, events, _COUNTERS, 10_000)
    journal = SqlJournal(url)
    await journal.open()
    for number in range(_COUNTERS):
        await set_retention(journal, "counter", f"hits-{number}", _KEPT)
    await journal.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["verify", "retention"])
    parser.add_argument("url")
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(prepare(given.url, given.events))
    with tempfile.TemporaryDirectory() as folder:
        command = (
            ["verify", "--processes", "1"] if given.what == "verify" else ["retention", "run", "--archive", folder]
        )
        asyncio.run(measure(given.url, given.seconds, command))


if __name__ == "__main__":
    main()
