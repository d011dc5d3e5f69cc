"""The journal on Postgres: one connection that appends, one that reads.

1. An append is one prepared statement in an implicit transaction: it commits or it does not, and a stale one cannot
   hang in an open transaction.
2. What the connection depends on is set by startup parameters, which survive a RESET.
3. An error of severity ERROR on a living connection says that nothing was written. Everything else, a WARNING included
   (a cancelled wait for a synchronous standby is reported as success with one), leaves the outcome unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from casty_es.errors import (
    AppendRejectedError,
    AppendUnknownError,
    ConfigurationError,
    ConflictError,
    JournalError,
    JournalUnavailableError,
    UnsafeDurabilityError,
)
from casty_es.journal.port import Append
from casty_es.journal.statements import POSTGRES, POSTGRES_APPEND, POSTGRES_APPEND_WITH_DIRECTORY
from casty_es.journal.urls import postgres_dsn, shown

__all__ = ["PostgresBackend", "connect"]

_CONNECT_SECONDS: Final = 10.0
_APPLICATION: Final = "casty_es"

# Set per connection, so that nothing a role or database was set to can end a heartbeat or a replay half-way, or lower
# the isolation the append's guard was written for.
_SESSION: Final = {
    "application_name": _APPLICATION,
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "jit": "off",
    "client_min_messages": "warning",
}

_CONNECT_ERRORS: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncio.TimeoutError)
_LOST_ERRORS: Final = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncio.IncompleteReadError)


async def connect(url: str, **settings: str) -> asyncpg.Connection[asyncpg.Record]:
    """Open a connection that belongs to no pool, with these startup parameters besides the common ones.

    Raises
    ------
    JournalUnavailableError
        The server cannot be reached, or refuses the user or the database.
    """
    try:
        return await asyncpg.connect(
            postgres_dsn(url), timeout=_CONNECT_SECONDS, server_settings={**_SESSION, **settings}
        )
    except (*_CONNECT_ERRORS, ValueError) as error:
        raise JournalUnavailableError(
            f"The database at {shown(url)} cannot be reached: {_said(error)}. Nothing was written. "
            f"Check that the server runs and that the URL's host, port, user, password and database are right."
        ) from error


class PostgresBackend:
    """One Postgres database."""

    statements = POSTGRES

    def __init__(self, url: str, *, unsafe_durability: bool = False) -> None:
        self._url = url
        self._unsafe_durability = unsafe_durability
        self._writer: asyncpg.Connection[asyncpg.Record] | None = None
        self._reader: asyncpg.Connection[asyncpg.Record] | None = None
        self._reading = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._warnings: list[str] = []

    async def open(self) -> None:
        reader = await self._ready_reader()
        await self._check_durability(reader)

    async def close(self) -> None:
        for connection in (self._writer, self._reader):
            if connection is not None and not connection.is_closed():
                with contextlib.suppress(*_CONNECT_ERRORS):  # it is going away, and holds nothing unwritten
                    await connection.close(timeout=2.0)
        self._writer = self._reader = None

    async def _check_durability(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        if await connection.fetchval("SELECT pg_is_in_recovery()"):
            raise ConfigurationError(
                f"The database at {shown(self._url)} is a standby, which cannot be written and may lag behind. Nothing "
                f"was opened. Use the URL of the primary."
            )
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            value = await connection.fetchval("SELECT current_setting($1)", setting)
            if value == "off" and not self._unsafe_durability:
                raise UnsafeDurabilityError(
                    f"Postgres at {shown(self._url)} runs with {setting} = off, so a crash can take back commits that "
                    f"it acknowledged. Nothing was opened. Set {setting} to on for this server, database and role, or "
                    f"say unsafe_durability=True if losing acknowledged operations is fine."
                )

    async def append(self, append: Append) -> None:
        async with self._writing:
            writer = await self._ready_writer()
            self._warnings.clear()
            columns: list[list[Any]] = [list(column) for column in zip(*append.events, strict=True)]
            named = [list(column) for column in zip(*append.predecessors, strict=True)]
            arguments = [*named, *columns]
            statement = POSTGRES_APPEND
            if append.entities or append.alive:
                statement = POSTGRES_APPEND_WITH_DIRECTORY
                arguments += _columns(append.entities, 7) + _columns(append.alive, 2)
            try:
                status = await writer.execute(statement, *arguments)
            except (asyncpg.PostgresError, *_LOST_ERRORS) as error:
                raise _refused(writer, error) from error
            if self._warnings:
                raise AppendUnknownError(f"Postgres warned during an append: {'; '.join(self._warnings)}.")
            if status == "INSERT 0 0":
                raise ConflictError(
                    "A slot's last record is not the one that the append names. Nothing was written.",
                    constraint="predecessor",
                )
            if status != f"INSERT 0 {len(append.events)}":
                raise AppendUnknownError(f"Postgres answered an append of {len(append.events)} events with {status!r}.")

    async def read(self, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        async with self._reading:
            reader = await self._ready_reader()
            try:
                return await self._fetch(reader, statement, parameters)
            except JournalUnavailableError:
                if not reader.is_closed():
                    raise
                # The server ended an idle connection. A query may be asked twice, over a new one.
                return await self._fetch(await self._ready_reader(), statement, parameters)

    async def write(self, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        async with self._writing:
            return await self._fetch(await self._ready_writer(), statement, parameters)

    async def _fetch(
        self, connection: asyncpg.Connection[asyncpg.Record], statement: str, parameters: tuple[object, ...]
    ) -> Sequence[Sequence[Any]]:
        try:
            rows: Sequence[Sequence[Any]] = await connection.fetch(statement, *parameters)
        except asyncpg.UndefinedTableError as error:
            raise JournalUnavailableError(f"The journal's tables are not there: {error}.") from error
        except (asyncpg.PostgresError, *_LOST_ERRORS) as error:
            raise JournalUnavailableError(
                f"The database at {shown(self._url)} could not answer: {_said(error)}. Try again when it is back."
            ) from error
        return rows

    async def _ready_writer(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._writer is None or self._writer.is_closed():
            self._writer = await connect(self._url)
            self._writer.add_log_listener(self._warned)
        return self._writer

    async def _ready_reader(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._reader is None or self._reader.is_closed():
            self._reader = await connect(self._url)
        return self._reader

    def _warned(self, _connection: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en == "WARNING":
            self._warnings.append(str(message))


def _said(error: BaseException) -> str:
    """Give what an error says; some of a socket's say nothing but their name."""
    return str(error) or type(error).__name__


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _refused(connection: asyncpg.Connection[asyncpg.Record], error: Exception) -> JournalError:
    """Say how an append ended."""
    severity = getattr(error, "severity_en", None) or getattr(error, "severity", None)
    if not isinstance(error, asyncpg.PostgresError) or severity != "ERROR" or connection.is_closed():
        return AppendUnknownError(f"The connection failed during an append: {_said(error)}.")
    constraint = getattr(error, "constraint_name", None)
    if isinstance(error, asyncpg.SerializationError | asyncpg.DeadlockDetectedError):
        constraint = "serialization"
    if constraint is not None:
        return ConflictError(
            f"The append breaks the constraint {constraint}: {error}. Nothing was written.", constraint=constraint
        )
    return AppendRejectedError(f"Postgres refused an append: {error} ({error.sqlstate}). Nothing was written.")
