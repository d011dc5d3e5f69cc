"""A process that works on a journal until it is killed, and tells every call and every answer on its standard output.

Run as ``python -m tests.faults.load URL SEED`` in the project's folder. A line is written by one ``os.write`` before
a command is sent, and another right after its caller was answered, so what is on the pipe outlives any kill.
"""

from __future__ import annotations

import asyncio
import os
import sys
from random import Random
from typing import TYPE_CHECKING

from casty_es import ClusteredActorSystem, Distributed
from casty_es.config import Settings
from casty_es.journal.sql import SqlJournal
from tests import short_leases  # noqa: F401 - imported for what it does

from .mixed import Caller
from .recording import Recorder, to_line

if TYPE_CHECKING:
    from .recording import Operation

CALLERS = 6
# Short leases: what a killed process held is free again for the next. Few events a snapshot: some kills meet one.
SETTINGS = Settings(snapshot_events=20, lease_seconds=1.0)


def tell(operation: Operation) -> None:
    """Write an operation to the parent."""
    os.write(sys.stdout.fileno(), to_line(operation))


async def main(url: str, seed: int) -> None:
    """Use everything for ever."""
    async with ClusteredActorSystem(journal=SqlJournal(url), settings=SETTINGS) as system:
        d = Distributed(Recorder(system, tell))
        dice = [Random(seed + number) for number in range(CALLERS)]  # noqa: S311 - a load, not a secret
        await asyncio.gather(*(Caller(d, number).forever(dice[number]) for number in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
