"""What each role may do, and above all what it may not."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from casty_es import ClusterClient, ConfigurationError, InvalidArgumentError, SqlJournal, connect
from casty_es.access import EVERYTHING, Scopes, Token
from casty_es.audit.redaction import redact
from casty_es.audit.retention import run_retention, set_retention
from casty_es.audit.transfer import export_journal
from casty_es.audit.verify import verify
from casty_es.cli.app import run
from casty_es.errors import JournalUnavailableError, PeerRefusedError
from casty_es.journal.access_tables import AccessTables
from casty_es.journal.grants import PRIVILEGES, Roles, grants, refuse_sqlite
from casty_es.journal.migrating import upgrade
from casty_es.journal.port import EntityName
from casty_es.journal.schema import VERSION_TABLE
from casty_es.journal.views import VIEWS
from casty_es.names import encode_key
from tests.cluster.nodes import client, nodes
from tests.conftest import Granted, run_script
from tests.tables import TABLES

Sql = Callable[..., list[tuple[Any, ...]]]

CHANGES = [
    "UPDATE casty_events SET payload = '{}'",
    "UPDATE casty_events SET hash = hash",
    "DELETE FROM casty_events",
    "TRUNCATE casty_events",
    "ALTER TABLE casty_events DISABLE TRIGGER ALL",
    "DROP TRIGGER casty_events_append_only ON casty_events",
    "CREATE OR REPLACE FUNCTION casty_events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "INSERT INTO casty_events SELECT * FROM casty_events ON CONFLICT (slot, position) DO UPDATE SET payload = '{}'",
    "DELETE FROM casty_snapshots",
    "UPDATE casty_snapshots SET state = '{}'",
    "UPDATE casty_entities SET name = 'other'",
    "UPDATE casty_entities SET id = id + 1",
    "DELETE FROM casty_entities",
    "DELETE FROM casty_retired_salts",
    "INSERT INTO casty_seals SELECT * FROM casty_seals",
    "DELETE FROM casty_seals",
    "UPDATE casty_structures SET keep = '1'",
    "UPDATE casty_meta SET slots = 12",
    "UPDATE casty_meta SET incarnation = 2",
    "UPDATE casty_meta SET maintenance = 1",
    "UPDATE casty_secrets SET value = ''",
    "INSERT INTO casty_tokens SELECT * FROM casty_tokens",
    "UPDATE casty_tokens SET scopes = '{\"write\":[]}'",
    "DELETE FROM casty_tokens",
    "DROP VIEW casty_history",
    "SET session_replication_role = replica",
]
"""What an application, and therefore a program that was broken into, may not do."""


DENIED = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.WrongObjectTypeError,  # a view cannot be truncated
    asyncpg.ObjectNotInPrerequisiteStateError,  # nor can a view of several tables be written to, by anybody
)


async def used(url: str) -> None:
    """Use the structures as an application does."""
    async with connect(url) as d:
        await d.counter("hits").increment(3)
        await d.map[str, int]("users").put("alice", 1)
        await d.lock("deploy").acquire()


async def test_application_changes_nothing(application_journal_url: str, granted_url: str, sql: Sql) -> None:
    """Given the switch of the trigger on, when an application changes what is written, then Postgres denies it."""
    await used(application_journal_url)
    written = await asyncio.to_thread(sql, granted_url, "SELECT * FROM casty_events ORDER BY slot, position")
    assert len(written) > 3
    for change in CHANGES:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncio.to_thread(sql, application_journal_url, "SET casty_es.maintenance = 'on'", change)
    assert written == await asyncio.to_thread(sql, granted_url, "SELECT * FROM casty_events ORDER BY slot, position")


async def test_secret_can_be_withheld(
    granted: Granted, granted_url: str, application_journal_url: str, sql: Sql
) -> None:
    """Given an application without the secret, when it runs without ``secret=``, then it is told what to do."""
    roles = Roles(application=granted.roles["application"], secret=False)
    await asyncio.to_thread(run_script, granted_url, grants(roles))
    journal = SqlJournal(application_journal_url)
    await journal.open()
    with pytest.raises(ConfigurationError, match="secret="):
        await journal.secret()
    await journal.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncio.to_thread(sql, application_journal_url, "SELECT * FROM casty_secrets")


@pytest.mark.parametrize("role", ["application_journal_url", "maintenance_url"])
async def test_only_the_owner_makes_tokens(role: str, granted_url: str, request: pytest.FixtureRequest) -> None:
    """Given a token of the owner's, when another role checks it, it may; when it makes or revokes one, it may not."""
    token = Token.make()
    grant = token.grant("t", Scopes(read=(EVERYTHING,)), created_at=1)
    owner, other = SqlJournal(granted_url), SqlJournal(request.getfixturevalue(role))
    await owner.open()
    await other.open()
    try:
        await AccessTables(owner).add(grant)
        tables = AccessTables(other)
        assert await tables.grants() == [grant]
        assert await tables.secrets() == await AccessTables(owner).secrets()
        for work in (tables.add(grant), tables.revoke("t", 2), tables.begin_rotation()):
            with pytest.raises(ConfigurationError):
                await work
        assert await tables.grants() == [grant]
    finally:
        await other.close()
        await owner.close()


async def test_a_node_without_the_grant_on_tokens_accepts_none(
    granted: Granted, granted_url: str, application_journal_url: str, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    """Given grants from before there were tokens, when a holder comes, then it is refused, and members are served."""
    role = granted.roles["application"]
    await asyncio.to_thread(sql, granted_url, f"REVOKE ALL ON casty_tokens FROM {role}")
    async with nodes(application_journal_url, 2) as two, client(two[0]) as member:
        with pytest.raises(PeerRefusedError, match="not one of this cluster"):
            async with ClusterClient(contact_points=[tuple(two[0].self_node)], token=Token.make().text):
                pass
        assert await member.distributed().counter("c").increment() == 1
    assert "may not read the tokens" in caplog.text


def test_auditor_only_reads(auditor_url: str, sql: Sql) -> None:
    """Given every table and view, then an auditor reads it unless it holds secrets, and cannot write to it."""
    for relation in (*TABLES, VERSION_TABLE, *VIEWS):
        if relation in {"casty_secrets", "casty_tokens"}:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                sql(auditor_url, f"SELECT count(*) FROM {relation}")
        else:
            assert len(sql(auditor_url, f"SELECT count(*) FROM {relation}")) == 1
        for change in (f"DELETE FROM {relation}", f"INSERT INTO {relation} DEFAULT VALUES", f"TRUNCATE {relation}"):
            with pytest.raises(DENIED):
                sql(auditor_url, "SET casty_es.maintenance = 'on'", change)


async def test_auditor_verifies_and_asks(
    application_journal_url: str, auditor_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a journal, when an auditor runs the commands for auditors, then each works under this role."""
    await used(application_journal_url)
    report = await verify(auditor_url)
    assert report.findings == []
    assert report.records > 3
    for command, said in {
        "verify": '"findings": []',
        "log": "counter.incremented",
        "show counter hits": "3",
        "who lock deploy": '"token"',
        "timeline lock deploy --from 2025-01-01T00:00 --to 2100-01-01T00:00": '"token"',
        "db check": '"ok": true',
    }.items():
        code = await asyncio.to_thread(run, [*command.split(), "--url", auditor_url, "--json"])
        printed = capsys.readouterr()
        assert code == 0, f"{command}: {printed.err}"
        assert said in printed.out, command


async def test_maintenance_has_its_ways(application_journal_url: str, maintenance_url: str, sql: Sql) -> None:
    """Given the switch, when maintenance replaces a payload or deletes, then it may, and nothing else."""
    await used(application_journal_url)
    on = "SET casty_es.maintenance = 'on'"
    for change in ("UPDATE casty_events SET payload = '{}', metadata = NULL", "DELETE FROM casty_retired_salts"):
        await asyncio.to_thread(sql, maintenance_url, on, change)
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await asyncio.to_thread(sql, maintenance_url, "DELETE FROM casty_events")
    for change in (
        "UPDATE casty_events SET hash = hash",
        "UPDATE casty_events SET recorded_at = 0",
        "TRUNCATE casty_events",
        "UPDATE casty_meta SET slots = 12",
        "ALTER TABLE casty_events DISABLE TRIGGER ALL",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncio.to_thread(sql, maintenance_url, on, change)
    await asyncio.to_thread(sql, maintenance_url, on, "DELETE FROM casty_events")
    await asyncio.to_thread(sql, maintenance_url, "UPDATE casty_meta SET incarnation = 2")


async def test_another_schema(postgres_url: str, sql: Sql) -> None:
    """Given a journal in a schema of its own and a name that needs quotes, then the SQL works there, and again."""
    name = 'it\'s "quoted" $body$ \\ é'
    quoted = '"' + name.replace('"', '""') + '"'
    there = f"{postgres_url}{'&' if '?' in postgres_url else '?'}options=-csearch_path%3Dshop"
    await asyncio.to_thread(sql, postgres_url, "CREATE SCHEMA shop")
    await asyncio.to_thread(upgrade, there)
    script = grants(Roles(auditor=name), schema="shop")
    for _ in range(2):
        await asyncio.to_thread(run_script, postgres_url, script)
    try:
        as_auditor = f"SET ROLE {quoted}"
        counted = await asyncio.to_thread(sql, postgres_url, as_auditor, "SELECT count(*) FROM shop.casty_history")
        assert counted == [(0,)]
        found = await asyncio.to_thread(
            sql, postgres_url, "SELECT setconfig FROM pg_db_role_setting WHERE setrole <> 0"
        )
        assert (["search_path=shop"],) in found
    finally:
        await asyncio.to_thread(sql, postgres_url, f"DROP OWNED BY {quoted}", f"DROP ROLE {quoted}")


@pytest.mark.parametrize("name", ["", "public", "none", "pg_monitor", "a" * 64, "é" * 32, "a\nb", "a\0b", "\ud800"])
def test_names_that_no_role_can_have(name: str) -> None:
    """Given a name that Postgres would cut, keep for itself or not take, then nothing is printed for it."""
    with pytest.raises(InvalidArgumentError, match="Nothing was printed"):
        grants(Roles(auditor=name))


def test_roles_are_three() -> None:
    """Given one name for two roles, or none at all, then nothing is printed."""
    with pytest.raises(InvalidArgumentError, match="one name"):
        grants(Roles(auditor="a", application="a"))
    with pytest.raises(InvalidArgumentError, match="No role"):
        grants(Roles())


def test_sqlite_has_file_permissions() -> None:
    """Given an SQLite file, then the refusal says what to do instead."""
    with pytest.raises(ConfigurationError, match="chmod"):
        refuse_sqlite("sqlite:///casty.db")


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Given the command, then it prints the SQL, or JSON with the roles, and for a file it says what to do."""
    assert run(["db", "grants", "--url", "postgresql://h/db", "--auditor", "eve"]) == 0
    assert capsys.readouterr().out.rstrip("\n") == grants(Roles(auditor="eve"))
    assert run(["db", "grants", "--url", "postgresql://h/db", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["roles"] == {what: f"casty_{what}" for what in PRIVILEGES}
    assert "GRANT" in printed["sql"]
    assert run(["db", "grants", "--url", "sqlite:///casty.db"]) != 0
    assert "chmod" in capsys.readouterr().err


async def test_maintenance_cuts_and_redacts(
    application_journal_url: str, maintenance_url: str, auditor_url: str, tmp_path: Path
) -> None:
    """Given a running application, when maintenance cuts and redacts and an auditor exports, then each may do it."""
    journal = SqlJournal(maintenance_url)
    await journal.open()
    async with connect(application_journal_url) as d:
        users = d.map[str, int]("users")
        for number in range(5):
            await d.counter("hits").increment()
            await users.put("alice", number)
        await set_retention(journal, "counter", "hits", 2)

        done = await run_retention(d.gateway, journal, tmp_path)
        forgotten = await redact(d.gateway, journal, EntityName("map", "users", encode_key("alice")), reason="asked")

        assert (done.events, forgotten.events) == (3, 5)
        assert (await d.counter("hits").get(), await users.get("alice")) == (5, None)
    await journal.close()
    assert (await verify(auditor_url)).findings == []
    assert (await export_journal(auditor_url, tmp_path / "journal.jsonl")).seals == 1


async def test_an_application_neither_cuts_nor_redacts(application_journal_url: str, tmp_path: Path) -> None:
    """Given the application's role, when it cuts or redacts, then it is told so before anything is begun."""
    journal = SqlJournal(application_journal_url)
    await journal.open()
    async with connect(application_journal_url) as d:
        await d.map[str, int]("users").put("alice", 1)
        heads = await journal.heads(range(256))
        for attempt in (
            run_retention(d.gateway, journal, tmp_path),
            redact(d.gateway, journal, EntityName("map", "users", encode_key("alice")), reason="asked"),
        ):
            with pytest.raises(ConfigurationError, match="may not change events"):
                await attempt
        assert await journal.heads(range(256)) == heads
    await journal.close()
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - an empty folder


def test_a_role_without_a_grant_is_told_so(granted_url: str, sql: Sql) -> None:
    """Given a role that may connect and no more, when it opens the journal, then it is told what is missing."""
    name = f"casty_nobody_{uuid.uuid4().hex[:8]}"
    sql(granted_url, f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
    try:
        place = urlsplit(granted_url)
        url = place._replace(netloc=f"{name}:{name}@{place.netloc.rpartition('@')[2]}").geturl()
        with pytest.raises(JournalUnavailableError, match=r"role may not .*: permission denied .*casty-es db grants"):
            asyncio.run(SqlJournal(url).open())
    finally:
        sql(granted_url, f"DROP ROLE {name}")
