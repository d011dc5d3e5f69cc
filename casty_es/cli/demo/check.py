"""Reading everything back after a fresh start, and comparing it with what was acknowledged.

Every acknowledged operation must be there. What is there without an acknowledgement must be one of the operations that
were under way at the kill. Nothing may be there twice. The comparison is pure; ``look`` reads through the public
interface, and the log behind it record by record.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from casty_es.audit.verify import verify
from casty_es.cli.demo.load import (
    PERMITS,
    VERIFIER,
    Acknowledged,
    Operation,
    Record,
    Structures,
    acknowledge,
    opened,
    read_ledger,
    system_on,
)
from casty_es.journal.port import ENTITY_NUMBER_BITS, EntityName, EventJournal
from casty_es.journal.sql import SqlJournal
from casty_es.names import decode_key, encode_key
from casty_es.replay import events

T = TypeVar("T")
A = TypeVar("A")

_AT_ONCE: Final = 500  # commands in flight while things are read back
_PAGE: Final = 1_000


class Found(msgspec.Struct, frozen=True):
    """What the structures hold."""

    page_views: int
    users: dict[str, Any]  # the values of the map's keys, as ``get`` gives them
    tags: frozenset[str]  # those of the tags asked for that are in the set; ``tags_size`` counts all
    tags_size: int
    balance: int
    token: int  # a token that was granted just now
    uploads: int
    permits: int  # how many permits could be held at once
    taken: list[str]  # every job that left the queue, as the journal has it. The queue is empty.


class Chains(msgspec.Struct):
    """What of the log was gone through: how many slots and records hold the entities, and what does not fit."""

    slots: int
    records: int = 0
    wrong: list[str] = []


class Look(msgspec.Struct, frozen=True):
    """What was found, and how long that took."""

    found: Found
    record: Record  # the ledger, with the jobs that were taken off the queue in order to see them
    chains: Chains
    # From opening the journal until the counters, the set, the queue and the balance had answered.
    replay_seconds: float
    seconds: float  # until everything had been read back, in seconds


class Row(msgspec.Struct):
    """One structure's count: what was told, is there, and was under way at a kill; what is missing or else wrong."""

    structure: str
    counted: str
    acknowledged: int
    found: int
    in_flight: int
    missing: list[str] = []
    wrong: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether everything fits."""
        return not self.missing and not self.wrong


async def look(url: str, folder: Path, prefix: str) -> Look:
    """Open the journal, read everything back, and see that the killed process holds nothing any more."""
    started = time.perf_counter()
    record = read_ledger(folder)
    began = time.perf_counter()
    journal = SqlJournal(url)
    async with system_on(journal) as system:
        structures = Structures(system.distributed(), prefix)
        page_views, uploads, balance, tags_size, jobs = await asyncio.gather(
            structures.page_views.get(),
            structures.uploads.get(),
            structures.accounts.get("balance"),
            structures.tags.size(),
            structures.jobs.size(),
        )
        replay_seconds = time.perf_counter() - began
        holding = asyncio.gather(_token(structures), _permits(structures))
        keys = await _keys(journal, f"{prefix}users")
        users = dict(zip(keys, await _each(keys, structures.users.get), strict=True))
        asked = [_labelled("tag", one) for one in (*_told(record, "add"), *_under_way(record, "add"))]
        members = await _each(asked, structures.tags.contains)
        await _drain(structures, folder, record, jobs)
        token, permits = await holding
        taken = await _taken(journal, f"{prefix}jobs")
        chains = await check_chains(journal, _entities(prefix, keys))
    tags = frozenset(tag for tag, there in zip(asked, members, strict=True) if there)
    found = Found(page_views, users, tags, tags_size, balance or 0, token, uploads, permits, taken)
    return Look(found, read_ledger(folder), chains, replay_seconds, time.perf_counter() - started)


async def check_chains(journal: EventJournal, names: Sequence[EntityName]) -> Chains:
    """Verify the slots that hold these entities."""
    slots: set[int] = set()
    for start in range(0, len(names), _PAGE):
        stored = await journal.entities(names[start : start + _PAGE])
        slots |= {row.id >> ENTITY_NUMBER_BITS for row in stored if row is not None}
    report = await verify(journal, slots=slots)
    return Chains(report.slots, report.records, [f"{one.where}: {one.text}" for one in report.findings])


def compare(record: Record, found: Found) -> list[Row]:
    """Compare; return a row for each structure."""
    return [
        _tally("counter page-views", "increments", "increment", record, found.page_views),
        _users(record, found),
        _tags(record, found),
        _jobs(record, found),
        _lock(record, found),
        _semaphore(record, found),
    ]


def gap_seconds(record: Record, killed_at: float) -> float:
    """Return the longest time without an acknowledged increment that ended after the kill, in seconds."""
    times = sorted(ack.at for ack in _of(record, "increment"))
    return max((later - earlier for earlier, later in pairwise(times) if later > killed_at), default=0.0)


def often(values: Iterable[T]) -> list[tuple[T, int]]:
    """Return what is there more than once, and how often."""
    return [(value, times) for value, times in Counter(values).items() if times > 1]


async def _each(arguments: Iterable[A], ask: Callable[[A], Awaitable[T]]) -> list[T]:
    given = list(arguments)
    answers: list[T] = []
    for start in range(0, len(given), _AT_ONCE):
        answers += await asyncio.gather(*map(ask, given[start : start + _AT_ONCE]))
    return answers


async def _keys(journal: SqlJournal, name: str) -> list[str]:
    found: list[str] = []
    after = ""
    while page := await journal.keys("map", name, after=after):
        found += [str(decode_key(key)) for key in page]
        after = page[-1]
    return found


def _entities(prefix: str, users: Iterable[str]) -> list[EntityName]:
    whole = "counter/page-views", "counter/uploads", "set/tags", "queue/jobs", "lock/accounts", "semaphore/uploads"
    names = [EntityName(kind, f"{prefix}{name}", "") for kind, name in (one.split("/") for one in whole)]
    keys = [("accounts", "balance"), *(("users", user) for user in users)]
    return names + [EntityName("map", f"{prefix}{name}", encode_key(key)) for name, key in keys]


async def _drain(structures: Structures, folder: Path, record: Record, jobs: int) -> None:
    """Take every job off the queue, and write it down as any caller would."""
    ledger = opened(folder)
    try:
        taken = await _each(range(jobs), lambda _: structures.jobs.dequeue())
        for number, job in enumerate(taken, record.following.get(VERIFIER, 1)):
            acknowledge(ledger, Operation(VERIFIER, number, "dequeue"), job)
    finally:
        os.close(ledger)


async def _taken(journal: SqlJournal, queue: str) -> list[str]:
    """Read who was given what: a caller that was killed cannot tell which job it had just taken."""
    [stored] = await journal.entities([EntityName("queue", queue, "")])
    if stored is None:
        return []
    records = [record async for record in events(journal, stored.id)]
    return [json.loads(record.payload)["value"] for record in records if record.type == "queue.dequeued"]


async def _token(structures: Structures) -> int:
    """Hold the lock for a moment: whoever was killed while holding it loses it with its lease."""
    async with structures.account_lock() as lock:
        return lock.token or 0


async def _permits(structures: Structures) -> int:
    """Hold all permits at once."""
    handle = structures.upload_permits()
    await asyncio.gather(*(handle.acquire() for _ in range(PERMITS)))
    one_more = await structures.upload_permits().try_acquire()
    for _ in range(PERMITS):
        await handle.release()
    return PERMITS + one_more


def _of(record: Record, kind: str) -> list[Acknowledged]:
    return [ack for ack in record.acknowledged if ack.operation.kind == kind]


def _told(record: Record, kind: str) -> list[Operation]:
    return [ack.operation for ack in _of(record, kind)]


def _under_way(record: Record, kind: str) -> list[Operation]:
    return [operation for operation in record.in_flight if operation.kind == kind]


def _labelled(what: str, operation: Operation) -> str:
    return f"{what}-{operation.caller}-{operation.number}"


def _value(ack: Acknowledged) -> int:
    value: int = ack.answer[1] if isinstance(ack.answer, list | tuple) else ack.answer
    return value


def _tally(structure: str, counted: str, kind: str, record: Record, value: int) -> Row:
    """Compare operations that each add one to a number and are told the new one."""
    acks, under_way = _of(record, kind), _under_way(record, kind)
    row = Row(structure, counted, len(acks), value, len(under_way))
    row.missing = [f"{ack.operation}, which was told {_value(ack)}" for ack in acks if _value(ack) > value]
    row.wrong = [f"{told} callers were told {number}" for number, told in often(map(_value, acks))]
    if value < len(acks) and not row.missing:
        row.wrong.append(f"{len(acks)} were acknowledged and {value} are there")
    if value > len(acks) + len(under_way):
        row.wrong.append(f"{value} are there, more than {len(acks)} acknowledged and {len(under_way)} under way")
    return row


def _users(record: Record, found: Found) -> Row:
    acks, under_way = _of(record, "put"), _under_way(record, "put")
    row = Row("map users", "puts", len(acks), len(found.users), len(under_way))
    expected = {_labelled("user", ack.operation): ack for ack in acks}
    row.missing = [f"{ack.operation} ({key})" for key, ack in expected.items() if found.users.get(key) != {"visits": 1}]
    row.wrong = [f"{ack.operation} found a value before it" for ack in acks if ack.answer is not None]
    row.wrong += _strangers(found.users, [*expected, *(_labelled("user", one) for one in under_way)])
    return row


def _tags(record: Record, found: Found) -> Row:
    acks = _of(record, "add")
    row = Row("set tags", "adds", len(acks), found.tags_size, len(_under_way(record, "add")))
    row.missing = [str(ack.operation) for ack in acks if _labelled("tag", ack.operation) not in found.tags]
    row.wrong = [f"{ack.operation} found its tag there before it" for ack in acks if ack.answer is not True]
    if found.tags_size != len(found.tags):
        row.wrong.append(f"{found.tags_size} tags are there, and only {len(found.tags)} of them were ever added")
    return row


def _jobs(record: Record, found: Found) -> Row:
    """Each job leaves the queue once; it was emptied, so that all of them have."""
    enqueued, dequeued = _of(record, "enqueue"), [ack for ack in _of(record, "dequeue") if ack.answer is not None]
    maybe_in, maybe_out = _under_way(record, "enqueue"), _under_way(record, "dequeue")
    taken, handed_out = set(found.taken), [ack.answer for ack in dequeued]
    row = Row("queue jobs", "jobs", len(enqueued), len(taken), len(maybe_in))
    expected = {_labelled("job", ack.operation): ack for ack in enqueued}
    row.missing = [f"{ack.operation} ({job})" for job, ack in expected.items() if job not in taken]
    row.missing += [f"{ack.operation} ({ack.answer})" for ack in dequeued if ack.answer not in taken]
    row.wrong = [f"{job} left the queue {times} times" for job, times in often(found.taken)]
    row.wrong += [f"{job} was handed out {times} times" for job, times in often(handed_out)]
    row.wrong += _strangers(taken, [*expected, *(_labelled("job", one) for one in maybe_in)])
    to_nobody = taken - set(handed_out)
    if len(to_nobody) > len(maybe_out):
        row.wrong.append(f"{len(to_nobody)} jobs were given to nobody; {len(maybe_out)} callers died while taking one")
    return row


def _lock(record: Record, found: Found) -> Row:
    row = _tally("lock accounts", "balance changes", "locked", record, found.balance)
    acks = _of(record, "locked")
    in_order = [_value(ack) for ack in sorted(acks, key=lambda ack: int(ack.answer[0]))]
    if in_order != sorted(in_order):
        row.wrong.append("a later token wrote an earlier balance: two held the lock at once")
    if acks and found.token <= max(ack.answer[0] for ack in acks):
        row.wrong.append(f"a token of {found.token} was granted, and a later one before it")
    return row


def _semaphore(record: Record, found: Found) -> Row:
    row = _tally("semaphore uploads", "uploads", "permitted", record, found.uploads)
    if found.permits != PERMITS:
        row.wrong.append(f"{found.permits} permits could be held at once instead of {PERMITS}")
    return row


def _strangers(there: Collection[str], known: Iterable[str]) -> list[str]:
    return [f"{name} is there, and nobody put it there" for name in set(there) - set(known)]
