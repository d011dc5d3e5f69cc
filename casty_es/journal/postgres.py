"""The journal on Postgres: one connection that appends, one that reads.

1. An append is one prepared statement in an implicit transaction: it commits or it does not, and a stale one cannot
   hang in an open transaction.
2. What the connection depends on is set by startup parameters, which survive a RESET.
3. An error of severity ERROR on a living connection says that nothing was written, and so does one that was raised
   before the append was sent. Everything else leaves the outcome unknown, and so does a warning about the wait for a
   synchronous standby, with which a cancelled wait is reported as a success.
4. No error of the driver leaves this module: see ``sessions.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import asyncpg

from casty_es.errors import (
    AppendRejectedError,
    AppendUnknownError,
    ConfigurationError,
    ConflictError,
    JournalError,
    JournalUnavailableError,
    SchemaError,
    UnsafeDurabilityError,
)
from casty_es.journal.port import Append
from casty_es.journal.postgres_warnings import Warned
from casty_es.journal.sessions import ANSWER_SECONDS, Connection, Session, close_quietly, connect, said, translated
from casty_es.journal.statements import POSTGRES, POSTGRES_APPEND, POSTGRES_APPEND_ONE, POSTGRES_APPEND_WITH_DIRECTORY
from casty_es.journal.urls import shown

T = TypeVar("T")

# In the two-number key space, under a table that no lease uses.
_ALONE: Final = "SELECT pg_try_advisory_lock('casty_seals'::regclass::oid::int4, 0)"
_STILL_THERE: Final = "SELECT 1"
# A run may think for long between two steps. Older servers end no session for being idle.
_MAY_BE_IDLE: Final = "SET idle_session_timeout = 0"
_IDLE_TIMEOUT_SINCE: Final = 14

_WIPED: Final = ("casty_events", "casty_snapshots", "casty_entities", "casty_retired_salts", "casty_seals")

# Setting it to what it is binds the session to it, whatever the server's configuration becomes meanwhile.
_SETTINGS: Final = """
    SELECT pg_is_in_recovery() AS standby, current_setting('fsync') AS fsync,
        current_setting('full_page_writes') AS full_page_writes,
        set_config('synchronous_commit', current_setting('synchronous_commit'), false) AS synchronous_commit"""


class PostgresBackend:
    """One Postgres database."""

    statements = POSTGRES

    def __init__(self, url: str, *, unsafe_durability: bool = False) -> None:
        self._url = url
        self._unsafe_durability = unsafe_durability
        self._warned = Warned()
        self._alone: Connection | None = None
        self._writer = Session(url, self._prepare_writer)
        self._reader = Session(url, self._prepare)

    async def open(self) -> None:
        await self._reader.ready(self._reader.failures)

    async def open_files(self) -> None:
        """There are none on this side."""

    async def close(self) -> None:
        try:
            await self._reader.close()
        finally:
            await self._writer.close()

    def abandon_after_fork(self) -> None:
        self._reader.abandon_after_fork()
        self._writer.abandon_after_fork()

    async def _prepare_writer(self, connection: Connection) -> None:
        connection.add_log_listener(self._warned)
        await self._prepare(connection)

    async def _prepare(self, connection: Connection) -> None:
        """Refuse a server that may lose commits, and hold it to what it says now for as long as the session lives."""
        settings = await connection.fetchrow(_SETTINGS)
        if settings["standby"]:
            raise ConfigurationError(
                f"The database at {shown(self._url)} is a standby, which cannot be written and may lag behind. Nothing "
                f"was opened. Use the URL of the primary."
            )
        off = [name for name, value in settings.items() if value == "off"]
        if off and not self._unsafe_durability:
            raise UnsafeDurabilityError(
                f"Postgres at {shown(self._url)} runs with {off[0]} = off, so a crash can take back commits that it "
                f"acknowledged. Nothing was opened. Set {off[0]} to on for this server, database and role, or say "
                f"unsafe_durability=True if losing acknowledged operations is fine."
            )

    async def append(self, append: Append) -> None:
        statement, arguments = _statement(append)
        seen = self._writer.failures
        async with self._writer.free:
            writer = await self._writer.ready(seen)
            self._warned.doubt = None
            with translated(lambda error: _refused(writer, error)):
                status = await self._writer.answer(_execute(writer, statement, arguments))
            if self._warned.doubt is not None:
                raise AppendUnknownError(f"Postgres warned during an append: {self._warned.doubt}.")
            if status == "INSERT 0 0":
                raise ConflictError(
                    "A slot's last record is not the one that the append names. Nothing was written.",
                    constraint="predecessor",
                )
            if status != f"INSERT 0 {len(append.events)}":
                raise AppendUnknownError(f"Postgres answered an append of {len(append.events)} events with {status!r}.")

    async def read(self, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        seen = self._reader.failures
        async with self._reader.free:
            try:
                return await self._fetch(self._reader, seen, statement, parameters)
            except JournalUnavailableError:
                if not self._reader.gone() or self._reader.failures != seen:
                    raise
                # The server ended an idle session, maybe. A query may be asked twice, over a new one.
                return await self._fetch(self._reader, seen, statement, parameters)

    async def write(self, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        seen = self._writer.failures
        async with self._writer.free:
            return await self._fetch(self._writer, seen, statement, parameters)

    async def maintain(self, steps: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Sequence[Sequence[Any]]]:
        async def work(connection: Connection) -> list[Sequence[Sequence[Any]]]:
            async with connection.transaction():
                await connection.execute("SET LOCAL casty_es.maintenance = 'on'")
                return [await connection.fetch(statement, *parameters) for statement, parameters in steps]

        if self._alone is not None:
            with translated(self._not_alone):
                await _answered(self._alone.fetchval(_STILL_THERE))
        seen = self._writer.failures
        async with self._writer.free:
            connection = await self._writer.ready(seen)
            with translated(self._step_in_doubt):
                return await self._writer.answer(work(connection))

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        connection = await connect(self._url)  # of its own: the lock goes with it, whatever happens to this process
        try:
            with translated(self._reader.unanswered):
                if connection.get_server_version().major >= _IDLE_TIMEOUT_SINCE:
                    await _answered(connection.execute(_MAY_BE_IDLE))
                mine = bool(await _answered(connection.fetchval(_ALONE)))
            if mine:
                self._alone = connection
            yield mine
        finally:
            if self._alone is connection:
                self._alone = None
            await close_quietly(connection)

    async def vacuum(self, *, full: bool) -> None:
        seen = self._writer.failures
        async with self._writer.free:
            connection = await self._writer.ready(seen)
            with translated(self._writer.unanswered):
                # As long as it takes, so without answer().
                await connection.execute(f"VACUUM {'(FULL) ' if full else ''}{', '.join(_WIPED)}")

    async def _fetch(
        self, session: Session, seen: int, statement: str, parameters: tuple[object, ...]
    ) -> Sequence[Sequence[Any]]:
        connection = await session.ready(seen)
        with translated(partial(_unanswered, session)):
            rows: Sequence[Sequence[Any]] = await session.answer(connection.fetch(statement, *parameters))
            return rows

    def _not_alone(self, error: Exception) -> JournalError:
        return JournalUnavailableError(
            f"The connection to {shown(self._url)} that kept others from maintaining the journal is gone: "
            f"{said(error)}. So another process may maintain it at the same time. Nothing of this step was changed, "
            f"what came before was. Run the same command again."
        )

    def _step_in_doubt(self, error: Exception) -> JournalError:
        if isinstance(error, asyncpg.UndefinedTableError):
            return _unanswered(self._writer, error)
        if isinstance(error, asyncpg.PostgresError) and error.severity_en == "ERROR":
            return JournalUnavailableError(
                f"The database at {shown(self._url)} refused a step of the upkeep: {said(error)}. Nothing of this step "
                f"was changed."
            )
        return JournalUnavailableError(
            f"The answer of the database at {shown(self._url)} to a step of the upkeep was lost: {said(error)}. The "
            f"step is done as a whole or not at all. Run the same again when the database is back."
        )


def _statement(append: Append) -> tuple[str, list[Any]]:
    """Return the statement for an append, and its arguments."""
    # An empty slot has no record to look for; its first position is guarded by the primary key.
    named = [predecessor for predecessor in append.predecessors if predecessor[1]]
    if append.entities or append.alive or append.salts:
        columns = _columns(named, 3) + _columns(append.events, 13) + _columns(append.entities, 7)
        return POSTGRES_APPEND_WITH_DIRECTORY, columns + _columns(append.alive, 2) + _columns(append.salts, 4)
    if len(append.events) == len(named) == 1:
        return POSTGRES_APPEND_ONE, [*named[0], *append.events[0]]
    return POSTGRES_APPEND, _columns(named, 3) + _columns(append.events, 13)


async def _execute(connection: Connection, statement: str, arguments: list[Any]) -> str:
    if connection.is_closed():  # since it was found to be there
        raise JournalUnavailableError("The connection was closed before an append was sent. Nothing was written.")
    status: str = await connection.execute(statement, *arguments)
    return status


async def _answered(question: Awaitable[T]) -> T:
    """Wait for the answer to a question that changes nothing, but not for ever."""
    async with asyncio.timeout(ANSWER_SECONDS):
        return await question


def _unanswered(session: Session, error: Exception) -> JournalError:
    if isinstance(error, asyncpg.UndefinedTableError):
        return SchemaError(f"The journal's tables are gone: {error}. Nothing was done. Migrate it again.")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return JournalUnavailableError(
            f"This role may not do what was asked of the journal: {said(error)}. Nothing was done. `casty-es db grants "
            f"--help` says how to grant it."
        )
    return session.unanswered(error)


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _refused(connection: Connection, error: Exception) -> JournalError:
    """Return how an append ended."""
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        connection.terminate()  # the primary has become a standby; the next connection finds out, or another
    severity = getattr(error, "severity_en", None) or getattr(error, "severity", None)
    if isinstance(error, asyncpg.DataError) and severity is None:  # the driver's own: it sent nothing
        return AppendRejectedError(f"An append has what Postgres cannot store: {error}. Nothing was written.")
    if not isinstance(error, asyncpg.PostgresError) or severity != "ERROR" or connection.is_closed():
        return AppendUnknownError(f"The connection failed during an append: {said(error)}.")
    constraint = getattr(error, "constraint_name", None)
    if isinstance(error, asyncpg.SerializationError | asyncpg.DeadlockDetectedError):
        constraint = "serialization"
    if constraint is not None:
        return ConflictError(
            f"The append breaks the constraint {constraint}: {error}. Nothing was written.", constraint=constraint
        )
    return AppendRejectedError(f"Postgres refused an append: {error} ({error.sqlstate}). Nothing was written.")
