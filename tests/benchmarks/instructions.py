"""``python -m tests.benchmarks.instructions``: what an increment costs in instructions, which no busy machine changes.

100 callers increment one counter in an SQLite file under valgrind's callgrind, a few times and many times; the
difference is the increments' alone. Once with the trigger that refuses INSERT OR REPLACE, and once without it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from casty_es import SqlJournal, connect

_CALLERS: Final = 100
_FEW, _MANY = 20, 120
_TRIGGER: Final = "casty_events_refuse_replace"
_PATIENCE_SECONDS: Final = 600.0  # valgrind is some fifty times slower than the machine


async def _increment(url: str, rounds: int, *, guarded: bool) -> None:
    async with connect(url) as d:
        if not guarded:
            journal = SqlJournal(url)
            await journal.open()
            await journal.maintain([(f"DROP TRIGGER {_TRIGGER}", ())])
            await journal.close()
        counter = d.counter("hits", timeout=_PATIENCE_SECONDS)

        async def caller() -> None:
            for _ in range(rounds):
                await counter.increment()

        async with asyncio.TaskGroup() as callers:
            for _ in range(_CALLERS):
                callers.create_task(caller())


def _instructions(rounds: int, *, guarded: bool) -> int:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'casty.db'}"
        program = [sys.executable, "-m", "tests.benchmarks.instructions", url, str(rounds), str(int(guarded))]
        told = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *program],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            check=True,
            capture_output=True,
            text=True,
        ).stderr
    found = re.search(r"Collected : (\d+)", told)
    assert found is not None, told
    return int(found[1])


def main() -> int:
    """Print both numbers; 1 where there is no valgrind."""
    if len(sys.argv) > 1:
        asyncio.run(_increment(sys.argv[1], int(sys.argv[2]), guarded=sys.argv[3] == "1"))
        return 0
    if shutil.which("valgrind") is None:
        sys.stderr.write("There is no valgrind, which counts instructions. Nothing was measured.\n")
        return 1
    for guarded in (True, False):
        few, many = (_instructions(rounds, guarded=guarded) for rounds in (_FEW, _MANY))
        each = (many - few) / (_CALLERS * (_MANY - _FEW))
        sys.stdout.write(f"{each:,.0f} instructions an increment, {'with' if guarded else 'without'} the trigger\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
