"""The journal in a SQL database: rows and parameters on this side, one of two backends on the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from casty_es.background import finished
from casty_es.errors import ConfigurationError, InvalidTypeError, JournalUnavailableError, SchemaError, UsageError
from casty_es.journal import schema
from casty_es.journal.backend import Backend
from casty_es.journal.damaged import event_of, node_of, slot_of
from casty_es.journal.port import (
    EMPTY_SLOT,
    Append,
    Binding,
    EntityName,
    EventJournal,
    Head,
    Meta,
    NodeRow,
    RecordedEvent,
    SlotRow,
    StoredEntity,
    StoredSnapshot,
    TailEvent,
)
from casty_es.journal.postgres import PostgresBackend
from casty_es.journal.remembered import ClosedSlot
from casty_es.journal.sql_inspector import DENIED, SqlInspector
from casty_es.journal.sql_rows import (
    closed_of,
    heads_of,
    incarnation_of,
    meta_of,
    meta_to_read_by,
    no_entity_id,
    secret_of,
    shards_of,
)
from casty_es.journal.sqlite import SqliteBackend
from casty_es.journal.sqlite_connection import OpenFiles
from casty_es.journal.urls import database_url, is_sqlite, sqlite_file
from casty_es.names import check_flag

# In a forked child: what belongs to the parent is kept, because letting it be collected would close it.
_INHERITED: Final[list[Backend]] = []


class SqlJournal(SqlInspector, EventJournal):
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
                try:
                    await self._open_backend()
                    rows = await self._backend.read(self._backend.statements["meta"])
                    if to_read is None:
                        meta = meta_of(rows)
                    else:
                        [(last,)] = await self._backend.read(self._backend.statements["last_slot"])
                        meta = to_read(rows, last)
                except BaseException:
                    failed, self._backend = self._backend, self._new_backend()
                    await finished(failed.close())
                    raise
                self._meta = meta
            return self._meta

    async def _open_backend(self) -> None:
        """Open the database, if it has the schema that this code was written for."""
        if self.file is not None:  # nobody opens a file before it was looked at from outside
            await asyncio.to_thread(schema.check, self.url)
        await self._backend.open()
        if self.file is None:
            revision = await schema.revision_by(self._backend.read)
            await asyncio.to_thread(schema.refuse_other, self.url, revision)

    async def close(self) -> None:
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

    def _tell(self, name: str, *parameters: object) -> Awaitable[Sequence[Sequence[Any]]]:
        """Run a statement that changes something, and commit it."""
        backend = self._opened()
        return backend.write(backend.statements[name], *parameters)

    def _is_slot(self, slot: object) -> bool:
        return type(slot) is int and self._meta is not None and 0 <= slot < self._meta.slots

    async def append(self, append: Append) -> None:
        await self._opened().append(append)

    async def heads(self, slots: Sequence[int]) -> dict[int, Head]:
        rows = await self._ask("heads", list(slots))
        return {**dict.fromkeys(slots, EMPTY_SLOT), **heads_of(rows)}

    async def entity_numbers(self, slots: Sequence[int]) -> dict[int, int]:
        rows = await self._ask("entity_numbers", list(slots))
        return {**dict.fromkeys(slots, 0), **{slot: number for slot, number in rows if number is not None}}

    async def entities(self, names: Sequence[EntityName]) -> list[StoredEntity | None]:
        if not names:
            return []
        found: list[StoredEntity | None] = [None] * len(names)
        for index, id_, alive, salt, sequence, state, version, salted_from, *said in await self._ask(
            "entities", *_columns(names)
        ):
            if type(id_) is not int:
                raise no_entity_id(id_)
            snapshot = None if sequence is None else StoredSnapshot(sequence, state, version)
            binding = None if said[0] is None else Binding(*said)
            found[index] = StoredEntity(id_, bool(alive), salt, snapshot, salted_from, binding)
        return found

    async def tails(self, after: Mapping[int, int], *, limit: int) -> list[TailEvent]:
        ids = sorted(after)
        rows = await self._ask("tails", ids, [after[id_] for id_ in ids], limit)
        # A row unpacks like a TailEvent; copying a million of them would cost a second.
        return cast("list[TailEvent]", rows)

    async def find(self, slot: int, after: int, command_ids: Sequence[bytes]) -> list[RecordedEvent]:
        return [event_of(row) for row in await self._ask("find", slot, after, list(command_ids))]

    async def save_snapshot(self, entity: int, snapshot: StoredSnapshot, event_hash: bytes, recorded_at: int) -> bool:
        row = snapshot.sequence, snapshot.state, snapshot.version, recorded_at, event_hash
        return bool(await self._tell("save_snapshot", entity, *row))

    async def record_structures(
        self, structures: Sequence[tuple[str, str, int]], *, populated: bool = False
    ) -> list[int | None]:
        if not structures:
            return []
        # In one order, so that two nodes never wait for each other.
        await self._tell("record_structures", *_columns(sorted(structures)), populated)
        return await self.structures([(kind, name) for kind, name, _ in structures])

    async def structures(self, names: Sequence[tuple[str, str]]) -> list[int | None]:
        if not names:
            return []
        found: list[int | None] = [None] * len(names)
        for index, shards in await self._ask("structures", *_columns(names)):
            found[index] = shards_of(shards)
        return found

    async def keys(self, kind: str, name: str, *, after: str = "", limit: int = 1_000) -> list[str]:
        return [row[0] for row in await self._ask("keys", kind, name, after, limit)]

    async def register_node(self, node: NodeRow) -> None:
        fields = [getattr(node, name) for name in NodeRow.__struct_fields__]
        await self._tell("register_node", *fields)

    async def forget_node(self, node_id: str) -> None:
        await self._tell("forget_node", node_id)

    async def nodes(self) -> list[NodeRow]:
        return [node_of(row) for row in await self._ask("nodes")]

    async def slot_rows(self) -> list[SlotRow]:
        return (await self.slot_rows_and_others())[0]

    async def slot_rows_and_others(self) -> tuple[list[SlotRow], list[SlotRow]]:
        """Return who holds which slot, and what stands there besides: rows of slots that the journal does not have."""
        rows = [slot_of(row) for row in await self._ask("slot_rows")]
        return [row for row in rows if self._is_slot(row.slot)], [row for row in rows if not self._is_slot(row.slot)]

    async def claim_slots(self, slots: Sequence[int], node_id: str, *, dead: Sequence[str]) -> set[int]:
        """Write a node's name to the slots that it may have, in one statement."""
        distinct = sorted(set(slots))  # in one order, so that two nodes never wait for each other
        return {slot for (slot,) in await self._tell("claim_slots", distinct, node_id, list(dead))}

    async def save_slots(self, rows: Sequence[SlotRow]) -> None:
        if rows:
            newest = {row.slot: row for row in sorted(rows, key=lambda row: row.epoch)}
            fields = [[getattr(newest[slot], name) for slot in sorted(newest)] for name in SlotRow.__struct_fields__]
            await self._tell("save_slots", *fields)

    async def forget_slots(self, slots: Sequence[int], node_id: str) -> None:
        if slots:
            await self._tell("forget_slots", list(slots), node_id)

    async def find_key(self, entity: int, idempotency_key: str) -> list[RecordedEvent]:
        return [event_of(row) for row in await self._ask("find_key", entity, idempotency_key)]

    async def secret(self) -> bytes:
        try:
            rows = await self._ask("secret")
        except JournalUnavailableError as error:
            if getattr(error.__cause__, "sqlstate", None) == DENIED:
                raise ConfigurationError(
                    "This role may not read the cluster's secret in casty_secrets. Nothing was started. Grant it "
                    "SELECT on that table, or give the secret with secret=."
                ) from error
            raise
        return secret_of(rows)

    async def incarnation(self) -> int:
        return meta_of(await self._ask("meta")).incarnation

    async def hashes(self, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        if not places:
            return {}
        rows = await self._ask("hashes", *_columns(places))
        return {(slot, position): hash_ if type(hash_) is bytes else b"" for slot, position, hash_ in rows}

    async def closed_slots(self) -> tuple[int, list[ClosedSlot]]:
        rows = await self._ask("closed_slots")
        if not rows:
            raise SchemaError(
                "The journal's table casty_meta is empty. Nothing was done. Finish its import or copy, or restore its "
                "row from a backup."
            )
        return incarnation_of(rows[0][0]), [closed_of(row[1:]) for row in rows if self._is_slot(row[1])]

    async def close_slot(self, closed: ClosedSlot) -> None:
        slot, mark, *rest = closed
        await self._tell("close_slot", slot, *msgspec.structs.astuple(mark), *rest)

    def abandon_after_fork(self) -> None:
        """In a forked child: let go of the parent's connections, without a word. Opening makes new ones."""
        self._backend.abandon_after_fork()
        _INHERITED.append(self._backend)
        self._backend, self._meta, self._opening = self._new_backend(), None, asyncio.Lock()


def _columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
