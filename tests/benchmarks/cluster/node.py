"""A bare node in a process of its own. It leaves on SIGTERM, or when whoever started it has gone."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import signal
import sys
from pathlib import Path

import msgspec

from casty_es import ClusteredActorSystem, Settings, SqlJournal


async def serve(url: str, node_id: str, settings: Settings, profile: Path | None) -> None:
    loop = asyncio.get_running_loop()
    leave = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, leave.set)
    loop.add_reader(sys.stdin.fileno(), leave.set)  # nothing is ever written to it: it can only end
    async with ClusteredActorSystem(journal=SqlJournal(url), node_id=node_id, settings=settings):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        with contextlib.nullcontext() if profile is None else cProfile.Profile() as profiler:
            await leave.wait()
        loop.remove_reader(sys.stdin.fileno())
    if profile is not None and profiler is not None:
        profiler.dump_stats(profile)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("node_id")
    parser.add_argument("--settings", type=lambda text: msgspec.json.decode(text, type=Settings), default=Settings())
    parser.add_argument("--profile", type=Path)
    given = parser.parse_args()
    asyncio.run(serve(given.url, given.node_id, given.settings, given.profile))


if __name__ == "__main__":
    main()
