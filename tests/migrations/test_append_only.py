"""What is in the journal stays there: the triggers refuse every change but maintenance."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from casty_es.journal.urls import is_sqlite

Sql = Callable[..., list[tuple[Any, ...]]]

RECORD = "INSERT INTO casty_events (slot, position, epoch, type, version, payload, recorded_at, hash) VALUES "
HASH = {"sqlite": "zeroblob(32)", "postgres": "decode(repeat('00', 32), 'hex')"}


@pytest.fixture
def written_url(journal_url: str, database_kind: str, sql: Sql) -> str:
    """A journal with one lease record."""
    sql(journal_url, f"{RECORD} (7, 1, 1, 'LeaseAcquired', 1, '{{}}', 0, {HASH[database_kind]})")
    return journal_url


@pytest.mark.parametrize("change", ["UPDATE casty_events SET payload = '[]'", "DELETE FROM casty_events"])
def test_change_is_refused(change: str, written_url: str, sql: Sql) -> None:
    """Given a record, when it is to be updated or deleted, then the database refuses and the record is as it was."""
    with pytest.raises(Exception, match=f"append-only: {change.split(maxsplit=1)[0]} on casty_events refused"):
        sql(written_url, change)
    assert sql(written_url, "SELECT payload FROM casty_events") == [("{}",)]


def test_truncate_is_refused(postgres_journal_url: str, sql: Sql) -> None:
    """Given Postgres, when the journal is to be truncated, then the refusal carries the trigger's name."""
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only: TRUNCATE") as refused:
        sql(postgres_journal_url, "TRUNCATE casty_events")
    assert refused.value.constraint_name == "casty_events_append_only"


def test_upsert_is_refused(written_url: str, database_kind: str, sql: Sql) -> None:
    """Given a record, when an insert would update it on conflict, then that is refused, on SQLite as an insert."""
    record = f"(7, 1, 1, 'Forged', 1, '{{}}', 0, {HASH[database_kind]})"
    with pytest.raises(Exception, match=r"append-only: (UPDATE|INSERT over)"):
        sql(written_url, f"{RECORD} {record} ON CONFLICT (slot, position) DO UPDATE SET type = 'Forged'")
    assert sql(written_url, "SELECT type FROM casty_events") == [("LeaseAcquired",)]


EVENT = (
    "INTO casty_events (slot, position, epoch, entity, sequence, type, version, payload, idempotency_key, recorded_at, "
    "hash) VALUES "
)


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("7, 2, 1, 9, 5", "casty_events.slot, casty_events.position"),
        ("7, 3, 1, 5, 1", "casty_events.entity, casty_events.sequence"),
        ("7, 3, 1, 5, 2", "casty_events.entity, casty_events.idempotency_key"),
    ],
)
@pytest.mark.parametrize("way", ["INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE", "INSERT"])
def test_replacing_is_refused(way: str, place: str, key: str, sqlite_journal_url: str, sql: Sql) -> None:
    """Given a record, when another is to take its place by any of its keys, then SQLite refuses, and names the key."""
    sql(sqlite_journal_url, f"INSERT {EVENT} (7, 2, 1, 5, 1, 'x', 1, '{{}}', 'once', 0, zeroblob(32))")
    with pytest.raises(sqlite3.IntegrityError, match=f"append-only: INSERT .* nothing was changed.*failed: {key}"):
        sql(sqlite_journal_url, f"{way} {EVENT} ({place}, 'Forged', 1, '{{}}', 'once', 0, zeroblob(32))")
    assert sql(sqlite_journal_url, "SELECT position, type FROM casty_events") == [(2, "x")]


@pytest.mark.parametrize("name", ["rowid", "_rowid_", "oid"])
def test_replacing_a_row_by_its_number_is_refused(name: str, sqlite_journal_url: str, sql: Sql) -> None:
    """Given a record, when another with a place of its own takes the number of its row, then SQLite refuses."""
    sql(sqlite_journal_url, f"INSERT {EVENT} (7, 2, 1, 5, 1, 'x', 1, '{{}}', NULL, 0, zeroblob(32))")
    [(row,)] = sql(sqlite_journal_url, "SELECT rowid FROM casty_events")
    into = EVENT.replace("(slot", f"({name}, slot")
    with pytest.raises(sqlite3.IntegrityError, match=r"append-only: INSERT .* nothing was changed"):
        sql(
            sqlite_journal_url,
            f"INSERT OR REPLACE {into} ({row}, 7, 3, 1, 5, 2, 'Forged', 1, '{{}}', NULL, 0, zeroblob(32))",
        )
    assert sql(sqlite_journal_url, "SELECT position, type FROM casty_events") == [(2, "x")]
    sql(sqlite_journal_url, f"INSERT {into} ({row + 5}, 7, 3, 1, 5, 2, 'y', 1, '{{}}', NULL, 0, zeroblob(32))")
    assert sql(sqlite_journal_url, "SELECT rowid, type FROM casty_events") == [(row, "x"), (row + 5, "y")]


@pytest.mark.parametrize("order", ["'x', 'y'", "'y', 'x'"])
def test_what_replaces_nothing_is_inserted(order: str, sqlite_journal_url: str, sql: Sql) -> None:
    """Given records with and without a key, when others follow them, then they are inserted."""
    first, second = order.split(", ")
    records = [("5, 1", first), ("5, 2", "NULL"), ("5, 3", "NULL"), ("5, 4", second), ("NULL, NULL", "NULL")]
    rows = [
        f"(7, {position}, 1, {whose}, 't', 1, '{{}}', {key}, 0, zeroblob(32))"
        for position, (whose, key) in enumerate(records, 1)
    ]
    sql(sqlite_journal_url, f"INSERT OR REPLACE {EVENT} {', '.join(rows)}")
    assert sql(sqlite_journal_url, "SELECT count(*) FROM casty_events") == [(5,)]


def test_the_number_of_slots_is_not_replaced(sqlite_journal_url: str, sql: Sql) -> None:
    """Given a journal, when its row of casty_meta is to be replaced, then SQLite refuses."""
    for way in ("INSERT OR REPLACE", "INSERT"):
        with pytest.raises(sqlite3.IntegrityError, match="number of slots is fixed"):
            sql(
                sqlite_journal_url,
                f"{way} INTO casty_meta (id, slots, hash_algorithm, created_at) VALUES (1, 12, 'sha256', 0)",
            )
    assert sql(sqlite_journal_url, "SELECT slots FROM casty_meta") == [(256,)]


@pytest.mark.parametrize("change", ["UPDATE casty_events SET payload = '[]'", "DELETE FROM casty_events"])
def test_maintenance_lets_through(change: str, written_url: str, sql: Sql) -> None:
    """Given the maintenance switch, when a record is updated or deleted, then the change is made."""
    switch = {
        True: "UPDATE casty_meta SET maintenance = 1",
        False: "SET casty_es.maintenance = 'on'",
    }
    sql(written_url, switch[is_sqlite(written_url)], change)
    assert sql(written_url, "SELECT payload FROM casty_events WHERE payload = '{}'") == []


def test_slots_never_change(journal_url: str, sql: Sql) -> None:
    """Given a journal, when its number of slots is to be changed by hand, then the database refuses."""
    with pytest.raises(Exception, match="number of slots is fixed"):
        sql(journal_url, "UPDATE casty_meta SET slots = 12")
    sql(journal_url, "UPDATE casty_meta SET slots = 256, incarnation = 2")
    assert sql(journal_url, "SELECT slots, incarnation FROM casty_meta") == [(256, 2)]


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ("-1, 1, 1, NULL, NULL, {hash}", "ck_casty_events_slot"),
        ("0, 0, 0, NULL, NULL, {hash}", "ck_casty_events_(position|epoch)"),
        ("0, 1, 2, NULL, NULL, {hash}", "ck_casty_events_epoch"),
        ("0, 2, 0, NULL, NULL, {hash}", "ck_casty_events_epoch"),
        ("0, 1, 1, 5, NULL, {hash}", "ck_casty_events_entity_sequence"),
        ("0, 1, 1, 5, 0, {hash}", "ck_casty_events_sequence"),
        ("0, 1, 1, NULL, NULL, substr({hash}, 2)", "ck_casty_events_hash"),
    ],
)
def test_checks_refuse(columns: str, constraint: str, journal_url: str, database_kind: str, sql: Sql) -> None:
    """Given a record that breaks a rule of its table, when it is inserted, then the error names the check."""
    record = columns.format(hash=HASH[database_kind])
    into = (
        "INSERT INTO casty_events (slot, position, epoch, entity, sequence, hash, type, version, payload, recorded_at)"
    )
    with pytest.raises(Exception, match=constraint):
        sql(journal_url, f"{into} VALUES ({record}, 'LeaseAcquired', 1, '{{}}', 0)")
    assert sql(journal_url, "SELECT count(*) FROM casty_events") == [(0,)]
