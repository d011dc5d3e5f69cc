"""A journal in memory: one process, gone with it. It keeps the same rules as the others, for tests and trials."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, takewhile
from typing import cast

import msgspec

from casty_es import runtime
from casty_es.config import DEFAULT_SLOTS
from casty_es.errors import ConflictError
from casty_es.journal.binding_sql import BINDING_WITHIN, seals, speaks_of
from casty_es.journal.port import (
    EMPTY_SLOT,
    ENTITY_NUMBER_BITS,
    Append,
    Binding,
    DirectoryRow,
    EntityName,
    EntityRow,
    EventJournal,
    EventRow,
    Head,
    Meta,
    NodeRow,
    RecordedEvent,
    RetiredSalt,
    SealRow,
    SlotRow,
    StoredEntity,
    StoredSnapshot,
    StructureRow,
    TailEvent,
)
from casty_es.journal.remembered import ClosedSlot


class InMemoryJournal(EventJournal):
    """A volatile ``EventJournal``.

    Parameters
    ----------
    slots : int
        The number of slots.

    Examples
    --------
    >>> import asyncio
    >>> asyncio.run(InMemoryJournal().open()).slots
    256
    """

    volatile = True

    def __init__(self, *, slots: int = DEFAULT_SLOTS) -> None:
        self._meta = Meta(slots, 1)
        self._records: dict[int, list[RecordedEvent]] = {}
        self._streams: dict[int, list[RecordedEvent]] = {}
        self._directory: dict[EntityName, EntityRow] = {}
        self._names: dict[int, EntityName] = {}
        self._snapshots: dict[int, list[StoredSnapshot]] = {}
        self._snapshot_times: dict[tuple[int, int], int] = {}
        self._structures: dict[tuple[str, str], int] = {}
        self._populated: set[tuple[str, str]] = set()
        self._nodes: dict[str, NodeRow] = {}
        self._slots: dict[int, SlotRow] = {}
        self._keys: dict[tuple[int, str], RecordedEvent] = {}
        self._salted_from: dict[int, int] = {}
        self._retired: list[RetiredSalt] = []
        self._closed: dict[tuple[int, tuple[int, int]], ClosedSlot] = {}  # by slot and place of the mark
        self._secret = runtime.unpredictable(32)

    async def open(self) -> Meta:
        """Return the journal's settings; there is nothing to connect to."""
        return self._meta

    async def close(self) -> None:
        """Keep everything: another system of this process may open the journal again."""

    async def append(self, append: Append) -> None:
        """Write an append, or refuse it whole."""
        self._check(append)
        for row in append.events:
            event = RecordedEvent(*row)
            self._records.setdefault(event.slot, []).append(event)
            if event.entity is not None:
                self._streams.setdefault(event.entity, []).append(event)
                if event.idempotency_key is not None:
                    self._keys[event.entity, event.idempotency_key] = event
        for entity in append.entities:
            name = EntityName(entity[2], entity[3], entity[4])
            self._directory[name] = entity
            self._names[entity[0]] = name
            self._populated.add(name[:2])
        for entity_id, alive in append.alive:
            name = self._names[entity_id]
            row_before = self._directory[name]
            self._directory[name] = (*row_before[:5], alive, row_before[6])
        for entity_id, through, old_salt, new_salt in append.salts:
            name = self._names[entity_id]
            self._directory[name] = (*self._directory[name][:6], new_salt)
            self._salted_from[entity_id] = through
            self._retired.append(RetiredSalt(entity_id, through, old_salt))

    def _check(self, append: Append) -> None:
        for slot, position, hash_ in append.predecessors:
            head = self._head(slot)
            if (head.position, head.hash) != (position, hash_):
                raise ConflictError(
                    f"Slot {slot} is at position {head.position}, not at the record that the append names at "
                    f"{position}. Nothing was written.",
                    constraint="predecessor",
                )
        sequences: dict[int, int] = {}
        keys: set[tuple[int, str]] = set()
        for row in append.events:
            entity, sequence, key = row[3], row[4], row[10]
            if entity is None or sequence is None:
                continue
            stream = self._streams.get(entity, [])
            if sequence <= sequences.get(entity, len(stream)):
                raise ConflictError(
                    f"Entity {entity} has an event {sequence} already. Nothing was written.",
                    constraint="uq_casty_events_entity_sequence",
                )
            if key is not None and ((entity, key) in keys or (entity, key) in self._keys):
                raise ConflictError(
                    f"Entity {entity} has an event with the idempotency key {key!r}. Nothing was written.",
                    constraint="uq_casty_events_idempotency_key",
                )
            sequences[entity] = sequence
            if key is not None:
                keys.add((entity, key))
        born: set[EntityName | int] = set()
        for entity_row in append.entities:
            name = EntityName(*entity_row[2:5])
            if name in self._directory or entity_row[0] in self._names or born & {name, entity_row[0]}:
                raise ConflictError(
                    f"The entity {entity_row[2:5]} is in the directory already. Nothing was written.",
                    constraint="uq_casty_entities_kind_name_key",
                )
            born |= {name, entity_row[0]}

    def _head(self, slot: int) -> Head:
        records = self._records.get(slot)
        return EMPTY_SLOT if not records else Head(*[getattr(records[-1], field) for field in Head._fields])

    async def heads(self, slots: Sequence[int]) -> dict[int, Head]:
        return {slot: self._head(slot) for slot in slots}

    async def entity_numbers(self, slots: Sequence[int]) -> dict[int, int]:
        numbers = dict.fromkeys(slots, 0)
        for entity in self._names:
            slot = entity >> ENTITY_NUMBER_BITS
            if slot in numbers:
                numbers[slot] = max(numbers[slot], entity - (slot << ENTITY_NUMBER_BITS))
        return numbers

    async def entities(self, names: Sequence[EntityName]) -> list[StoredEntity | None]:
        return [await self._entity(self._directory.get(name)) for name in names]

    async def _entity(self, row: EntityRow | None) -> StoredEntity | None:
        if row is None:
            return None
        snapshots = self._snapshots.get(row[0])
        snapshot = snapshots[-1] if snapshots else None
        binding = None if snapshot is None else await self.binding(row[0], snapshot.sequence)
        return StoredEntity(row[0], row[5], row[6], snapshot, self._salted_from.get(row[0], 0), binding)

    async def entity_rows(self, ids: Sequence[int]) -> list[DirectoryRow]:
        return [self._row(id_) for id_ in sorted(set(ids)) if id_ in self._names]

    def _row(self, id_: int) -> DirectoryRow:
        return DirectoryRow(*self._directory[self._names[id_]], self._salted_from.get(id_, 0))

    async def directory(
        self, kind: str, name: str, *, after: str | None = None, limit: int = 1_000
    ) -> list[DirectoryRow]:
        names = sorted(entity for entity in self._directory if entity[:2] == (kind, name))
        found = [entity for entity in names if after is None or entity.key > after]
        return [self._row(self._directory[entity][0]) for entity in found[:limit]]

    async def slot_directory(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[DirectoryRow]:
        found = [id_ for id_ in sorted(self._names) if id_ >> ENTITY_NUMBER_BITS == slot and id_ > after]
        return [self._row(id_) for id_ in found[:limit]]

    async def structure_rows(self) -> list[StructureRow]:
        return [StructureRow(*name, self._structures[name], None) for name in sorted(self._structures)]

    async def bounds(self, entity: int) -> tuple[int, int]:
        stream = self._streams.get(entity, [])
        return (stream[0].sequence or 0, stream[-1].sequence or 0) if stream else (0, 0)

    async def snapshot_before(self, entity: int, sequence: int) -> StoredSnapshot | None:
        before = [kept for kept in self._snapshots.get(entity, []) if kept.sequence <= sequence]
        return before[-1] if before else None

    async def binding(self, entity: int, sequence: int) -> Binding | None:
        for event in self._after(entity, sequence - 1, BINDING_WITHIN + 1):
            if (
                speaks_of(sequence) in (event.metadata or "")
                or (event.type == "entity.sealed" and event.payload.startswith(seals(sequence)))
                or (event.type == "entity.redacted" and event.sequence == sequence)
            ):
                return Binding(event.type, event.payload, event.metadata)
        return None

    async def slot_snapshots(
        self, slot: int, *, after: tuple[int, int] = (0, 0), limit: int = 1_000
    ) -> list[tuple[int, StoredSnapshot]]:
        found = [
            (entity, msgspec.structs.replace(snapshot, recorded_at=self._snapshot_times[entity, snapshot.sequence]))
            for entity in sorted(self._snapshots)
            for snapshot in self._snapshots[entity]
            if entity >> ENTITY_NUMBER_BITS == slot and (entity, snapshot.sequence) > after
        ]
        return found[:limit]

    async def snapshot_sequences(self, entities: Sequence[int]) -> list[tuple[int, int]]:
        return [(entity, kept.sequence) for entity in sorted(set(entities)) for kept in self._snapshots.get(entity, [])]

    async def seals(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[SealRow]:  # noqa: ARG002 - none
        """Return no seals: nothing is ever cut from a volatile journal."""
        return []

    async def last_cut(self, entity: int) -> int:  # noqa: ARG002 - none, as above
        """Return 0: nothing was cut."""
        return 0

    async def retired_salts(self, entities: Sequence[int]) -> list[RetiredSalt]:
        return sorted(salt for salt in self._retired if salt.entity in entities)

    async def tails(self, after: Mapping[int, int], *, limit: int) -> list[TailEvent]:
        page: list[RecordedEvent] = []
        for entity in sorted(after):
            page += self._after(entity, after[entity], limit - len(page))
            if len(page) == limit:
                break
        return [TailEvent(one.entity or 0, one.sequence or 0, one.type, one.version, one.payload) for one in page]

    async def find(self, slot: int, after: int, command_ids: Sequence[bytes]) -> list[RecordedEvent]:
        wanted = set(command_ids)
        return [event for event in self._records.get(slot, [])[after:] if event.command_id in wanted]

    async def records(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[RecordedEvent]:
        return self._records.get(slot, [])[after : after + limit]

    async def rows(self, slot: int, *, after: int = 0, limit: int = 1_000) -> Sequence[EventRow]:
        page = await self.records(slot, after=after, limit=limit)
        return [cast("EventRow", msgspec.structs.astuple(record)) for record in page]

    async def history(
        self, entity: int, *, after: int = 0, limit: int = 1_000, most_bytes: int | None = None
    ) -> list[RecordedEvent]:
        page = self._after(entity, after, limit)
        if most_bytes is None:
            return page
        sizes = accumulate(len(event.payload.encode()) for event in page)
        return page[: 1 + sum(size < most_bytes for size in sizes)]

    def _after(self, entity: int, sequence: int, limit: int) -> list[RecordedEvent]:
        stream = self._streams.get(entity, [])
        start = bisect_right(stream, sequence, key=lambda event: event.sequence or 0)
        return stream[start : start + limit]

    async def save_snapshot(self, entity: int, snapshot: StoredSnapshot, event_hash: bytes, recorded_at: int) -> bool:
        events = self._after(entity, snapshot.sequence - 1, 1)
        kept = self._snapshots.setdefault(entity, [])
        if not events or events[0].hash != event_hash or snapshot.sequence <= self._salted_from.get(entity, 0):
            return False
        if any(old.sequence == snapshot.sequence for old in kept):
            return False
        kept.append(msgspec.structs.replace(snapshot, recorded_at=0))
        kept.sort(key=lambda old: old.sequence)
        self._snapshot_times[entity, snapshot.sequence] = recorded_at
        return True

    async def record_structures(
        self, structures: Sequence[tuple[str, str, int]], *, populated: bool = False
    ) -> list[int | None]:
        for kind, name, shards in structures:
            if populated or (kind, name) not in self._populated:
                self._structures.setdefault((kind, name), shards)
        return await self.structures([(kind, name) for kind, name, _ in structures])

    async def structures(self, names: Sequence[tuple[str, str]]) -> list[int | None]:
        return [self._structures.get(name) for name in names]

    async def keys(self, kind: str, name: str, *, after: str = "", limit: int = 1_000) -> list[str]:
        names = [entity for entity, row in self._directory.items() if entity[:2] == (kind, name) and row[5]]
        return sorted(entity.key for entity in names if entity.key > after)[:limit]

    async def register_node(self, node: NodeRow) -> None:
        self._nodes[node.node_id] = node

    async def forget_node(self, node_id: str) -> None:
        self._nodes.pop(node_id, None)

    async def nodes(self) -> list[NodeRow]:
        return sorted(self._nodes.values(), key=lambda node: node.started_at, reverse=True)

    async def slot_rows(self) -> list[SlotRow]:
        return [self._slots[slot] for slot in sorted(self._slots)]

    async def claim_slots(self, slots: Sequence[int], node_id: str, *, dead: Sequence[str]) -> set[int]:
        claimed: set[int] = set()
        for slot in slots:
            row = self._slots.get(slot)
            if row is None or row.node_id in dead:
                self._slots[slot] = SlotRow(slot, node_id, None, row.epoch if row else 0, 0)
            if self._slots[slot].node_id == node_id:
                claimed.add(slot)
        return claimed

    async def save_slots(self, rows: Sequence[SlotRow]) -> None:
        for row in rows:
            old = self._slots.get(row.slot)
            if old is None or row.epoch > old.epoch:
                self._slots[row.slot] = row

    async def forget_slots(self, slots: Sequence[int], node_id: str) -> None:
        for slot in slots:
            if slot in self._slots and self._slots[slot].node_id == node_id:
                del self._slots[slot]

    async def find_key(self, entity: int, idempotency_key: str) -> list[RecordedEvent]:
        first = self._keys.get((entity, idempotency_key))
        if first is None:
            return []
        after = self._records[first.slot][first.position :] if first.command_id is not None else []
        return [first, *takewhile(lambda event: event.command_id == first.command_id, after)]

    async def incarnation(self) -> int:
        return self._meta.incarnation

    async def raise_incarnation(self) -> int:
        """Raise the incarnation, and forget which slots were closed."""
        self._closed.clear()
        self._meta = msgspec.structs.replace(self._meta, incarnation=self._meta.incarnation + 1)
        return self._meta.incarnation

    async def hashes(self, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        found = {(slot, position): self._records.get(slot, [])[position - 1 : position] for slot, position in places}
        return {place: records[0].hash for place, records in found.items() if records}

    async def closed_slots(self) -> tuple[int, list[ClosedSlot]]:
        incarnation = self._meta.incarnation
        closed = [self._closed[key] for key in sorted(self._closed)]
        return incarnation, [row for row in closed if row.mark.incarnation >= incarnation]  # others were given up

    async def close_slot(self, closed: ClosedSlot) -> None:
        self._closed.setdefault((closed.slot, closed.mark.place), closed)

    def abandon_after_fork(self) -> None:
        """Let go of nothing: a process's memory is its own."""

    async def secret(self) -> bytes:
        """Return a secret that is as old as the journal."""
        return self._secret
