"""The values that go into a journal and come out of it, as its port and its inspector have them."""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple, TypeAlias

import msgspec

from casty_es.format.chain import GENESIS, UNSALTED, digest, link
from casty_es.format.redacted import redacted_digest

LEASE_ACQUIRED: Final = "lease.acquired"
"""The type of the record that grants a slot's lease. It belongs to no entity; its position is the epoch."""

ENTITY_NUMBER_BITS: Final = 32
"""An entity's id is its slot, shifted by this, plus a number that the slot's one writer counts up."""

Stored: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A number as a column of the journal can hold it, where it comes from elsewhere."""
EventRow: TypeAlias = tuple[
    int, int, int, int | None, int | None, str, int, str, str | None, bytes | None, str | None, int, bytes
]
"""One row of ``casty_events``, in the order of ``RecordedEvent``'s fields."""

EntityRow: TypeAlias = tuple[int, int, str, str, str, bool, bytes]
"""One new row of ``casty_entities``: id, slot, kind, name, key, alive, salt."""

SaltRow: TypeAlias = tuple[int, int, bytes, bytes]
"""A redaction: the entity, the sequence of the redacting event, the salt up to there, and the salt from there on."""


class Head(NamedTuple):
    """A slot's last record: where it stands, its hash, the epoch it was written under, and when."""

    position: int
    hash: bytes
    epoch: int
    recorded_at: int = 0


EMPTY_SLOT: Final = Head(0, GENESIS, 0)


class EntityName(NamedTuple):
    """What an entity is called: a whole structure has the empty key, a key of a map its tagged text."""

    kind: str
    name: str
    key: str


class Meta(msgspec.Struct, frozen=True):
    """What the migration wrote down once: the number of slots, and the incarnation that prefixes fencing tokens."""

    slots: int
    incarnation: int
    created_at: int = 0  # microseconds since 1970; 0 in a journal that is not stored


class StoredSnapshot(msgspec.Struct, frozen=True):
    """A state as of a sequence of its entity."""

    sequence: int
    state: str
    version: int
    recorded_at: int = 0  # only what goes through a slot's snapshots asks for it


class Binding(NamedTuple):
    """What of a record may say which state a snapshot must hold; ``replay/binding.py`` reads it."""

    type: str
    payload: str
    metadata: str | None


class StoredEntity(msgspec.Struct, frozen=True):
    """An entity's row in the directory, with its newest snapshot."""

    id: int
    alive: bool
    salt: bytes | None
    snapshot: StoredSnapshot | None
    salted_from: int = 0  # the sequence of its last redaction: earlier events had another salt
    binding: Binding | None = None  # of the snapshot


class DirectoryRow(NamedTuple):
    """An entity's row in the directory, whole."""

    id: int
    slot: int
    kind: str
    name: str
    key: str
    alive: bool
    salt: bytes | None
    salted_from: int

    @property
    def entity_name(self) -> EntityName:
        """What the entity is called."""
        return EntityName(self.kind, self.name, self.key)


class StructureRow(NamedTuple):
    """A structure: over how many shards it is spread, and how long its events are kept (``None``: for ever)."""

    kind: str
    name: str
    shards: int
    keep: str | None


class SealRow(NamedTuple):
    """Where cut events stood: a run of one entity's records, the hash before it and the hash of its last."""

    first: int
    last: int
    entity: int
    previous_hash: bytes
    hash: bytes
    sealed_by: int  # the sequence of the entity's seal


class RetiredSalt(NamedTuple):
    """The salt of an entity's events up to a sequence, until their payloads are redacted."""

    entity: int
    through: int
    salt: bytes


class TailEvent(NamedTuple):
    """What replay needs of an event."""

    entity: int
    sequence: int
    type: str
    version: int
    payload: str


class RecordedEvent(msgspec.Struct, frozen=True):
    """One record of the journal, as stored."""

    slot: int
    position: int
    epoch: int
    entity: int | None
    sequence: int | None
    type: str
    version: int
    payload: str
    metadata: str | None
    command_id: bytes | None
    idempotency_key: str | None
    recorded_at: int
    hash: bytes


def record_hash(previous: bytes, record: RecordedEvent, salt: bytes, name: EntityName | None = None) -> bytes:
    """Return the hash that a record must have behind ``previous``, also after its payload was redacted.

    The salt is the one that its entity had when it was written; the name is needed by an entity's first event only.
    """
    salt = b"" if record.type in UNSALTED else salt
    metadata = record.metadata
    return link(
        previous,
        record.slot,
        record.position,
        record.epoch,
        record.entity,
        record.sequence,
        record.recorded_at,
        (record.type, record.version),
        record.command_id,
        record.idempotency_key,
        redacted_digest(record.payload) or digest(salt, record.payload),
        None if metadata is None else redacted_digest(metadata) or digest(salt, metadata),
        name if record.sequence == 1 else None,
    )


class NodeRow(msgspec.Struct, frozen=True):
    """A process that may hold leases: a hint for people and for routing, never a proof."""

    node_id: str
    host: str
    pid: int
    address: str | None
    started_at: int
    seen_at: int


class SlotRow(msgspec.Struct, frozen=True):
    """Which node holds a slot, where it listens, under which epoch and since when: a hint, never a proof."""

    slot: int
    node_id: str
    address: str | None
    epoch: int
    since: int


class Append(msgspec.Struct):
    """One append: everything in it is written, or nothing."""

    # Per slot that is written: the slot, and the position and hash of the record that the first new one follows.
    # Position 0 with ``GENESIS`` says that the slot is empty.
    predecessors: list[tuple[int, int, bytes]]
    events: list[EventRow]  # in the order of slot and position
    entities: list[EntityRow] = []  # entities whose first event is among the events
    alive: list[tuple[int, bool]] = []  # older entities that came to life or were destroyed
    salts: list[SaltRow] = []  # entities that are redacted: their old salt is set aside until their payloads are gone
