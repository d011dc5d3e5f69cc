"""Ours: how long a slot stands still when it is handed over, because a node joins, or because its node leaves.

Two nodes own all slots, and one of them, which is this process, has a caller on every fourth. A third node joins and
leaves again. What counts for a slot that moved is the longest time between two of its replies, the rest of its caller
included.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time

from tests.benchmarks.clock import percentile, tell
from tests.benchmarks.cluster.load import Load
from tests.benchmarks.cluster.processes import Cluster, cluster

_REST_SECONDS = 0.02
_EVERY = 4


async def measure(url: str, times: int) -> None:
    joined: list[float] = []
    left: list[float] = []
    async with cluster(url, 1) as nodes:
        names = {number: name for number, name in (await nodes.take_everything()).items() if number % _EVERY == 0}
        async with Load(nodes.here.distributed(), names, rest=_REST_SECONDS) as load:
            for _ in range(times):
                before = await nodes.owners()
                [joiner] = await nodes.start()
                load.reset()  # what its start cost the processors is not the handover's
                joined += await _gaps_of_moved(nodes, load, names, before)
                before = await nodes.owners()
                load.reset()
                await nodes.end(joiner, signal.SIGTERM)
                left += await _gaps_of_moved(nodes, load, names, before)
    tell(
        joined_p50=percentile(joined, 50) * 1e3,
        joined_most=max(joined) * 1e3,
        left_p50=percentile(left, 50) * 1e3,
        left_most=max(left) * 1e3,
        slots=len(joined) + len(left),
    )


async def _gaps_of_moved(nodes: Cluster, load: Load, names: dict[int, str], before: dict[int, str]) -> list[float]:
    owners = await nodes.settled(names)
    await load.back_after(time.monotonic())  # a gap is known when the reply after it is there
    return [load.gap(number) for number in names if owners[number] != before[number]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--times", type=int, default=1)
    given = parser.parse_args()
    asyncio.run(measure(given.url, given.times))


if __name__ == "__main__":
    main()
