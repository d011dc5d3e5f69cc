"""One caller that inserts and commits one row of the journal's table at a time, in SQLite.

``aiosqlite``: ``execute`` and ``commit``, as its documentation shows: two hops to its thread.
``one-hop``: BEGIN IMMEDIATE, INSERT and COMMIT by ``sqlite3`` in one call of ``run_in_executor``.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import aiosqlite

from casty_es.journal.port import EventRow, RecordedEvent
from casty_es.journal.urls import sqlite_file
from tests.benchmarks.clock import for_seconds, tell
from tests.benchmarks.peers.rows import rows

_COLUMNS = RecordedEvent.__struct_fields__
_INSERT = f"INSERT INTO casty_events ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_SETTINGS = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA cache_size = -8192")
_WARM_UP_SHARE = 0.1


async def _measure(insert: Callable[[], Awaitable[object]], seconds: float) -> None:
    await for_seconds(insert, callers=1, seconds=seconds * _WARM_UP_SHARE)
    done, took = await for_seconds(insert, callers=1, seconds=seconds)
    tell(microseconds=took / done * 1e6, per_second=done / took, operations=done)


async def with_aiosqlite(file: str, seconds: float) -> None:
    async with aiosqlite.connect(file) as connection:
        for setting in _SETTINGS:
            await connection.execute(setting)
        source = rows()

        async def insert() -> None:
            await connection.execute(_INSERT, next(source))
            await connection.commit()

        await _measure(insert, seconds)


async def with_one_hop(file: str, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    source = rows()
    with ThreadPoolExecutor(max_workers=1) as thread:
        connection = await loop.run_in_executor(thread, lambda: sqlite3.connect(file, isolation_level=None))

        def write(row: EventRow) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_INSERT, row)
            connection.execute("COMMIT")

        for setting in _SETTINGS:
            await loop.run_in_executor(thread, connection.execute, setting)
        await _measure(lambda: loop.run_in_executor(thread, write, next(source)), seconds)
        await loop.run_in_executor(thread, connection.close)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("driver", choices=["aiosqlite", "one-hop"])
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    measure = with_aiosqlite if given.driver == "aiosqlite" else with_one_hop
    asyncio.run(measure(str(sqlite_file(given.url)), given.seconds))


if __name__ == "__main__":
    main()
