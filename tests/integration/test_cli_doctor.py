"""The doctor: what it finds well, what it warns of, and over what it says that a node would not start."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from casty_es.cli.app import run
from casty_es.journal.urls import is_sqlite, sqlite_file
from casty_es.leases import filesystem
from tests.conftest import Granted

Sql = Callable[..., Any]
Examine = Callable[..., dict[str, dict[str, str]]]


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str]) -> Examine:
    """``examine(url)``: let the doctor look, and return its checks by name."""

    def call(url: str, *, code: int = 0) -> dict[str, dict[str, str]]:
        if is_sqlite(url) and sqlite_file(url).exists():
            sqlite_file(url).chmod(0o600)
        capsys.readouterr()
        assert run(["doctor", "--json", "--url", url]) == code
        result = json.loads(capsys.readouterr().out)
        assert result["ok"] is (code == 0)
        return {check["name"]: check for check in result["checks"]}

    return call


def test_a_journal_that_is_well(
    journal_url: str, database_kind: str, examine: Examine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything that a node rests on is looked at, and nothing is complained about where nothing is wrong."""
    # given a journal, when the doctor looks
    checks = examine(journal_url)

    # then all is well, and nothing is advised
    expected = {"schema", "durability", "file system", "lock files", "secret", "secret is private"}
    if database_kind == "postgres":
        expected = {"schema", "pooler", "clock", "isolation", "timeouts", "secret", "fsync", "synchronous_commit"}
        expected |= {"lock table", "connections", "session settings", "primary", "secret is private"}
    assert checks.keys() >= expected
    assert {check["status"] for check in checks.values()} == {"ok"}
    assert {check["advice"] for check in checks.values()} == {""}

    # and people are shown a table
    assert run(["doctor", "--url", journal_url]) == 0
    shown = capsys.readouterr().out
    assert "A node can start." in shown
    assert all(name in shown for name in expected)


def test_no_journal(database_url: str, examine: Examine) -> None:
    """Where no journal is, the doctor names the command that makes one, and makes none."""
    # given an empty database, when the doctor looks
    checks = examine(database_url, code=1)

    # then the schema is what fails
    assert checks["schema"]["status"] == "fail"
    assert "casty-es db upgrade" in checks["schema"]["advice"]
    assert not is_sqlite(database_url) or not sqlite_file(database_url).exists()


@pytest.mark.parametrize(
    ("stored", "advice"),
    [("casty_es_9999", "newer casty-es"), ("a1b2c3d4e5f6", "none of casty_es"), ("0001", "upgrade")],
)
def test_another_revision(sqlite_journal_url: str, sql: Sql, examine: Examine, stored: str, advice: str) -> None:
    """A schema that this program does not read fails, and the advice says what to do with the one that is there."""
    # given a journal of another revision
    sql(sqlite_journal_url, f"UPDATE casty_es_alembic_version SET version_num = '{stored}'")

    # when the doctor looks, then it says what that is
    assert advice in examine(sqlite_journal_url, code=1)["schema"]["advice"]


@pytest.mark.parametrize("url", ["postgresql://127.0.0.1:1/x", "sqlite:////no/folder/x.db"])
def test_no_database(url: str, examine: Examine) -> None:
    """A database that cannot be reached is a finding, not a crash."""
    # given nothing there, when the doctor looks, then it says so
    assert "fail" in {check["status"] for check in examine(url, code=3).values()}


def test_a_server_that_may_lose_commits(postgres_journal_url: str, sql: Sql, examine: Examine) -> None:
    """Settings under which acknowledged commits can be lost fail, and the advice names them."""
    # given a database that acknowledges too early
    sql(postgres_journal_url, f"ALTER DATABASE {database(postgres_journal_url)} SET synchronous_commit = off")

    # when the doctor looks, then it says what to set
    check = examine(postgres_journal_url, code=1)["synchronous_commit"]
    assert check["status"] == "fail"
    assert "synchronous_commit" in check["advice"]


def test_timeouts_that_were_set_for_others(postgres_journal_url: str, sql: Sql, examine: Examine) -> None:
    """A timeout that ends the journal's idle connections is a warning: they are opened again."""
    # given a database with a short timeout
    sql(postgres_journal_url, f"ALTER DATABASE {database(postgres_journal_url)} SET idle_session_timeout = '5s'")

    # when the doctor looks, then it warns, and a node can start all the same
    check = examine(postgres_journal_url)["timeouts"]
    assert check["status"] == "warn"
    assert "idle_session_timeout" in check["found"]


@pytest.mark.parametrize("table", ["casty_secrets", "casty_tokens"])
def test_a_secret_that_everybody_may_read(table: str, postgres_journal_url: str, sql: Sql, examine: Examine) -> None:
    """A grant to everybody on the secret, or on what is kept of tokens, is a warning."""
    # given such a grant
    sql(postgres_journal_url, f"GRANT SELECT ON {table} TO PUBLIC")

    # when the doctor looks, then it says how to take it back
    check = examine(postgres_journal_url)["secret is private"]
    assert check["status"] == "warn"
    assert check["found"] == f"everybody (PUBLIC) may read {table}"
    assert "REVOKE" in check["advice"]


def test_a_secret_that_a_role_may_read(granted: Granted, granted_url: str, sql: Sql, examine: Examine) -> None:
    """Programs may read the secret; an auditor that was granted it, or a column of it, is named."""
    # given the roles of a least privilege, when the doctor looks, then nothing is wrong
    assert examine(granted_url)["secret is private"]["status"] == "ok"

    # when more is granted, then the role is named with what it may read
    auditor = granted.roles["auditor"]
    sql(granted_url, f"GRANT SELECT (name) ON casty_tokens TO {auditor}", f"GRANT SELECT ON casty_secrets TO {auditor}")
    check = examine(granted_url)["secret is private"]
    assert (check["status"], check["found"]) == ("warn", f"{auditor} may read casty_secrets and casty_tokens")


def test_a_file_that_everybody_may_read(sqlite_journal_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The secret lies in the file, so a file that everybody may read is a warning."""
    # given such a file
    sqlite_file(sqlite_journal_url).chmod(0o644)

    # when the doctor looks, then it says how to change that
    assert run(["doctor", "--json", "--url", sqlite_journal_url]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["secret is private"]["status"] == "warn"
    assert "chmod" in checks["secret is private"]["advice"]


def test_a_missing_secret(journal_url: str, sql: Sql, examine: Examine) -> None:
    """Without a secret in the journal nodes need one to be given: a warning."""
    # given a journal without one
    sql(journal_url, "DELETE FROM casty_secrets")

    # when the doctor looks, then it warns
    assert examine(journal_url)["secret"]["status"] == "warn"


def test_a_clock_that_is_ahead(journal_url: str, sql: Sql, examine: Examine) -> None:
    """A node that was started in the future shows that clocks differ."""
    # given a node written down by a host whose clock is an hour ahead
    ahead = round((time.time() + 3600) * 1_000_000)
    sql(
        journal_url,
        "INSERT INTO casty_nodes (node_id, host, pid, address, started_at, seen_at) "
        f"VALUES ('x', 'elsewhere', 1, NULL, {ahead}, {ahead})",
    )

    # when the doctor looks, then it warns
    check = examine(journal_url)["times in the journal"]
    assert check["status"] == "warn"
    assert "NTP" in check["advice"]


def test_a_slot_that_has_lost_records(journal_url: str, sql: Sql, examine: Examine) -> None:
    """A slot that is closed over a loss is named, until its records are there again or the loss is accepted."""
    # given a slot that was closed, because position 7 was told to somebody
    sql(journal_url, f"INSERT INTO casty_closed_slots VALUES (9, 1, 7, {_bytes(journal_url)}, 4, 'node-a', 1)")

    # when the doctor looks
    check = examine(journal_url)["lost records"]

    # then it says where it was found to end, and what to do
    assert check["status"] == "warn"
    assert "slot 9 ended at position 4, and 7 had been committed (node-a" in check["found"]
    assert "accept-loss" in check["advice"]

    # and nothing more of it after that
    assert run(["accept-loss", "--yes", "--url", journal_url]) == 0
    assert examine(journal_url)["lost records"]["status"] == "ok"
    assert sql(journal_url, "SELECT count(*) FROM casty_closed_slots") == [(0,)]


def _bytes(url: str) -> str:
    return "x'0011223344556677'" if is_sqlite(url) else "'\\x0011223344556677'"


def test_a_network_file_system(
    sqlite_journal_url: str, examine: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose locks other hosts may not see fails."""
    # given a file that is mounted from elsewhere
    mounts = tmp_path / "mountinfo"
    mounts.write_text("36 35 98:0 / / rw,noatime master:1 - nfs4 server:/export rw\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", mounts)

    # when the doctor looks, then it says where to put the file
    check = examine(sqlite_journal_url, code=1)["file system"]
    assert check["status"] == "fail"
    assert "nfs4" in check["found"]
    assert "local disk" in check["advice"]


def database(url: str) -> str:
    """Return the name of a Postgres URL's database, quoted."""
    return f'"{urlsplit(url).path.removeprefix("/")}"'
