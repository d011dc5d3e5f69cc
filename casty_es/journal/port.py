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
from typing import Protocol, runtime_checkable

from casty_es.journal.inspector import Inspector
from casty_es.journal.records import (
    EMPTY_SLOT,
    ENTITY_NUMBER_BITS,
    LEASE_ACQUIRED,
    Append,
    Binding,
    DirectoryRow,
    EntityName,
    EntityRow,
    EventRow,
    Head,
    Meta,
    NodeRow,
    RecordedEvent,
    RetiredSalt,
    SaltRow,
    SealRow,
    SlotRow,
    Stored,
    StoredEntity,
    StoredSnapshot,
    StructureRow,
    TailEvent,
    record_hash,
)
from casty_es.journal.remembered import ClosedSlot

__all__ = [
    "EMPTY_SLOT",
    "ENTITY_NUMBER_BITS",
    "LEASE_ACQUIRED",
    "Append",
    "Binding",
    "DirectoryRow",
    "EntityName",
    "EntityRow",
    "EventJournal",
    "EventLog",
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


class EventLog(Protocol):
    """An append-only log of events per slot, the directory of entities, and snapshots beside them: what owners need."""

    @property
    def volatile(self) -> bool:
        """Whether the journal is gone with the process."""

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

    async def close(self) -> None:
        """Close every connection. Closing a closed journal does nothing."""

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

    async def heads(self, slots: Sequence[int]) -> dict[int, Head]:
        """Return the committed head of each slot, ``EMPTY_SLOT`` for one without records."""

    async def entity_numbers(self, slots: Sequence[int]) -> dict[int, int]:
        """Return the highest number that each slot has given to an entity, 0 for none."""

    async def entities(self, names: Sequence[EntityName]) -> list[StoredEntity | None]:
        """Return the directory row and the newest snapshot of each entity, in order; ``None`` where there is none."""

    async def tails(self, after: Mapping[int, int], *, limit: int) -> list[TailEvent]:
        """Return events of these entities after the sequences given, by entity and sequence, at most ``limit``."""

    async def find(self, slot: int, after: int, command_ids: Sequence[bytes]) -> list[RecordedEvent]:
        """Return the events of these commands that stand in the slot after a position, by position."""

    async def save_snapshot(self, entity: int, snapshot: StoredSnapshot, event_hash: bytes, recorded_at: int) -> bool:
        """Keep a snapshot, if the event at its sequence is committed with this hash; tell whether it was kept.

        None is kept of a state that a redaction made forget.
        """

    async def record_structures(
        self, structures: Sequence[tuple[str, str, int]], *, populated: bool = False
    ) -> list[int | None]:
        """Record each structure's (kind, name, shards) unless one is recorded; return the recorded shards in order.

        Where a structure has entities and is not recorded, they are where some number of shards has put them: then
        nothing is recorded and ``None`` returned, unless the caller says with ``populated`` that it knows that number.
        """

    async def structures(self, names: Sequence[tuple[str, str]]) -> list[int | None]:
        """Return the recorded shards of each structure (kind, name), in order; ``None`` where none is recorded."""

    async def keys(self, kind: str, name: str, *, after: str = "", limit: int = 1_000) -> list[str]:
        """Return a page of the keys of a structure's living entities, in order."""

    async def register_node(self, node: NodeRow) -> None:
        """Write down that a process is there."""

    async def forget_node(self, node_id: str) -> None:
        """Write down that a process is gone."""

    async def nodes(self) -> list[NodeRow]:
        """Return the processes written down, the newest first."""

    async def slot_rows(self) -> list[SlotRow]:
        """Return who holds which slot, by slot; slots that nobody has taken are absent."""

    async def claim_slots(self, slots: Sequence[int], node_id: str, *, dead: Sequence[str]) -> set[int]:
        """Write a node's name to those of these slots that name nobody, itself, or a node that is dead.

        One statement; gives the slots that name the node now. A claimed slot keeps the epoch that its row had.
        """

    async def save_slots(self, rows: Sequence[SlotRow]) -> None:
        """Write down who holds which slots, except where a later epoch is written down already."""

    async def forget_slots(self, slots: Sequence[int], node_id: str) -> None:
        """Remove the rows of those of these slots that name the node."""

    async def find_key(self, entity: int, idempotency_key: str) -> list[RecordedEvent]:
        """Return the events of the command that was recorded under this key of an entity, by position; none if none."""

    async def secret(self) -> bytes:
        """Return the cluster's secret.

        Raises
        ------
        ConfigurationError
            The journal has none, or this role may not read it.
        """

    async def incarnation(self) -> int:
        """Return the incarnation as of now: how often an operator has accepted the loss of records, plus one."""

    async def hashes(self, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Return the hashes of the records at these slots and positions; those that are not there are left out."""

    async def closed_slots(self) -> tuple[int, list[ClosedSlot]]:
        """Return the incarnation as of now, and the slots that were closed under it."""

    async def close_slot(self, closed: ClosedSlot) -> None:
        """Write down, beside the log, that a slot has lost records and must not be opened. Twice is as good as once."""

    def abandon_after_fork(self) -> None:
        """In a forked child: let go of the parent's connections, without a word."""


@runtime_checkable
class EventJournal(EventLog, Inspector, Protocol):
    """A whole journal: what owners need of it, and what those need who look at it."""
