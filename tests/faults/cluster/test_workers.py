"""``uvicorn --workers 4``: four processes count on one journal, one of them is killed, and the sum is right."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_ROOT = Path(__file__).parents[3]
_WORKERS = 4
_CLIENTS = 8
_HITS = 60


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[str]:
    """The backend with its workers; gives where it listens, when all of them have started."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "tests.faults.cluster.app:app", "--port", "0", "--workers", str(_WORKERS)),
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT), "CASTY_ES_DATABASE_URL": url},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert process.stderr is not None
    log = b""
    while log.count(b"Application startup complete") < _WORKERS:
        line = await process.stderr.readline()
        assert line, f"the server ended before it was ready:\n{log.decode()}"
        assert b"Application startup failed" not in line, log.decode()
        log += line
    rest = asyncio.create_task(process.stderr.read())
    try:
        running = re.search(rb"running on (http://\S+)", log)
        assert running is not None, log.decode()
        yield running[1].decode()
    finally:
        process.terminate()
        await asyncio.gather(process.wait(), rest)


class Visitors:
    """Clients that count, each over a fresh connection, so that every worker gets some."""

    def __init__(self, address: str) -> None:
        # A connection that is kept would keep its worker.
        self._http = httpx.AsyncClient(
            base_url=address, timeout=30.0, limits=httpx.Limits(max_keepalive_connections=0, max_connections=_CLIENTS)
        )
        self.values: list[int] = []
        self.unknown = 0
        self.workers: set[int] = set()

    async def hit(self) -> None:
        """Count once."""
        try:
            answer = await self._http.post("/")
        except httpx.ConnectError:
            return  # nobody took it
        except httpx.TransportError:
            self.unknown += 1
            return
        if answer.status_code == httpx.codes.OK:
            self.values.append(answer.json()["value"])
            self.workers.add(answer.json()["worker"])
        else:
            self.unknown += 1

    async def until(self, enough: Callable[[], bool]) -> None:
        """Count, all at once, until something holds."""

        async def visit() -> None:
            while not enough():
                await self.hit()

        await asyncio.gather(*(visit() for _ in range(_CLIENTS)))

    async def read(self) -> int:
        """Read the counter."""
        return int((await self._http.get("/")).json()["value"])

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()


async def counted_by_all(url: str) -> None:
    """Count over all workers, kill one of them, count on, and compare."""
    async with serving(url) as address:
        visitors = Visitors(address)
        try:
            # given a count to which every worker has added
            await visitors.until(lambda: len(visitors.workers) == _WORKERS and len(visitors.values) >= _HITS)
            assert await visitors.read() == len(visitors.values)
            # when one of them is killed in the middle, and replaced
            first = set(visitors.workers)
            counting = asyncio.create_task(
                visitors.until(lambda: bool(visitors.workers - first) and len(visitors.values) >= 2 * _HITS)
            )
            os.kill(min(first), signal.SIGKILL)
            await counting
            # then no number was given twice, and the sum is that of the answers, and perhaps of those without one
            assert len(set(visitors.values)) == len(visitors.values)
            assert len(visitors.values) <= await visitors.read() <= len(visitors.values) + visitors.unknown
        finally:
            await visitors.close()


async def test_workers_count_on_a_file_that_is_not_there_yet(sqlite_url: str) -> None:
    """Four workers that start at once on a fresh file migrate it once, and count together."""
    await counted_by_all(sqlite_url)


async def test_workers_count_on_postgres(postgres_journal_url: str) -> None:
    """Four workers count together on Postgres."""
    await counted_by_all(postgres_journal_url)
