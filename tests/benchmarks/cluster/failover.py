"""Ours: from the moment a node is killed or frozen to the first acknowledged increment on each of its slots.

Three nodes. One of the survivors, which is this process, has a caller on every slot of the victim, at work all the
time. What counts for a slot is the first increment that began after the victim was struck.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time

from casty_es import Settings
from tests.benchmarks.clock import percentile, tell
from tests.benchmarks.cluster.load import Load
from tests.benchmarks.cluster.processes import cluster

_OTHERS = 2
_REST_SECONDS = 0.02


async def measure(url: str, strike: signal.Signals, times: int, session_seconds: float) -> None:
    settings = Settings(session_seconds=session_seconds)
    back: list[float] = []
    async with cluster(url, _OTHERS, settings=settings) as nodes:
        names = await nodes.take_everything()
        for number in range(times):
            if number:
                await nodes.start()
                await nodes.settled(names)
            victim = next(iter(nodes.others))
            slots = [each for each, owner in (await nodes.owners()).items() if owner == victim]
            struck = {each: names[each] for each in slots}
            async with Load(nodes.here.distributed(), struck, rest=_REST_SECONDS) as load:
                begin = time.monotonic()
                nodes.others[victim].send_signal(strike)
                back += await load.back_after(begin)
            await nodes.end(victim, signal.SIGKILL)
    tell(
        p50_milliseconds=percentile(back, 50) * 1e3,
        p99_milliseconds=percentile(back, 99) * 1e3,
        most_seconds=max(back),
        slots=len(back),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("strike", choices=["kill", "freeze"])
    parser.add_argument("url")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--session-seconds", type=float, default=Settings().session_seconds)
    given = parser.parse_args()
    strike = signal.SIGKILL if given.strike == "kill" else signal.SIGSTOP
    asyncio.run(measure(given.url, strike, given.times, given.session_seconds))


if __name__ == "__main__":
    main()
