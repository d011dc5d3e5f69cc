"""What stands beside the records: names, salts, snapshots, redactions, guards. Whatever is changed there is found."""

from __future__ import annotations

import pytest

from casty_es.audit.verify import Wrong, verify
from casty_es.journal.urls import is_sqlite

from .tampering import Tamperer


async def wrongs(tamperer: Tamperer) -> set[tuple[int | None, int | None, Wrong]]:
    """Verify, and give slot, position and kind of what was found."""
    report = await verify(tamperer.url)
    return {(finding.slot, finding.position, finding.wrong) for finding in report.findings}


async def test_swapped_names(tamperer: Tamperer) -> None:
    """Given two counters, when each gets the other's name, then the first event of each is named."""
    hits, gone = await tamperer.place("counter", "hits", 1), await tamperer.place("counter", "gone", 1)
    await tamperer.run(
        f"UPDATE casty_entities SET name = 'x' WHERE id = {hits.entity}",
        f"UPDATE casty_entities SET name = 'hits' WHERE id = {gone.entity}",
        f"UPDATE casty_entities SET name = 'gone' WHERE id = {hits.entity}",
    )

    found = await wrongs(tamperer)

    assert {(hits.slot, hits.position, Wrong.ALTERED), (gone.slot, gone.position, Wrong.ALTERED)} <= found


@pytest.mark.parametrize("column", ["salt", "key", "kind"])
async def test_an_edited_entity(tamperer: Tamperer, column: str) -> None:
    """Given an entity, when its salt, key or kind is edited, then its first event is named."""
    hits = await tamperer.place("counter", "hits", 1)
    value = tamperer.bytes_as("00" * 16) if column == "salt" else "'set'"
    await tamperer.run(f"UPDATE casty_entities SET {column} = {value} WHERE id = {hits.entity}")

    assert (hits.slot, hits.position, Wrong.ALTERED) in await wrongs(tamperer)


async def test_a_deleted_entity(tamperer: Tamperer) -> None:
    """Given an entity with events, when its row is deleted, then its first event is named."""
    hits = await tamperer.place("counter", "hits", 1)
    await tamperer.run(f"DELETE FROM casty_entities WHERE id = {hits.entity}")

    assert (hits.slot, hits.position, Wrong.DIRECTORY) in await wrongs(tamperer)


async def test_an_entity_without_events(tamperer: Tamperer) -> None:
    """Given a journal, when somebody adds an entity, then it is found, because it has no events."""
    hits = await tamperer.place("counter", "hits", 1)
    await tamperer.run(
        f"INSERT INTO casty_entities SELECT id + 77, slot, kind, name, 'forged', alive, salt, 0 FROM casty_entities "
        f"WHERE id = {hits.entity}"
    )

    assert await wrongs(tamperer) == {(hits.slot, None, Wrong.DIRECTORY)}


@pytest.mark.parametrize(("name", "key"), [("users", "s:alice"), ("users", "s:bob")])
async def test_an_edited_alive_flag(tamperer: Tamperer, name: str, key: str) -> None:
    """Given a map, when a living key is marked dead or a dead one living, then it is found."""
    place = await tamperer.place("map", name, 1, key=key)
    value = "1 - alive" if is_sqlite(tamperer.url) else "NOT alive"
    await tamperer.run(f"UPDATE casty_entities SET alive = {value} WHERE id = {place.entity}")

    assert await wrongs(tamperer) == {(place.slot, None, Wrong.DIRECTORY)}


@pytest.mark.parametrize("change", ["shards = shards + 1", "name = 'x'"])
async def test_an_edited_structure(tamperer: Tamperer, change: str) -> None:
    """Given a map, when its recorded number of shards or its name is edited, then its keys are found in wrong slots."""
    await tamperer.run(f"UPDATE casty_structures SET {change} WHERE kind = 'map'")

    assert {wrong for _, _, wrong in await wrongs(tamperer)} == {Wrong.DIRECTORY}


@pytest.mark.parametrize("sequence", [20, 25])
async def test_a_forged_snapshot(tamperer: Tamperer, sequence: int) -> None:
    """Given a counter, when a snapshot is edited or added that its events do not give, then its position is named."""
    place = await tamperer.place("counter", "hits", sequence)
    await tamperer.run(
        f"DELETE FROM casty_snapshots WHERE entity = {place.entity} AND sequence = {sequence}",
        f"INSERT INTO casty_snapshots VALUES ({place.entity}, {sequence}, "
        """'{"value":1000000,"exists":true}', 1, 0)""",
    )

    assert await wrongs(tamperer) == {(place.slot, place.position, Wrong.SNAPSHOT)}


async def test_a_deleted_snapshot(tamperer: Tamperer) -> None:
    """Given a counter, when its snapshots are deleted, then nothing is wrong: its events are all there."""
    await tamperer.run("DELETE FROM casty_snapshots")

    assert await wrongs(tamperer) == set()


async def test_a_snapshot_of_events_that_are_not_there(tamperer: Tamperer) -> None:
    """Given a counter, when a snapshot is added behind its last event, then it is found."""
    place = await tamperer.place("counter", "hits", 1)
    await tamperer.run(f"INSERT INTO casty_snapshots VALUES ({place.entity}, 5000, '{{}}', 1, 0)")

    assert await wrongs(tamperer) == {(place.slot, None, Wrong.SNAPSHOT)}


async def test_a_snapshot_of_nobody(tamperer: Tamperer) -> None:
    """Given a journal, when a snapshot is added of an entity that the directory does not have, then it is found."""
    await tamperer.run("INSERT INTO casty_snapshots VALUES (1, 1, '{}', 1, 0)")

    assert await wrongs(tamperer) == {(None, None, Wrong.SNAPSHOT)}


@pytest.mark.parametrize("covered", [False, True])
async def test_a_value_replaced_by_its_digest(tamperer: Tamperer, *, covered: bool) -> None:
    """Given an event, when its payload is replaced by its digest as if it were redacted, then its position is named."""
    from casty_es.format.chain import digest
    from casty_es.format.redacted import redacted_text

    place = await tamperer.place("counter", "hits", 30)
    [(payload, salt)] = await tamperer.run(
        f"SELECT e.payload, n.salt FROM casty_events e JOIN casty_entities n ON n.id = e.entity "
        f"WHERE e.entity = {place.entity} AND e.sequence = 30"
    )
    forged = redacted_text(digest(salt, payload))
    await tamperer.run(
        f"UPDATE casty_events SET payload = '{forged}' WHERE entity = {place.entity} AND sequence = 30",
        f"DELETE FROM casty_snapshots WHERE entity = {place.entity}",
        f"UPDATE casty_entities SET salted_from = {40 if covered else 0} WHERE id = {place.entity}",
        f"INSERT INTO casty_retired_salts SELECT id, 40, salt FROM casty_entities WHERE id = {place.entity}",
    )

    assert (place.slot, place.position, Wrong.REDACTION) in await wrongs(tamperer)


@pytest.mark.parametrize("version", [1, 99])
async def test_an_event_that_the_code_does_not_know(tamperer: Tamperer, version: int) -> None:
    """Given a journal of a newer version, when it is verified, then the position of its event is named."""
    from casty_es.journal.port import RecordedEvent, record_hash

    place = await tamperer.place("counter", "gone", 2)
    last = await tamperer.last(place.slot)
    assert last == place.position
    rows = await tamperer.run(f"SELECT * FROM casty_events WHERE slot = {place.slot} AND position >= {last - 1}")
    [(salt,)] = await tamperer.run(f"SELECT salt FROM casty_entities WHERE id = {place.entity}")
    type_ = "counter.destroyed" if version == 99 else "counter.unheard_of"
    new = RecordedEvent(*rows[1][:5], type_, version, *rows[1][7:])
    hash_ = record_hash(rows[0][12], new, salt)
    await tamperer.run(
        f"UPDATE casty_events SET type = '{type_}', version = {version}, hash = {tamperer.bytes_as(hash_.hex())} "
        f"WHERE slot = {place.slot} AND position = {last}"
    )

    assert (place.slot, last, Wrong.UNKNOWN) in await wrongs(tamperer)


async def test_guards_that_are_gone(tamperer: Tamperer) -> None:
    """Given a journal, when its append-only trigger and a unique key are dropped, then both are named."""
    if is_sqlite(tamperer.url):
        drop = ["DROP TRIGGER casty_events_refuse_update"]
    else:
        drop = ["ALTER TABLE casty_events DISABLE TRIGGER casty_events_append_only"]
    await tamperer.run(*drop, "DROP INDEX uq_casty_events_idempotency_key")

    report = await verify(tamperer.url)

    assert [finding.wrong for finding in report.findings] == [Wrong.GUARD, Wrong.GUARD]
    assert any("idempotency" in finding.text for finding in report.findings)


async def test_a_guard_that_does_nothing(tamperer: Tamperer) -> None:
    """Given a journal, when its trigger is replaced by one that lets everything through, then it is named."""
    if is_sqlite(tamperer.url):
        await tamperer.run(
            "DROP TRIGGER casty_events_refuse_delete",
            "CREATE TRIGGER casty_events_refuse_delete BEFORE DELETE ON casty_events BEGIN SELECT 1; END",
        )
    else:
        await tamperer.run(
            "CREATE OR REPLACE FUNCTION casty_events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RETURN NULL; END'"
        )

    report = await verify(tamperer.url)

    assert [finding.wrong for finding in report.findings] == [Wrong.GUARD]
