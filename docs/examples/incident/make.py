"""Play an afternoon in a shop into a journal: python docs/examples/incident/make.py sqlite:///incident.db.

The how-to "Answer an auditor" asks about it. Its clock is set, so that everything has the times of that Tuesday; the
events are those that the library writes for anybody.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

from casty_es import ClusteredActorSystem, Distributed, SqlJournal, audit_context
from casty_es.audit.search import Wanted, follow
from casty_es.runtime import SystemRuntime


class SetClock(SystemRuntime):
    """The real ids and salts, and a clock that stands until it is set."""

    def __init__(self) -> None:
        self.set("11:58:00")

    def set(self, time: str) -> None:
        """Set a time of Tuesday, 17 November 2026."""
        self.time = round(datetime.fromisoformat(f"2026-11-17 {time}").replace(tzinfo=UTC).timestamp()) * 1_000_000

    def now(self) -> int:
        """Return the time in microseconds."""
        return self.time


async def sell(d: Distributed, clock: SetClock, sku: str, times: list[str]) -> None:
    """Take orders, and have a mail sent for each."""
    orders, mails = d.counter("orders"), d.queue[str]("mails")
    for time in times:
        clock.set(time)
        with audit_context(actor="web", correlation_id=f"req-{time.replace(':', '')}"):
            number = await orders.increment()
            await mails.enqueue(f"order {number}: {sku}")


async def play(d: Distributed, journal: SqlJournal, clock: SetClock) -> None:
    """Do what happened."""
    prices, mails = d.map[str, int]("prices"), d.queue[str]("mails")
    with audit_context(actor="alice", reason="autumn prices"):
        clock.set("12:00:00")
        await prices.put("sku-1", 1999)
        await prices.put("sku-2", 4900)
    await sell(d, clock, "sku-2", ["12:10:05", "12:31:40", "13:02:11"])

    # A release takes the lock, and a colleague with a hotfix has to wait for it.
    release, hotfix = d.lock("deploy", timeout=60), d.lock("deploy", timeout=60)
    clock.set("13:55:00")
    with audit_context(actor="ci", reason="release 41"):
        await release.acquire()
    clock.set("13:58:20")
    with audit_context(actor="carol", reason="hotfix: price of sku-2"):
        waiting = asyncio.create_task(hotfix.acquire())
    async for _ in follow(journal, Wanted(kind="lock", name="deploy", types=frozenset({"lock.requested"}))):
        break  # she stands in line
    clock.set("14:01:30")
    with audit_context(actor="bob", reason="ticket 881: discount for sku-2"):
        await prices.put("sku-2", 490)
    await sell(d, clock, "sku-2", ["14:02:10", "14:03:45", "14:04:02", "14:06:59"])
    clock.set("14:08:00")
    with audit_context(actor="mailer"):
        for _ in range(4):
            await mails.dequeue()

    clock.set("14:09:30")
    with audit_context(actor="ci", reason="release 41"):
        await release.release()
    await waiting
    clock.set("14:10:15")
    with audit_context(actor="carol", reason="hotfix: price of sku-2"):
        await prices.put("sku-2", 4900)
        clock.set("14:11:00")
        await hotfix.release()
    await sell(d, clock, "sku-1", ["15:20:00"])


async def main(url: str) -> None:
    """Play it into the journal, which must be migrated and empty."""
    clock = SetClock()
    journal = SqlJournal(url)
    async with ClusteredActorSystem(journal=journal, runtime=clock, node_id="shop-1") as system:
        await play(system.distributed(), journal, clock)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
