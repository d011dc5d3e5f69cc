"""A journal that something else dropped or made a part of: whoever opens it is told what happened and what to do."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command

from casty_es import connect
from casty_es.cli.app import run
from casty_es.errors import SchemaError
from casty_es.journal import migrating, schema
from casty_es.journal.urls import is_sqlite

from .foreign import foreign_environment

Sql = Callable[..., list[tuple[Any, ...]]]

TABLES_OF_0001 = "CREATE TABLE casty_events (slot INTEGER)", "CREATE TABLE casty_meta (id INTEGER)"


def count(url: str) -> int:
    """Use the journal as a program does."""

    async def main() -> int:
        async with connect(url) as d:
            return await d.counter("hits").increment()

    return asyncio.run(main())


def refused(url: str, action: Callable[[str], object]) -> str:
    """Do something that is refused, and return what is said."""
    with pytest.raises(SchemaError, match=r"parts of a journal.*such as an alembic of your own") as error:
        action(url)
    return str(error.value)


def dropped(said: str) -> list[str]:
    """Return the statements that an error names."""
    return re.findall(r"DROP \w+ [^;]+", said.partition("upgrade again: ")[2])


def test_a_generated_revision_that_dropped_the_journal(sqlite_journal_url: str, tmp_path: Path, sql: Sql) -> None:
    """Given that accident on SQLite, then opening says what to do each time, and what it says helps."""
    assert count(sqlite_journal_url) == 1
    config = foreign_environment(tmp_path / "theirs", sqlite_journal_url)
    command.revision(config, "first", autogenerate=True)
    command.upgrade(config, "head")

    for action in (count, migrating.upgrade, schema.check):
        said = refused(sqlite_journal_url, action)
        assert "casty_events is gone. Restore a backup" in said
    sql(sqlite_journal_url, *dropped(said))

    assert count(sqlite_journal_url) == 1
    assert sql(sqlite_journal_url, "SELECT count(*) FROM orders") == [(0,)]


def test_a_generated_revision_is_stopped_by_the_views(postgres_journal_url: str, tmp_path: Path) -> None:
    """Given the same on Postgres, then the database refuses, and the journal is as it was."""
    assert count(postgres_journal_url) == 1
    config = foreign_environment(tmp_path / "theirs", postgres_journal_url)
    command.revision(config, "first", autogenerate=True)
    with pytest.raises(Exception, match="other objects depend on it"):
        command.upgrade(config, "head")
    assert count(postgres_journal_url) == 2


def test_tables_of_a_foreign_run(database_url: str, sql: Sql) -> None:
    """Given the first tables and no more, as our first revision once left them, then what is said helps, too."""
    sql(database_url, *TABLES_OF_0001)
    for action in (schema.check, migrating.upgrade):
        said = refused(database_url, action)
        assert "casty_events is empty" in said
    assert dropped(said) == ["DROP TABLE casty_meta", "DROP TABLE casty_events"]
    sql(database_url, *dropped(said))
    migrating.upgrade(database_url)
    assert count(database_url) == 1


def test_what_is_left_on_postgres(postgres_journal_url: str, sql: Sql) -> None:
    """Given a journal whose tables were dropped with what hangs on them, then functions are named, too."""
    for table in sql(postgres_journal_url, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'"):
        sql(postgres_journal_url, f"DROP TABLE {table[0]} CASCADE")
    said = refused(postgres_journal_url, count)
    assert "DROP FUNCTION casty_member(text, text, text);" in said
    sql(postgres_journal_url, *dropped(said))
    migrating.upgrade(postgres_journal_url)
    assert count(postgres_journal_url) == 1


def test_records_are_never_to_be_dropped(journal_url: str, sql: Sql) -> None:
    """Given records without a revision, then what is said drops nothing, and writing the revision back is enough."""
    assert count(journal_url) == 1
    sql(journal_url, "DROP TABLE casty_es_alembic_version")
    for action in (schema.check, migrating.upgrade):
        said = refused(journal_url, action)
        assert "drop nothing. Not there: casty_es_alembic_version. Restore a backup" in said
        assert "DROP" not in said
    command.stamp(migrating.alembic_config(journal_url), schema.EXPECTED_REVISION)
    assert count(journal_url) == 2


def test_what_is_missing_is_named(sqlite_journal_url: str, sql: Sql) -> None:
    """Given records with neither revision nor snapshots, then both are named as missing."""
    assert count(sqlite_journal_url) == 1
    sql(sqlite_journal_url, "DROP TABLE casty_es_alembic_version", "DROP TABLE casty_snapshots")
    assert "Not there: casty_es_alembic_version, casty_snapshots. " in refused(sqlite_journal_url, schema.check)


def test_the_doctor_says_it_too(database_url: str, sql: Sql, capsys: pytest.CaptureFixture[str]) -> None:
    """Given parts of a journal, when the doctor looks, then it gives the same advice."""
    sql(database_url, *TABLES_OF_0001)
    assert run(["doctor", "--json", "--url", database_url]) == 1
    [check] = [one for one in json.loads(capsys.readouterr().out)["checks"] if one["name"] == "schema"]
    assert check["advice"] == refused(database_url, schema.check)


def test_tables_of_others_are_no_parts(database_url: str, sql: Sql) -> None:
    """Given a database with tables of others, whose names may begin as ours do, then a journal is made beside them."""
    sql(database_url, "CREATE TABLE casty_orders (id INTEGER)", "CREATE VIEW orders AS SELECT id FROM casty_orders")
    assert is_sqlite(database_url) or schema.left_over(database_url) is None
    migrating.upgrade(database_url)
    assert count(database_url) == 1
