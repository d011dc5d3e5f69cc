"""A small journal with a row in every table, in which nothing is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from casty_es import Settings, SqlJournal, connect
from casty_es.access import EVERYTHING, Scopes, Token
from casty_es.audit.redaction import redact
from casty_es.audit.retention import parse_keep, run_retention, set_retention
from casty_es.context import audit_context
from casty_es.journal.access_tables import AccessTables
from casty_es.journal.port import EntityName, NodeRow, SlotRow

__all__ = ["ARCHIVES", "SLOTS", "write_full_journal"]

SLOTS: Final = 4
ARCHIVES: Final = "archives"
_WHEN: Final = 1_763_380_800_000_000

_SET_ASIDE: Final = """
    INSERT INTO casty_retired_salts (entity, through, salt)
    SELECT id, salted_from, salt FROM casty_entities WHERE salted_from > 0"""
_CLOSED: Final = """
    INSERT INTO casty_closed_slots (slot, incarnation, position, hash, found, node_id, closed_at)
    SELECT slot, 1, position, hash, 0, 'node-a', 1763380800000000 FROM casty_events WHERE position = 1 AND slot = 0"""


async def write_full_journal(url: str, folder: Path) -> None:
    """Use every structure, cut some events, redact a set, and leave something in every table."""
    async with connect(url, settings=Settings(snapshot_events=5)) as d:
        hits = d.counter("hits")
        for number in range(30):
            await hits.increment(idempotency_key=f"order-{number}" if number % 10 == 0 else None)
        users = d.map[str, dict]("users")
        with audit_context(actor="ann", reason="a test"):
            for number in range(4):
                await users.put("alice", {"number": number})
                await users.put("bob", {"number": number})
        tags, jobs = d.set[str]("tags"), d.queue[int]("jobs")
        for number in range(12):
            await tags.add(f"tag-{number}")
            await jobs.enqueue(number)
        await jobs.dequeue()
        lock, seats = d.lock("deploy"), d.semaphore("seats", permits=2)
        await lock.acquire()
        await seats.acquire()
        await d.barrier("start", node_id="a").arrive(1)
        await lock.release()
        await seats.release()
        journal = SqlJournal(url)
        await journal.open()
        try:
            await set_retention(journal, "counter", "hits", parse_keep("10"))
            (folder / ARCHIVES).mkdir(exist_ok=True)
            await run_retention(d.gateway, journal, folder / ARCHIVES, pace=0)
            await redact(d.gateway, journal, EntityName("set", "tags", ""), reason="a test")
        finally:
            await journal.close()
    await _leave_traces(url)


async def _leave_traces(url: str) -> None:
    """Leave what a living cluster or an interrupted redaction would: nothing of it is wrong."""
    journal = SqlJournal(url)
    await journal.open()
    try:
        for slot, node in enumerate(("node-a", "node-b")):
            await journal.register_node(NodeRow(node, f"host-{slot}", 7, None, _WHEN, _WHEN))
            await journal.save_slots([SlotRow(slot, node, None, 1, _WHEN)])
        await journal.maintain([(_SET_ASIDE, ()), (_CLOSED, ())])
        for name in ("reader", "other"):
            token = Token.make().grant(name, Scopes(read=(EVERYTHING,)), created_at=_WHEN)
            await AccessTables(journal).add(token)
    finally:
        await journal.close()
