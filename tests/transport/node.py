"""A node that is watched: ``python node.py URL [SPARE]``.

It says where it is, and runs until its input ends. With SPARE it can open so many more descriptors.
Its map ``big`` has one key, whose value is about a megabyte long and was put many times.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

from casty_es import ClusteredActorSystem, SqlJournal

KEY = "k"
VALUE_BYTES = 1_000_000
PUTS = 12


def leave(spare: int) -> None:
    """Leave room for so many more descriptors."""
    most = max(int(file.name) for file in Path("/proc/self/fd").iterdir()) + spare
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def main(url: str, spare: str = "") -> None:
    """Run until the input ends."""
    journal = SqlJournal(url)
    async with ClusteredActorSystem(journal=journal, name="shop") as system:
        d = system.distributed()
        for number in range(PUTS):
            await d.map[str, str]("big").put(KEY, f"{number:_>{VALUE_BYTES}}")
        await d.counter("hits").increment()
        secret = await journal.secret()
        if spare:
            leave(int(spare))
        print("{}:{}".format(*system.self_node), secret.hex(), flush=True)  # noqa: T201 - how the test learns it
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
