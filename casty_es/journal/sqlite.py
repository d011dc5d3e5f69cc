"""The journal on SQLite: one thread and connection that writes, one that reads.

1. WAL, ``synchronous=FULL``, ``BEGIN IMMEDIATE``, a busy timeout; each is set and read back.
2. An append is one hop to the writer thread: BEGIN, one INSERT, COMMIT. Three awaits would cost twice the time.
3. After an I/O error the connection is closed and nothing more is concluded from it (sqlite.org/howtocorrupt.html): the
   append's outcome is unknown.
4. What is read, and what is acknowledged, is in the file that was at the path afterwards (``sqlite_connection.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec

from casty_es.errors import (
    AppendRejectedError,
    AppendUnknownError,
    ConflictError,
    InvalidArgumentError,
    JournalCorruptError,
    JournalError,
    JournalUnavailableError,
    UnsafeDurabilityError,
)
from casty_es.journal import sqlite_log
from casty_es.journal.damaged import NotUtf8, decoded_text
from casty_es.journal.port import Append, EntityRow, EventRow
from casty_es.journal.sqlite_connection import (
    Connection,
    FileId,
    OpenFiles,
    Place,
    closed_meanwhile,
    is_at,
    undo,
)
from casty_es.journal.sqlite_file import alone_with
from casty_es.journal.statements import SQLITE, sqlite_append, sqlite_insert_entities, sqlite_rows_beside
from casty_es.printing import log_of, printed

_LOG: Final = log_of("casty_es.journal")

_BUSY_TIMEOUT_SECONDS: Final = 5.0
# The pages that a busy journal touches again and again fit into it; SQLite's default is 2 MiB.
_CACHE_KIB: Final = 16_384
_SYNCHRONOUS: Final = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
_SAFE: Final = ("FULL", "EXTRA")

# SQLite names the columns of a broken constraint; the journal's errors name the constraint.
_CONSTRAINTS: Final = {
    "casty_events.slot, casty_events.position": "pk_casty_events",
    "casty_events.entity, casty_events.sequence": "uq_casty_events_entity_sequence",
    "casty_events.entity, casty_events.idempotency_key": "uq_casty_events_idempotency_key",
    "casty_entities.id": "pk_casty_entities",
    "casty_entities.kind, casty_entities.name, casty_entities.key": "uq_casty_entities_kind_name_key",
}

_JUST_WRITTEN: Final = "What was written just now may be in the other file alone."
_UNDONE: Final = "Nothing was written."
_WRITE_IN_DOUBT: Final = "What was to be written may have been written, as a whole or not at all."
_STEP_IN_DOUBT: Final = "The step may have been written, as a whole or not at all. Run the same again."

# After these nothing is known of what reached the disk.
_DOUBTFUL: Final = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL")

_NOT_UTF8: Final = "Could not decode to UTF-8"

_UPDATE_ALIVE: Final = "UPDATE casty_entities SET alive = ? WHERE id = ?"
_RETIRE_SALT: Final = "INSERT INTO casty_retired_salts (entity, through, salt) VALUES (?, ?, ?)"
_UPDATE_SALT: Final = "UPDATE casty_entities SET salt = ?, salted_from = ? WHERE id = ?"


class SqliteBackend:
    """One SQLite file."""

    statements = SQLITE

    def __init__(self, file: Path, *, synchronous: str = "FULL", unsafe_durability: bool = False) -> None:
        if synchronous.upper() not in _SAFE and not unsafe_durability:
            raise UnsafeDurabilityError(
                f"synchronous={synchronous} lets SQLite acknowledge commits that a power cut takes back. Nothing was "
                f"opened. Use FULL or EXTRA, or say unsafe_durability=True if losing acknowledged operations is fine."
            )
        if synchronous.upper() not in _SYNCHRONOUS.values():
            raise InvalidArgumentError(
                f"synchronous must be one of {', '.join(_SYNCHRONOUS.values())}, not {printed(synchronous)}. Nothing "
                f"was opened."
            )
        self._file = file
        self._place = Place(file)
        self._log = sqlite_log.LogKeeper(file)
        self._synchronous = synchronous.upper()
        self._alone: tuple[str, FileId | None] | None = None
        self._writer = Connection("casty-writer")
        self._reader = Connection("casty-reader")

    async def open(self) -> None:
        await self._writer.run(self._connect, self._writer)
        await self._reader.run(self._connect, self._reader)

    async def open_files(self) -> OpenFiles:
        """Return the files that are open; ``JournalMovedError`` if they are not those at the path."""
        return await asyncio.to_thread(self._open_files)

    async def close(self) -> None:
        try:
            await self._reader.close()
        finally:
            await self._writer.close()

    def abandon_after_fork(self) -> None:
        """SQLite's locks belong to the parent alone, and stay as long as this child leaves its files alone."""

    async def append(self, append: Append) -> None:
        await self._writer.run(self._append, append)

    async def read(self, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        return await self._reader.run(self._read, statement, parameters)

    async def write(self, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        return await self._writer.run(self._write, statement, parameters)

    async def maintain(self, steps: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Sequence[Sequence[Any]]]:
        return await self._writer.run(self._maintain, steps)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        with alone_with(self._file) as lock:
            if lock is None:
                yield False
                return
            try:
                self._alone = lock
                yield True
            finally:
                self._alone = None

    async def vacuum(self, *, full: bool) -> None:  # noqa: ARG002 - here it always is
        await self._writer.run(self._vacuum)

    # What follows runs in the threads.

    def _open_files(self) -> OpenFiles:
        found = [files for files in (self._writer.files, self._reader.files) if files is not None]
        for files in found:
            self._place.check(files, "Nothing was written.")
        if not found:
            raise JournalUnavailableError(
                f"The SQLite file {self._file} is not open: its connections were closed after an error. Nothing was "
                f"done. It is opened again when it is used."
            )
        return found[0]

    def _ready(self, connection: Connection, undone: str = "Nothing was written.") -> sqlite3.Connection:
        """Return a connection to the file at the path."""
        sqlite = self._connect(connection)
        self._check(connection, undone)
        return sqlite

    def _check(self, connection: Connection, undone: str) -> None:
        assert connection.files is not None  # noqa: S101 - it is connected
        if self._place.check(connection.files, undone) > sqlite_log.LIMIT_BYTES and self._log.due():
            self._writer.run_later(self._shorten)

    def _shorten(self) -> None:
        if self._writer.closed:
            return
        try:
            sqlite = self._connect(self._writer)
            assert self._writer.files is not None  # noqa: S101 - it is connected
            size = self._place.check(self._writer.files, "Nothing was written.")
            if size > sqlite_log.LIMIT_BYTES and self._log.due():
                self._log.shorten(sqlite, self._writer.files, size)
        except (sqlite3.Error, JournalError) as error:  # nothing rests on it: who uses the journal next is told
            if isinstance(error, sqlite3.Error):
                error = self._translated(self._writer, error)
            _LOG.warning("The log of %s could not be shortened: %s", self._file, error)

    def _connect(self, connection: Connection) -> sqlite3.Connection:
        if connection.sqlite is not None:
            return connection.sqlite
        if connection.closed:
            raise closed_meanwhile()
        try:
            self._check_permission()
            connection.sqlite, connection.files = self._place.connected(self._opened)
        except (sqlite3.Error, OSError) as error:
            raise JournalUnavailableError(
                f"The SQLite file {self._file} cannot be opened: {error}. Nothing was written. Check that it exists "
                f"and that this process may read and write it and its folder."
            ) from error
        return connection.sqlite

    def _opened(self) -> sqlite3.Connection:
        # mode=rw: never create a file here; an absent journal is an error, not an empty one.
        uri = f"{self._file.absolute().as_uri()}?mode=rw"
        opened = sqlite3.connect(
            uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_SECONDS, cached_statements=512
        )
        try:
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute(f"PRAGMA synchronous = {self._synchronous}")
            # macOS answers fsync before the disk has it; elsewhere this changes nothing.
            opened.execute("PRAGMA fullfsync = ON")
            opened.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            opened.execute(f"PRAGMA wal_autocheckpoint = {sqlite_log.CHECKPOINT_PAGES}")
            opened.execute(f"PRAGMA journal_size_limit = {sqlite_log.LIMIT_BYTES}")
            self._refuse_unsafe(opened)
        except BaseException:
            opened.close()
            raise
        return opened

    def _refuse_unsafe(self, opened: sqlite3.Connection) -> None:
        mode = opened.execute("PRAGMA journal_mode").fetchone()[0]
        synchronous = _SYNCHRONOUS[opened.execute("PRAGMA synchronous").fetchone()[0]]
        if mode != "wal" or synchronous != self._synchronous:
            raise UnsafeDurabilityError(
                f"The SQLite file {self._file} is in journal mode {mode!r} with synchronous {synchronous!r} although "
                f"'wal' and {self._synchronous!r} were asked for. Nothing was written."
            )

    def _check_permission(self) -> None:
        # Asked of the file and not of the system, which lets root write what is marked as not to be written.
        if self._file.exists() and not self._file.stat().st_mode & 0o222:
            raise JournalUnavailableError(
                f"The SQLite file {self._file} is read-only, and a journal is written even when it is only read (its "
                f"log and index lie beside it). Nothing was opened. Give it write permission, or read a copy."
            )

    def _read(self, statement: str, parameters: tuple[object, ...]) -> list[Any]:
        sqlite = self._connect(self._reader)
        try:
            rows = self._execute(self._reader, sqlite, statement, parameters)
        except JournalUnavailableError as error:
            if _NOT_UTF8 not in str(error.__cause__):
                raise
            # Decoding by hand costs time, so it is done only where it is needed.
            sqlite.text_factory = decoded_text
            try:
                rows = self._execute(self._reader, sqlite, statement, parameters)
            finally:
                sqlite.text_factory = str
        self._check(self._reader, "Nothing was written.")  # afterwards: what was read is what is at the path
        return rows

    def _write(self, statement: str, parameters: tuple[object, ...]) -> list[Any]:
        rows = self._execute(self._writer, self._ready(self._writer), statement, parameters, _WRITE_IN_DOUBT)
        self._check(self._writer, _JUST_WRITTEN)
        return rows

    def _execute(
        self,
        connection: Connection,
        sqlite: sqlite3.Connection,
        statement: str,
        parameters: tuple[object, ...],
        in_doubt: str = _UNDONE,
    ) -> list[Any]:
        try:
            return sqlite.execute(statement, [_parameter(value) for value in parameters]).fetchall()
        except Exception as error:  # besides SQLite's own: what it cannot store
            if connection is self._reader and isinstance(error, OverflowError):  # the driver's own: nothing was asked
                raise JournalCorruptError(
                    f"The SQLite file {self._file} was to be asked for a number that no column holds: {error}. Nothing "
                    f"was written. Verify the journal with `casty-es verify`."
                ) from error
            raise self._translated(connection, error, in_doubt) from error

    def _maintain(self, steps: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Sequence[Sequence[Any]]]:
        sqlite = self._ready(self._writer)
        if self._alone is not None and not is_at(self._alone[0], self._alone[1]):
            raise JournalUnavailableError(
                f"The lock file {self._alone[0]} was removed or replaced, as far as can be seen, so another process "
                f"may maintain the journal at the same time. Nothing of this step was written, what came before was. "
                f"Run the same command again."
            )
        try:
            sqlite.execute("PRAGMA secure_delete = ON")  # what is replaced or deleted is overwritten in its page
            sqlite.execute("BEGIN IMMEDIATE")
            sqlite.execute("UPDATE casty_meta SET maintenance = 1 WHERE id = 1")
            rows: list[Sequence[Sequence[Any]]] = [sqlite.execute(*step).fetchall() for step in steps]
            sqlite.execute("UPDATE casty_meta SET maintenance = 0 WHERE id = 1")
            sqlite.execute("COMMIT")
            sqlite.execute("PRAGMA secure_delete = OFF")
        except Exception as error:  # whatever it is, the transaction must not stay open
            raise self._translated(self._writer, error, _STEP_IN_DOUBT) from error
        self._check(self._writer, _JUST_WRITTEN)
        return rows

    def _vacuum(self) -> None:
        sqlite = self._ready(self._writer)
        try:
            sqlite.execute("VACUUM")
            [(busy, _, _)] = sqlite.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise self._translated(self._writer, error, "No event was changed.") from error
        if busy:
            raise JournalUnavailableError(
                f"The SQLite file {self._file} is in use, so its log beside it still has what was wiped from the file. "
                f"Vacuum again when other programs are done, or stop them."
            )

    def _translated(self, connection: Connection, error: Exception, in_doubt: str = _UNDONE) -> JournalError:
        """Undo what was begun and say what failed; ``in_doubt`` is said of the work if nobody knows how it ended."""
        code = undo(connection.sqlite, error)
        said = _UNDONE
        if code.startswith(_DOUBTFUL):
            connection.drop()
            said = in_doubt
        if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return JournalCorruptError(f"The SQLite file {self._file} is damaged: {error}. {said}")
        return JournalUnavailableError(
            f"The SQLite file {self._file} could not be used: {error} ({code}). {said} Try again when the cause is "
            f"gone."
        )

    def _append(self, append: Append) -> None:
        sqlite = self._connect(self._writer)
        # A busy journal has just looked at the rest, after its last append, and looks again before anybody is told.
        if not (self._place.looked_now and self._place.has(self._writer.files)):
            self._check(self._writer, "Nothing was written.")
        try:
            sqlite.execute("BEGIN IMMEDIATE")
            fits = self._insert(sqlite, append)
            sqlite.execute("COMMIT" if fits else "ROLLBACK")
        except Exception as error:  # whatever it is, the transaction must not stay open
            raise self._refused(sqlite, error) from error
        if not fits:
            raise ConflictError(
                "A slot's last record is not the one that the append names. Nothing was written.",
                constraint="predecessor",
            )
        try:
            self._check(self._writer, "An append was written last.")
        except JournalUnavailableError as error:
            raise AppendUnknownError(f"An append was written, maybe not to the file at the path: {error}") from error

    @staticmethod
    def _insert(sqlite: sqlite3.Connection, append: Append) -> bool:
        # An empty slot has no record to look for; its first position is guarded by the primary key.
        named = [predecessor for predecessor in append.predecessors if predecessor[1]]
        start = 0
        while start < len(append.events):
            rows: list[EventRow] = append.events[start : start + sqlite_rows_beside(len(named))]
            start += len(rows)
            inserted = sqlite.execute(
                sqlite_append(len(rows), len(named)),
                [*chain.from_iterable(rows), *chain.from_iterable(named)],
            )
            if inserted.rowcount != len(rows):
                return False
            named = []
        for start in range(0, len(append.entities), sqlite_rows_beside(0)):
            born: list[EntityRow] = append.entities[start : start + sqlite_rows_beside(0)]
            sqlite.execute(sqlite_insert_entities(len(born)), [*chain.from_iterable(born)])
        for entity_id, alive in append.alive:
            sqlite.execute(_UPDATE_ALIVE, (alive, entity_id))
        for entity_id, through, old_salt, new_salt in append.salts:
            sqlite.execute(_RETIRE_SALT, (entity_id, through, old_salt))
            sqlite.execute(_UPDATE_SALT, (new_salt, through, entity_id))
        return True

    def _refused(self, sqlite: sqlite3.Connection, error: Exception) -> JournalError:
        """Undo what was begun and say how the append ended."""
        code = undo(sqlite, error)
        if code.startswith(_DOUBTFUL):
            self._writer.drop()
            return AppendUnknownError(f"The SQLite file {self._file} failed during an append: {error} ({code}).")
        if isinstance(error, sqlite3.IntegrityError):
            columns = str(error).rpartition("failed: ")[2].removeprefix("index ").strip("'")
            constraint = _CONSTRAINTS.get(columns, columns)
            return ConflictError(
                f"The append breaks the constraint {constraint}. Nothing was written.", constraint=constraint
            )
        return AppendRejectedError(
            f"The SQLite file {self._file} refused an append: {error} ({code}). Nothing was written."
        )


def _parameter(value: object) -> object:
    """Return a parameter as SQLite takes it: a list as JSON, in which bytes are hexadecimal text.

    A text that is not UTF-8 is its bytes, which the statement has to make a text of.
    """
    if isinstance(value, NotUtf8):
        return value.encode(errors="surrogateescape")
    if isinstance(value, list):
        return msgspec.json.encode([item.hex() if isinstance(item, bytes) else item for item in value]).decode()
    return value
