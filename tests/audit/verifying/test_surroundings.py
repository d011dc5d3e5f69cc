"""What stands around the records: whatever is changed there has a finding that names it, and nothing else has one."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from casty_es.audit.verify import Finding, Wrong, verify
from casty_es.journal.grants import Roles, grants
from casty_es.journal.migrating import alembic_config, downgrade, upgrade
from casty_es.journal.urls import postgres_dsn, sqlite_file
from tests.conftest import Granted, postgres_database, run_script

from .surrounding_changes import ON_POSTGRES, ON_SQLITE

Sql = Callable[..., list[tuple[Any, ...]]]

SCRIPTS = ScriptDirectory.from_config(alembic_config("sqlite:///casty.db"))
REVISIONS = [script.revision for script in SCRIPTS.walk_revisions()][::-1]


_FEW = range(4)  # what stands around the records is looked at whichever slots are walked; most journals here are empty


def found(url: str, slots: Sequence[int] | None = _FEW) -> list[str]:
    """Verify, and return what was found around the records."""
    findings: list[Finding] = asyncio.run(verify(url, slots=slots)).findings
    assert {one.wrong for one in findings} <= {Wrong.GUARD}
    return [one.text for one in findings]


def assert_named(texts: list[str], named: list[str]) -> None:
    """Each finding names one of the things that were changed, and each of those has its own."""
    assert len(texts) == len(named), texts
    for name in named:
        assert [name in text for text in texts].count(True) == 1, (name, texts)


@pytest.mark.parametrize("what", ON_SQLITE)
def test_a_surrounding_of_sqlite(sqlite_journal_url: str, what: str) -> None:
    """Given an SQLite journal, when something around its records is changed, then a finding names just that."""
    statements, named = ON_SQLITE[what]
    with closing(sqlite3.connect(sqlite_file(sqlite_journal_url))) as connection:
        connection.executescript(statements)

    assert_named(found(sqlite_journal_url), named)


@pytest.mark.parametrize("what", ON_POSTGRES)
def test_a_surrounding_of_postgres(granted: Granted, granted_url: str, sql: Sql, what: str) -> None:
    """Given a Postgres journal, when something around its records is changed, then a finding names just that."""
    statements, named = ON_POSTGRES[what]
    [(leases,)] = sql(granted_url, "SELECT pg_get_viewdef('casty_leases'::regclass)")
    words = {"role": granted.roles["application"], "casty_leases": leases.rstrip(";")}
    run_script(granted_url, statements.format(**words))

    assert_named(found(granted_url), [name.format(**words) for name in named])


@pytest.fixture
def restored_url(postgres_server: str, written_postgres: str, postgres_programs: Path) -> Iterator[str]:
    """A journal that was dumped and restored, by Postgres' own programs."""
    place = urlsplit(postgres_server)
    written = place._replace(path=f"/{written_postgres}").geturl()
    with postgres_database(postgres_server) as url:
        dump = subprocess.run([postgres_programs / "pg_dump", postgres_dsn(written)], check=True, capture_output=True)
        subprocess.run(
            [postgres_programs / "psql", "-q", "-v", "ON_ERROR_STOP=1", postgres_dsn(url)],
            check=True,
            input=dump.stdout,
            capture_output=True,
        )
        yield url


def test_nothing_is_found_around_a_restored_journal(restored_url: str) -> None:
    """Given a journal that pg_dump wrote and psql read, then what stands around it is as the migrations make it."""
    assert found(restored_url, slots=None) == []


def test_nothing_is_found_whatever_the_way_it_was_migrated(database_url: str) -> None:
    """Given a database, when it goes up by single revisions, down to each and up again, then nothing is found."""
    config = alembic_config(database_url)
    for revision in REVISIONS:
        command.upgrade(config, revision)
    assert found(database_url) == []
    for revision in reversed(REVISIONS[:-1]):
        downgrade(database_url, revision)
        upgrade(database_url)
        assert found(database_url) == [], revision


def test_what_was_granted_is_found_right(granted: Granted, granted_url: str) -> None:
    """Given a database with the three roles, then nothing is found, by any of them, and a note names who may change."""
    for what in ("application", "auditor", "maintenance"):
        report = asyncio.run(verify(granted.url_as(what, granted_url)))
        assert report.findings == []
        [note] = [one for one in report.notes if "may change what is written" in one]
        assert granted.roles["maintenance"] in note
        assert granted.roles["application"] not in note


def test_a_role_that_may_not_make_views(granted: Granted, granted_url: str, sql: Sql) -> None:
    """Given a role without TEMPORARY, when a view was changed, then a note says that views were not compared."""
    database = urlsplit(granted_url).path.removeprefix("/")
    sql(
        granted_url,
        f'REVOKE TEMPORARY ON DATABASE "{database}" FROM PUBLIC',
        "DROP VIEW casty_holders",
        "CREATE VIEW casty_holders AS SELECT 1",
    )

    report = asyncio.run(verify(granted.url_as("auditor", granted_url)))

    assert report.findings == []
    assert any("views say was not compared" in note for note in report.notes)


def test_a_schema_whose_name_needs_quotes(granted: Granted, granted_url: str, sql: Sql) -> None:
    """Given a journal in a schema with any name, then nothing is found around it, and what was granted there is."""
    sql(granted_url, 'ALTER SCHEMA public RENAME TO "A b.""c"')
    url = in_schema(granted_url, "%22A%5C%20b.%22%22c%22")
    assert found(url) == []

    sql(granted_url, f'GRANT UPDATE ON "A b.""c".casty_events TO {granted.roles["application"]}')

    assert_named(found(url), ["was granted UPDATE on casty_events"])


def in_schema(url: str, schema: str) -> str:
    """Return the URL that names a schema."""
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"


@pytest.fixture
def auditor_url(granted: Granted, granted_url: str, sql: Sql) -> str:
    """A tampered journal for an auditor, in a database that has a clean one in another schema."""
    sql(granted_url, "CREATE SCHEMA clean")
    upgrade(in_schema(granted_url, "clean"))
    auditor = granted.roles["auditor"]
    run_script(granted_url, grants(Roles(auditor=auditor), schema="clean"))
    database = urlsplit(granted_url).path.removeprefix("/")
    sql(granted_url, f'ALTER ROLE {auditor} IN DATABASE "{database}" RESET search_path')
    sql(granted_url, "ALTER TABLE public.casty_events DISABLE TRIGGER casty_events_append_only")
    return granted.url_as("auditor", granted_url)


@pytest.mark.parametrize("how", ["role", "database", "user"])
def test_a_clean_journal_in_another_schema(
    granted: Granted, granted_url: str, auditor_url: str, sql: Sql, how: str
) -> None:
    """Given a role that is led to a clean journal, then that is found, unless the URL names a schema: that is read."""
    auditor, database = granted.roles["auditor"], urlsplit(granted_url).path.removeprefix("/")
    if how == "user":  # what search_path names first if nobody says anything
        sql(granted_url, f"ALTER SCHEMA clean RENAME TO {auditor}")
    else:
        whose = f"ROLE {auditor} IN DATABASE" if how == "role" else "DATABASE"
        sql(granted_url, f'ALTER {whose} "{database}" SET search_path = clean')
    schema = auditor if how == "user" else "clean"

    assert_named(found(auditor_url), [f"only {schema} was looked at"])
    assert_named(found(in_schema(auditor_url, "public")), ["trigger casty_events_append_only"])
    assert found(in_schema(auditor_url, schema)) == []


def test_two_journals_in_one_database(granted_url: str, auditor_url: str, sql: Sql) -> None:
    """Given journals in two schemas, then the one in public is read, and it is found when the other is its copy."""
    sql(granted_url, "ALTER TABLE public.casty_events ENABLE TRIGGER casty_events_append_only")
    assert found(auditor_url) == []

    sql(granted_url, "UPDATE clean.casty_meta SET created_at = (SELECT created_at FROM public.casty_meta)")

    assert_named(found(auditor_url), ["one of them is a copy"])


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("evil, public", ["evil.casty_entities hides the journal's own casty_entities"]),
        ("evil, pg_catalog, public", ["evil.casty_entities hides", "before pg_catalog hides functions"]),
    ],
)
def test_a_table_that_hides_another(granted_url: str, sql: Sql, path: str, named: list[str]) -> None:
    """Given a search_path that names another schema first, when that hides a table of the journal, then it is found."""
    database = urlsplit(granted_url).path.removeprefix("/")
    sql(
        granted_url,
        "CREATE SCHEMA evil",
        "CREATE VIEW evil.casty_entities AS SELECT * FROM public.casty_entities WHERE name <> 'n'",
        f'ALTER DATABASE "{database}" SET search_path = {path}',
    )

    assert_named(found(granted_url), named)
