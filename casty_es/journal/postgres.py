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
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg

from casty_es.errors import (
    AppendRejectedError,
    AppendUnknownError,
    CastyError,
    ConfigurationError,
    ConflictError,
    JournalError,
    JournalUnavailableError,
    SchemaError,
    UnsafeDurabilityError,
)
from casty_es.forking import let_go_of_transport
from casty_es.journal.port import Append
from casty_es.journal.statements import POSTGRES, POSTGRES_APPEND, POSTGRES_APPEND_ONE, POSTGRES_APPEND_WITH_DIRECTORY
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
_LOST_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # "another operation is in progress": the server ended the session in between
    asyncpg.PostgresConnectionError,
)

# Longer than any answer to a batch or a page takes, and short enough for a caller to live to see what became of it.
_ANSWER_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 2.0

# In the two-number key space, under a table that no lease uses.
_ALONE: Final = "SELECT pg_try_advisory_lock('casty_seals'::regclass::oid::int4, 0)"

_WIPED: Final = ("casty_events", "casty_snapshots", "casty_entities", "casty_retired_salts", "casty_seals")

# Setting it to what it is binds the session to it, whatever the server's configuration becomes meanwhile.
_SETTINGS: Final = """
    SELECT pg_is_in_recovery() AS standby, current_setting('fsync') AS fsync,
        current_setting('full_page_writes') AS full_page_writes,
        set_config('synchronous_commit', current_setting('synchronous_commit'), false) AS synchronous_commit"""

T = TypeVar("T")
_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


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
    except CastyError:
        raise
    except (*_CONNECT_ERRORS, ValueError, OverflowError) as error:
        raise JournalUnavailableError(
            f"The database at {shown(url)} cannot be reached: {_said(error)}. Nothing was written. "
            f"Check that the server runs and that the URL's host, port, user, password and database are right."
        ) from error


class _Session:
    """A connection that is opened anew when it is gone, for one task at a time.

    ``made`` is awaited with each new connection before it is used.
    """

    def __init__(self, url: str, made: Callable[[_Connection], Awaitable[None]]) -> None:
        self._url = url
        self._made = made
        self._connection: _Connection | None = None
        self._closed = False
        self.free = asyncio.Lock()

    def gone(self) -> bool:
        return self._connection is None or self._connection.is_closed()

    async def ready(self) -> _Connection:
        if self._connection is None or self._connection.is_closed():
            connection = await connect(self._url)
            try:
                await self._made(connection)
            except BaseException:
                connection.terminate()
                raise
            if self._closed:  # while this one was being opened
                connection.terminate()
                raise JournalUnavailableError("The journal was closed meanwhile. Nothing was done.")
            self._connection = connection
        return self._connection

    async def answer(self, question: Awaitable[T]) -> T:
        """Wait for the server's answer. Without one in time, or out of step with the server, the connection is ended.

        The driver's own timeout would send a cancel request, and a cancelled commit may be reported as a success.
        """
        task = asyncio.ensure_future(question)
        try:
            answered, _ = await asyncio.wait({task}, timeout=_ANSWER_SECONDS)
            if answered:
                return task.result()
        except (asyncio.CancelledError, asyncpg.InternalClientError):
            self._end(task)
            raise
        self._end(task)
        raise TimeoutError(f"no answer for {_ANSWER_SECONDS:g} s")

    def _end(self, task: asyncio.Future[Any]) -> None:
        task.cancel()
        if self._connection is not None:
            self._connection.terminate()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        self._closed = True
        if connection is not None and not connection.is_closed():
            with contextlib.suppress(*_LOST_ERRORS, asyncpg.PostgresError):  # it is going away, and holds nothing
                await connection.close(timeout=_CLOSE_SECONDS)

    def abandon_after_fork(self) -> None:
        if self._connection is not None:
            let_go_of_transport(self._connection._transport)  # noqa: SLF001 - asyncpg shows it nowhere else


class PostgresBackend:
    """One Postgres database."""

    statements = POSTGRES

    def __init__(self, url: str, *, unsafe_durability: bool = False) -> None:
        self._url = url
        self._unsafe_durability = unsafe_durability
        self._warnings: list[str] = []
        self._writer = _Session(url, self._prepare_writer)
        self._reader = _Session(url, self._prepare)

    async def open(self) -> None:
        await self._reader.ready()

    async def close(self) -> None:
        await self._reader.close()
        await self._writer.close()

    def abandon_after_fork(self) -> None:
        self._reader.abandon_after_fork()
        self._writer.abandon_after_fork()

    async def _prepare_writer(self, connection: _Connection) -> None:
        connection.add_log_listener(self._warned)
        await self._prepare(connection)

    async def _prepare(self, connection: _Connection) -> None:
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
        async with self._writer.free:
            writer = await self._writer.ready()
            statement, arguments = _statement(append)
            self._warnings.clear()
            try:
                status = await self._writer.answer(writer.execute(statement, *arguments))
            except (asyncpg.PostgresError, *_LOST_ERRORS) as error:
                refused = _refused(writer, error)
                if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                    writer.terminate()  # the primary has become a standby; the next connection finds out, or another
                raise refused from error
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
        async with self._reader.free:
            try:
                return await self._fetch(self._reader, statement, parameters)
            except JournalUnavailableError:
                if not self._reader.gone():
                    raise
                # The server ended an idle session, maybe. A query may be asked twice, over a new one.
                return await self._fetch(self._reader, statement, parameters)

    async def write(self, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        async with self._writer.free:
            return await self._fetch(self._writer, statement, parameters)

    async def maintain(self, steps: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Sequence[Sequence[Any]]]:
        async def work(connection: _Connection) -> list[Sequence[Sequence[Any]]]:
            async with connection.transaction():
                await connection.execute("SET LOCAL casty_es.maintenance = 'on'")
                return [await connection.fetch(statement, *parameters) for statement, parameters in steps]

        async with self._writer.free:
            return await self._answered(self._writer, work)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        connection = await connect(self._url)  # of its own: the lock goes with it, whatever happens to this process
        try:
            yield bool(await connection.fetchval(_ALONE))
        finally:
            await connection.close(timeout=_CLOSE_SECONDS)

    async def vacuum(self, *, full: bool) -> None:
        async with self._writer.free:
            connection = await self._writer.ready()
            try:
                # As long as it takes, so without answer().
                await connection.execute(f"VACUUM {'(FULL) ' if full else ''}{', '.join(_WIPED)}")
            except (asyncpg.PostgresError, *_LOST_ERRORS) as error:
                raise self._unanswered(error) from error

    async def _fetch(
        self, session: _Session, statement: str, parameters: tuple[object, ...]
    ) -> Sequence[Sequence[Any]]:
        async def work(connection: _Connection) -> Sequence[Sequence[Any]]:
            rows: Sequence[Sequence[Any]] = await connection.fetch(statement, *parameters)
            return rows

        return await self._answered(session, work)

    async def _answered(self, session: _Session, work: Callable[[_Connection], Awaitable[T]]) -> T:
        connection = await session.ready()
        try:
            return await session.answer(work(connection))
        except asyncpg.UndefinedTableError as error:
            raise SchemaError(f"The journal's tables are gone: {error}. Nothing was done. Migrate it again.") from error
        except (asyncpg.PostgresError, *_LOST_ERRORS) as error:
            raise self._unanswered(error) from error

    def _unanswered(self, error: Exception) -> JournalError:
        return JournalUnavailableError(
            f"The database at {shown(self._url)} could not answer: {_said(error)}. No event was written. Try again "
            f"when it is back."
        )

    def _warned(self, _connection: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en == "WARNING":
            self._warnings.append(str(message))


def _statement(append: Append) -> tuple[str, list[Any]]:
    """Give the statement for an append, and its arguments."""
    # An empty slot has no record to look for; its first position is guarded by the primary key.
    named = [predecessor for predecessor in append.predecessors if predecessor[1]]
    if append.entities or append.alive or append.salts:
        columns = _columns(named, 3) + _columns(append.events, 13) + _columns(append.entities, 7)
        return POSTGRES_APPEND_WITH_DIRECTORY, columns + _columns(append.alive, 2) + _columns(append.salts, 4)
    if len(append.events) == len(named) == 1:
        return POSTGRES_APPEND_ONE, [*named[0], *append.events[0]]
    return POSTGRES_APPEND, _columns(named, 3) + _columns(append.events, 13)


def _said(error: BaseException) -> str:
    """Give what an error says; some of a socket's say nothing but their name."""
    return str(error) or type(error).__name__


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _refused(connection: asyncpg.Connection[asyncpg.Record], error: Exception) -> JournalError:
    """Say how an append ended."""
    severity = getattr(error, "severity_en", None) or getattr(error, "severity", None)
    if isinstance(error, asyncpg.DataError) and severity is None:  # the driver's own: it sent nothing
        return AppendRejectedError(f"An append has what Postgres cannot store: {error}. Nothing was written.")
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
