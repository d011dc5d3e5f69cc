"""An alembic of one's own in the journal's database leaves the journal alone, and the journal it."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError

from casty_es import connect
from casty_es.alembic import include_name
from casty_es.audit.verify import verify
from casty_es.journal import migrating, schema
from casty_es.journal.urls import is_sqlite

from .foreign import foreign_environment

Sql = Callable[..., list[tuple[Any, ...]]]

SCRIPTS = list(ScriptDirectory.from_config(migrating.alembic_config("sqlite:///casty.db")).walk_revisions())


def objects(url: str, sql: Sql) -> set[str]:
    """Return the names of all tables, views and triggers."""
    if is_sqlite(url):
        rows = sql(url, "SELECT name FROM sqlite_master WHERE type <> 'index'")
    else:
        rows = sql(
            url,
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i' "
            "UNION ALL SELECT tgname::text FROM pg_trigger "
            "UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        )
    return {name for (name,) in rows}


def count(url: str) -> int:
    """Use the journal as a program does."""

    async def main() -> int:
        async with connect(url) as d:
            return await d.counter("hits").increment()

    return asyncio.run(main())


def generated(folder: Path) -> str:
    """Return the code of the one revision that was written."""
    (file,) = (folder / "versions").glob("*.py")
    return file.read_text()


@pytest.mark.parametrize(
    "options",
    [
        ("include_name=casty_es.alembic.include_name",),
        ("include_object=casty_es.alembic.include_object",),
        (
            "include_name=casty_es.alembic.include_name",
            "include_object=casty_es.alembic.include_object",
            "include_schemas=True",
        ),
    ],
    ids=["name", "object", "both"],
)
def test_autogenerate_leaves_the_journal_alone(
    journal_url: str, tmp_path: Path, sql: Sql, options: tuple[str, ...]
) -> None:
    """Given the filters, when a revision is generated and run up and down, then it is about its own tables alone."""
    assert count(journal_url) == 1
    sql(journal_url, "CREATE TABLE stale (id integer)")
    config = foreign_environment(tmp_path / "theirs", journal_url, *options)

    command.revision(config, "first", autogenerate=True, rev_id="0001")
    written = generated(tmp_path / "theirs")
    assert "casty_" not in written.replace("casty_key", "")
    for expected in ("create_table('orders'", "casty_key", "drop_table('stale')"):
        assert expected in written

    command.upgrade(config, "head")
    assert sql(journal_url, "SELECT version_num FROM alembic_version") == [("0001",)]
    command.downgrade(config, "base")
    schema.check(journal_url)
    assert asyncio.run(verify(journal_url)).findings == []
    assert count(journal_url) == 2


def test_a_generated_revision_has_nothing_to_say_twice(journal_url: str, tmp_path: Path) -> None:
    """Given its own tables made, when its environment is checked, then nothing is left to generate."""
    config = foreign_environment(tmp_path / "theirs", journal_url, "include_name=casty_es.alembic.include_name")
    command.revision(config, "first", autogenerate=True)
    command.upgrade(config, "head")
    command.check(config)


def test_without_the_filters_it_would_drop_the_journal(journal_url: str, tmp_path: Path) -> None:
    """Given no filter, then a generated revision drops every table of the journal: what the filters are for."""
    config = foreign_environment(tmp_path / "theirs", journal_url)
    command.revision(config, "first", autogenerate=True)
    written = generated(tmp_path / "theirs")
    assert "drop_table('casty_events')" in written
    assert "drop_table('casty_es_alembic_version')" in written


def test_our_revisions_are_refused_there(database_url: str, tmp_path: Path, sql: Sql) -> None:
    """Given our folder among its versions, when it upgrades, then it is told what to do, and nothing is made."""
    ours = schema.migrations_path() / "versions"
    config = foreign_environment(tmp_path / "theirs", database_url, versions=(ours,))
    command.revision(config, "first", head="base", rev_id="0001", version_path=str(tmp_path / "theirs" / "versions"))
    command.upgrade(config, "0001")  # its own has an id that ours had once

    with pytest.raises(CommandError, match=r"Nothing of the journal was changed.*casty-es db upgrade"):
        command.upgrade(config, "heads")

    assert sql(database_url, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert objects(database_url, sql) == {"alembic_version"}
    migrating.upgrade(database_url)
    assert count(database_url) == 1


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.revision)
@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
def test_each_revision_is_refused_there(script: Script, direction: str) -> None:
    """Given any of our revisions in another environment, then it is refused both ways before it says a word."""
    said = io.StringIO()
    context = MigrationContext.configure(dialect_name="sqlite", opts={"as_sql": True, "output_buffer": said})
    with Operations.context(context), pytest.raises(CommandError, match="in the environment of casty_es only"):
        getattr(script.module, direction)()
    assert said.getvalue() == ""


@pytest.mark.parametrize(
    ("name", "type_", "parents", "included"),
    [
        ("casty_events", "table", {"schema_name": None}, False),
        ("casty_events", "table", {"schema_name": "journal"}, False),
        ("casty_es_alembic_version", "table", {"schema_name": None}, False),
        ("ix_anything", "index", {"schema_name": None, "table_name": "casty_seals"}, False),
        (None, "unique_constraint", {"schema_name": None, "table_name": "casty_seals"}, False),
        ("casty_history", "view", {"schema_name": None}, False),
        ("public.casty_member(text, text, text)", "function", {"schema_name": "public"}, False),
        ("orders", "table", {"schema_name": None}, True),
        ("castle", "table", {"schema_name": None}, True),
        ("casty_key", "column", {"schema_name": None, "table_name": "orders"}, True),
        (None, "foreign_key_constraint", {"schema_name": None, "table_name": "orders"}, True),
        ("casty_schema", "schema", {}, True),
        (None, "schema", {}, True),
    ],
)
def test_which_names_are_the_journals(
    name: str | None, type_: str, parents: dict[str, str | None], *, included: bool
) -> None:
    """Given a name as alembic or an extension of it gives it, then its table tells whose it is, or else it itself."""
    assert include_name(name, type_, parents) is included


def test_its_name_hides_no_library() -> None:
    """Given the filters imported, then alembic itself was not, and is the library still when it is."""
    script = "import sys, casty_es.alembic; print('alembic' in sys.modules); import alembic; print(alembic.context)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("False\n<module 'alembic.context'")
