"""What the rest of the library asks of a journal, and the values that go in and out.

Three rules stand behind the protocol:

1. An append is all or nothing. It names, for every slot that it writes, the record that its own records follow; if a
   slot's head is another one, nothing is written.
2. An append ends in one of three ways: it returns (committed), it raises ``AppendRejectedError`` (certainly nothing
   written), or it raises ``AppendUnknownError`` (nobody can say by reading; writing the next lease record can).
3. A reader sees committed records only, in pages; a log is never read into memory whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Final, NamedTuple, Protocol, TypeAlias, runtime_checkable

import msgspec

from casty_es.format.chain import GENESIS, UNSALTED, digest, link
from casty_es.format.redacted import redacted_digest
from casty_es.journal.remembered import ClosedSlot

__all__ = [
    "EMPTY_SLOT",
    "LEASE_ACQUIRED",
    "Append",
    "Binding",
    "DirectoryRow",
    "EntityName",
    "EntityRow",
    "EventJournal",
    "EventRow",
    "Head",
    "Meta",
    "NodeRow",
    "RecordedEvent",
    "RetiredSalt",
    "SaltRow",
    "SealRow",
    "SlotRow",
    "Stored",
    "StoredEntity",
    "StoredSnapshot",
    "StructureRow",
    "TailEvent",
    "record_hash",
]

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

    Parameters
    ----------
    salt : bytes
        The salt that the record's entity had when it was written.
    name : EntityName | None
        What the entity is called; only its first event needs it.
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
    """One append: everything in it is written, or nothing.

    Attributes
    ----------
    predecessors : list[tuple[int, int, bytes]]
        Per slot that is written: the slot, and the position and hash of the record that the first new one follows.
        Position 0 with ``GENESIS`` says that the slot is empty.
    events : list[EventRow]
        In the order of slot and position.
    entities : list[EntityRow]
        Entities whose first event is among the events.
    alive : list[tuple[int, bool]]
        Older entities that came to life or were destroyed.
    salts : list[SaltRow]
        Entities that are redacted: their old salt is set aside until their payloads are gone.
    """

    predecessors: list[tuple[int, int, bytes]]
    events: list[EventRow]
    entities: list[EntityRow] = []
    alive: list[tuple[int, bool]] = []
    salts: list[SaltRow] = []


@runtime_checkable
class EventJournal(Protocol):
    """An append-only log of events per slot, the directory of entities, and snapshots beside them."""

    @property
    def volatile(self) -> bool:
        """Whether the journal is gone with the process."""
        ...

    async def open(self) -> Meta:
        """Connect and check the schema and the durability settings. Opening an open journal gives the same answer.

        Raises
        ------
        JournalUnavailableError
            The database cannot be reached.
        SchemaError
            The tables are missing, too old or too new.
        UnsafeDurabilityError
            The database may lose commits that it acknowledged.
        """
        ...

    async def close(self) -> None:
        """Close every connection. Closing a closed journal does nothing."""
        ...

    async def append(self, append: Append) -> None:
        """Write an append durably.

        Raises
        ------
        ConflictError
            A predecessor is not the head of its slot, or a constraint was hit. Nothing was written.
        AppendRejectedError
            The database refused for another reason. Nothing was written.
        AppendUnknownError
            The append was sent and may have been written.
        """
        ...

    async def heads(self, slots: Sequence[int]) -> dict[int, Head]:
        """Return the committed head of each slot, ``EMPTY_SLOT`` for one without records."""
        ...

    async def entity_numbers(self, slots: Sequence[int]) -> dict[int, int]:
        """Return the highest number that each slot has given to an entity, 0 for none."""
        ...

    async def entities(self, names: Sequence[EntityName]) -> list[StoredEntity | None]:
        """Return the directory row and the newest snapshot of each entity, in order; ``None`` where there is none."""
        ...

    async def entity_rows(self, ids: Sequence[int]) -> list[DirectoryRow]:
        """Return the directory rows of these entities, by id; those that are not there are left out."""
        ...

    async def directory(
        self, kind: str, name: str, *, after: str | None = None, limit: int = 1_000
    ) -> list[DirectoryRow]:
        """Return a page of a structure's entities, living or not, after a key; from the first with ``None``."""
        ...

    async def slot_directory(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[DirectoryRow]:
        """Return a page of a slot's entities, after an id."""
        ...

    async def structure_rows(self) -> list[StructureRow]:
        """Return every structure that is recorded, by kind and name."""
        ...

    async def bounds(self, entity: int) -> tuple[int, int]:
        """Return the first and the last sequence that an entity has events of; (0, 0) when it has none."""
        ...

    async def snapshot_before(self, entity: int, sequence: int) -> StoredSnapshot | None:
        """Return the newest snapshot of an entity at or before a sequence."""
        ...

    async def binding(self, entity: int, sequence: int) -> Binding | None:
        """Return what the entity's log says of a snapshot at a sequence; ``None`` where it says nothing.

        That is the redaction at the sequence itself, or the first event behind it whose metadata speaks of it, or that
        seals what is cut up to there, among the next ``BINDING_WITHIN`` (``binding_sql.py``).
        """
        ...

    async def slot_snapshots(
        self, slot: int, *, after: tuple[int, int] = (0, 0), limit: int = 1_000
    ) -> list[tuple[int, StoredSnapshot]]:
        """Return a page of a slot's snapshots with their entities and times, after an entity and sequence."""
        ...

    async def snapshot_sequences(self, entities: Sequence[int]) -> list[tuple[int, int]]:
        """Return the sequences at which these entities have snapshots, by entity and sequence."""
        ...

    async def seals(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[SealRow]:
        """Return a page of a slot's seals whose last position comes after one, by position."""
        ...

    async def last_cut(self, entity: int) -> int:
        """Return the position of an entity's last event that retention cut, or 0. What is absent proves nothing."""
        ...

    async def retired_salts(self, entities: Sequence[int]) -> list[RetiredSalt]:
        """Return the salts that were set aside and are not destroyed yet, by entity and sequence."""
        ...

    async def tails(self, after: Mapping[int, int], *, limit: int) -> list[TailEvent]:
        """Return events of these entities after the sequences given, by entity and sequence, at most ``limit``."""
        ...

    async def find(self, slot: int, after: int, command_ids: Sequence[bytes]) -> list[RecordedEvent]:
        """Return the events of these commands that stand in the slot after a position, by position."""
        ...

    async def records(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[RecordedEvent]:
        """Return a page of a slot's records after a position."""
        ...

    async def rows(self, slot: int, *, after: int = 0, limit: int = 1_000) -> Sequence[EventRow]:
        """Return what ``records`` gives, as plain rows, for whoever walks through all of a journal."""
        ...

    async def history(
        self, entity: int, *, after: int = 0, limit: int = 1_000, most_bytes: int | None = None
    ) -> list[RecordedEvent]:
        """Return a page of an entity's events after a sequence.

        With ``most_bytes`` it ends with the event whose payload reaches them, so it may be shorter although more
        follow; only an empty page is the end.
        """
        ...

    async def save_snapshot(self, entity: int, snapshot: StoredSnapshot, event_hash: bytes, recorded_at: int) -> bool:
        """Keep a snapshot, if the event at its sequence is committed with this hash; tell whether it was kept.

        None is kept of a state that a redaction made forget.
        """
        ...

    async def record_structures(
        self, structures: Sequence[tuple[str, str, int]], *, populated: bool = False
    ) -> list[int | None]:
        """Record each structure's (kind, name, shards) unless one is recorded; return the recorded shards in order.

        Where a structure has entities and is not recorded, they are where some number of shards has put them: then
        nothing is recorded and ``None`` returned, unless the caller says with ``populated`` that it knows that number.
        """
        ...

    async def structures(self, names: Sequence[tuple[str, str]]) -> list[int | None]:
        """Return the recorded shards of each structure (kind, name), in order; ``None`` where none is recorded."""
        ...

    async def keys(self, kind: str, name: str, *, after: str = "", limit: int = 1_000) -> list[str]:
        """Return a page of the keys of a structure's living entities, in order."""
        ...

    async def register_node(self, node: NodeRow) -> None:
        """Write down that a process is there."""
        ...

    async def forget_node(self, node_id: str) -> None:
        """Write down that a process is gone."""
        ...

    async def nodes(self) -> list[NodeRow]:
        """Return the processes written down, the newest first."""
        ...

    async def slot_rows(self) -> list[SlotRow]:
        """Return who holds which slot, by slot; slots that nobody has taken are absent."""
        ...

    async def claim_slots(self, slots: Sequence[int], node_id: str, *, dead: Sequence[str]) -> set[int]:
        """Write a node's name to those of these slots that name nobody, itself, or a node that is dead.

        One statement; gives the slots that name the node now. A claimed slot keeps the epoch that its row had.
        """
        ...

    async def save_slots(self, rows: Sequence[SlotRow]) -> None:
        """Write down who holds which slots, except where a later epoch is written down already."""
        ...

    async def forget_slots(self, slots: Sequence[int], node_id: str) -> None:
        """Remove the rows of those of these slots that name the node."""
        ...

    async def find_key(self, entity: int, idempotency_key: str) -> list[RecordedEvent]:
        """Return the events of the command that was recorded under this key of an entity, by position; none if none."""
        ...

    async def secret(self) -> bytes:
        """Return the cluster's secret.

        Raises
        ------
        ConfigurationError
            The journal has none, or this role may not read it.
        """
        ...

    async def incarnation(self) -> int:
        """Return the incarnation as of now: how often an operator has accepted the loss of records, plus one."""
        ...

    async def raise_incarnation(self) -> int:
        """Accept the loss of records: raise the incarnation, open the closed slots, and return the new incarnation."""
        ...

    async def hashes(self, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Return the hashes of the records at these slots and positions; those that are not there are left out."""
        ...

    async def closed_slots(self) -> tuple[int, list[ClosedSlot]]:
        """Return the incarnation as of now, and the slots that were closed under it."""
        ...

    async def close_slot(self, closed: ClosedSlot) -> None:
        """Write down, beside the log, that a slot has lost records and must not be opened. Twice is as good as once."""
        ...

    def abandon_after_fork(self) -> None:
        """In a forked child: let go of the parent's connections, without a word."""
        ...
