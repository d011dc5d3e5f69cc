"""A journal with a known incident: what the page of queries asks about, written by nodes whose clock is set."""

from __future__ import annotations

import asyncio
from typing import Any

from casty_es import ClusteredActorSystem, Distributed, Settings, SqlJournal, audit_context
from casty_es.audit.seals import rows_digest, state_digest
from casty_es.domain.upkeep import Redact, Seal
from casty_es.format.redacted import redacted_text
from casty_es.journal.port import SealRow

from .conftest import NOON, SetClock
from .verifying.tampering import Tamperer

SECOND = 1_000_000
CUT = 3


async def write_incident(url: str) -> None:
    """Write what happened on 17 November 2025."""
    clock = SetClock()
    async with node(url, clock, "node-a") as system:
        d = system.distributed()
        await count(d, clock)
        await change_users(d, clock)
        await hold_locks(d, clock)
        await work_off_jobs(d, clock)
    async with node(url, clock, "node-b") as system:
        d = system.distributed()
        await after_the_restart(d, clock)
    await cut_and_lose(url)


def node(url: str, clock: SetClock, name: str) -> ClusteredActorSystem:
    """Make a node with a clock that is set."""
    settings = Settings(membership_seconds=0.2)
    return ClusteredActorSystem(journal=SqlJournal(url), runtime=clock, node_id=name, settings=settings)


def at(clock: SetClock, minute: int, second: int = 0) -> None:
    """Set the clock to a time after noon."""
    clock.time = NOON + (minute * 60 + second) * SECOND


async def count(d: Distributed, clock: SetClock) -> None:
    """Refunds, the second of which is under the same key again; and visits, the first of which will be cut."""
    at(clock, 0)
    with audit_context(actor="alice", reason="refund of order 4711", correlation_id="req-81"):
        await d.counter("refunds").increment(20, idempotency_key="order-4711")
    at(clock, 0, 10)
    with audit_context(actor="bob"):
        await d.counter("refunds").increment(5)
        await d.counter("refunds").increment(20, idempotency_key="order-4711")
    for _ in range(CUT + 1):
        await d.counter("visits").increment()


async def change_users(d: Distributed, clock: SetClock) -> None:
    """A user is changed twice, another is deleted, a third is forgotten."""
    users = d.map[str, Any]("users")
    at(clock, 1)
    with audit_context(actor="alice"):
        await users.put("alice", {"limit": 100})
        await users.put("carol", {"limit": 50})
        await users.put("dave", {"limit": 70})
    at(clock, 2)
    with audit_context(actor="mallory", reason="typo"):
        await users.put("alice", {"limit": 9000})
        await users.delete("dave")


async def hold_locks(d: Distributed, clock: SetClock) -> None:
    """One holds the lock while another waits; the third still holds it. A permit is never given back."""
    first, second = d.lock("deploy"), d.lock("deploy")
    at(clock, 3)
    with audit_context(actor="ci-1"):
        await first.acquire()
    at(clock, 3, 5)
    with audit_context(actor="ci-2"):
        waiting = asyncio.create_task(second.acquire())
    await until_requested(d)
    at(clock, 4)
    with audit_context(actor="ci-1"):
        await first.release()
    await waiting
    at(clock, 6)
    await second.release()
    at(clock, 7)
    with audit_context(actor="ci-3"):
        await d.lock("deploy").acquire()
        await d.semaphore("seats", permits=2).acquire()


async def until_requested(d: Distributed) -> None:
    """Wait until somebody stands in line for the lock."""
    while "lock.requested" not in [event.type async for event in d.lock("deploy").history()]:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)


async def work_off_jobs(d: Distributed, clock: SetClock) -> None:
    """A job is put in and taken out, and then once more."""
    jobs = d.queue[str]("jobs")
    for second, item in enumerate(("invoice-1", "invoice-2", "invoice-1")):
        at(clock, 10, second)
        await jobs.enqueue(item)
    for second in range(3):
        at(clock, 10, 10 + second)
        with audit_context(actor=f"worker-{second}"):
            await jobs.dequeue()
    at(clock, 11)
    await jobs.enqueue("invoice-3")
    await d.set[str]("tags").add("vip")
    await d.set[str]("tags").add("lost")
    await d.set[str]("tags").add("new")
    await d.barrier("start").arrive(1)


async def after_the_restart(d: Distributed, clock: SetClock) -> None:
    """The other node counts on, and forgets a user."""
    at(clock, 60 * 24)
    with audit_context(actor="bob"):
        await d.counter("refunds").increment(1, idempotency_key="order-4712")
    at(clock, 60 * 24 + 1)
    with audit_context(actor="dpo"):
        await d.map[str, Any]("users")._ask_key("carol", Redact("erasure request 17"))


async def cut_and_lose(url: str) -> None:
    """Scrub the user, cut the first visits behind a seal, and let a record vanish that nobody sealed."""
    tamperer = Tamperer(url)
    await scrub(tamperer)
    first = await tamperer.place("counter", "visits", 1)
    mine = f"entity = {first.entity} AND sequence <= {CUT}"
    rows = await tamperer.run(f"SELECT position, hash FROM casty_events WHERE slot = {first.slot}")
    hashes = {position: bytes(hash_) for position, hash_ in rows}
    [(salt,)] = await tamperer.run(f"SELECT salt FROM casty_entities WHERE id = {first.entity}")
    last = first.position + CUT - 1
    seal = SealRow(first.position, last, first.entity, hashes[first.position - 1], hashes[last], CUT)
    state = f'{{"value":{CUT},"exists":true}}'
    clock = SetClock()
    at(clock, 60 * 24 + 2)
    async with node(url, clock, "node-b") as system:
        archive = ("visits.jsonl.gz", "ab" * 32)
        await (
            system.distributed()
            .counter("visits")
            ._ask(Seal(CUT, CUT, rows_digest([seal]), state_digest(bytes(salt), state), *archive))
        )
    [(by,)] = await tamperer.run(f"SELECT max(sequence) FROM casty_events WHERE entity = {first.entity}")
    hashes_as = f"{tamperer.bytes_as(seal.previous_hash.hex())}, {tamperer.bytes_as(seal.hash.hex())}"
    lost = await tamperer.place("set", "tags", 2)
    await tamperer.run(
        f"INSERT INTO casty_snapshots VALUES ({first.entity}, {CUT}, '{state}', 1, 0)",
        f"INSERT INTO casty_seals VALUES ({first.slot}, {first.position}, {last}, {first.entity}, {hashes_as}, {by})",
        f"DELETE FROM casty_events WHERE {mine}",
        f"DELETE FROM casty_events WHERE entity = {lost.entity} AND sequence = 2",
    )


async def scrub(tamperer: Tamperer) -> None:
    """Replace what was forgotten by a digest, as a redaction does."""
    [(entity, through)] = await tamperer.run("SELECT id, salted_from FROM casty_entities WHERE salted_from > 0")
    await tamperer.run(
        f"UPDATE casty_events SET payload = '{redacted_text(bytes(32))}', metadata = '{redacted_text(bytes(32))}' "
        f"WHERE entity = {entity} AND sequence < {through}",
        f"DELETE FROM casty_retired_salts WHERE entity = {entity}",
    )
