"""Journals that a test writes command by command, at the times that it says: what an owner would have written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Command, Event, Kind
from casty_es.errors import CastyError
from casty_es.format.codec import encode_event, encode_state
from casty_es.journal.port import (
    EMPTY_SLOT,
    LEASE_ACQUIRED,
    Append,
    EntityName,
    EventJournal,
    Head,
    RecordedEvent,
    StoredSnapshot,
    record_hash,
)
from casty_es.replay import binding_said, with_binding

SALT = bytes(16)


class Step(NamedTuple):
    """A command, when it was decided, in microseconds, and what its caller said."""

    time: int
    command: Command
    metadata: str | None = None


class Written(NamedTuple):
    """An entity's events with their times, and its states: one more than events, the first before all of them."""

    entity: int
    events: list[Event]
    times: list[int]
    states: list[Any]

    def last(self, moment: int) -> int:
        """Return the sequence of the last event until a moment."""
        return sum(time <= moment for time in self.times)


class Script:
    """The owner of a slot of an open journal; all entities are written there."""

    def __init__(self, journal: EventJournal) -> None:
        self._journal = journal
        self._head = EMPTY_SLOT
        self._entities = 0

    async def write(
        self, kind_name: str, name: str, steps: Iterable[Step], *, snapshots: frozenset[int] = frozenset()
    ) -> Written:
        """Write a new entity whose commands come one after the other; refused ones leave nothing."""
        kind = CATALOG[kind_name]
        self._entities += 1
        written = Written(self._entities, [], [], [kind.initial])
        before, records = self._head, []
        if before == EMPTY_SLOT:
            records.append(self._record(None, None, (LEASE_ACQUIRED, 1, "{}"), None, 0, None))
        entity_name = EntityName(kind_name, name, "")
        for time, command, metadata in steps:
            try:
                events = kind.decide(written.states[-1], command)
            except CastyError:
                continue
            for number, event in enumerate(events):
                written.events.append(event)
                written.times.append(time)
                written.states.append(kind.evolve(written.states[-1], event))
                said = metadata if number == 0 else None
                sequence = len(written.events)
                if sequence - 1 in snapshots and sequence > 1:
                    said = with_binding(
                        said, binding_said(_snapshot(written, kind, sequence - 1), records[-1].hash, SALT)
                    )
                encoded = encode_event(event)
                records.append(self._record(written.entity, sequence, encoded, said, time, entity_name))
        entities = [(written.entity, 0, *entity_name, True, SALT)] if written.events else []
        rows: list[Any] = [msgspec.structs.astuple(record) for record in records]
        if rows:
            await self._journal.append(Append([(0, before.position, before.hash)], rows, entities))
        for sequence in sorted(snapshots):
            if 0 < sequence <= len(written.events):
                record = records[sequence - len(written.events) - 1]
                stored = _snapshot(written, kind, sequence)
                await self._journal.save_snapshot(written.entity, stored, record.hash, record.recorded_at)
        return written

    def _record(
        self,
        entity: int | None,
        sequence: int | None,
        encoded: tuple[str, int, str],
        metadata: str | None,
        time: int,
        name: EntityName | None,
    ) -> RecordedEvent:
        position, epoch = self._head.position + 1, self._head.epoch or 1
        blank = RecordedEvent(0, position, epoch, entity, sequence, *encoded, metadata, None, None, time, b"")
        record = msgspec.structs.replace(blank, hash=record_hash(self._head.hash, blank, SALT, name))
        self._head = Head(position, record.hash, epoch, time)
        return record


def _snapshot(written: Written, kind: Kind[Any, Any, Any], sequence: int) -> StoredSnapshot:
    return StoredSnapshot(sequence, encode_state(kind, written.states[sequence]), kind.state_version)
