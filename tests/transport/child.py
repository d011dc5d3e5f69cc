"""A process that listens and answers, to be stopped and killed: ``python child.py``; it prints its address."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from casty_es.transport.port import Caller
from casty_es.transport.websocket import Identity, listen
from casty_es.transport.wire import Answer, Ask, Locate, Located, Request


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


async def main() -> None:
    """Listen until the input ends."""
    listener = await listen(
        "127.0.0.1",
        0,
        service=Locating(),
        identity=Identity(system="shop", node_id="child"),
        secret=sys.argv[1].encode(),
    )
    print("{}:{}".format(*listener.address), flush=True)  # noqa: T201 - how the test learns it
    await asyncio.to_thread(sys.stdin.read)
    await listener.close()


if __name__ == "__main__":
    asyncio.run(main())
