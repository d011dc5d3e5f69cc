"""Postgres through asyncpg: one row that ten connections update, or one connection that inserts a row at a time."""

from __future__ import annotations

import argparse
import asyncio
import time

import asyncpg

from casty_es.journal.port import RecordedEvent
from casty_es.journal.urls import postgres_dsn
from tests.benchmarks.clock import for_seconds, tell
from tests.benchmarks.peers.rows import rows

_CONNECTIONS = 10
_COLUMNS = RecordedEvent.__struct_fields__
_INSERT = (
    f"INSERT INTO casty_events ({', '.join(_COLUMNS)}) "
    f"VALUES ({', '.join(f'${number}' for number in range(1, len(_COLUMNS) + 1))})"
)
_UPDATE = "UPDATE bench_counter SET v = v + 1 WHERE id = 1 RETURNING v"
_WARM_UP_SHARE = 0.1


async def updates(dsn: str, seconds: float) -> None:
    """Ten connections, each waiting for its own update before the next."""
    connections = [await asyncpg.connect(dsn) for _ in range(_CONNECTIONS)]
    await connections[0].execute("CREATE TABLE bench_counter (id int PRIMARY KEY, v bigint NOT NULL)")
    await connections[0].execute("INSERT INTO bench_counter VALUES (1, 0)")
    prepared = [await connection.prepare(_UPDATE) for connection in connections]

    async def all_connections(seconds: float) -> tuple[int, float]:
        begin = time.perf_counter()
        each = [for_seconds(statement.fetchval, callers=1, seconds=seconds) for statement in prepared]
        done = sum(count for count, _ in await asyncio.gather(*each))
        return done, time.perf_counter() - begin

    warm, _ = await all_connections(seconds * _WARM_UP_SHARE)
    done, took = await all_connections(seconds)
    value = await connections[0].fetchval("SELECT v FROM bench_counter")
    for connection in connections:
        await connection.close()
    if value != warm + done:
        raise SystemExit(f"The row holds {value} after {warm + done} updates: nothing was measured.")
    tell(per_second=done / took, operations=done)


async def inserts(dsn: str, seconds: float) -> None:
    """One connection, one prepared insert at a time, each its own transaction."""
    connection = await asyncpg.connect(dsn)
    prepared = await connection.prepare(_INSERT)
    source = rows()

    async def insert() -> None:
        await prepared.fetch(*next(source))

    await for_seconds(insert, callers=1, seconds=seconds * _WARM_UP_SHARE)
    done, took = await for_seconds(insert, callers=1, seconds=seconds)
    await connection.close()
    tell(microseconds=took / done * 1e6, per_second=done / took, operations=done)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["updates", "inserts"])
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    asyncio.run((updates if given.action == "updates" else inserts)(postgres_dsn(given.url), given.seconds))


if __name__ == "__main__":
    main()
