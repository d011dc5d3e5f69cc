"""The journal's schema: where its migrations are, which revision this code needs, and which one a database has.

Every function here is synchronous and asks a short query of its own. From asyncio call them in a thread:
``await asyncio.to_thread(check, url)``. Errors are the library's, and name the command to run. What changes a schema is
in ``migrating.py``, apart from this because alembic takes half a second to import, and most processes never migrate.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import asyncpg

from casty_es.errors import (
    CastyError,
    ConfigurationError,
    InvalidArgumentError,
    JournalUnavailableError,
    SchemaError,
    UsageError,
)
from casty_es.journal.driver_errors import driver_error, said
from casty_es.journal.hosts import dial
from casty_es.journal.revisions import VERSION_TABLE, is_ours, present_id
from casty_es.journal.sqlite_file import refuse_parted
from casty_es.journal.urls import database_url, is_sqlite, shown, sqlite_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence

__all__ = [
    "APPLICATION_ID",
    "DEFAULT_DATABASE_URL",
    "DEFAULT_SLOTS",
    "EXPECTED_REVISION",
    "MAX_SLOTS",
    "URL_VARIABLE",
    "VERSION_TABLE",
    "check",
    "current",
    "database_url",
    "migrations_path",
    "other_schema",
]

EXPECTED_REVISION: Final = "casty_es_0007"
"""The revision that this code reads and writes. A test holds it to the newest migration."""

URL_VARIABLE: Final = "CASTY_ES_DATABASE_URL"
DEFAULT_DATABASE_URL: Final = "sqlite+aiosqlite:///casty.db"
APPLICATION_ID: Final = int.from_bytes(b"cast", "big")  # what `file` shows, and how a foreign SQLite file is told

DEFAULT_SLOTS: Final = 256  # enough for tens of nodes; an idle slot costs a row and a lock
MAX_SLOTS: Final = 8192  # a node holds one advisory lock per slot, and Postgres has room for about this many by default

BUSY_TIMEOUT: Final = 30.0  # seconds to wait for another process that writes, or migrates, the same SQLite file

# What a driver raises when the database cannot be reached, opened or spoken to.
_CONNECT_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    sqlite3.Error,
    OSError,
    TimeoutError,
    ValueError,  # asyncpg reads the environment
    OverflowError,  # a port in it
)

_HAS_REVISIONS: Final = f"SELECT to_regclass('{VERSION_TABLE}') IS NOT NULL"
_REVISIONS: Final = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant

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


def current(url: str) -> str | None:
    """Return the revision of the database, or ``None`` where there is no journal. Creates nothing.

    Raises
    ------
    JournalUnavailableError
        The database cannot be reached or opened.
    ConfigurationError
        The SQLite file belongs to another program, has several names, or is mounted without its folder.
    JournalMovedError
        What lies beside the SQLite file, or a living node, belongs to another file.
    """
    with connecting(url):
        if is_sqlite(url):
            return _sqlite_revision(sqlite_file(url))
        return _run(_postgres_revision(url))


def check(url: str) -> None:
    """Refuse a journal whose schema is not the one this code was written for. Changes nothing.

    Raises
    ------
    SchemaError
        There is no schema, or it is older or newer than the code. The message names the command to run.
    """
    refuse_other(url, current(url))


def refuse_other(url: str, revision: str | None) -> None:
    """Refuse a journal of another revision than this code's, as ``check`` does, where its revision is known."""
    if revision == EXPECTED_REVISION:
        return
    if revision is None:
        if (error := left_over(url)) is not None:
            raise error
        found = "has no journal yet"
    elif is_older(revision):
        found = f"has the schema of revision {revision}, and this code needs {EXPECTED_REVISION}"
    else:
        raise other_schema(url, revision)
    raise SchemaError(
        f"{shown(url)} {found}. Nothing was opened. Run: casty-es db upgrade --url '{shown(url)}' "
        f"(or alembic upgrade head with {URL_VARIABLE} set)."
    )


def left_over(url: str) -> SchemaError | None:
    """Return the error for a database that names no revision and has parts of a journal, ``None`` without any."""
    from casty_es.journal import remains  # noqa: PLC0415 - rarely needed, and knows what all kinds look like

    with connecting(url):
        if is_sqlite(url):
            path = sqlite_file(url)
            if not path.exists():
                return None
            with closing(_sqlite(path)) as connection:
                return remains.told(url, remains.sqlite_parts(connection.execute))
        return remains.told(url, _run(_postgres_rows(url, remains.POSTGRES_PARTS)))


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
def connecting(url: str, *more: type[Exception]) -> Iterator[None]:
    """Turn whatever a driver raises while it connects into ``JournalUnavailableError``, and ``more`` too."""
    try:
        yield
    except CastyError:
        raise
    except (*_CONNECT_ERRORS, *more) as error:
        reason = driver_error(error)
        raise JournalUnavailableError(
            f"{shown(url)} cannot be opened ({type(reason).__name__}: {said(reason)}). Nothing was written. Check that "
            "the server runs or the folder exists, that the name and password are right and that it may be written."
        ) from reason


def is_older(revision: str) -> bool:
    """Return whether a revision is one that this code can upgrade from."""
    return is_ours(revision) and revision < EXPECTED_REVISION


def other_schema(url: str, revision: str) -> SchemaError:
    """Return the error for a schema that this code does not know: a later one, or what is none of ours."""
    if is_ours(revision):
        return SchemaError(
            f"{shown(url)} has the schema of revision {revision}, which is newer than this code's {EXPECTED_REVISION}. "
            "Nothing was changed. Install the version of casty-es that made it, or a later one."
        )
    return SchemaError(
        f"{shown(url)} has {revision!r} in {VERSION_TABLE}, and that is no revision of casty_es: something else wrote "
        "it, such as an alembic of your own that was given this version table. Nothing was changed. Give that one a "
        "table of its own, and write the revision of the journal back, from a backup: docs/howto/migrate.md says how."
    )


def refuse_running_loop() -> None:
    """Refuse to be called from a coroutine, which would stop its event loop."""
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
        refuse_running_loop()
    except UsageError:
        main.close()
        raise
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(main)


def _sqlite(path: Path) -> sqlite3.Connection:
    """Open a journal's file for reading, unless it is another program's."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_TIMEOUT)
    try:
        refuse_foreign(connection.execute("PRAGMA application_id").fetchone()[0], f"sqlite:///{path}")
    except BaseException:
        connection.close()
        raise
    return connection


def _sqlite_revision(path: Path) -> str | None:
    refuse_parted(path)  # before SQLite sees it, which rolls back and writes forward what lies beside the file
    if path.parent.is_dir() and not path.exists():
        return None
    with closing(_sqlite(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,)).fetchone():
            return None
        return _one_revision(connection.execute(_REVISIONS))


@asynccontextmanager
async def _postgres(url: str) -> AsyncIterator[asyncpg.Connection]:
    # Whatever the database or role sets for others must not end a look at the schema.
    connection = await dial(url, {"statement_timeout": "0", "lock_timeout": "0"})
    try:
        yield connection
    finally:
        await connection.close()


async def _postgres_revision(url: str) -> str | None:
    async with _postgres(url) as connection:
        return await revision_by(connection.fetch)


async def revision_by(fetch: Callable[[str], Awaitable[Sequence[Sequence[object]]]]) -> str | None:
    """Return the revision of the Postgres database that ``fetch`` asks, ``None`` where there is no journal."""
    [(there,)] = await fetch(_HAS_REVISIONS)
    return _one_revision(await fetch(_REVISIONS)) if there else None


async def _postgres_rows(url: str, query: str) -> list[asyncpg.Record]:
    async with _postgres(url) as connection:
        return list(await connection.fetch(query))


def _one_revision(rows: Iterable[Sequence[object]]) -> str | None:
    """Return the revision of a version table. Only others than us write several into it, which is none of ours."""
    return ", ".join(sorted(present_id(str(row[0])) for row in rows)) or None
