"""Reading everything back after a fresh start, through the public interface, and the log behind it record by record."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from casty_es.cli.demo.chains import Chains, check_chains
from casty_es.cli.demo.ledger import VERIFIER, Operation, Record, acknowledge, opened, read_ledger
from casty_es.cli.demo.structures import HERE, PERMITS, SETTINGS, Structures
from casty_es.journal.port import EntityName
from casty_es.journal.sql import SqlJournal
from casty_es.names import decode_key
from casty_es.node import ClusteredActorSystem
from casty_es.replay import events

__all__ = ["Found", "Look", "look"]

T = TypeVar("T")
A = TypeVar("A")

_AT_ONCE: Final = 500  # commands in flight while things are read back


class Found(msgspec.Struct, frozen=True):
    """What the structures hold.

    Attributes
    ----------
    users : dict[str, Any]
        The values of the map's keys, as ``get`` gives them.
    tags : frozenset[str]
        Those of the tags asked for that are in the set; ``tags_size`` counts all.
    permits : int
        How many permits could be held at once.
    token : int
        A token that was granted just now.
    taken : list[str]
        Every job that left the queue, as the journal has it. The queue is empty.
    """

    page_views: int
    users: dict[str, Any]
    tags: frozenset[str]
    tags_size: int
    balance: int
    token: int
    uploads: int
    permits: int
    taken: list[str]


class Look(msgspec.Struct, frozen=True):
    """What was found, and how long that took.

    Attributes
    ----------
    record : Record
        The ledger, with the jobs that were taken off the queue in order to see them.
    replay_seconds : float
        From opening the journal until the counters, the set, the queue and the balance had answered.
    seconds : float
        Until everything had been read back, in seconds.
    """

    found: Found
    record: Record
    chains: Chains
    replay_seconds: float
    seconds: float


async def look(url: str, folder: Path, prefix: str) -> Look:
    """Open the journal, read everything back, and see that the killed process holds nothing any more.

    Parameters
    ----------
    url : str
        The journal.
    folder : Path
        Where the ledger is.
    prefix : str
        What the names of the demo's structures begin with.
    """
    started = time.perf_counter()
    record = read_ledger(folder)
    began = time.perf_counter()
    journal = SqlJournal(url)
    async with ClusteredActorSystem(journal=journal, settings=SETTINGS, **HERE) as system:
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
        asked = _asked_tags(record)
        members = await _each(asked, structures.tags.contains)
        await _drain(structures, folder, record, jobs)
        token, permits = await holding
        taken = await _taken(journal, f"{prefix}jobs")
        chains = await check_chains(journal, [*structures.entities(), *map(structures.user, keys)])
    found = Found(
        page_views=page_views,
        users=users,
        tags=frozenset(tag for tag, there in zip(asked, members, strict=True) if there),
        tags_size=tags_size,
        balance=balance or 0,
        token=token,
        uploads=uploads,
        permits=permits,
        taken=taken,
    )
    return Look(found, read_ledger(folder), chains, replay_seconds, time.perf_counter() - started)


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


def _asked_tags(record: Record) -> list[str]:
    operations = [*(ack.operation for ack in record.acknowledged), *record.in_flight]
    return [f"tag-{operation.caller}-{operation.number}" for operation in operations if operation.kind == "add"]


async def _drain(structures: Structures, folder: Path, record: Record, jobs: int) -> None:
    """Take every job off the queue, and write it down as any caller would."""
    number = record.following.get(VERIFIER, 1)
    ledger = opened(folder)
    try:
        for job in await _each(range(jobs), lambda _: structures.jobs.dequeue()):
            acknowledge(ledger, Operation(VERIFIER, number, "dequeue"), job)
            number += 1
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
