"""A program that exports, imports or copies, and stops at a certain chunk until it is killed.

``python -m tests.audit.transfer.child export URL FILE N``: at the N-th write it says so and waits for its end.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from casty_es.audit.transfer import copy_journal, export_journal, filling, import_journal, jsonl, parquet, slot_pages
from casty_es.journal import restoring


def stopping(write: Callable[..., Any], last: int) -> Callable[..., Any]:
    """Return a function that never comes back from its last call, when that is done."""
    calls = 0

    def stop(*arguments: Any) -> Any:
        nonlocal calls
        result = write(*arguments)
        calls += 1
        if calls == last:
            sys.stdout.write("stopped\n")
            sys.stdout.flush()
            while True:
                time.sleep(60)
        return result

    return stop


def stopping_later(write: Callable[..., Any], last: int) -> Callable[..., Any]:
    """Return the same for a coroutine."""
    stop = stopping(lambda: None, last)

    async def write_and_stop(*arguments: Any) -> None:
        await write(*arguments)
        stop()

    return write_and_stop


def small() -> None:
    """Make pages and chunks so small that a small journal has many."""
    jsonl._CHUNK = 2_000  # type: ignore[misc]
    parquet._ROWS = 10  # type: ignore[misc]
    slot_pages._PAGE = 5  # type: ignore[misc]
    filling._EVENTS = filling._OTHERS = 5  # type: ignore[misc]


def main() -> None:
    """Do what the arguments say."""
    action, source, target, last = sys.argv[1:]
    small()
    for owner, name in (
        (jsonl.JsonLinesWriter, "write"),
        (parquet.ParquetWriter, "write"),
        (restoring._Sqlite, "_write"),
    ):
        setattr(owner, name, stopping(getattr(owner, name), int(last)))
    restoring._Postgres.write = stopping_later(restoring._Postgres.write, int(last))  # type: ignore[method-assign]
    if action == "export":
        asyncio.run(export_journal(source, Path(target)))
    elif action == "import":
        asyncio.run(import_journal(Path(source), target))
    else:
        asyncio.run(copy_journal(source, target))


if __name__ == "__main__":
    main()
