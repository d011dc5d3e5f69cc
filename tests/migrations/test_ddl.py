"""The tables that the code knows are the tables that the migrations make, down to the last trigger."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from casty_es.journal.migrating import downgrade, upgrade
from casty_es.journal.tables import metadata
from casty_es.journal.urls import is_sqlite, postgres_dsn, sqlite_file
from casty_es.journal.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Sql = Callable[..., list[tuple[Any, ...]]]
Ddl = Callable[[str], list[str]]


def create_from_tables(url: str) -> None:
    """Create everything that tables.py and views.py describe, without a migration."""
    if is_sqlite(url):
        engine = create_engine(f"sqlite:///{sqlite_file(url)}")
        metadata.create_all(engine)
        engine.dispose()
        return

    async def main() -> None:
        engine = create_async_engine("postgresql+asyncpg://", async_creator=partial(asyncpg.connect, postgres_dsn(url)))
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await engine.dispose()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(main())


@pytest.fixture
def ddl(sql: Sql, postgres_programs: Path) -> Ddl:
    """``ddl(url)``: everything that the database keeps about its schema, alembic's own table left out."""

    def of_sqlite(url: str) -> list[str]:
        rows = sql(
            url,
            "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master "
            "WHERE tbl_name <> 'casty_es_alembic_version' ORDER BY type, name",
        )
        # A column that was added later stands on the line of the one before it.
        return ["|".join([*row[:3], re.sub(r"\s+", " ", row[3])]) for row in rows]

    def of_postgres(url: str) -> list[str]:
        arguments = ["--schema-only", "--no-owner", "--exclude-table=casty_es_alembic_version", postgres_dsn(url)]
        dump = subprocess.run([postgres_programs / "pg_dump", *arguments], check=True, capture_output=True, text=True)
        # \restrict and \unrestrict carry a random key.
        return [line for line in dump.stdout.splitlines() if line and not re.match(r"--|\\(un)?restrict ", line)]

    return lambda url: of_sqlite(url) if is_sqlite(url) else of_postgres(url)


@pytest.fixture
def other_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A second empty database of the same kind."""
    if database_kind == "sqlite":
        return f"sqlite:///{tmp_path / 'other.db'}"
    return str(request.getfixturevalue("second_postgres_url"))


@pytest.fixture
def second_postgres_url(postgres_url: str, sql: Sql) -> Iterator[str]:
    """A database beside the first one."""
    name = urlsplit(postgres_url).path.removeprefix("/") + "_2"
    sql(postgres_url, f'CREATE DATABASE "{name}"')
    yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    sql(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def test_tables_equal_migrations(database_url: str, other_url: str, ddl: Ddl) -> None:
    """Given one database from tables.py and one from the migrations, then their whole DDL is the same text."""
    create_from_tables(database_url)
    upgrade(other_url)
    described = ddl(database_url)
    assert described == ddl(other_url)
    text = "\n".join(described)
    for part in ("casty_secrets", "ck_casty_events_hash", "uq_casty_events_idempotency_key", "CREATE TRIGGER", *VIEWS):
        assert part in text


def test_up_down_up_is_clean(database_url: str, ddl: Ddl) -> None:
    """Given an upgraded database, when it goes down nothing is left, and up again it is what it was."""
    upgrade(database_url)
    first = ddl(database_url)
    downgrade(database_url)
    assert "casty" not in "\n".join(ddl(database_url))
    upgrade(database_url)
    assert ddl(database_url) == first


def test_sqlite_tables_are_strict(sqlite_journal_url: str, sql: Sql) -> None:
    """Given an SQLite journal, then each of its tables refuses values of another type."""
    tables = sql(
        sqlite_journal_url, "SELECT name, strict FROM pragma_table_list WHERE name LIKE 'casty_%' AND type = 'table'"
    )
    assert {name for name, strict in tables if not strict} == {"casty_es_alembic_version"}
    assert {name for name, strict in tables if strict} == set(metadata.tables)
