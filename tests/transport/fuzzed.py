"""The process that is attacked: it listens, and for every line of its input it prints what it sees of itself.

One JSON object a line: how many frames were decoded, how much memory it has (bytes), how many objects Python keeps, how
many connections it serves, and what went wrong beyond connections that were closed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import traceback
from collections.abc import Callable
from typing import Any

import psutil

from casty_es.transport import served
from casty_es.transport.port import Caller
from casty_es.transport.websocket import Identity, WebSocketListener, listen
from casty_es.transport.wire import Answer, Ask, Locate, Located, Request

decoded = 0
problems: list[str] = []


def counting(decode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Count the calls of a decoder."""

    def count(content: Any) -> Any:
        global decoded  # noqa: PLW0603 - one process, one count
        decoded += 1
        return decode(content)

    return count


class Noting(logging.Handler):
    """Keep what is worse than a warning, and everything that asyncio complains about."""

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        if record.levelno > logging.WARNING or record.name == "asyncio":
            problems.append(record.getMessage())


def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Note what nobody caught, with where it was raised."""
    problems.append(str(context) + "".join(traceback.format_exception(context.get("exception"))))


class Locating:
    """Answers ``Locate``, and holds everything else for ever."""

    def needs_credit(self, request: Request) -> bool:
        """Say that only commands may wait for long."""
        return not isinstance(request, Ask)

    def met(self, node_id: str) -> None:
        """Nothing is noted."""

    def weight(self, _request: Request) -> int:
        """Say that every answer is short."""
        return 0

    def serve(self, request: Request, answer: Callable[[Answer], None], _caller: Caller) -> None:
        """Answer what can be answered."""
        if isinstance(request, Locate):
            answer(Located(request.slot, request.slot))


def look(listener: WebSocketListener) -> str:
    """Return what is to be seen."""
    gc.collect()
    seen = {
        "decoded": decoded,
        "rss": psutil.Process().memory_info().rss,
        "objects": len(gc.get_objects()),
        "connections": listener.connections,
        "problems": problems,
    }
    return json.dumps(seen)


async def main() -> None:
    """Listen until the input ends."""
    logging.getLogger().addHandler(Noting())
    served.read_requests = counting(served.read_requests)
    asyncio.get_running_loop().set_exception_handler(note)
    secret = sys.argv[1].encode()
    who = Identity(system="shop", node_id="fuzzed")
    listener = await listen("127.0.0.1", 0, service=Locating(), identity=who, secret=secret)
    print("{}:{}".format(*listener.address), flush=True)  # noqa: T201 - how the test learns it
    while await asyncio.to_thread(sys.stdin.readline):
        print(look(listener), flush=True)  # noqa: T201 - likewise
    await listener.close()


if __name__ == "__main__":
    asyncio.run(main())
