"""A client has no lease session: it is cut off, what is counted of its leases is written down, and it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from casty_es import Distributed

from .nodes import PATIENT, client, until
from .proxy import behind_proxy

Log: TypeAlias = Callable[..., Awaitable[list[str]]]
InLine: TypeAlias = Callable[..., Awaitable[None]]


async def test_a_client_that_comes_back_within_its_lease_keeps_its_place(
    journal_url: str, log: Log, in_line: InLine
) -> None:
    """Half of its leases had passed: it renews them, holds what it held, and is granted what it waited for."""
    async with (
        behind_proxy(journal_url, lease_seconds=18.0) as (owner, proxy),
        client(owner, contact_points=[("127.0.0.1", proxy.port)]) as cut_off,
    ):
        theirs, ours = Distributed(cut_off), owner.distributed()
        held, busy = theirs.lock("held"), ours.lock("busy")
        await held.acquire()
        await busy.acquire()
        waiting = asyncio.create_task(theirs.lock("busy", timeout=PATIENT).acquire())
        await in_line("lock", "busy", 1)

        async def unheard(number: int) -> bool:
            return [(await log("lock", name)).count("lock.unheard") for name in ("held", "busy")] == [number] * 2

        proxy.swallowed = {True, False}
        await until(lambda: unheard(1))
        proxy.swallowed = set()
        proxy.break_all()
        await until(lambda: unheard(2))  # that it is heard again

        assert await ours.lock("held").locked() is True
        assert held.lost.is_set() is False
        await busy.release()
        await waiting
        assert await held.release() is True
        assert await log("lock", "held") == ["lock.granted", "lock.unheard", "lock.unheard", "lock.released"]
