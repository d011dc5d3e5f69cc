"""What is asked of a journal by those who look at it: time travel, audits, upkeep and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from casty_es.journal.records import (
    Binding,
    DirectoryRow,
    EventRow,
    RecordedEvent,
    RetiredSalt,
    SealRow,
    StoredSnapshot,
    StructureRow,
)


class Inspector(Protocol):
    """The journal's entities and their pasts, in pages: committed records only."""

    async def entity_rows(self, ids: Sequence[int]) -> list[DirectoryRow]:
        """Return the directory rows of these entities, by id; those that are not there are left out."""

    async def directory(
        self, kind: str, name: str, *, after: str | None = None, limit: int = 1_000
    ) -> list[DirectoryRow]:
        """Return a page of a structure's entities, living or not, after a key; from the first with ``None``."""

    async def slot_directory(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[DirectoryRow]:
        """Return a page of a slot's entities, after an id."""

    async def structure_rows(self) -> list[StructureRow]:
        """Return every structure that is recorded, by kind and name."""

    async def bounds(self, entity: int) -> tuple[int, int]:
        """Return the first and the last sequence that an entity has events of; (0, 0) when it has none."""

    async def snapshot_before(self, entity: int, sequence: int) -> StoredSnapshot | None:
        """Return the newest snapshot of an entity at or before a sequence."""

    async def binding(self, entity: int, sequence: int) -> Binding | None:
        """Return what the entity's log says of a snapshot at a sequence; ``None`` where it says nothing.

        That is the redaction at the sequence itself, or the first event behind it whose metadata speaks of it, or that
        seals what is cut up to there, among the next ``BINDING_WITHIN`` (``binding_sql.py``).
        """

    async def slot_snapshots(
        self, slot: int, *, after: tuple[int, int] = (0, 0), limit: int = 1_000
    ) -> list[tuple[int, StoredSnapshot]]:
        """Return a page of a slot's snapshots with their entities and times, after an entity and sequence."""

    async def snapshot_sequences(self, entities: Sequence[int]) -> list[tuple[int, int]]:
        """Return the sequences at which these entities have snapshots, by entity and sequence."""

    async def seals(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[SealRow]:
        """Return a page of a slot's seals whose last position comes after one, by position."""

    async def last_cut(self, entity: int) -> int:
        """Return the position of an entity's last event that retention cut, or 0. What is absent proves nothing."""

    async def retired_salts(self, entities: Sequence[int]) -> list[RetiredSalt]:
        """Return the salts that were set aside and are not destroyed yet, by entity and sequence."""

    async def records(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[RecordedEvent]:
        """Return a page of a slot's records after a position."""

    async def rows(self, slot: int, *, after: int = 0, limit: int = 1_000) -> Sequence[EventRow]:
        """Return what ``records`` gives, as plain rows, for whoever walks through all of a journal."""

    async def history(
        self, entity: int, *, after: int = 0, limit: int = 1_000, most_bytes: int | None = None
    ) -> list[RecordedEvent]:
        """Return a page of an entity's events after a sequence.

        With ``most_bytes`` it ends with the event whose payload reaches them, so it may be shorter although more
        follow; only an empty page is the end.
        """

    async def raise_incarnation(self) -> int:
        """Accept the loss of records: raise the incarnation, open the closed slots, and return the new incarnation."""
