"""Writing the rows of another journal into a database that has none, past the library's own ways.

1. It begins by putting ``casty_meta``'s row away, so that nobody opens the journal until it is complete, and by a note
   in ``casty_secrets`` that says whose rows these are. It ends by putting the row back, as the other journal had it.
2. Events are written behind the slot's last one and nowhere else; everything else takes the place of what is there. So
   the same rows can be written again after a crash.
3. Each call is one transaction: committed when it returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import asyncpg
import msgspec

from casty_es.errors import CastyError, ConfigurationError, ConflictError, InvalidValueError, JournalUnavailableError
from casty_es.journal import schema
from casty_es.journal.driver_errors import without_values
from casty_es.journal.port import (
    EMPTY_SLOT,
    DirectoryRow,
    EventRow,
    Head,
    Meta,
    RecordedEvent,
    RetiredSalt,
    SealRow,
    StoredSnapshot,
    StructureRow,
)
from casty_es.journal.sessions import Connection, close_quietly, connect, said
from casty_es.journal.sqlite_connection import Place, rolled_back
from casty_es.journal.statements import POSTGRES, SQLITE, for_sqlite
from casty_es.journal.urls import is_sqlite, shown, sqlite_file

_NOTE: Final = "import"
_EVENT: Final = RecordedEvent.__struct_fields__
_HEAD: Final = (
    "SELECT position, hash, epoch, recorded_at FROM casty_events WHERE slot = $1 ORDER BY position DESC LIMIT 1"
)
_USED: Final = """
    SELECT (SELECT count(*) FROM (SELECT 1 FROM casty_events LIMIT 1) a)
        + (SELECT count(*) FROM (SELECT 1 FROM casty_entities LIMIT 1) b)
        + (SELECT count(*) FROM (SELECT 1 FROM casty_structures LIMIT 1) c)
        + (SELECT count(*) FROM (SELECT 1 FROM casty_snapshots LIMIT 1) d)"""
_READ_NOTE: Final = "SELECT value FROM casty_secrets WHERE name = 'import'"
_READ_META: Final = "SELECT slots, hash_algorithm FROM casty_meta WHERE id = 1"


_Step: TypeAlias = tuple[str, Sequence[tuple[Any, ...]]]
"""A statement, and the parameters of each time that it is run."""


class _Table(msgspec.Struct, frozen=True):
    """A table whose rows take the place of what is there."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def upsert(self) -> str:
        """The statement."""
        values = ", ".join(f"${number}" for number in range(1, len(self.columns) + 1))
        changed = ", ".join(f"{name} = excluded.{name}" for name in self.columns if name not in self.key)
        return (
            f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({values}) "  # noqa: S608 - constants
            f"ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {changed}"
        )


_CACHE: Final = "PRAGMA cache_size = -65536"
_LARGE: Final = 8 * 1024 * 1024  # characters of states that are written at once

_STRUCTURES: Final = _Table("casty_structures", StructureRow._fields, ("kind", "name"))
_ENTITIES: Final = _Table("casty_entities", DirectoryRow._fields, ("id",))
_SALTS: Final = _Table("casty_retired_salts", RetiredSalt._fields, ("entity", "through"))
_SEALS: Final = _Table("casty_seals", ("slot", *SealRow._fields), ("slot", "last"))
_SNAPSHOTS: Final = _Table("casty_snapshots", ("entity", *StoredSnapshot.__struct_fields__), ("entity", "sequence"))


class Restored(msgspec.Struct):
    """Rows to be written."""

    slot: int = 0  # the slot of the events
    head: Head = EMPTY_SLOT  # the slot's last record, behind which the events are
    structures: list[StructureRow] = []
    entities: list[DirectoryRow] = []
    salts: list[RetiredSalt] = []
    seals: list[tuple[int, SealRow]] = []
    events: list[EventRow] = []
    snapshots: list[tuple[int, StoredSnapshot]] = []

    def upserts(self) -> list[_Step]:
        """Return the statement of each table with its rows."""
        rows: list[tuple[_Table, list[tuple[Any, ...]]]] = [
            (_STRUCTURES, [tuple(row) for row in self.structures]),
            (_ENTITIES, [tuple(row) for row in self.entities]),
            (_SALTS, [tuple(row) for row in self.salts]),
            (_SEALS, [(slot, *row) for slot, row in self.seals]),
            (_SNAPSHOTS, [(entity, *msgspec.structs.astuple(row)) for entity, row in self.snapshots]),
        ]
        return [(table.upsert, values) for table, values in rows if values]

    def refuse_moved(self, found: Sequence[Any] | None) -> None:
        """Refuse another last record than the one behind which the events are."""
        there = Head(*found) if found else EMPTY_SLOT
        if (there.position, there.hash) != (self.head.position, self.head.hash):
            raise ConflictError(
                f"Slot {self.slot} of the database is at position {there.position}, not at {self.head.position}: "
                f"another program writes into it. Nothing more was written. End that program and begin with a new "
                f"database.",
                constraint="predecessor",
            )


class _Note(msgspec.Struct, forbid_unknown_fields=True):
    slots: int
    created_at: int
    hash_algorithm: str


class Restoring:
    """A database that is being filled."""

    def __init__(self, url: str, database: _Sqlite | _Postgres) -> None:
        self._url = url
        self._database = database
        self._statements = SQLITE if is_sqlite(url) else POSTGRES
        self._note = _Note(0, 0, "")

    async def begin(self, meta: Meta) -> bool:
        """Put the database aside for the rows of a journal; tell whether it was already, by an interrupted run.

        Refuses one with another number of slots, with records, or with half of another journal.
        """
        notes = await self._database.fetch(_READ_NOTE)
        if notes:
            try:
                self._note = msgspec.json.decode(bytes(notes[0][0]), type=_Note)
            except msgspec.MsgspecError as error:
                raise self._refused(f"its note of an import cannot be read ({error})") from error
            if (self._note.slots, self._note.created_at) != (meta.slots, meta.created_at):
                raise self._refused("it holds a part of another journal, whose import is not complete")
            return True
        rows = await self._database.fetch(_READ_META)
        if not rows:
            raise self._refused("its table casty_meta is empty")
        slots, algorithm = rows[0]
        if slots != meta.slots:
            raise self._refused(f"it was made with {slots} slots, and the journal to be written has {meta.slots}")
        if (await self._database.fetch(_USED))[0][0]:
            raise self._refused("it has records already, or an import into it is complete")
        self._note = _Note(meta.slots, meta.created_at, algorithm)
        note = (_NOTE, msgspec.json.encode(self._note))
        await self._database.write(
            [("INSERT INTO casty_secrets (name, value) VALUES ($1, $2)", [note]), ("DELETE FROM casty_meta", [()])]
        )
        return False

    async def head(self, slot: int) -> Head:
        """Return a slot's last record."""
        rows = await self._database.fetch(_HEAD, slot)
        return Head(*rows[0]) if rows else EMPTY_SLOT

    async def rows(self, slot: int, after: int, limit: int) -> list[EventRow]:
        """Return a page of the events that are there."""
        rows = await self._database.fetch(self._statements["records"], slot, after, limit)
        return [cast("EventRow", tuple(row)) for row in rows]

    async def entity_rows(self, ids: list[int]) -> list[DirectoryRow]:
        """Return the rows of entities that are there."""
        parameter = msgspec.json.encode(ids).decode() if is_sqlite(self._url) else ids
        rows = await self._database.fetch(self._statements["entity_rows"], parameter)
        return [DirectoryRow(*row) for row in rows]

    async def seals(self, slot: int, after: int, limit: int) -> list[SealRow]:
        """Return a page of the seals that are there."""
        return [SealRow(*row) for row in await self._database.fetch(self._statements["seals"], slot, after, limit)]

    async def retired_salts(self, ids: list[int]) -> list[RetiredSalt]:
        """Return the salts of entities that were set aside."""
        parameter = msgspec.json.encode(ids).decode() if is_sqlite(self._url) else ids
        rows = await self._database.fetch(self._statements["retired_salts"], parameter)
        return [RetiredSalt(*row) for row in rows]

    async def write(self, rows: Restored) -> None:
        """Write rows, all or none.

        Raises ``ConflictError`` if the slot's last record is another one, because a program uses the database,
        and ``InvalidValueError`` if it cannot hold one of the rows.
        """
        await self._database.write(rows.upserts(), rows)

    async def finish(self, meta: Meta) -> None:
        """Make it a journal."""
        values = (meta.slots, self._note.hash_algorithm, meta.incarnation, meta.created_at)
        await self._database.write([(_FINISH, [values]), ("DELETE FROM casty_secrets WHERE name = $1", [(_NOTE,)])])
        if is_sqlite(self._url):
            await self._database.fetch("PRAGMA wal_checkpoint(TRUNCATE)")

    def _refused(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"{shown(self._url)} cannot be filled: {why}. Nothing was written. Give a database of its own, which "
            f"`casty-es db upgrade --slots N` made ready or which is empty."
        )


@contextlib.asynccontextmanager
async def restoring(url: str) -> AsyncIterator[Restoring]:
    """Connect to a database that is to be filled, with tables of just this revision."""
    await asyncio.to_thread(schema.check, url)
    database = await _Sqlite.opened(sqlite_file(url)) if is_sqlite(url) else _Postgres(await connect(url))
    try:
        yield Restoring(url, database)
    finally:
        await database.close()


_FINISH: Final = (
    "INSERT INTO casty_meta (id, slots, hash_algorithm, incarnation, created_at) VALUES (1, $1, $2, $3, $4)"
)


def _unfit(error: Exception) -> InvalidValueError:
    return InvalidValueError(
        f"The database does not take a row: {error}. Nothing of these rows was written, what came before was."
    )


class _Sqlite:
    def __init__(self, file: Path) -> None:
        self._place = Place(file)
        self._sqlite, self._files = self._place.connected(lambda: _connected(file))

    @classmethod
    async def opened(cls, file: Path) -> _Sqlite:
        return cast("_Sqlite", await cls._in_thread(cls, file))

    async def fetch(self, statement: str, *parameters: Any) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = await self._in_thread(self._fetch, statement, parameters)
        return rows

    def _fetch(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        return self._sqlite.execute(for_sqlite(statement), parameters).fetchall()

    async def write(self, steps: Sequence[_Step], rows: Restored | None = None) -> None:
        await self._in_thread(self._write, steps, rows or Restored())

    async def close(self) -> None:
        await self._in_thread(self._sqlite.close)

    @staticmethod
    async def _in_thread(function: Any, *arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(function, *arguments)
        except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError) as error:
            raise _unfit(error) from error
        except (sqlite3.Error, OSError) as error:
            raise JournalUnavailableError(
                f"The SQLite file could not be written: {error}. What was committed before is there. The same command "
                f"goes on."
            ) from error

    def _write(self, steps: Sequence[_Step], rows: Restored) -> None:
        large = sum(len(row.state) for _, row in rows.snapshots) > _LARGE
        if large:  # the pages of a large state are not asked for again
            self._sqlite.execute("PRAGMA cache_size = -4096")
        try:
            with _sqlite_transaction(self._sqlite):
                for statement, parameters in steps:
                    self._sqlite.executemany(for_sqlite(statement), parameters)
                if rows.events:
                    rows.refuse_moved(self._sqlite.execute(for_sqlite(_HEAD), (rows.slot,)).fetchone())
                    marks = ", ".join("?" * len(_EVENT))
                    self._sqlite.executemany(
                        f"INSERT INTO casty_events ({', '.join(_EVENT)}) VALUES ({marks})",  # noqa: S608 - constants
                        rows.events,
                    )
            self._place.check(self._files, "What was committed last may be in the other file alone.")
        finally:
            if large:
                self._sqlite.execute(_CACHE)


def _connected(file: Path) -> sqlite3.Connection:
    uri = f"{file.absolute().as_uri()}?mode=rw"
    # A statement that is kept keeps its last values, and a state may be large.
    sqlite = sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=30.0, check_same_thread=False, cached_statements=0
    )
    try:
        for setting in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", _CACHE):
            sqlite.execute(setting)
    except BaseException:
        sqlite.close()
        raise
    return sqlite


@contextlib.contextmanager
def _sqlite_transaction(sqlite: sqlite3.Connection) -> Any:
    sqlite.execute("BEGIN IMMEDIATE")
    try:
        yield
        sqlite.execute("COMMIT")
    except BaseException:
        rolled_back(sqlite)  # where that fails, the file is not used again
        raise


class _Postgres:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fetch(self, statement: str, *parameters: Any) -> Sequence[Sequence[Any]]:
        with _postgres_errors():
            rows: Sequence[Sequence[Any]] = await self._connection.fetch(statement, *parameters)
            return rows

    async def write(self, steps: Sequence[_Step], rows: Restored | None = None) -> None:
        with _postgres_errors():
            async with self._connection.transaction():
                for statement, parameters in steps:
                    await self._connection.executemany(statement, parameters)
                if rows is not None and rows.events:
                    rows.refuse_moved(await self._connection.fetchrow(_HEAD, rows.slot))
                    await self._connection.copy_records_to_table(
                        "casty_events", records=rows.events, columns=list(_EVENT)
                    )

    async def close(self) -> None:
        await close_quietly(self._connection)


@contextlib.contextmanager
def _postgres_errors() -> Any:
    try:
        yield
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, OverflowError) as error:
        raise _unfit(without_values(error)) from error
    except CastyError:
        raise
    except Exception as error:
        raise JournalUnavailableError(
            f"The database could not be written: {said(error)}. What was committed before is there. The same command "
            f"goes on."
        ) from error
