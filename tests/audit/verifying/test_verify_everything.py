"""Every column of every table, edited: it is found, or it is said here why nobody can or need find it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import msgspec
import pytest

from casty_es import connect
from casty_es.audit.anchor import Anchor, take_anchor
from casty_es.audit.verify import Finding, Wrong, verify
from casty_es.domain import counter
from casty_es.domain.catalog import CATALOG
from casty_es.journal.port import ENTITY_NUMBER_BITS
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import is_sqlite, sqlite_file
from tests.tables import COLUMNS
from tests.versions import with_state_lifts

from .tampering import Tamperer

ROW = "(SELECT id FROM casty_entities WHERE kind = 'counter' AND name = 'hits')"
EVENT = f"entity = {ROW} AND sequence = 30"
SNAPSHOT = f"entity = {ROW} AND sequence = 20"

# Per table: the row, and by column what is put there.
EDITS: dict[str, tuple[str, dict[str, str]]] = {
    "casty_events": (
        EVENT,
        {
            "slot": "299",
            "position": "position + 500",
            "epoch": "epoch + 1",
            "entity": "entity + 900",
            "sequence": "900",
            "type": "'counter.decremented'",
            "version": "version + 1",
            "payload": "payload || ' '",
            "metadata": "'{}'",
            "command_id": "NULL",
            "idempotency_key": "'k'",
            "recorded_at": "recorded_at - 1",
            "hash": "(SELECT e.hash FROM casty_events e WHERE e.position = 1 LIMIT 1)",
        },
    ),
    "casty_snapshots": (
        SNAPSHOT,
        {
            "entity": "entity + 900",
            "sequence": "19",
            "state": "replace(state, '20', '21')",
            "version": "2",
        },
    ),
    "casty_entities": (
        f"id = {ROW}",
        {
            "id": "id + 900",
            "slot": "slot + 1",
            "kind": "'set'",
            "name": "'other'",
            "key": "'s:k'",
            "alive": "NOT alive",
            "salt": "(SELECT salt FROM casty_entities e WHERE e.name = 'gone')",
            "salted_from": "10",
        },
    ),
    "casty_structures": (
        "kind = 'counter' AND name = 'hits'",
        {"kind": "'set'", "name": "'other'", "shards": "shards + 1"},
    ),
    "casty_meta": (
        "id = 1",
        {"slots": "100", "hash_algorithm": "'md5'", "maintenance": "1"},
    ),
}

NOT_FOUND = {
    "casty_snapshots": {"recorded_at"},  # says when it was kept, and nothing is made of it
    "casty_structures": {"keep"},  # a policy: whoever may set one may set another
    "casty_meta": {"id", "incarnation", "created_at"},  # one row; the other two are an anchor's to find
    # Who holds which slot and who is alive: hints that are written all the time.
    "casty_slots": {"slot", "node_id", "address", "epoch", "since"},
    "casty_nodes": {"node_id", "host", "pid", "address", "started_at", "seen_at"},
    # A closed slot is the nodes' to respect; whoever may open one may accept its loss.
    "casty_closed_slots": {"slot", "incarnation", "position", "hash", "found", "node_id", "closed_at"},
    # Nobody who verifies may read them.
    "casty_secrets": {"name", "value"},
    "casty_tokens": {"id", "name", "scopes", "stored_key", "server_key", "created_at", "ends_at", "revoked_at"},
    # Of these there is no row here: test_verify_cut.py, and below.
    "casty_seals": {"slot", "first", "last", "entity", "previous_hash", "hash", "sealed_by"},
    "casty_retired_salts": {"entity", "through", "salt"},
}


def test_no_column_is_forgotten() -> None:
    """Given the tables, when their columns are counted, then each is edited below, or there is a reason why not."""
    there = set(COLUMNS)
    edited = {(name, column) for name, (_, columns) in EDITS.items() for column in columns}
    left_out = {(name, column) for name, columns in NOT_FOUND.items() for column in columns}

    assert edited | left_out == there
    assert not edited & left_out


@pytest.mark.parametrize(
    ("table", "column"), [(table, column) for table, (_, columns) in EDITS.items() for column in columns]
)
async def test_an_edited_column(tamperer: Tamperer, table: str, column: str) -> None:
    """Given a journal, when a column of a row is edited, then that is found, at its slot or in the database."""
    if (table, column) == ("casty_meta", "maintenance") and not is_sqlite(tamperer.url):
        pytest.skip("on Postgres nothing is made of that column")
    where, columns = EDITS[table]
    value = "1 - alive" if column == "alive" and is_sqlite(tamperer.url) else columns[column]
    place = await tamperer.place("counter", "hits", 30)
    if column == "slots":
        await tamperer.run(*_without_guard(tamperer), f"UPDATE {table} SET {column} = {value} WHERE {where}")
    elif column == "maintenance":
        await _raw(tamperer, "UPDATE casty_meta SET maintenance = 1")
    else:
        await tamperer.run(f"UPDATE {table} SET {column} = {value} WHERE {where}")

    report = await verify(tamperer.url)

    if table == "casty_events":
        finding = report.first(place.slot)
        assert finding is not None
        assert finding.position == place.position
    elif table == "casty_meta":
        assert report.findings
        assert {one.wrong for one in report.findings} <= {Wrong.GUARD, Wrong.ALTERED, Wrong.DIRECTORY}
    elif (table, column) == ("casty_snapshots", "entity"):
        assert [one.wrong for one in report.findings] == [Wrong.SNAPSHOT]
    else:
        assert {place.slot} <= {one.slot for one in report.findings}


def _without_guard(tamperer: Tamperer) -> list[str]:
    if is_sqlite(tamperer.url):
        return ["DROP TRIGGER casty_meta_refuse_slots"]
    return ["DROP TRIGGER casty_meta_refuse_slots ON casty_meta"]


async def _raw(tamperer: Tamperer, statement: str) -> None:
    """Run a statement without what the tamperer does around it."""
    with closing(sqlite3.connect(sqlite_file(tamperer.url), isolation_level=None)) as connection:
        connection.execute(statement)


async def found(tamperer: Tamperer, **options: Any) -> list[Finding]:
    """Verify, and return what was found."""
    return (await verify(tamperer.url, **options)).findings


@pytest.mark.parametrize("sequence", [0, -1])
async def test_a_snapshot_before_the_first_event(tamperer: Tamperer, sequence: int) -> None:
    """Given a set, when a snapshot is added before its first event, on which all would be folded, it is found."""
    place = await tamperer.place("set", "tags", 1)
    state = '{"members":["forged"],"exists":true}'
    await tamperer.run(f"INSERT INTO casty_snapshots VALUES ({place.entity}, {sequence}, '{state}', 1, 0)")

    assert [(one.slot, one.entity, one.wrong) for one in await found(tamperer)] == [
        (place.slot, place.entity, Wrong.SNAPSHOT)
    ]


@pytest.mark.parametrize(("kind", "name"), [("lock", "deploy"), ("semaphore", "seats"), ("counter", "gone")])
async def test_whether_any_kind_exists(tamperer: Tamperer, kind: str, name: str) -> None:
    """Given an entity of a kind whose state alone says whether it exists, when its flag is edited, it is found."""
    place = await tamperer.place(kind, name, 1)
    value = "1 - alive" if is_sqlite(tamperer.url) else "NOT alive"
    await tamperer.run(f"UPDATE casty_entities SET alive = {value} WHERE id = {place.entity}")

    assert [(one.entity, one.wrong) for one in await found(tamperer)] == [(place.entity, Wrong.DIRECTORY)]


async def test_a_salt_that_nothing_retired(tamperer: Tamperer) -> None:
    """Given a journal without redactions, when salts are set aside of a counter and of nobody, then both are found."""
    place = await tamperer.place("counter", "hits", 1)
    salt = tamperer.bytes_as("00" * 16)
    await tamperer.run(
        f"INSERT INTO casty_retired_salts VALUES ({place.entity}, 40, {salt})",
        f"INSERT INTO casty_retired_salts VALUES (1, 1, {salt})",
    )

    assert [(one.entity, one.wrong) for one in await found(tamperer)] == [
        (1, Wrong.REDACTION),
        (place.entity, Wrong.REDACTION),
    ]


async def test_an_entity_of_a_negative_number(tamperer: Tamperer) -> None:
    """Given a directory, when an entity is added where no slot is, then it is found."""
    await tamperer.run(
        "INSERT INTO casty_entities SELECT -5, slot, kind, 'forged', key, alive, salt, 0 FROM casty_entities "
        "WHERE name = 'hits'"
    )

    assert [one.wrong for one in await found(tamperer)] == [Wrong.ALTERED]


@pytest.mark.parametrize("version", [0, 1, 2, 3])
async def test_a_forged_snapshot_of_any_version(
    tamperer: Tamperer, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """Given code that lifts states, when a snapshot of any version is forged, then it is found; a true one is not."""
    with_state_lifts(monkeypatch, "counter", dict)
    assert await found(tamperer) == []

    place = await tamperer.place("counter", "hits", 20)
    await tamperer.run(
        f"UPDATE casty_snapshots SET version = {version}, state = replace(state, '20', '99') WHERE {SNAPSHOT}"
    )

    findings = await found(tamperer)
    assert [(one.position, one.wrong) for one in findings] == [(place.position, Wrong.SNAPSHOT)]


async def test_states_that_are_not_read_are_counted(written_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given code that does not read old states, when they are verified, then a note says how many were not compared."""
    with_state_lifts(monkeypatch, "counter", None)

    report = await verify(written_url)

    assert report.findings == []
    assert report.unread_snapshots == 3
    assert any("3 snapshots were not compared" in note for note in report.notes)


async def test_code_that_fails(tamperer: Tamperer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given code whose folding raises, when a journal is verified, then that is a finding and not a crash."""

    def evolve(state: counter.State, event: Any) -> counter.State:
        if isinstance(event, counter.Incremented) and event.value == 7:
            raise ZeroDivisionError
        return counter.evolve(state, event)

    monkeypatch.setitem(CATALOG, "counter", msgspec.structs.replace(counter.COUNTER, evolve=evolve))
    place = await tamperer.place("counter", "hits", 7)

    assert [(one.slot, one.position, one.wrong) for one in await found(tamperer)] == [
        (place.slot, place.position, Wrong.UNKNOWN)
    ]


POSTGRES_GUARDS = [
    "ALTER DATABASE {database} SET casty_es.maintenance = 'on'",
    "ALTER DATABASE {database} SET session_replication_role = 'replica'",
    "ALTER FUNCTION casty_events_refuse_change() SET casty_es.maintenance = 'on'",
    (
        "DROP TRIGGER casty_events_append_only ON casty_events; CREATE TRIGGER casty_events_append_only "
        "BEFORE UPDATE OF epoch OR DELETE OR TRUNCATE ON casty_events EXECUTE FUNCTION casty_events_refuse_change()"
    ),
    (
        "DROP TRIGGER casty_events_append_only ON casty_events; CREATE SCHEMA other; "
        "CREATE FUNCTION other.casty_events_refuse_change() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NULL;END'; "
        "CREATE TRIGGER casty_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON casty_events "
        "EXECUTE FUNCTION other.casty_events_refuse_change()"
    ),
    (
        "DROP INDEX uq_casty_events_idempotency_key; CREATE UNIQUE INDEX uq_casty_events_idempotency_key "
        "ON casty_events (entity, idempotency_key) WHERE false"
    ),
    (
        "ALTER TABLE casty_entities DROP CONSTRAINT uq_casty_entities_kind_name_key; "
        "ALTER TABLE casty_entities ADD CONSTRAINT uq_casty_entities_kind_name_key UNIQUE (id, kind, name, key)"
    ),
]


@pytest.mark.parametrize("change", POSTGRES_GUARDS)
async def test_a_guard_of_postgres_that_only_looks_right(tamperer: Tamperer, change: str) -> None:
    """Given Postgres, when a guard is turned off by a setting, or replaced by one of its name, then it is named."""
    if is_sqlite(tamperer.url):
        pytest.skip("these are ways of Postgres")
    [(database,)] = await tamperer.run("SELECT current_database()")
    await tamperer.run(*change.format(database=f'"{database}"').split("; "))

    assert [one.wrong for one in await found(tamperer)] == [Wrong.GUARD]


async def test_an_index_of_sqlite_that_only_looks_right(tamperer: Tamperer) -> None:
    """Given SQLite, when a unique key is replaced by one of its name that holds for nothing, then it is named."""
    if not is_sqlite(tamperer.url):
        pytest.skip("Postgres has its own test")
    await tamperer.run(
        "DROP INDEX uq_casty_events_idempotency_key",
        "CREATE UNIQUE INDEX uq_casty_events_idempotency_key ON casty_events (entity, idempotency_key) WHERE slot < 0",
    )

    assert [one.wrong for one in await found(tamperer)] == [Wrong.GUARD]


async def anchor_of(url: str) -> Anchor:
    """Take an anchor."""
    journal = SqlJournal(url)
    try:
        return await take_anchor(journal)
    finally:
        await journal.close()


async def test_a_slot_of_which_nothing_is_left(tamperer: Tamperer) -> None:
    """Given an anchor, when every trace of a slot is deleted, then the anchor alone names it, and from where on."""
    anchor = await anchor_of(tamperer.url)
    slot = (await tamperer.place("counter", "hits", 1)).slot
    low, high = slot << ENTITY_NUMBER_BITS, (slot + 1) << ENTITY_NUMBER_BITS
    await tamperer.run(
        f"DELETE FROM casty_events WHERE slot = {slot}",
        f"DELETE FROM casty_snapshots WHERE entity >= {low} AND entity < {high}",
        f"DELETE FROM casty_entities WHERE id >= {low} AND id < {high}",
    )

    assert await found(tamperer) == []
    assert [(one.slot, one.position, one.wrong) for one in await found(tamperer, anchors=[anchor])] == [
        (slot, 1, Wrong.ANCHOR)
    ]


async def test_an_entity_of_which_nothing_is_left(tamperer: Tamperer) -> None:
    """Given two counters of one slot, when every trace of the first is deleted, then its first position is named."""
    place = await tamperer.place("counter", "gone", 1)
    behind = f"slot = {place.slot} AND entity <> {place.entity} AND position > {place.position}"
    async with connect(tamperer.url) as d:
        for number in range(2_000):
            other = d.counter(f"beside-{number}")
            await other.increment()
            rows = await tamperer.run(f"SELECT count(*) FROM casty_events WHERE {behind}")
            if rows[0][0] > 0:
                break
    await tamperer.run(
        f"DELETE FROM casty_events WHERE entity = {place.entity}",
        f"DELETE FROM casty_entities WHERE id = {place.entity}",
    )

    findings = [one for one in await found(tamperer) if one.slot == place.slot]
    assert [(one.position, one.wrong) for one in findings] == [(place.position, Wrong.MISSING)]


async def test_two_slots_swapped(tamperer: Tamperer) -> None:
    """Given two slots, when each gets the records of the other, then both are wrong from their first record on."""
    one, other = await tamperer.place("counter", "hits", 1), await tamperer.place("set", "tags", 1)
    assert one.slot != other.slot
    await tamperer.run(
        f"UPDATE casty_events SET slot = 999 WHERE slot = {one.slot}",
        f"UPDATE casty_events SET slot = {one.slot} WHERE slot = {other.slot}",
        f"UPDATE casty_events SET slot = {other.slot} WHERE slot = 999",
    )

    report = await verify(tamperer.url)

    firsts = [report.first(slot) for slot in (one.slot, other.slot)]
    assert [finding and finding.position for finding in firsts] == [1, 1]


@pytest.mark.parametrize("change", ["hash", "position", "dropped"])
async def test_an_anchor_that_was_changed(tamperer: Tamperer, change: str) -> None:
    """Given an unsigned anchor, when a hash or position in it is changed, it does not fit."""
    anchor = await anchor_of(tamperer.url)
    chain = anchor.chains[0]
    position, hash_ = chain.records[-1]
    records = {"hash": (position, "00" * 32), "position": (position + 1, hash_)}
    if change == "dropped":
        changed = msgspec.structs.replace(anchor, chains=anchor.chains[1:])
    else:
        again = msgspec.structs.replace(chain, records=(*chain.records[:-1], records[change]))
        changed = msgspec.structs.replace(anchor, chains=(again, *anchor.chains[1:]))

    report = await verify(tamperer.url, anchors=[changed])

    assert any("not signed" in note for note in report.notes)
    wrongs = [(one.slot, one.wrong) for one in report.findings]
    assert wrongs == ([] if change == "dropped" else [(chain.slot, Wrong.ANCHOR)])


async def test_an_incarnation_that_went_back(tamperer: Tamperer) -> None:
    """Given an anchor of a journal whose incarnation was raised, when it is lowered again, then the anchor shows it."""
    await tamperer.run("UPDATE casty_meta SET incarnation = 3")
    anchor = await anchor_of(tamperer.url)
    await tamperer.run("UPDATE casty_meta SET incarnation = 2")

    assert [one.wrong for one in await found(tamperer, anchors=[anchor])] == [Wrong.ANCHOR]
