"""Journals to be verified: one with all structures and a long one, both made by the library's own means."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from casty_es import Settings, connect
from casty_es.domain.counter import COUNTER, Incremented
from casty_es.domain.counter import State as Count
from casty_es.format.chain import digest, link
from casty_es.format.codec import encode_event, encode_state
from casty_es.hashes import shard_of, slot_of
from casty_es.journal.port import (
    EMPTY_SLOT,
    ENTITY_NUMBER_BITS,
    LEASE_ACQUIRED,
    Append,
    EntityName,
    EventRow,
    Head,
    StoredSnapshot,
)
from casty_es.journal.sql import SqlJournal
from casty_es.replay import binding_said, with_binding

SNAPSHOT_EVERY: Final = 20
SLOTS: Final = 33
"""So few that a walk through all of them is quick, and as many as give every entity of the tests a slot of its own."""
_SALT: Final = bytes(range(16))
_BATCH: Final = 2_000
BEGIN: Final = 1_700_000_000_000_000  # of the first event, in microseconds; one comes a microsecond after the other


async def write_all_kinds(url: str) -> None:
    """Use every structure for a while, so that there are snapshots, keys, metadata, dead and living entities."""
    async with connect(url, settings=Settings(snapshot_events=SNAPSHOT_EVERY)) as d:
        hits = d.counter("hits")
        for number in range(60):
            await hits.increment(idempotency_key=f"order-{number}" if number % 10 == 0 else None)
        users = d.map[str, dict]("users")
        for name in ("alice", "bob", "carol"):
            await users.put(name, {"name": name})
        await users.delete("bob")
        tags, jobs = d.set[str]("tags"), d.queue[int]("jobs")
        for number in range(50):
            await tags.add(f"tag-{number % 7}")
            await jobs.enqueue(number)
        await jobs.dequeue()
        lock = d.lock("deploy")
        await lock.acquire()
        await lock.release()
        semaphore = d.semaphore("seats", permits=2)
        await semaphore.acquire()
        await semaphore.release()
        gone = d.counter("gone")
        await gone.increment()
        await gone.destroy()


class LongWriter:
    """Writes increments of some counters in bulk, with the chain and the snapshots that an owner would make.

    Parameters
    ----------
    counters : int
        How many counters there are, in as many slots as their names happen to give.
    snapshot_every : int
        After how many events of a counter there is a snapshot.
    """

    def __init__(self, url: str, *, counters: int = 8, snapshot_every: int = 10_000) -> None:
        self._journal = SqlJournal(url)
        self._counters = counters
        self._snapshot_every = snapshot_every

    async def write(self, events: int) -> None:
        """Write this many increments."""
        meta = await self._journal.open()
        try:
            names = [EntityName("counter", f"hits-{number}", "") for number in range(self._counters)]
            by_slot: dict[int, list[EntityName]] = {}
            for name in names:
                slot = slot_of(name.kind, name.name, shard_of(*name, 1), meta.slots)
                by_slot.setdefault(slot, []).append(name)
            await self._journal.record_structures([(name.kind, name.name, 1) for name in names])
            for slot, mine in by_slot.items():
                await self._write_slot(slot, mine, events * len(mine) // len(names))
        finally:
            await self._journal.close()

    async def _write_slot(self, slot: int, names: list[EntityName], events: int) -> None:
        ids = [(slot << ENTITY_NUMBER_BITS) + number for number in range(1, len(names) + 1)]
        entities = [(id_, slot, *name, True, _SALT) for id_, name in zip(ids, names, strict=True)]
        head = EMPTY_SLOT
        records = self._records(slot, ids, names, events)
        while rows := list(itertools.islice(records, _BATCH)):
            await self._journal.append(Append([(slot, head.position, head.hash)], rows, entities))
            entities = []
            head = Head(rows[-1][1], rows[-1][12], 1)
            for row in rows:
                if row[3] is not None and row[4] is not None and row[4] % self._snapshot_every == 0:
                    await self._journal.save_snapshot(row[3], _snapshot(row[4]), row[12], row[11])

    def _records(self, slot: int, ids: list[int], names: list[EntityName], events: int) -> Iterator[EventRow]:
        lease = ("lease.acquired", 1)
        hash_ = link(bytes(32), slot, 1, 1, None, None, BEGIN, lease, None, None, digest(b"", "{}"), None)
        yield (slot, 1, 1, None, None, LEASE_ACQUIRED, 1, "{}", None, None, None, BEGIN, hash_)
        said: dict[int, str] = {}  # what the next event of each counter says of a snapshot
        for number in range(events):
            sequence, which = divmod(number, len(ids))
            sequence += 1
            position, recorded_at = number + 2, BEGIN + number
            type_, version, payload = encode_event(Incremented(1, sequence))
            command_id = position.to_bytes(16, "big")
            name = names[which] if sequence == 1 else None
            metadata = said.pop(which, None)
            hash_ = link(
                hash_,
                slot,
                position,
                1,
                ids[which],
                sequence,
                recorded_at,
                (type_, version),
                command_id,
                None,
                digest(_SALT, payload),
                None if metadata is None else digest(_SALT, metadata),
                name,
            )
            if sequence % self._snapshot_every == 0:
                said[which] = with_binding(None, binding_said(_snapshot(sequence), hash_, _SALT))
            row = (slot, position, 1, ids[which], sequence, type_, version, payload)
            yield (*row, metadata, command_id, None, recorded_at, hash_)


def _snapshot(sequence: int) -> StoredSnapshot:
    return StoredSnapshot(sequence, encode_state(COUNTER, Count(sequence, exists=True)), 1)
