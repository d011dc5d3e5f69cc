"""Histories written straight into a journal, as an owner writes them, at the times that a test wants."""

from __future__ import annotations

from typing import Any

from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Event
from casty_es.format.codec import encode_event, encode_state
from casty_es.hashes import shard_of, slot_of
from casty_es.journal.port import (
    EMPTY_SLOT,
    ENTITY_NUMBER_BITS,
    LEASE_ACQUIRED,
    Append,
    EntityName,
    EventJournal,
    EventRow,
    Head,
    RecordedEvent,
    StoredSnapshot,
    record_hash,
)
from casty_es.replay import binding_said, with_binding

SALT = bytes(range(16))


class Recorder:
    """The writer of one entity.

    Parameters
    ----------
    journal : EventJournal
        The journal; nobody else may write to the entity's slot meanwhile.
    name : EntityName
        The entity, which is new.
    """

    def __init__(self, journal: EventJournal, name: EntityName, slots: int) -> None:
        self._journal = journal
        self.name = name
        self.kind: Any = CATALOG[name.kind]
        self.slot = slot_of(name.kind, name.name, shard_of(*name, 100), slots)
        self.id = 0
        self.state = self.kind.initial
        self.sequence = 0
        self.head = EMPTY_SLOT
        self._said: str | None = None  # what the next event says of a snapshot

    async def begin(self, time: int) -> None:
        """Take the slot."""
        self.head = (await self._journal.heads([self.slot]))[self.slot]
        number = (await self._journal.entity_numbers([self.slot]))[self.slot] + 1
        self.id = (self.slot << ENTITY_NUMBER_BITS) + number
        epoch = self.head.position + 1
        row = self._row(epoch, None, None, (LEASE_ACQUIRED, 1), '{"node":"recorder"}', time)
        await self._journal.append(Append([(self.slot, self.head.position, self.head.hash)], [row]))
        self.head = Head(epoch, row[-1], epoch, time)

    async def record(self, events: tuple[Event, ...], time: int) -> None:
        """Append events, all of one time."""
        if not events:
            return
        before, rows = self.head, []
        born = self.sequence == 0
        was_alive = self.kind.exists(self.state)
        for event in events:
            type_, version, payload = encode_event(event)
            self.sequence += 1
            row = self._row(self.head.epoch, self.id, self.sequence, (type_, version), payload, time)
            self.head = Head(row[1], row[-1], self.head.epoch, time)
            self.state = self.kind.evolve(self.state, event)
            rows.append(row)
        alive = self.kind.exists(self.state)
        append = Append([(self.slot, before.position, before.hash)], rows)
        if born:
            append.entities = [(self.id, self.slot, *self.name, alive, SALT)]
        elif alive != was_alive:
            append.alive = [(self.id, alive)]
        await self._journal.append(append)

    async def snapshot(self, time: int, *, bound: bool = True) -> None:
        """Keep a snapshot of the state as it is; the next event speaks of it, as earlier versions' did not."""
        snapshot = StoredSnapshot(self.sequence, encode_state(self.kind, self.state), self.kind.state_version)
        self._said = with_binding(None, binding_said(snapshot, self.head.hash, SALT)) if bound else None
        assert await self._journal.save_snapshot(self.id, snapshot, self.head.hash, time)

    def _row(
        self, epoch: int, entity: int | None, sequence: int | None, type_: tuple[str, int], payload: str, time: int
    ) -> EventRow:
        position = self.head.position + 1
        said, self._said = self._said, None
        record = RecordedEvent(
            self.slot, position, epoch, entity, sequence, *type_, payload, said, None, None, time, b""
        )
        hash_ = record_hash(self.head.hash, record, SALT, self.name)
        return (self.slot, position, epoch, entity, sequence, *type_, payload, said, None, None, time, hash_)
