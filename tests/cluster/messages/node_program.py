"""The node that is attacked: its own process, so that its memory can be looked at.

It prints its host, its port and its cluster's secret. For every line of its input it prints a JSON array of everything
that was logged as an error.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys

from casty_es import ClusteredActorSystem, SqlJournal

problems: list[str] = []


class Noting(logging.Handler):
    """Keep what is worse than a warning, and everything that asyncio complains about."""

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        if record.levelno > logging.WARNING or record.name == "asyncio":
            problems.append(self.format(record))


async def main() -> None:
    """Run until the input ends."""
    logging.getLogger().addHandler(Noting())
    journal = SqlJournal(sys.argv[1])
    async with ClusteredActorSystem(journal=journal) as system:
        print(*system.self_node, (await journal.secret()).hex(), flush=True)  # noqa: T201 - how the test learns it
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(problems), flush=True)  # noqa: T201 - likewise


if __name__ == "__main__":
    asyncio.run(main())
