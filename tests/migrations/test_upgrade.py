"""An upgrade happens as a whole or not at all, however many try at once and however it is started."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from alembic import command, config

from casty_es.errors import (
    ConfigurationError,
    InvalidArgumentError,
    JournalUnavailableError,
    SchemaError,
    UsageError,
)
from casty_es.journal import migrating, schema
from casty_es.journal.urls import is_sqlite, postgres_dsn, sqlite_file

Sql = Callable[..., list[tuple[Any, ...]]]

ROOT = Path(__file__).parents[2]

LATER = f"casty_es_{int(schema.EXPECTED_REVISION[-4:]) + 1:04}"  # what the next revision will be called

SECOND_REVISION = """
from alembic import op
import sqlalchemy as sa

revision, down_revision = "{revision}", "{down_revision}"

def upgrade():
    op.create_table("casty_later", sa.Column("id", sa.Integer))
    op.execute("{statement}")

def downgrade():
    op.drop_table("casty_later")
"""


def tables(url: str, sql: Sql) -> set[str]:
    """Return the names of all tables."""
    if is_sqlite(url):
        rows = sql(url, "SELECT name FROM sqlite_master WHERE type = 'table'")
    else:
        rows = sql(url, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
    return {name for (name,) in rows}


def alembic(url: str, *arguments: str, cwd: Path = ROOT) -> subprocess.Popen[str]:
    """Start alembic's own command line as a user would, with nothing but the variable."""
    environment = os.environ | {schema.URL_VARIABLE: url}
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def revisions_with(tmp_path: Path, statement: str) -> str:
    """Return a copy of the migrations with a second revision that ends in ``statement``."""
    copy = tmp_path / "migrations"
    shutil.copytree(schema.migrations_path(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = SECOND_REVISION.format(revision=LATER, down_revision=schema.EXPECTED_REVISION, statement=statement)
    (copy / "versions" / "later.py").write_text(text)
    return str(copy)


def test_expected_revision_is_the_newest() -> None:
    """Given the migrations, then the revision that the code expects is their head."""
    assert migrating.head() == schema.EXPECTED_REVISION


def test_upgrade_writes_meta_and_secret(database_url: str, sql: Sql) -> None:
    """Given an empty database, when it is upgraded, then it has its one row of meta and a secret of 32 bytes."""
    before = time.time()
    assert schema.current(database_url) is None
    migrating.upgrade(database_url)
    assert schema.current(database_url) == schema.EXPECTED_REVISION
    schema.check(database_url)
    rows = sql(database_url, "SELECT id, slots, hash_algorithm, incarnation, maintenance, created_at FROM casty_meta")
    *meta, created_at = rows[0]
    assert [len(rows), *meta] == [1, 1, 256, "sha256", 1, 0]
    # SQLite's clock is read to the millisecond.
    assert before - 0.001 <= created_at / 1e6 <= time.time() + 0.001
    assert sql(database_url, "SELECT name, length(value) FROM casty_secrets") == [("cluster", 32)]


def test_every_journal_has_a_secret_of_its_own(tmp_path: Path, sql: Sql) -> None:
    """Given two journals, then their secrets differ."""
    secrets = set()
    for name in ("a.db", "b.db"):
        url = f"sqlite:///{tmp_path / name}"
        migrating.upgrade(url)
        secrets |= set(sql(url, "SELECT value FROM casty_secrets"))
    assert len(secrets) == 2


def test_upgrade_again_changes_nothing(journal_url: str, sql: Sql) -> None:
    """Given a journal, when it is upgraded once more, then its meta and its secret are the same."""
    before = sql(journal_url, "SELECT created_at FROM casty_meta"), sql(journal_url, "SELECT value FROM casty_secrets")
    migrating.upgrade(journal_url)
    after = sql(journal_url, "SELECT created_at FROM casty_meta"), sql(journal_url, "SELECT value FROM casty_secrets")
    assert after == before


def test_views_come_to_a_journal_with_records(database_url: str, sql: Sql) -> None:
    """Given a journal of the revision before the views, when it is upgraded, then its records are kept and shown."""
    command.upgrade(migrating.alembic_config(database_url), "casty_es_0002")
    hash_ = "zeroblob(32)" if is_sqlite(database_url) else "decode(repeat('00', 32), 'hex')"
    sql(
        database_url,
        "INSERT INTO casty_events (slot, position, epoch, type, version, payload, recorded_at, hash) "
        f"VALUES (7, 1, 1, 'lease.acquired', 1, '{{\"node\":\"a\"}}', 0, {hash_})",
    )
    before = sql(database_url, "SELECT * FROM casty_events")

    migrating.upgrade(database_url)
    assert sql(database_url, "SELECT slot, position, node, type FROM casty_history") == [(7, 1, "a", "lease.acquired")]

    migrating.downgrade(database_url, "casty_es_0002")
    assert sql(database_url, "SELECT * FROM casty_events") == before
    assert schema.current(database_url) == "casty_es_0002"


def test_failed_revision_leaves_nothing_of_a_new_journal(database_url: str, tmp_path: Path, sql: Sql) -> None:
    """Given an empty database, when the second of two revisions fails, then there is no table at all."""
    config = migrating.alembic_config(database_url)
    config.set_main_option("script_location", revisions_with(tmp_path, "INSERT INTO casty_nowhere VALUES (1)"))
    with pytest.raises(Exception, match="casty_nowhere"):
        command.upgrade(config, "head")
    assert tables(database_url, sql) == set()
    if is_sqlite(database_url):
        assert sql(database_url, "PRAGMA application_id") == [(0,)]


def test_failed_revision_leaves_an_old_journal_as_it_was(journal_url: str, tmp_path: Path, sql: Sql) -> None:
    """Given a journal, when a later revision fails, then its tables and its revision are the old ones."""
    before = tables(journal_url, sql)
    config = migrating.alembic_config(journal_url)
    config.set_main_option("script_location", revisions_with(tmp_path, "INSERT INTO casty_nowhere VALUES (1)"))
    with pytest.raises(Exception, match="casty_nowhere"):
        command.upgrade(config, "head")
    assert tables(journal_url, sql) == before
    schema.check(journal_url)


def test_newer_schema_is_refused(journal_url: str, tmp_path: Path) -> None:
    """Given a journal of a later revision, then this code neither opens nor upgrades it, and says which is newer."""
    config = migrating.alembic_config(journal_url)
    config.set_main_option("script_location", revisions_with(tmp_path, "SELECT 1"))
    command.upgrade(config, "head")
    with pytest.raises(SchemaError, match=f"revision {LATER}, which is newer"):
        schema.check(journal_url)
    with pytest.raises(SchemaError, match=f"revision {LATER}, which is newer"):
        migrating.upgrade(journal_url)
    assert schema.current(journal_url) == LATER


def test_missing_schema_names_the_command(database_url: str) -> None:
    """Given an empty database, when it is checked, then the error names the command, and no file has appeared."""
    with pytest.raises(SchemaError, match="casty-es db upgrade --url"):
        schema.check(database_url)
    assert not is_sqlite(database_url) or not sqlite_file(database_url).exists()


def test_tables_that_are_in_the_way(database_url: str, sql: Sql) -> None:
    """Given a table of the same name, when the database is upgraded, then it fails as a whole and says what to do."""
    sql(database_url, "CREATE TABLE casty_nodes (id integer)")
    with pytest.raises(SchemaError, match=r"Nothing was changed.*DROP TABLE casty_nodes;$"):
        migrating.upgrade(database_url)
    assert tables(database_url, sql) == {"casty_nodes"}


def test_four_at_once(database_url: str, sql: Sql) -> None:
    """Given an empty database, when four processes upgrade it at once, then all succeed and one of them did it."""
    processes = [alembic(database_url, "upgrade", "head") for _ in range(4)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, "\n".join(outputs)
    assert sql(database_url, "SELECT count(*) FROM casty_meta") == [(1,)]
    schema.check(database_url)


def test_alembic_from_the_root(database_url: str, sql: Sql) -> None:
    """Given only the variable, then up, down and up again by alembic's own command line are clean."""
    for direction in (["upgrade", "head"], ["downgrade", "base"], ["upgrade", "head"]):
        process = alembic(database_url, *direction)
        output, _ = process.communicate()
        assert (process.returncode, output) == (0, "")
    assert sql(database_url, "SELECT slots FROM casty_meta") == [(256,)]


def test_default_is_a_file_here(tmp_path: Path) -> None:
    """Given no variable, when alembic upgrades, then the journal is casty.db in the current folder."""
    environment = {name: value for name, value in os.environ.items() if name != schema.URL_VARIABLE}
    alembic = [sys.executable, "-m", "alembic", "-c", str(ROOT / "pyproject.toml"), "upgrade", "head"]
    subprocess.run(alembic, cwd=tmp_path, env=environment, check=True, capture_output=True)
    schema.check(f"sqlite:///{tmp_path / 'casty.db'}")


def test_slots_are_set_once(database_url: str, sql: Sql) -> None:
    """Given a number of slots, then a new journal has it, the same number is accepted again, and another refused."""
    process = alembic(database_url, "-x", "slots=12", "upgrade", "head")
    assert process.communicate()[0] == ""
    assert sql(database_url, "SELECT slots FROM casty_meta") == [(12,)]
    migrating.upgrade(database_url)
    migrating.upgrade(database_url, slots=12)
    with pytest.raises(ConfigurationError, match="created with 12 slots and cannot have 13"):
        migrating.upgrade(database_url, slots=13)
    process = alembic(database_url, "-x", "slots=13", "upgrade", "head")
    output, _ = process.communicate()
    assert process.returncode != 0
    assert "created with 12 slots and cannot have 13" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("slots", [0, -1, 8193, "many", "1.5", ""])
def test_slots_out_of_range(
    slots: int | str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Given a number of slots that cannot be, then it is refused before the file is made."""
    monkeypatch.setenv(schema.URL_VARIABLE, sqlite_url)
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        config.main(["-x", f"slots={slots}", "upgrade", "head"], prog="alembic")
    assert ended.value.code
    assert "from 1 to 8192" in f"{ended.value}{capfd.readouterr()}"
    with pytest.raises(InvalidArgumentError, match="from 1 to 8192"):
        migrating.upgrade(sqlite_url, slots=slots)  # type: ignore[arg-type]
    assert not sqlite_file(sqlite_url).exists()


def test_sqlite_file_is_marked_and_logs_ahead(sqlite_journal_url: str, sql: Sql) -> None:
    """Given a new SQLite journal, then its file carries our mark and is in WAL mode."""
    assert sql(sqlite_journal_url, "PRAGMA application_id") == [(0x63617374,)]
    assert sql(sqlite_journal_url, "PRAGMA journal_mode") == [("wal",)]


def test_foreign_sqlite_file_is_refused(sqlite_url: str, sql: Sql) -> None:
    """Given the file of another program, then it is neither upgraded nor read, and not even its mode changes."""
    sql(sqlite_url, "PRAGMA application_id = 1196444487", "CREATE TABLE theirs (id)")
    before = sqlite_file(sqlite_url).read_bytes()
    for refused in (migrating.upgrade, schema.current, schema.check):
        with pytest.raises(ConfigurationError, match="belongs to another program"):
            refused(sqlite_url)
    assert sqlite_file(sqlite_url).read_bytes() == before


def test_sqlite_writer_is_waited_for(sqlite_url: str, sql: Sql) -> None:
    """Given a writer in the middle of a transaction, when the file is upgraded, then the upgrade waits for its end."""
    sql(sqlite_url, "PRAGMA journal_mode = WAL")
    with closing(sqlite3.connect(sqlite_file(sqlite_url), isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        process = alembic(sqlite_url, "upgrade", "head")
        migrating = psutil.Process(process.pid)
        while str(sqlite_file(sqlite_url)) not in {file.path for file in migrating.open_files()}:
            assert process.poll() is None, process.communicate()[0]
        writer.execute("COMMIT")
        assert process.communicate()[0] == ""
    schema.check(sqlite_url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nowhere/at/all/casty.db",
        "sqlite:////dev/null",
        "postgresql://postgres@/postgres?host=/nowhere",
        "postgresql://postgres:geheim@127.0.0.1:1/postgres",
    ],
)
def test_database_that_is_not_there(url: str) -> None:
    """Given a database that cannot be opened, then the error says so without the password."""
    for action in (migrating.upgrade, schema.check):
        with pytest.raises((JournalUnavailableError, SchemaError)) as refused:
            action(url)
        assert "geheim" not in str(refused.value)
    with pytest.raises(JournalUnavailableError, match="cannot be opened"):
        migrating.upgrade(url)


def test_file_that_is_no_database(sqlite_url: str) -> None:
    """Given a file of something else, then it is refused and left as it was."""
    sqlite_file(sqlite_url).write_text("not a database" * 100)
    for action in (migrating.upgrade, schema.current):
        with pytest.raises(JournalUnavailableError, match="not a database"):
            action(sqlite_url)
    assert sqlite_file(sqlite_url).read_text() == "not a database" * 100


def test_database_that_does_not_exist(postgres_url: str) -> None:
    """Given a Postgres without the database, then the error carries the server's words."""
    missing = postgres_url.replace("/casty_test_", "/casty_missing_")
    for action in (migrating.upgrade, schema.current):
        with pytest.raises(JournalUnavailableError, match="does not exist"):
            action(missing)


async def test_event_loop_is_not_blocked(sqlite_url: str) -> None:
    """Given a running event loop, when an upgrade is called in it, then the refusal says what to write."""
    with pytest.raises(UsageError, match=r"asyncio\.to_thread"):
        migrating.upgrade(sqlite_url)
    with pytest.raises(UsageError, match=r"asyncio\.to_thread"):
        schema.current("postgresql://localhost/x")
    assert not sqlite_file(sqlite_url).exists()


def test_sql_for_an_administrator(database_url: str, sql: Sql, postgres_programs: Path) -> None:
    """Given the SQL of an upgrade, when an administrator runs it, then the journal is complete."""
    script = migrating.sql(database_url, slots=12)
    assert "BEGIN" in script
    assert "COMMIT" in script
    if is_sqlite(database_url):
        with closing(sqlite3.connect(sqlite_file(database_url))) as connection:
            connection.executescript(script)
    else:
        assert "pg_advisory_xact_lock" in script
        psql = [str(postgres_programs / "psql"), "--set=ON_ERROR_STOP=1", postgres_dsn(database_url)]
        subprocess.run(psql, input=script, text=True, check=True, capture_output=True)
    schema.check(database_url)
    migrating.upgrade(database_url, slots=12)
    assert sql(database_url, "SELECT name, length(value) FROM casty_secrets") == [("cluster", 32)]
