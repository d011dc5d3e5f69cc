"""Databases from before the revisions were named after the library go on, without anybody's doing."""

from __future__ import annotations

import asyncio
import gzip
import io
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from casty_es import connect
from casty_es.audit.verify import verify
from casty_es.errors import SchemaError
from casty_es.journal import migrating, schema
from casty_es.journal.revisions import OLD_IDS, is_ours
from casty_es.journal.urls import is_sqlite, postgres_dsn, sqlite_file

Sql = Callable[..., list[tuple[Any, ...]]]

# Made by the code of revision 0005, with four slots, as its first release left it on the disk.
OLD_FILE = Path(__file__).with_name("journal_0005.db.gz")
SCRIPTS = ScriptDirectory.from_config(migrating.alembic_config("sqlite:///casty.db"))
STORED = "SELECT version_num FROM casty_es_alembic_version"


@pytest.fixture
def old_file_url(sqlite_url: str) -> str:
    """The file of an old release."""
    with gzip.open(OLD_FILE) as packed, sqlite_file(sqlite_url).open("wb") as file:
        shutil.copyfileobj(packed, file)
    return sqlite_url


def made_at(url: str, number: str, sql: Sql) -> str:
    """Make a journal of a revision, with the id that it had."""
    command.upgrade(migrating.alembic_config(url), f"casty_es_{number}")
    sql(url, f"UPDATE casty_es_alembic_version SET version_num = '{number}'")
    return url


async def read_everything(url: str) -> None:
    """Open a journal as programs do, and look for what the old release put there."""
    async with connect(url) as d:
        assert await d.counter("orders").get() == 5
        assert await d.map[str, dict[str, str]]("users").get("alice") == {"name": "Alice"}
        assert await d.queue[str]("jobs").dequeue() == "one"
    assert (await verify(url)).findings == []


def test_every_id_is_ours() -> None:
    """Given the revisions, then each has an id that begins with our name and fits into alembic's column."""
    for script in SCRIPTS.walk_revisions():
        assert is_ours(script.revision), script.revision
        assert len(script.revision) <= 32


async def test_a_file_of_an_old_release_goes_on(old_file_url: str, sql: Sql) -> None:
    """Given a file of an old release, when a program opens it, then it is brought up to date with all that it holds."""
    assert sql(old_file_url, STORED) == [("0005",)]
    assert await asyncio.to_thread(schema.current, old_file_url) == "casty_es_0005"
    with pytest.raises(SchemaError, match="revision casty_es_0005, and this code needs"):
        await asyncio.to_thread(schema.check, old_file_url)

    await read_everything(old_file_url)

    assert sql(old_file_url, STORED) == [(schema.EXPECTED_REVISION,)]


@pytest.mark.parametrize("number", OLD_IDS)
def test_every_old_id_goes_on(database_url: str, number: str, sql: Sql) -> None:
    """Given a journal of each old revision, when it is upgraded, then it is at the newest, under its new id."""
    made_at(database_url, number, sql)
    assert schema.current(database_url) == f"casty_es_{number}"
    migrating.upgrade(database_url)
    schema.check(database_url)
    assert sql(database_url, STORED) == [(schema.EXPECTED_REVISION,)]
    assert asyncio.run(verify(database_url)).findings == []


def test_looking_changes_no_id(database_url: str, sql: Sql) -> None:
    """Given an old id, when alembic shows the current revision, then it is the new one, and nothing is written."""
    made_at(database_url, "0005", sql)
    config = migrating.alembic_config(database_url)
    config.stdout = printed = io.StringIO()
    command.current(config)
    assert "casty_es_0005" in printed.getvalue()
    assert sql(database_url, STORED) == [("0005",)]


def test_down_from_an_old_id(database_url: str, sql: Sql) -> None:
    """Given an old id, when the journal is downgraded, then it goes down, and up again."""
    made_at(database_url, "0005", sql)
    migrating.downgrade(database_url, "casty_es_0003")
    assert sql(database_url, STORED) == [("casty_es_0003",)]
    migrating.upgrade(database_url)
    schema.check(database_url)


def test_sql_from_an_old_id(database_url: str, sql: Sql, postgres_programs: Path) -> None:
    """Given an old id, when an administrator runs the SQL of the rest of the upgrade, then the new id is noted."""
    made_at(database_url, "0003", sql)
    config = migrating.alembic_config(database_url)
    config.output_buffer = script = io.StringIO()
    command.upgrade(config, "casty_es_0003:head", sql=True)
    if is_sqlite(database_url):
        with closing(sqlite3.connect(sqlite_file(database_url))) as connection:
            connection.executescript(script.getvalue())
    else:
        psql = [str(postgres_programs / "psql"), "--set=ON_ERROR_STOP=1", postgres_dsn(database_url)]
        subprocess.run(psql, input=script.getvalue(), text=True, check=True, capture_output=True)
    schema.check(database_url)
    assert sql(database_url, STORED) == [(schema.EXPECTED_REVISION,)]


@pytest.mark.parametrize("stored", ["0008", "9999", "a1b2c3d4e5f6"])
def test_a_revision_of_somebody_else(journal_url: str, stored: str, sql: Sql) -> None:
    """Given another program's revision in our version table, then the error does not call it newer, and says whose."""
    sql(journal_url, f"UPDATE casty_es_alembic_version SET version_num = '{stored}'")
    for action in (schema.check, migrating.upgrade):
        with pytest.raises(SchemaError, match=f"'{stored}'.*no revision of casty_es"):
            action(journal_url)
    assert sql(journal_url, STORED) == [(stored,)]


def test_two_revisions_at_once(journal_url: str, sql: Sql) -> None:
    """Given another program's revision beside ours, then it is refused, whichever the database gives first."""
    sql(journal_url, "INSERT INTO casty_es_alembic_version VALUES ('a1b2c3d4e5f6')")
    for action in (schema.check, migrating.upgrade):
        with pytest.raises(SchemaError, match=r"'a1b2c3d4e5f6, casty_es_\d+'.*no revision of casty_es"):
            action(journal_url)


def test_a_downgrade_to_nowhere_is_not_called_newer(journal_url: str) -> None:
    """Given a target that does not exist, when a journal is to go there, then the error is about the target."""
    with pytest.raises(SchemaError, match="'0002'") as refused:
        migrating.downgrade(journal_url, "0002")
    assert "newer" not in str(refused.value)
