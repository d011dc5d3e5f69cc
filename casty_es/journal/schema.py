"""The journal's schema: where its migrations are, which revision this code needs, and how to get there.

Every function here is synchronous and runs alembic or a short query of its own. From asyncio call them in a thread:
``await asyncio.to_thread(upgrade, url)``. Errors are the library's, and name the command to run.
"""

from __future__ import annotations

import asyncio
import io
import sqlite3
import threading
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from casty_es.errors import (
    CastyError,
    ConfigurationError,
    InvalidArgumentError,
    JournalUnavailableError,
    SchemaError,
    UsageError,
)
from casty_es.journal.urls import database_url, is_sqlite, postgres_dsn, shown, sqlite_file

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

__all__ = [
    "APPLICATION_ID",
    "DEFAULT_DATABASE_URL",
    "DEFAULT_SLOTS",
    "EXPECTED_REVISION",
    "MAX_SLOTS",
    "URL_VARIABLE",
    "VERSION_TABLE",
    "alembic_config",
    "check",
    "current",
    "database_url",
    "downgrade",
    "head",
    "migrations_path",
    "sql",
    "upgrade",
]

EXPECTED_REVISION: Final = "0001"
"""The revision that this code reads and writes. A test holds it to the newest migration."""

VERSION_TABLE: Final = "casty_es_alembic_version"  # of its own: the database may be another program's, with its alembic
URL_VARIABLE: Final = "CASTY_ES_DATABASE_URL"
DEFAULT_DATABASE_URL: Final = "sqlite+aiosqlite:///casty.db"
APPLICATION_ID: Final = int.from_bytes(b"cast", "big")  # what `file` shows, and how a foreign SQLite file is told

DEFAULT_SLOTS: Final = 256  # enough for tens of nodes; an idle slot costs a row and a lock
MAX_SLOTS: Final = 8192  # a node holds one advisory lock per slot, and Postgres has room for about this many by default

CONNECT_TIMEOUT: Final = 10.0  # seconds; a server that is there answers in milliseconds
BUSY_TIMEOUT: Final = 30.0  # seconds to wait for another process that writes, or migrates, the same SQLite file

# What a driver raises when the database cannot be reached, opened or spoken to.
_CONNECT_ERRORS: Final = (
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    sqlite3.Error,
    OSError,
    TimeoutError,
)

# alembic.context and alembic.op are globals: two migrations in two threads would write to each other's database.
_one_at_a_time: Final = threading.Lock()

_T = TypeVar("_T")


def migrations_path() -> Path:
    """Return the folder of the migrations: in the package of an installed wheel, else beside it in the source tree.

    Raises
    ------
    SchemaError
        They are in neither place: the installation is not complete.
    """
    package = Path(__file__).resolve().parents[1]
    installed, source = package / "migrations", package.parent / "migrations"
    if (installed / "env.py").is_file():
        return installed
    # In site-packages a folder of that name would be somebody else's: ours stands beside our pyproject.toml.
    if (source / "env.py").is_file() and (package.parent / "pyproject.toml").is_file():
        return source
    raise SchemaError(
        f"the migrations are neither in {installed} nor in {source}, so the schema can be neither checked nor "
        "changed. Install casty-es again, from a wheel or from a whole source tree."
    )


def alembic_config(url: str, *, slots: int | None = None) -> Config:
    """Return alembic's configuration for a journal, for its own commands.

    Parameters
    ----------
    url : str
        See :func:`database_url`.
    slots : int | None
        The number of slots, 1 to 8,192, that the first migration writes down; ``None`` means 256, or what is there.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    config.attributes["database_url"] = database_url(url)
    config.attributes["slots"] = None if slots is None else checked_slots(slots)
    return config


def upgrade(url: str, *, slots: int | None = None) -> None:
    """Bring the schema to the newest revision in one transaction; a failing revision leaves nothing behind.

    Several processes may do this at once: they wait for each other, and the later ones find nothing left to do.

    Parameters
    ----------
    url : str
        See :func:`database_url`. An SQLite file is created if it is missing, its folder is not.
    slots : int | None
        The number of slots of a new journal, 1 to 8,192, default 256. It never changes afterwards.

    Raises
    ------
    InvalidArgumentError
        The URL or the number of slots cannot be used.
    JournalUnavailableError
        The database cannot be reached or opened.
    ConfigurationError
        The journal has another number of slots, or the SQLite file belongs to another program.
    SchemaError
        The schema is newer than this code, or a revision failed.
    """
    config = alembic_config(url, slots=slots)
    with _migrating(url, "upgrade"):
        command.upgrade(config, "head")


def downgrade(url: str, revision: str = "base") -> None:
    """Take the schema back to ``revision``. ``"base"`` drops every table and the journal with them."""
    config = alembic_config(url)
    with _migrating(url, "downgrade"):
        command.downgrade(config, revision)


def sql(url: str, *, slots: int | None = None) -> str:
    """Return the SQL of a whole upgrade, for a database administrator to read and run. Connects to nothing."""
    config = alembic_config(url, slots=slots)
    config.output_buffer = buffer = io.StringIO()
    with _migrating(url, "upgrade"):
        command.upgrade(config, "head", sql=True)
    return buffer.getvalue()


@cache
def head() -> str:
    """Return the newest revision in :func:`migrations_path`. Connects to nothing."""
    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    revision = ScriptDirectory.from_config(config).get_current_head()
    if revision is None:
        raise SchemaError(f"{migrations_path()} holds no revision. Install casty-es again.")
    return revision


def current(url: str) -> str | None:
    """Return the revision of the database, or ``None`` where there is no journal. Creates nothing.

    Raises
    ------
    JournalUnavailableError
        The database cannot be reached or opened.
    ConfigurationError
        The SQLite file belongs to another program.
    """
    with connecting(url):
        if is_sqlite(url):
            return _sqlite_revision(sqlite_file(url))
        return _run(_postgres_revision(postgres_dsn(url)))


def check(url: str) -> None:
    """Refuse a journal whose schema is not the one this code was written for. Changes nothing.

    Raises
    ------
    SchemaError
        There is no schema, or it is older or newer than the code. The message names the command to run.
    """
    revision = current(url)
    if revision == EXPECTED_REVISION:
        return
    if revision is None:
        found = "has no journal yet"
    elif revision < EXPECTED_REVISION:  # revisions are numbered with leading zeros
        found = f"has the schema of revision {revision}, and this code needs {EXPECTED_REVISION}"
    else:
        raise _newer(url, revision)
    raise SchemaError(
        f"{shown(url)} {found}. Nothing was opened. Run: casty-es db upgrade --url '{shown(url)}' "
        f"(or alembic upgrade head with {URL_VARIABLE} set)."
    )


def checked_slots(slots: int | str) -> int:
    """Return the number of slots if a journal can have that many, from Python or from ``-x slots=N``."""
    try:
        number = int(slots)
    except ValueError:
        number = 0
    if not 1 <= number <= MAX_SLOTS:
        raise InvalidArgumentError(
            f"a journal cannot have {slots!r} slots, so nothing was changed. Give a whole number from 1 to {MAX_SLOTS}."
        )
    return number


def refuse_foreign(application_id: int, url: str) -> None:
    """Refuse an SQLite file that another program has marked as its own (``PRAGMA application_id``)."""
    if application_id not in {0, APPLICATION_ID}:
        raise ConfigurationError(
            f"{shown(url)} belongs to another program: its application_id is {application_id:#x}, a journal's is "
            f"{APPLICATION_ID:#x}. Nothing was changed. Give the journal a file of its own."
        )


@contextmanager
def connecting(url: str) -> Iterator[None]:
    """Turn whatever a driver raises while it connects into ``JournalUnavailableError``."""
    try:
        yield
    except _CONNECT_ERRORS as error:
        # SQLAlchemy's own text adds the statement and a link; the driver's says what is wrong.
        reason = getattr(error, "orig", None) or error
        raise JournalUnavailableError(
            f"{shown(url)} cannot be opened ({type(reason).__name__}: {reason}). Nothing was written. Check that the "
            "server runs or the folder exists, that the name and password are right and that it may be written."
        ) from error


@contextmanager
def _migrating(url: str, what: str) -> Iterator[None]:
    """Run one alembic command: alone in this process, outside of any event loop, with the library's errors."""
    _refuse_running_loop()
    with _one_at_a_time:
        try:
            yield
        except CommandError as error:
            if isinstance(error.__cause__, CastyError):
                raise error.__cause__ from error.__cause__.__cause__
            if "Can't locate revision" in str(error):
                raise _newer(url, current(url) or "?") from error
            raise SchemaError(f"the {what} of {shown(url)} was refused: {error}. Nothing was changed.") from error
        except SQLAlchemyError as error:
            raise SchemaError(
                f"the {what} of {shown(url)} failed and was rolled back as a whole: {error}. Nothing was changed. "
                "Mend the cause and run it again."
            ) from error


def _newer(url: str, revision: str) -> SchemaError:
    return SchemaError(
        f"{shown(url)} has the schema of revision {revision}, which is newer than this code's {EXPECTED_REVISION}. "
        "Nothing was changed. Install the version of casty-es that made it, or a later one."
    )


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        "the schema functions wait for the database and would stop this event loop. Nothing was done. "
        "Call them in a thread: await asyncio.to_thread(upgrade, url)."
    )


def _run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run ``main`` to its end on a loop of its own, without touching the thread's current event loop."""
    try:
        _refuse_running_loop()
    except UsageError:
        main.close()
        raise
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(main)


def _sqlite_revision(path: Path) -> str | None:
    if path.parent.is_dir() and not path.exists():
        return None
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_TIMEOUT)
    try:
        refuse_foreign(connection.execute("PRAGMA application_id").fetchone()[0], f"sqlite:///{path}")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,)).fetchone():
            return None
        row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant
    finally:
        connection.close()
    return str(row[0]) if row else None


async def _postgres_revision(dsn: str) -> str | None:
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT)
    try:
        if await connection.fetchval("SELECT to_regclass($1)", VERSION_TABLE) is None:
            return None
        revision = await connection.fetchval(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
    finally:
        await connection.close()
    return None if revision is None else str(revision)
