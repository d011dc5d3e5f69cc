"""A node in a process of its own: it opens a session, takes slots and says so, and says so again when it lost them.

``python node_program.py URL NODE_ID SLOTS SESSION_SECONDS [fork]``. With ``fork`` it forks a child that sleeps, after
everything is held; the child has let go of what it inherited before either of them says a word.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from casty_es.errors import CastyError
from casty_es.journal.sql import SqlJournal
from casty_es.leases.file import FileLeaseManager
from casty_es.leases.postgres import PostgresLeaseManager


def say(*words: object) -> None:
    """Print a line at once."""
    print(*words, flush=True)  # noqa: T201 - what the test reads


def fork(session: Any, journal: SqlJournal) -> None:
    """Fork a child that lets go, as a system does in a forked child, and then sleeps."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        session.abandon_after_fork()
        journal.abandon_after_fork()
        os.write(write, b"1")
        time.sleep(600)
        os._exit(0)
    os.read(read, 1)
    say("child", child)


async def main() -> None:
    """Do what the module says."""
    url, node_id, slots, session_seconds = sys.argv[1:5]
    journal = SqlJournal(url)
    await journal.open()
    if journal.file is not None:
        manager: Any = FileLeaseManager(journal.file, journal)
    else:
        manager = PostgresLeaseManager(url, slots=256, session_seconds=float(session_seconds))
    try:
        session = await manager.open(node_id)
    except CastyError as error:
        say("refused", type(error).__name__)
        return
    held = await session.acquire(range(int(slots)))
    say("held", len(held))
    if "fork" in sys.argv:
        fork(session, journal)
    while not session.lost.done():
        await asyncio.wait({session.lost}, timeout=0.2)
        if "fork" in sys.argv and not session.lost.done():
            say("serves", len(await session.acquire(range(int(slots)))), len(await journal.nodes()))
    say("lost", session.lost.result())


if __name__ == "__main__":
    asyncio.run(main())
