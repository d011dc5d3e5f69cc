"""What a SQL journal tells those who look at it, and what only those may do who maintain it."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import Any, Final, cast

from casty_es.errors import ConfigurationError, JournalUnavailableError, NotDoneError
from casty_es.journal.backend import Backend
from casty_es.journal.damaged import (
    BEHIND_ALL,
    entity_of,
    event_of,
    number_of,
    retired_salt_of,
    seal_of,
    snapshot_of,
)
from casty_es.journal.port import (
    Binding,
    DirectoryRow,
    EventRow,
    RecordedEvent,
    RetiredSalt,
    SealRow,
    StoredSnapshot,
    StructureRow,
)
from casty_es.journal.sql_rows import incarnation_of, structure_of

DENIED: Final = "42501"
"""Postgres' insufficient_privilege."""


class SqlInspector(ABC):
    """The part of a ``SqlJournal`` that no owner needs: see ``inspector.py``."""

    file: Path | None

    @abstractmethod
    def _opened(self) -> Backend: ...

    def _ask(self, name: str, *parameters: object) -> Awaitable[Sequence[Sequence[Any]]]:
        """Ask for the rows that a statement of the table in ``statements.py`` finds."""
        backend = self._opened()
        return backend.read(backend.statements[name], *parameters)

    async def _page(self, name: str, after: int, *parameters: object) -> Sequence[Sequence[Any]]:
        """Return a page of them; what a database sorts behind all numbers would come for ever."""
        return await self._ask(name, *parameters) if after < BEHIND_ALL else []

    async def entity_rows(self, ids: Sequence[int]) -> list[DirectoryRow]:
        return [entity_of(row) for row in await self._ask("entity_rows", list(ids))]

    async def directory(
        self, kind: str, name: str, *, after: str | None = None, limit: int = 1_000
    ) -> list[DirectoryRow]:
        # No text stands between one and the same with the smallest character behind it.
        first = "" if after is None else after + "\1"
        return [entity_of(row) for row in await self._ask("directory", kind, name, first, limit)]

    async def slot_directory(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[DirectoryRow]:
        return [entity_of(row) for row in await self._page("slot_directory", after, slot, after, limit)]

    async def structure_rows(self) -> list[StructureRow]:
        return [structure_of(row) for row in await self._ask("structure_rows")]

    async def bounds(self, entity: int) -> tuple[int, int]:
        [(first, last)] = await self._ask("bounds", entity)
        if first is not None and not type(first) is type(last) is int:
            [(first, last)] = await self._ask("bounds_of_numbers", entity)
        return number_of(first), number_of(last)

    async def snapshot_before(self, entity: int, sequence: int) -> StoredSnapshot | None:
        rows = await self._ask("snapshot_before", entity, sequence)
        return snapshot_of(rows[0]) if rows else None

    async def binding(self, entity: int, sequence: int) -> Binding | None:
        rows = await self._ask("binding", entity, sequence)
        return Binding(*rows[0]) if rows else None

    async def slot_snapshots(
        self, slot: int, *, after: tuple[int, int] = (0, 0), limit: int = 1_000
    ) -> list[tuple[int, StoredSnapshot]]:
        rows = await self._page("slot_snapshots", max(after), slot, *after, limit)
        return [(row[0], snapshot_of(row[1:])) for row in rows]

    async def snapshot_sequences(self, entities: Sequence[int]) -> list[tuple[int, int]]:
        rows = await self._ask("snapshot_sequences", list(entities))
        return [(entity, sequence) for entity, sequence in rows if type(entity) is type(sequence) is int]

    async def seals(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[SealRow]:
        return [seal_of(row) for row in await self._page("seals", after, slot, after, limit)]

    async def retired_salts(self, entities: Sequence[int]) -> list[RetiredSalt]:
        return [retired_salt_of(row) for row in await self._ask("retired_salts", list(entities))]

    async def last_cut(self, entity: int) -> int:
        [(position,)] = await self._ask("last_cut", entity)
        return 0 if position is None else number_of(position, BEHIND_ALL)

    async def records(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[RecordedEvent]:
        return [event_of(row) for row in await self._page("records", after, slot, after, limit)]

    async def rows(self, slot: int, *, after: int = 0, limit: int = 1_000) -> Sequence[EventRow]:
        return cast("Sequence[EventRow]", await self._page("records", after, slot, after, limit))

    async def history(
        self, entity: int, *, after: int = 0, limit: int = 1_000, most_bytes: int | None = None
    ) -> list[RecordedEvent]:
        if most_bytes is None:
            rows = await self._page("history", after, entity, after, limit)
        else:
            rows = await self._page("history_within", after, entity, after, limit, most_bytes)
        return [event_of(row) for row in rows]

    async def query(self, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        """Run a query of the caller's own, such as one about the database's own tables."""
        return await self._opened().read(statement, *parameters)

    async def maintain(self, steps: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Sequence[Sequence[Any]]]:
        """Run statements in one transaction in which events may be changed; see ``maintenance.py``, its one caller.

        Raises
        ------
        ConfigurationError
            The role may not do it. Nothing was changed.
        JournalUnavailableError
            The database could not do it, or its answer was lost.
        """
        try:
            return await self._opened().maintain(steps)
        except JournalUnavailableError as error:
            if getattr(error.__cause__, "sqlstate", None) == DENIED:
                raise ConfigurationError(
                    f"This role may not change events: {error.__cause__}. Nothing was changed by this step. Use a role "
                    f"for maintenance; `casty-es db grants` prints what it needs."
                ) from error
            raise

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold the right to be the one process that maintains the journal, within a block.

        Raises
        ------
        NotDoneError
            Another one is.
        """
        async with self._opened().alone() as alone:
            if not alone:
                raise NotDoneError(
                    "Another retention run or redaction works on this journal. Nothing was done. Try again when it is "
                    "over."
                )
            yield

    async def vacuum(self, *, full: bool = False) -> None:
        """Give back the space of what was deleted or replaced; it may take long.

        On Postgres old bytes may stay in unused parts of pages until they are used again; ``full`` writes the tables
        anew without them, and locks them meanwhile. On SQLite nothing stays, and writers wait.
        """
        await self._opened().vacuum(full=full)

    async def raise_incarnation(self) -> int:
        """Raise the incarnation, and forget which slots were closed under the one before, both or neither."""
        backend = self._opened()
        steps = [(backend.statements[name], ()) for name in ("raise_incarnation", "forget_closed_slots")]
        raised, _ = await backend.maintain(steps)
        return incarnation_of(raised[0][0])
