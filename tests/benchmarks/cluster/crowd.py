"""Ours: what many nodes cost one Postgres while nobody asks them for anything. Each node is a process.

First every slot is taken and every node has written. The connections are those whose application name begins with
``casty_es``. The queries are the transactions that Postgres counted for the database: outside a transaction block,
each statement is one.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from urllib.parse import urlsplit

import asyncpg

from casty_es.journal.urls import postgres_dsn
from tests.benchmarks.clock import tell
from tests.benchmarks.cluster.processes import cluster

# A session reports what it did within a second, if it does something else then, as every node does.
_REPORTED_SECONDS = 2.0
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'casty\\_es%'"
_TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1"


async def measure(url: str, nodes: int, seconds: float) -> None:
    address = urlsplit(postgres_dsn(url))
    # From another database, so that what asks is not counted.
    watcher = await asyncpg.connect(address._replace(path="/postgres").geturl())
    database = address.path.removeprefix("/")
    async with cluster(url, nodes - 1) as crowd:
        await crowd.take_everything()
        await asyncio.sleep(_REPORTED_SECONDS)
        before, begin = await watcher.fetchval(_TRANSACTIONS, database), time.monotonic()
        most = 0
        while time.monotonic() < begin + seconds:
            most = max(most, await watcher.fetchval(_CONNECTIONS, database))
            await asyncio.sleep(seconds / 20)
        after, took = await watcher.fetchval(_TRANSACTIONS, database), time.monotonic() - begin
    await watcher.close()
    tell(connections=most / nodes, queries_per_second=(after - before) / took / nodes, nodes=nodes)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(measure(given.url, given.nodes, given.seconds))


if __name__ == "__main__":
    main()
