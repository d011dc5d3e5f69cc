"""How alembic reaches a journal: the whole upgrade in one transaction, alone among all who try.

The URL comes from the caller's configuration, else from CASTY_ES_DATABASE_URL, else it is ``casty.db`` here.
``alembic -x slots=N upgrade head`` sets the number of slots of a new journal.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import AsyncExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import context
from alembic.util import CommandError
from sqlalchemy import URL, Connection, event, inspect, pool, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from casty_es.errors import CastyError, ConfigurationError, SchemaError
from casty_es.journal.hosts import dial
from casty_es.journal.remains import POSTGRES_PARTS, sqlite_parts, told
from casty_es.journal.revisions import MARK, OLD_IDS, PREFIX
from casty_es.journal.schema import (
    BUSY_TIMEOUT,
    DEFAULT_DATABASE_URL,
    DEFAULT_SLOTS,
    URL_VARIABLE,
    VERSION_TABLE,
    checked_slots,
    connecting,
    refuse_foreign,
)
from casty_es.journal.urls import database_url, is_sqlite, shown, sqlite_file
from casty_es.private_files import create

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

# Any number that everybody who migrates agrees on. Leases use the two-key form, which is another space.
ADVISORY_LOCK = int.from_bytes(b"casty_es", "big")

# What the first revisions were called before they had names of their own.
OLD = ", ".join(f"'{revision}'" for revision in OLD_IDS)
RENAME = f"UPDATE {VERSION_TABLE} SET version_num = '{PREFIX}' || version_num WHERE version_num IN ({OLD})"  # noqa: S608 - constants


def requested_url() -> str:
    """Return the URL of the journal to migrate."""
    given = context.config.attributes.get("database_url")
    return database_url(given or os.environ.get(URL_VARIABLE) or DEFAULT_DATABASE_URL)


def requested_slots() -> int | None:
    """Return the number of slots that the caller asked for, if any."""
    arguments = context.get_x_argument(as_dictionary=True)
    given = arguments.get("slots", context.config.attributes.get("slots"))
    return None if given is None else checked_slots(given)


def settings(slots: int | None) -> dict[str, Any]:
    """Return what both modes tell alembic. ``slots`` is for the revision that creates the tables, the mark for all."""
    return {
        "version_table": VERSION_TABLE,
        "transactional_ddl": True,  # alembic thinks SQLite cannot; with an explicit BEGIN it can
        "slots": slots or DEFAULT_SLOTS,
        MARK: True,
    }


def prepare_sqlite(url: str) -> None:
    """Make sure that the file can be a journal, and switch it to write-ahead logging: no transaction can do that.

    With Python's own driver: after a failed open, aiosqlite's thread would outlive the event loop it reports to.
    A new file is its owner's alone, and SQLite gives what it puts beside it the same mode.
    """
    with suppress(FileExistsError):
        create(Path(os.path.realpath(sqlite_file(url)))).close()
    with closing(sqlite3.connect(sqlite_file(url), timeout=BUSY_TIMEOUT, isolation_level=None)) as connection:
        refuse_foreign(connection.execute("PRAGMA application_id").fetchone()[0], url)
        mode = switch_to_wal(connection)
    if mode != "wal":
        raise ConfigurationError(
            f"{shown(url)} cannot be switched to write-ahead logging, which a journal needs: it stays at {mode!r}. "
            "No table was created. Put the file on a local file system."
        )


def switch_to_wal(connection: sqlite3.Connection) -> str:
    """Switch to write-ahead logging and return the mode that the file is in.

    Of two that switch a new file at once SQLite refuses one without waiting, because each holds the read lock that the
    other's exclusive lock waits for (measured: 1 in 80 of six at once). So the busy timeout is kept here.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            # The low byte is the kind; the others say which lock.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def sqlite_engine(url: str) -> AsyncEngine:
    """Return an engine whose every transaction begins as a writer, so that no other migration can come between."""

    def connected(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None  # else the driver opens transactions by itself, too late and as a reader

    def began(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    location = URL.create("sqlite+aiosqlite", database=str(sqlite_file(url)))
    engine = create_async_engine(location, poolclass=pool.NullPool, connect_args={"timeout": BUSY_TIMEOUT})
    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", began)
    return engine


def postgres_engine(url: str) -> AsyncEngine:
    """Return an engine that connects as everything else does: to sockets, to the primary of several hosts, with TLS."""
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=partial(dial, url, {}),
        poolclass=pool.NullPool,
        hide_parameters=True,
        # At a stricter default the snapshot would be taken before the lock is ours, and the upgrade that was waited
        # for would be invisible.
        isolation_level="READ COMMITTED",
    )


async def migrate_online(url: str, slots: int | None) -> None:
    """Run the revisions on a connection of their own and commit them together."""
    if is_sqlite(url):
        with connecting(url):
            prepare_sqlite(url)
    engine = sqlite_engine(url) if is_sqlite(url) else postgres_engine(url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        with connecting(url, SQLAlchemyError):
            connection = await stack.enter_async_context(engine.connect())
            await connection.begin()
            if not is_sqlite(url):
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        await connection.run_sync(migrate, url, slots)
        if context.get_context().opts.get("dont_mutate"):
            await connection.rollback()  # who only looks renames nothing
        else:
            await connection.commit()


def migrate(connection: Connection, url: str, slots: int | None) -> None:
    """Run the revisions, then make sure that the journal has the number of slots that was asked for."""
    context.configure(connection=connection, **settings(slots))
    heads = context.get_context().get_current_heads()
    if set(heads) & set(OLD_IDS):
        connection.execute(text(RENAME))
    in_the_way = None if heads else left_over(connection, url)
    try:
        with context.begin_transaction():
            context.run_migrations()
    except SQLAlchemyError as error:
        if in_the_way is None:
            raise
        raise in_the_way from error
    if slots is None or not inspect(connection).has_table("casty_meta"):
        return
    recorded = connection.execute(text("SELECT slots FROM casty_meta")).scalar_one()
    if recorded != slots:
        raise ConfigurationError(
            f"{shown(url)} was created with {recorded} slots and cannot have {slots}: who owns what is computed from "
            "that number. Nothing was changed. Leave the number out, or use a new journal."
        )


def left_over(connection: Connection, url: str) -> SchemaError | None:
    """Return what to say of what is left of a journal that names no revision, if anything is."""
    if is_sqlite(url):
        return told(url, sqlite_parts(lambda query: connection.exec_driver_sql(query).all()))
    return told(url, connection.exec_driver_sql(POSTGRES_PARTS).all())


def migrate_offline(url: str, slots: int | None) -> None:
    """Write the SQL of the revisions, with the same transaction and lock around it."""
    context.configure(dialect_name="sqlite" if is_sqlite(url) else "postgresql", literal_binds=True, **settings(slots))
    if is_sqlite(url):
        context.execute("PRAGMA journal_mode = WAL")
    with context.begin_transaction():
        if not is_sqlite(url):
            context.execute(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
        if context.get_starting_revision_argument() not in {None, "base"}:
            context.execute(RENAME)
        context.run_migrations()


try:
    if context.is_offline_mode():
        migrate_offline(requested_url(), requested_slots())
    else:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(migrate_online(requested_url(), requested_slots()))
except CastyError as error:
    # Alembic's command line prints its own errors as one line, and everything else as a traceback.
    raise CommandError(str(error)) from error
