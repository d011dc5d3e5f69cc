"""The journal in a SQL database: rows and parameters on this side, one of two backends on the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, cast

from casty_es.background import finished
from casty_es.errors import (
    ConfigurationError,
    InvalidTypeError,
    JournalUnavailableError,
    NotDoneError,
    UsageError,
)
from casty_es.journal import schema
from casty_es.journal.backend import Backend
from casty_es.journal.closed import FORGET_CLOSED_SLOTS, ClosedSlots
from casty_es.journal.damaged import BEHIND_ALL, number_of, retired_salt_of, seal_of, snapshot_of
from casty_es.journal.port import (
    EMPTY_SLOT,
    Append,
    Binding,
    DirectoryRow,
    EntityName,
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
from casty_es.journal.postgres import PostgresBackend
from casty_es.journal.sql_rows import (
    directory_of,
    events_of,
    heads_of,
    incarnation_of,
    meta_of,
    meta_to_read_by,
    no_entity_id,
    node_of,
    secret_of,
    shards_of,
    slot_of,
    structure_of,
)
from casty_es.journal.sqlite import OpenFiles, SqliteBackend
from casty_es.journal.urls import database_url, is_sqlite, sqlite_file
from casty_es.names import check_flag

__all__ = ["SqlJournal"]

_DENIED: Final = "42501"  # Postgres' insufficient_privilege

_LAST_SLOT: Final = f"SELECT max(slot) FROM casty_events WHERE slot BETWEEN 0 AND {schema.MAX_SLOTS - 1}"  # noqa: S608

# Of sequences that are numbers only: SQLite sorts everything else behind them.
_BOUNDS: Final = """
    SELECT min(sequence), max(sequence) FROM casty_events
    WHERE entity = {} AND sequence BETWEEN 1 AND 9223372036854775806"""

# In a forked child: what belongs to the parent is kept, because letting it be collected would close it.
_INHERITED: Final[list[Backend]] = []


class SqlJournal(ClosedSlots):
    """A durable ``EventJournal`` in Postgres or in an SQLite file.

    Parameters
    ----------
    url : str
        ``sqlite:///casty.db`` or ``postgresql://user:password@host/database``.
    unsafe_durability : bool
        Accept a database that acknowledges commits before they are durable. Acknowledged operations may then be lost.
    synchronous : str
        SQLite's setting of that name: ``FULL`` or ``EXTRA``, or less with ``unsafe_durability``.

    Raises
    ------
    InvalidArgumentError
        The URL's scheme is not known, or it names no file.
    UnsafeDurabilityError
        ``synchronous`` is below ``FULL``.

    Examples
    --------
    >>> SqlJournal("sqlite:///casty.db").url
    'sqlite:///casty.db'
    """

    volatile = False

    def __init__(self, url: str, *, unsafe_durability: bool = False, synchronous: str = "FULL") -> None:
        database_url(url)
        self.url = url = str.__str__(url)
        self.file = sqlite_file(url) if is_sqlite(url) else None
        self.unsafe_durability = check_flag(unsafe_durability, "unsafe_durability")
        if not isinstance(synchronous, str):
            raise InvalidTypeError(f"synchronous must be a str, not {type(synchronous).__name__}. Nothing was opened.")
        self._settings = (unsafe_durability, str.__str__(synchronous))
        self._backend = self._new_backend()
        self._meta: Meta | None = None
        self._opening = asyncio.Lock()

    def _new_backend(self) -> Backend:
        unsafe_durability, synchronous = self._settings
        if self.file is None:
            return PostgresBackend(self.url, unsafe_durability=unsafe_durability)
        return SqliteBackend(self.file, synchronous=synchronous, unsafe_durability=unsafe_durability)

    async def open(self) -> Meta:
        """Connect and check the schema and the durability settings. Runs no DDL."""
        return await self._open()

    async def open_to_read(self, *, every_slot: bool = False) -> Meta:
        """Open for a reader, who sees the records also where ``casty_meta`` is damaged: then a ``DamagedMeta`` says it.

        Write nothing into a journal that was opened so. With ``every_slot`` it is damaged, too, if records stand in
        slots that it does not have.
        """
        return await self._open(lambda rows, last: meta_to_read_by(rows, last, every_slot=every_slot))

    async def _open(self, to_read: Callable[[Sequence[Sequence[Any]], Any], Meta] | None = None) -> Meta:
        async with self._opening:
            if self._meta is None:
                await asyncio.to_thread(schema.check, self.url)
                try:
                    await self._backend.open()
                    rows = await self._backend.read(self._backend.statements.meta)
                    if to_read is None:
                        meta = meta_of(rows)
                    else:
                        [(last,)] = await self._backend.read(_LAST_SLOT)
                        meta = to_read(rows, last)
                except BaseException:
                    failed, self._backend = self._backend, self._new_backend()
                    await finished(failed.close())
                    raise
                self._meta = meta
            return self._meta

    async def close(self) -> None:
        """Close every connection; the journal can be opened again."""
        async with self._opening:
            if self._meta is not None:
                self._meta = None
                backend, self._backend = self._backend, self._new_backend()
                await finished(backend.close())

    async def open_files(self) -> OpenFiles | None:
        """Return what a journal in a file has open, if that is what is at its path: see ``Place.check``."""
        return await self._opened().open_files()

    def _opened(self) -> Backend:
        if self._meta is None:
            raise UsageError(
                "The journal is not open. Nothing was done. Use it through a running system, or open() it."
            )
        return self._backend

    @property
    def _slots(self) -> int:
        return 0 if self._meta is None else self._meta.slots

    async def append(self, append: Append) -> None:
        """Write an append durably, whole or not at all."""
        await self._opened().append(append)

    async def heads(self, slots: Sequence[int]) -> dict[int, Head]:
        """Return each slot's committed head."""
        rows = await self._opened().read(self._opened().statements.heads, list(slots))
        return {**dict.fromkeys(slots, EMPTY_SLOT), **heads_of(rows)}

    async def entity_numbers(self, slots: Sequence[int]) -> dict[int, int]:
        """Return the highest number of an entity per slot."""
        rows = await self._opened().read(self._opened().statements.entity_numbers, list(slots))
        return {**dict.fromkeys(slots, 0), **{slot: number for slot, number in rows if number is not None}}

    async def entities(self, names: Sequence[EntityName]) -> list[StoredEntity | None]:
        """Return directory rows and newest snapshots."""
        if not names:
            return []
        columns = [list(column) for column in zip(*names, strict=True)]
        found: list[StoredEntity | None] = [None] * len(names)
        for index, id_, alive, salt, sequence, state, version, salted_from, *said in await self._opened().read(
            self._opened().statements.entities, *columns
        ):
            if type(id_) is not int:
                raise no_entity_id(id_)
            snapshot = None if sequence is None else StoredSnapshot(sequence, state, version)
            binding = None if said[0] is None else Binding(*said)
            found[index] = StoredEntity(id_, bool(alive), salt, snapshot, salted_from, binding)
        return found

    async def entity_rows(self, ids: Sequence[int]) -> list[DirectoryRow]:
        """Return directory rows by id."""
        return directory_of(await self._opened().read(self._opened().statements.entity_rows, list(ids)))

    async def directory(
        self, kind: str, name: str, *, after: str | None = None, limit: int = 1_000
    ) -> list[DirectoryRow]:
        """Return a page of a structure's entities."""
        statement = self._opened().statements.directory
        # No text stands between one and the same with the smallest character behind it.
        first = "" if after is None else after + "\1"
        return directory_of(await self._opened().read(statement, kind, name, first, limit))

    async def slot_directory(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[DirectoryRow]:
        """Return a page of a slot's entities."""
        if after >= BEHIND_ALL:
            return []
        return directory_of(await self._opened().read(self._opened().statements.slot_directory, slot, after, limit))

    async def structure_rows(self) -> list[StructureRow]:
        """Return every structure."""
        return [structure_of(row) for row in await self._opened().read(self._opened().statements.structure_rows)]

    async def bounds(self, entity: int) -> tuple[int, int]:
        """Return the first and the last sequence of an entity."""
        [(first, last)] = await self._opened().read(self._opened().statements.bounds, entity)
        if first is not None and not type(first) is type(last) is int:
            [(first, last)] = await self._opened().read(_BOUNDS.format("?1" if self.file else "$1"), entity)
        return number_of(first), number_of(last)

    async def snapshot_before(self, entity: int, sequence: int) -> StoredSnapshot | None:
        """Return the newest snapshot at or before a sequence."""
        rows = await self._opened().read(self._opened().statements.snapshot_before, entity, sequence)
        return snapshot_of(rows[0]) if rows else None

    async def binding(self, entity: int, sequence: int) -> Binding | None:
        """Return what the log says of a snapshot."""
        rows = await self._opened().read(self._opened().statements.binding, entity, sequence)
        return Binding(*rows[0]) if rows else None

    async def slot_snapshots(
        self, slot: int, *, after: tuple[int, int] = (0, 0), limit: int = 1_000
    ) -> list[tuple[int, StoredSnapshot]]:
        """Return a page of a slot's snapshots."""
        if max(after) >= BEHIND_ALL:
            return []
        rows = await self._opened().read(self._opened().statements.slot_snapshots, slot, *after, limit)
        return [(row[0], snapshot_of(row[1:])) for row in rows]

    async def snapshot_sequences(self, entities: Sequence[int]) -> list[tuple[int, int]]:
        """Return the sequences of snapshots."""
        rows = await self._opened().read(self._opened().statements.snapshot_sequences, list(entities))
        return [(entity, sequence) for entity, sequence in rows if type(entity) is type(sequence) is int]

    async def seals(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[SealRow]:
        """Return a page of a slot's seals."""
        if after >= BEHIND_ALL:
            return []
        rows = await self._opened().read(self._opened().statements.seals, slot, after, limit)
        return [seal_of(row) for row in rows]

    async def retired_salts(self, entities: Sequence[int]) -> list[RetiredSalt]:
        """Return the salts that were set aside."""
        rows = await self._opened().read(self._opened().statements.retired_salts, list(entities))
        return [retired_salt_of(row) for row in rows]

    async def tails(self, after: Mapping[int, int], *, limit: int) -> list[TailEvent]:
        """Return a page of events for replay."""
        ids = sorted(after)
        rows = await self._opened().read(self._opened().statements.tails, ids, [after[id_] for id_ in ids], limit)
        # A row unpacks like a TailEvent; copying a million of them would cost a second.
        return cast("list[TailEvent]", rows)

    async def find(self, slot: int, after: int, command_ids: Sequence[bytes]) -> list[RecordedEvent]:
        """Return the events of some commands."""
        return events_of(await self._opened().read(self._opened().statements.find, slot, after, list(command_ids)))

    async def records(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[RecordedEvent]:
        """Return a page of a slot."""
        if after >= BEHIND_ALL:  # what a database sorts there would come for ever
            return []
        return events_of(await self._opened().read(self._opened().statements.records, slot, after, limit))

    async def rows(self, slot: int, *, after: int = 0, limit: int = 1_000) -> Sequence[EventRow]:
        """Return a page of a slot as plain rows."""
        if after >= BEHIND_ALL:
            return []
        rows = await self._opened().read(self._opened().statements.records, slot, after, limit)
        return cast("Sequence[EventRow]", rows)

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
            if getattr(error.__cause__, "sqlstate", None) == _DENIED:
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

    async def last_cut(self, entity: int) -> int:
        """Return the position of an entity's last event that was cut."""
        [(position,)] = await self._opened().read(self._opened().statements.last_cut, entity)
        return 0 if position is None else number_of(position, BEHIND_ALL)

    async def history(
        self, entity: int, *, after: int = 0, limit: int = 1_000, most_bytes: int | None = None
    ) -> list[RecordedEvent]:
        """Return a page of an entity's events."""
        if after >= BEHIND_ALL:
            return []
        backend = self._opened()
        if most_bytes is None:
            return events_of(await backend.read(backend.statements.history, entity, after, limit))
        return events_of(await backend.read(backend.statements.history_within, entity, after, limit, most_bytes))

    async def save_snapshot(self, entity: int, snapshot: StoredSnapshot, event_hash: bytes, recorded_at: int) -> bool:
        """Keep a snapshot of committed state."""
        statement = self._opened().statements.save_snapshot
        version, state = snapshot.version, snapshot.state
        rows = await self._opened().write(statement, entity, snapshot.sequence, state, version, recorded_at, event_hash)
        return bool(rows)

    async def record_structures(
        self, structures: Sequence[tuple[str, str, int]], *, populated: bool = False
    ) -> list[int | None]:
        """Record structures that are not known yet."""
        if not structures:
            return []
        # In one order, so that two nodes never wait for each other.
        columns = [list(column) for column in zip(*sorted(structures), strict=True)]
        await self._opened().write(self._opened().statements.record_structures, *columns, populated)
        return await self.structures([(kind, name) for kind, name, _ in structures])

    async def structures(self, names: Sequence[tuple[str, str]]) -> list[int | None]:
        """Return the recorded shards."""
        if not names:
            return []
        columns = [list(column) for column in zip(*names, strict=True)]
        found: list[int | None] = [None] * len(names)
        for index, shards in await self._opened().read(self._opened().statements.structures, *columns):
            found[index] = shards_of(shards)
        return found

    async def keys(self, kind: str, name: str, *, after: str = "", limit: int = 1_000) -> list[str]:
        """Return a page of living keys."""
        return [row[0] for row in await self._opened().read(self._opened().statements.keys, kind, name, after, limit)]

    async def register_node(self, node: NodeRow) -> None:
        """Write down a process."""
        fields = [getattr(node, name) for name in NodeRow.__struct_fields__]
        await self._opened().write(self._opened().statements.register_node, *fields)

    async def forget_node(self, node_id: str) -> None:
        """Forget a process."""
        await self._opened().write(self._opened().statements.forget_node, node_id)

    async def nodes(self) -> list[NodeRow]:
        """Return the processes written down, the newest first."""
        return [node_of(row) for row in await self._opened().read(self._opened().statements.nodes)]

    async def slot_rows(self) -> list[SlotRow]:
        """Return who holds which slot."""
        rows = [slot_of(row) for row in await self._opened().read(self._opened().statements.slot_rows)]
        return [row for row in rows if 0 <= row.slot < self._slots]

    async def claim_slots(self, slots: Sequence[int], node_id: str, *, dead: Sequence[str]) -> set[int]:
        """Write a node's name to the slots that it may have, in one statement."""
        distinct = sorted(set(slots))  # in one order, so that two nodes never wait for each other
        statement = self._opened().statements.claim_slots
        return {slot for (slot,) in await self._opened().write(statement, distinct, node_id, list(dead))}

    async def save_slots(self, rows: Sequence[SlotRow]) -> None:
        """Write down who holds which slots."""
        if rows:
            newest = {row.slot: row for row in sorted(rows, key=lambda row: row.epoch)}
            fields = [[getattr(newest[slot], name) for slot in sorted(newest)] for name in SlotRow.__struct_fields__]
            await self._opened().write(self._opened().statements.save_slots, *fields)

    async def forget_slots(self, slots: Sequence[int], node_id: str) -> None:
        """Remove the rows that name the node."""
        if slots:
            await self._opened().write(self._opened().statements.forget_slots, list(slots), node_id)

    async def find_key(self, entity: int, idempotency_key: str) -> list[RecordedEvent]:
        """Return the events of the command that was recorded under this key."""
        return events_of(await self._opened().read(self._opened().statements.find_key, entity, idempotency_key))

    async def secret(self) -> bytes:
        """Return the cluster's secret."""
        try:
            rows = await self._opened().read(self._opened().statements.secret)
        except JournalUnavailableError as error:
            if getattr(error.__cause__, "sqlstate", None) == _DENIED:
                raise ConfigurationError(
                    "This role may not read the cluster's secret in casty_secrets. Nothing was started. Grant it "
                    "SELECT on that table, or give the secret with secret=."
                ) from error
            raise
        return secret_of(rows)

    async def incarnation(self) -> int:
        """Return the incarnation as of now."""
        return meta_of(await self._opened().read(self._opened().statements.meta)).incarnation

    async def raise_incarnation(self) -> int:
        """Raise the incarnation, and forget which slots were closed under the one before, both or neither."""
        steps = [(statement, ()) for statement in (self._opened().statements.raise_incarnation, FORGET_CLOSED_SLOTS)]
        raised, _ = await self._opened().maintain(steps)
        return incarnation_of(raised[0][0])

    def abandon_after_fork(self) -> None:
        """In a forked child: let go of the parent's connections, without a word. Opening makes new ones."""
        self._backend.abandon_after_fork()
        _INHERITED.append(self._backend)
        self._backend, self._meta, self._opening = self._new_backend(), None, asyncio.Lock()
