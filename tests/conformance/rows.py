"""Rows as an owner makes them: a slot's records, chained by their hashes, and the appends that carry them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final

from casty_es.format.chain import digest, link
from casty_es.journal.port import (
    EMPTY_SLOT,
    ENTITY_NUMBER_BITS,
    LEASE_ACQUIRED,
    Append,
    EntityName,
    EntityRow,
    EventJournal,
    EventRow,
    Head,
    RecordedEvent,
)

SALT: Final = bytes(range(16))
NOW: Final = 1_700_000_000_000_000


def entity_id(slot: int, number: int) -> int:
    """Return the id of a slot's entity."""
    return (slot << ENTITY_NUMBER_BITS) + number


class Owner:
    """What the owner of a slot knows: where the slot ends, its epoch, and the rows that wait for their append."""

    def __init__(self, slot: int, head: Head = EMPTY_SLOT) -> None:
        self.slot = slot
        self.head = head
        self._committed = head
        self._epoch = head.epoch
        self._rows: list[EventRow] = []
        self._entities: list[EntityRow] = []
        self._alive: list[tuple[int, bool]] = []
        self._born: list[EntityRow] = []

    def copy(self) -> Owner:
        """Return another process that knows the same and hears of nothing that follows."""
        return copy.deepcopy(self)

    def lease(self) -> Owner:
        """Add the record that grants the slot; its position is the epoch of what follows."""
        self._epoch = self.head.position + 1
        return self._add(None, None, (LEASE_ACQUIRED, 1), "{}", None, None, None, NOW)

    def born(self, number: int, name: EntityName, *, alive: bool = True) -> Owner:
        """Add a row of the directory."""
        self._entities.append((entity_id(self.slot, number), self.slot, *name, alive, SALT))
        self._born.append(self._entities[-1])
        return self

    def alive(self, number: int, alive: bool) -> Owner:  # noqa: FBT001 - the one thing that it says
        """Add that an older entity came to life or died."""
        self._alive.append((entity_id(self.slot, number), alive))
        return self

    def event(
        self,
        number: int,
        sequence: int,
        payload: str = "{}",
        *,
        type_: str = "counter.incremented",
        metadata: str | None = None,
        command_id: bytes | None = None,
        key: str | None = None,
        recorded_at: int = NOW,
    ) -> Owner:
        """Add an event of the slot's entity ``number``."""
        entity = entity_id(self.slot, number)
        return self._add(entity, sequence, (type_, 1), payload, metadata, command_id, key, recorded_at)

    def _add(
        self,
        entity: int | None,
        sequence: int | None,
        type_and_version: tuple[str, int],
        payload: str,
        metadata: str | None,
        command_id: bytes | None,
        key: str | None,
        recorded_at: int,
    ) -> Owner:
        slot, position, epoch = self.slot, self.head.position + 1, self._epoch
        name = EntityName(*next((row for row in self._born if row[0] == entity), (0, 0, "counter", "", ""))[2:5])
        hash_ = link(
            self.head.hash,
            slot,
            position,
            epoch,
            entity,
            sequence,
            recorded_at,
            type_and_version,
            command_id,
            key,
            digest(SALT, payload),
            None if metadata is None else digest(SALT, metadata),
            name if sequence == 1 else None,
        )
        type_, version = type_and_version
        self._rows.append(
            (
                slot,
                position,
                epoch,
                entity,
                sequence,
                type_,
                version,
                payload,
                metadata,
                command_id,
                key,
                recorded_at,
                hash_,
            )
        )
        self.head = Head(position, hash_, epoch, recorded_at)
        return self

    def batch(self) -> Append:
        """Return what was added since the last batch as one append."""
        before, self._committed = self._committed, self.head
        append = Append([(self.slot, before.position, before.hash)], self._rows, self._entities, self._alive)
        self._rows, self._entities, self._alive = [], [], []
        return append


def together(*appends: Append) -> Append:
    """Return several slots' appends as one."""
    merged = Append([], [], [], [])
    for append in sorted(appends, key=lambda append: append.predecessors[0][0]):
        merged.predecessors += append.predecessors
        merged.events += append.events
        merged.entities += append.entities
        merged.alive += append.alive
    return merged


def recorded(*appends: Append) -> list[RecordedEvent]:
    """Return the records that these appends write."""
    return [RecordedEvent(*row) for append in appends for row in append.events]


async def contents(journal: EventJournal, slots: Sequence[int], names: Sequence[EntityName] = ()) -> object:
    """Return everything that an append could have changed, to compare before and after."""
    records = {slot: await journal.records(slot, limit=100_000) for slot in slots}
    directory = await journal.entities(names) if names else []
    return await journal.heads(slots), records, await journal.entity_numbers(slots), directory
