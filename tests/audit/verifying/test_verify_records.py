"""Records that were edited, deleted, inserted or moved: each is found, and the first bad position is named."""

from __future__ import annotations

import pytest

from casty_es.audit.verify import Finding, Wrong, verify

from .journals import SLOTS
from .tampering import Place, Tamperer

MIDDLE = 30


async def found(tamperer: Tamperer, slot: int) -> Finding:
    """Verify, and return the first finding of a slot."""
    report = await verify(tamperer.url)
    assert not report.ok
    finding = report.first(slot)
    assert finding is not None
    return finding


@pytest.fixture
async def middle(tamperer: Tamperer) -> Place:
    """An event in the middle of the counter."""
    return await tamperer.place("counter", "hits", MIDDLE)


async def test_an_untouched_journal(written_url: str) -> None:
    """Given a journal that nobody touched, when it is verified, then nothing is wrong and everything was looked at."""
    report = await verify(written_url)

    assert report.findings == []
    assert report.slots == SLOTS
    assert report.records > 100
    assert report.snapshots >= 5
    assert report.entities == 9
    assert any("anchor" in note for note in report.notes)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("epoch", "2"),
        ("sequence", "9999"),
        ("type", "'counter.decremented'"),
        ("version", "2"),
        ("payload", """'{"amount":1,"value":31}'"""),
        ("payload", """' {"amount":1,"value":30}'"""),
        ("metadata", """'{"actor":"somebody else"}'"""),
        ("command_id", "NULL"),
        ("idempotency_key", "'forged'"),
        ("recorded_at", "recorded_at + 1"),
        ("hash", "(SELECT e.hash FROM casty_events e WHERE e.slot = casty_events.slot AND e.position = 1)"),
    ],
)
async def test_an_edited_column(tamperer: Tamperer, middle: Place, column: str, value: str) -> None:
    """Given a record, when any of its columns is edited, then that position is named."""
    slot, position = middle.slot, middle.position
    await tamperer.run(f"UPDATE casty_events SET {column} = {value} WHERE slot = {slot} AND position = {position}")

    finding = await found(tamperer, slot)

    assert finding.position == position
    assert finding.wrong is Wrong.ALTERED


async def test_another_entity(tamperer: Tamperer, middle: Place) -> None:
    """Given a record, when it is given to another entity, then that position is named."""
    gone = await tamperer.place("counter", "gone", 1)
    await tamperer.run(
        f"UPDATE casty_events SET entity = {gone.entity} WHERE slot = {middle.slot} AND position = {middle.position}"
    )

    assert (await found(tamperer, middle.slot)).position == middle.position


async def test_another_slot(tamperer: Tamperer, middle: Place) -> None:
    """Given a record, when it is moved to another slot, then both slots have something wrong."""
    empty = (await tamperer.run(f"SELECT {SLOTS} - count(DISTINCT slot) FROM casty_events"))[0][0]
    taken = {row[0] for row in await tamperer.run("SELECT DISTINCT slot FROM casty_events")}
    other = next(slot for slot in range(SLOTS) if slot not in taken)
    assert empty
    await tamperer.run(
        f"UPDATE casty_events SET slot = {other} WHERE slot = {middle.slot} AND position = {middle.position}"
    )

    report = await verify(tamperer.url)

    here, there = report.first(middle.slot), report.first(other)
    assert here is not None
    assert there is not None
    assert (here.position, here.wrong) == (middle.position, Wrong.MISSING)
    assert there.position == 1


@pytest.mark.parametrize("last", [1, 2])
async def test_a_first_record_deleted(tamperer: Tamperer, middle: Place, last: int) -> None:
    """Given a slot, when its first records, the lease among them, are deleted, then position 1 is named."""
    await tamperer.run(f"DELETE FROM casty_events WHERE slot = {middle.slot} AND position <= {last}")

    finding = await found(tamperer, middle.slot)

    assert (finding.position, finding.wrong) == (1, Wrong.MISSING)


@pytest.mark.parametrize("records", [1, 5])
async def test_records_in_the_middle_deleted(tamperer: Tamperer, middle: Place, records: int) -> None:
    """Given a slot, when records in its middle are deleted, then the first of them is named, and nothing else."""
    await tamperer.run(
        f"DELETE FROM casty_events WHERE slot = {middle.slot} "
        f"AND position BETWEEN {middle.position} AND {middle.position + records - 1}"
    )

    report = await verify(tamperer.url)

    assert [(finding.position, finding.wrong) for finding in report.findings] == [(middle.position, Wrong.MISSING)]


async def test_records_deleted_and_the_rest_moved_up(tamperer: Tamperer, middle: Place) -> None:
    """Given a slot, when a record is deleted and the later ones close the gap, then its position is named."""
    slot, position = middle.slot, middle.position
    await tamperer.run(
        f"DELETE FROM casty_events WHERE slot = {slot} AND position = {position}",
        f"UPDATE casty_events SET position = position + 100000 WHERE slot = {slot} AND position > {position}",
        f"UPDATE casty_events SET position = position - 100001 WHERE slot = {slot} AND position > 100000",
    )

    assert (await found(tamperer, slot)).position == position


async def test_a_record_inserted_at_the_end(tamperer: Tamperer, middle: Place) -> None:
    """Given a slot, when somebody adds a record without its hash, then the new position is named."""
    last = await tamperer.last(middle.slot)
    await tamperer.run(
        "INSERT INTO casty_events SELECT slot, position + 1, epoch, entity, sequence + 1, type, version, payload, "
        f"metadata, command_id, NULL, recorded_at, hash FROM casty_events WHERE slot = {middle.slot} "
        f"AND position = {last}"
    )

    assert (await found(tamperer, middle.slot)).position == last + 1


async def test_a_record_inserted_in_the_middle(tamperer: Tamperer, middle: Place) -> None:
    """Given a slot, when somebody moves records on and puts one of his own between, then its position is named."""
    slot, position = middle.slot, middle.position
    await tamperer.run(
        f"UPDATE casty_events SET position = position + 100000 WHERE slot = {slot} AND position >= {position}",
        f"UPDATE casty_events SET position = position - 99999 WHERE slot = {slot} AND position > 100000",
        "INSERT INTO casty_events SELECT slot, position + 1, epoch, entity, 9999, type, version, payload, metadata, "
        f"command_id, NULL, recorded_at, hash FROM casty_events WHERE slot = {slot} AND position = {position - 1}",
    )

    assert (await found(tamperer, slot)).position == position


async def test_two_records_swapped(tamperer: Tamperer, middle: Place) -> None:
    """Given two records, when each takes the other's position, then the first position is named."""
    slot, position = middle.slot, middle.position
    await tamperer.run(
        f"UPDATE casty_events SET position = 100000 WHERE slot = {slot} AND position = {position}",
        f"UPDATE casty_events SET position = {position} WHERE slot = {slot} AND position = {position + 1}",
        f"UPDATE casty_events SET position = {position + 1} WHERE slot = {slot} AND position = 100000",
    )

    assert (await found(tamperer, slot)).position == position


async def test_two_payloads_swapped(tamperer: Tamperer, middle: Place) -> None:
    """Given two records, when their payloads are swapped, then both positions are named."""
    slot, first, second = middle.slot, middle.position, middle.position + 1
    await tamperer.run(
        f"""UPDATE casty_events SET payload = CASE position WHEN {first} THEN '{{"amount":1,"value":31}}'
        ELSE '{{"amount":1,"value":30}}' END WHERE slot = {slot} AND position IN ({first}, {second})"""
    )

    report = await verify(tamperer.url)

    assert [finding.position for finding in report.findings] == [first, second]


async def test_everything_edited(tamperer: Tamperer, middle: Place) -> None:
    """Given a slot, when all its records are edited, then the first is named and the walk does not go on for ever."""
    await tamperer.run(f"UPDATE casty_events SET recorded_at = recorded_at - 1000000 WHERE slot = {middle.slot}")

    report = await verify(tamperer.url)

    assert report.findings[0].position == 1
    assert len(report.findings) == 25


async def test_records_in_a_slot_that_is_not_there(tamperer: Tamperer, middle: Place) -> None:
    """Given records behind the last slot, where nobody ever looks, then they are found."""
    await tamperer.run(f"UPDATE casty_events SET slot = 300 WHERE slot = {middle.slot}")

    report = await verify(tamperer.url)

    assert any(finding.slot == 300 and f"{SLOTS} slots" in finding.text for finding in report.findings)
