"""What the code knows of a journal's schema is what the migrations make, down to the last trigger."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from casty_es.journal.expected_surroundings import on_postgres, on_sqlite
from casty_es.journal.migrating import downgrade, upgrade
from casty_es.journal.urls import is_sqlite, postgres_dsn
from casty_es.journal.views import FUNCTION, VIEWS, statements
from tests.tables import TABLES

from .surroundings import made

if TYPE_CHECKING:
    from pathlib import Path

Sql = Callable[..., list[tuple[Any, ...]]]
Ddl = Callable[[str], list[str]]


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


def test_the_file_says_what_the_migrations_make(database_url: str) -> None:
    """Given an upgrade, then it makes what the file says; ``python -m tests.migrations.surroundings`` writes it."""
    found = made(database_url)
    assert found == (on_sqlite() if is_sqlite(database_url) else on_postgres())
    assert len(found) > 40


def test_views_equal_migrations(database_url: str, ddl: Ddl, sql: Sql) -> None:
    """Given a journal, when its views are dropped and made of what views.py says, then its DDL is the same text."""
    upgrade(database_url)
    before = ddl(database_url)
    dropped = [f"DROP VIEW {view}" for view in VIEWS[::-1]]
    if is_sqlite(database_url):
        sql(database_url, *dropped, *statements("sqlite"))
    else:
        sql(database_url, *dropped, f"DROP FUNCTION {FUNCTION}", *statements("postgresql"))
    assert ddl(database_url) == before


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
    assert {name for name, strict in tables if strict} == set(TABLES)
