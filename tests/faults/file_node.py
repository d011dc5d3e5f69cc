"""A node on an SQLite file in a process of its own, which does what it is told, one line at a time.

``python -m tests.faults.file_node URL``. It prints ``{}`` when it runs. Then each line of its input is answered by one
line: ``increment``, ``get`` and ``acquire`` by ``{"told": …}``, or ``{"error": …, "text": …}``; ``close`` ends it in
order.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import casty_es
from casty_es.errors import CastyError


async def answer(d: casty_es.Distributed, command: str) -> dict[str, Any]:
    """Do one thing, and say what was said of it."""
    try:
        match command:
            case "increment":
                return {"told": await d.counter("c").increment()}
            case "get":
                return {"told": await d.counter("c").get()}
            case "acquire":
                return {"told": await d.lock("l", timeout=2.0).acquire()}
    except CastyError as error:
        return {"error": type(error).__name__, "text": str(error)}
    raise AssertionError(command)


async def main() -> None:
    """Do what the module says."""
    async with casty_es.connect(sys.argv[1]) as d:
        print("{}", flush=True)  # noqa: T201 - what the test reads
        while (command := (await asyncio.to_thread(sys.stdin.readline)).strip()) not in {"", "close"}:
            print(json.dumps(await answer(d, command)), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    asyncio.run(main())
