"""What verification would name is neither cut nor redacted: retention and redaction look first, and refuse."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from casty_es import ClusteredActorSystem, SqlJournal
from casty_es.audit.redaction import finish_redactions, redact
from casty_es.audit.retention import check_archive, run_retention, set_retention
from casty_es.cli.app import run
from casty_es.errors import JournalCorruptError
from casty_es.format.chain import digest, link
from casty_es.journal.port import DirectoryRow, EntityName, RecordedEvent, StoredEntity
from casty_es.names import encode_key
from tests.audit.verifying.tampering import Tamperer

from .conftest import CrashError, Crashing, findings

ALICE = EntityName("map", "users", encode_key("alice"))
EDITED = "UPDATE casty_events SET payload = replace(payload, 'secret', 'forged')"
THIRD = " WHERE entity = {entity} AND sequence = 3"

CHANGES = {
    "payload": EDITED + THIRD,
    "metadata": """UPDATE casty_events SET metadata = '{{"actor":"forged"}}'""" + THIRD,
    "time": "UPDATE casty_events SET recorded_at = recorded_at + 1" + THIRD,
    "unreadable": "UPDATE casty_events SET payload = 'no JSON'" + THIRD,
    "hidden": """UPDATE casty_events SET payload = '{{"redacted":"{zeros}"}}'""" + THIRD,
    "deleted": "DELETE FROM casty_events" + THIRD,
    "before": "DELETE FROM casty_events WHERE slot = {slot} AND position = {position} - 1",
}


@pytest_asyncio.fixture
async def written(system: ClusteredActorSystem, journal: SqlJournal) -> AsyncIterator[StoredEntity]:
    """Six events of a key of which retention keeps two, among those of another key in the same slot."""
    users = system.distributed().map[str, str]("users", shards=1)
    for number in range(6):
        await users.put("alice", f"secret {number}")
        await users.put("bob", f"word {number}")
    await set_retention(journal, "map", "users", 2)
    [stored] = await journal.entities([ALICE])
    assert stored is not None
    yield stored


async def everything(url: str) -> list[list[tuple[Any, ...]]]:
    """Read what upkeep changes."""
    tamperer = Tamperer(url)
    tables = ("casty_events", "casty_seals", "casty_snapshots", "casty_entities", "casty_retired_salts")
    return [sorted(await tamperer.run(f"SELECT * FROM {table}"), key=repr) for table in tables]


def files(folder: Path) -> list[Path]:
    """Return what is in a folder."""
    return list(folder.iterdir())


async def event(journal: SqlJournal, entity: int, sequence: int) -> RecordedEvent:
    """Read one event."""
    return (await journal.history(entity, after=sequence - 1, limit=1))[0]


def edit_archive(file: Path, field: str, value: object) -> None:
    """Change a field of an archive's second event of alice, or leave out the event of a sequence."""
    lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    entity = next(line["id"] for line in lines if line.get("key") == ALICE.key)
    sequence = 2 if value is not None else int(field)
    [event] = [line for line in lines if line.get("entity") == entity and line["sequence"] == sequence]
    if value is None:
        lines.remove(event)
    else:
        event[field] = value
    file.write_bytes(gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines)))


ARCHIVED = {
    "payload": ("payload", '{"value":"forged"}', "not the one that was cut"),
    "time": ("recorded_at", 1, "not the one that was cut"),
    "huge": ("version", 2**62, "not the one that was cut"),
    "hash": ("hash", "00" * 32, "not the one that was cut"),
    "hidden": ("payload", '{"redacted":"' + "0" * 64 + '"}', "no redaction says so"),
    "left out": ("2", None, "events are missing"),
    "first left out": ("1", None, "events are missing"),
    "last left out": ("4", None, "events are missing"),
}


@pytest.mark.parametrize("change", ARCHIVED)
async def test_a_changed_archive_is_not_redacted(
    change: str,
    journal_url: str,
    system: ClusteredActorSystem,
    journal: SqlJournal,
    folder: Path,
    written: StoredEntity,
) -> None:
    """Given an archive in which an event was changed, when it is to be redacted, then it is refused, and all stays."""
    assert written.id
    file = folder / (await run_retention(system, journal, folder, pace=0)).archives[0]
    whole = file.read_bytes()
    field, value, said = ARCHIVED[change]
    edit_archive(file, field, value)
    changed, before = file.read_bytes(), await everything(journal_url)

    with pytest.raises(JournalCorruptError, match=said):
        await redact(system, journal, ALICE, reason="asked", archives=[file])

    assert file.read_bytes() == changed
    assert await everything(journal_url) == before
    # what was changed of somebody else is no reason not to forget a person: it stays where a check finds it
    bob = EntityName("map", "users", encode_key("bob"))
    assert (await redact(system, journal, bob, reason="asked", archives=[file])).archives == (file.name,)
    assert any("alice" in text for text in await check_archive(journal, file))
    file.write_bytes(whole)
    assert (await redact(system, journal, ALICE, reason="asked", archives=[file])).archives == (file.name,)


async def test_a_changed_archive_is_not_settled(
    system: ClusteredActorSystem, journal: SqlJournal, folder: Path, written: StoredEntity, crashing: Crashing
) -> None:
    """Given an archive that an interrupted run left, when it was changed, then the next run refuses to rewrite it."""
    assert written.id
    crashing.in_(4, after=False)  # seal, drop and cut of the first key were done
    with pytest.raises(CrashError):
        await run_retention(system, journal, folder, pace=0)
    crashing.never()
    [file] = files(folder)
    edit_archive(file, "payload", '{"value":"forged"}')
    changed = file.read_bytes()

    with pytest.raises(JournalCorruptError, match="not the one that was cut"):
        await run_retention(system, journal, folder, pace=0)

    assert files(folder) == [file]
    assert file.read_bytes() == changed


@pytest.mark.parametrize("change", CHANGES)
async def test_what_was_changed_is_neither_cut_nor_redacted(
    change: str,
    journal_url: str,
    system: ClusteredActorSystem,
    journal: SqlJournal,
    folder: Path,
    written: StoredEntity,
) -> None:
    """Given an event that was changed, when it is to be cut or redacted, then its place is named, and all stays."""
    third = await event(journal, written.id, 3)
    statement = CHANGES[change].format(entity=written.id, slot=third.slot, position=third.position, zeros="0" * 64)
    await Tamperer(journal_url).run(statement)
    named = await findings(journal_url)
    before = await everything(journal_url)
    place = f"Slot {third.slot}, position {third.position - (change == 'before')}: "
    if change == "deleted":
        place = f"Slot {third.slot}, position {third.position + 2}: event 3 of its entity is missing"

    with pytest.raises(JournalCorruptError, match=place):
        await run_retention(system, journal, folder, pace=0)
    with pytest.raises(JournalCorruptError, match=place):
        await redact(system, journal, ALICE, reason="asked")

    assert await everything(journal_url) == before
    assert files(folder) == []
    assert named != []
    assert await findings(journal_url) == named


async def test_a_hash_that_was_made_to_fit(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path, written: StoredEntity
) -> None:
    """Given a changed event whose own hash fits, when it is to be cut, then the record behind it does not follow."""
    third = await event(journal, written.id, 3)
    [row] = await journal.entity_rows([written.id])
    [before] = await journal.records(third.slot, after=third.position - 2, limit=1)
    payload = third.payload.replace("secret", "forged")
    hash_ = _linked(before.hash, third, row, payload)
    tamperer = Tamperer(journal_url)
    await tamperer.run(
        f"UPDATE casty_events SET payload = '{payload}', hash = {tamperer.bytes_as(hash_.hex())} "
        f"WHERE entity = {written.id} AND sequence = 3"
    )
    place = f"Slot {third.slot}, position {third.position + 1}: "

    with pytest.raises(JournalCorruptError, match=place):
        await run_retention(system, journal, folder, pace=0)
    with pytest.raises(JournalCorruptError, match=place):
        await redact(system, journal, ALICE, reason="asked")

    assert await journal.bounds(written.id) == (1, 6)
    assert [position for _, position, _, _ in await findings(journal_url)] == [third.position + 1]


def _linked(previous: bytes, record: RecordedEvent, row: DirectoryRow, payload: str) -> bytes:
    metadata = None if record.metadata is None else digest(row.salt or b"", record.metadata)
    return link(
        previous,
        record.slot,
        record.position,
        record.epoch,
        record.entity,
        record.sequence,
        record.recorded_at,
        (record.type, record.version),
        record.command_id,
        record.idempotency_key,
        digest(row.salt or b"", payload),
        metadata,
    )


@pytest.mark.usefixtures("written")
async def test_a_change_of_something_else_is_nobodys_loss(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path
) -> None:
    """Given an edited event of another structure, when this one is cut, then the edit is still found."""
    await system.distributed().counter("hits").increment()
    [hits] = await journal.entities([EntityName("counter", "hits", "")])
    assert hits is not None
    await Tamperer(journal_url).run(
        f"""UPDATE casty_events SET payload = '{{"amount":7,"value":7}}' WHERE entity = {hits.id}"""
    )
    named = await findings(journal_url)

    assert (await run_retention(system, journal, folder, pace=0)).events == 8
    assert (await redact(system, journal, ALICE, reason="asked", without_archives=True)).events == 2

    assert named != []
    assert await findings(journal_url) == named


@pytest.mark.parametrize("sequence", [2, 4])
async def test_a_forged_snapshot_on_the_way_is_not_sealed(
    sequence: int,
    journal_url: str,
    system: ClusteredActorSystem,
    journal: SqlJournal,
    folder: Path,
    written: StoredEntity,
) -> None:
    """Given a snapshot among what goes that its events do not give, when it is to be cut, then it is named."""
    await Tamperer(journal_url).run(
        f"""INSERT INTO casty_snapshots VALUES ({written.id}, {sequence}, '{{"value":"FORGED"}}', 1, 0)"""
    )
    before = await everything(journal_url)

    with pytest.raises(JournalCorruptError, match=f"snapshot at event {sequence} "):
        await run_retention(system, journal, folder, pace=0)

    assert await everything(journal_url) == before


async def test_a_forged_snapshot_behind_a_cut_is_not_sealed_again(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path, written: StoredEntity
) -> None:
    """Given a cut whose snapshot was replaced, when more is to be cut, then the new state is not the truth."""
    await run_retention(system, journal, folder, pace=0)
    await Tamperer(journal_url).run(
        f"""UPDATE casty_snapshots SET state = '{{"value":"FORGED"}}' WHERE entity = {written.id}"""
    )
    users = system.distributed().map[str, str]("users", shards=1)
    for number in range(4):
        await users.put("alice", f"later {number}")
    before = await journal.bounds(written.id)

    with pytest.raises(JournalCorruptError, match="is not one that was sealed"):
        await run_retention(system, journal, folder, pace=0)

    assert await journal.bounds(written.id) == before


async def test_a_seal_that_says_more_than_it_sealed(
    journal_url: str,
    system: ClusteredActorSystem,
    journal: SqlJournal,
    folder: Path,
    written: StoredEntity,
    crashing: Crashing,
) -> None:
    """Given an interrupted cut whose seal was edited to reach further, when the next run comes, then nothing goes."""
    crashing.in_(1, after=True)  # the rows of the seal are written
    with pytest.raises(CrashError):
        await run_retention(system, journal, folder, pace=0)
    crashing.never()
    await Tamperer(journal_url).run(
        "UPDATE casty_events SET payload = replace(payload, '\"through\":4', '\"through\":6') "
        "WHERE type = 'entity.sealed'"
    )

    with pytest.raises(JournalCorruptError, match="it is not the record that was written there"):
        await run_retention(system, journal, folder, pace=0)

    assert (await journal.bounds(written.id))[0] == 1


async def test_rows_of_a_seal_that_was_never_written(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path, written: StoredEntity
) -> None:
    """Given a forged row that says that events were sealed, when retention runs, then it does not cut by it."""
    third = await event(journal, written.id, 3)
    zeros = Tamperer(journal_url).bytes_as("00" * 32)
    await Tamperer(journal_url).run(
        f"INSERT INTO casty_seals VALUES ({third.slot}, 2, {third.position}, {written.id}, {zeros}, {zeros}, 3)"
    )

    with pytest.raises(JournalCorruptError, match="name its event 3, which is no seal"):
        await run_retention(system, journal, folder, pace=0)

    assert await journal.bounds(written.id) == (1, 6)


async def test_an_interrupted_redaction_is_looked_at_before_it_is_finished(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, written: StoredEntity, crashing: Crashing
) -> None:
    """Given a redaction that did not come to the values, when one was edited since, then finishing refuses."""
    crashing.in_(1, after=True)
    with pytest.raises(CrashError):
        await redact(system, journal, ALICE, reason="asked")
    crashing.never()
    await Tamperer(journal_url).run(f"{EDITED} WHERE entity = {written.id} AND sequence = 2")

    with pytest.raises(JournalCorruptError, match="position"):
        await finish_redactions(journal)

    assert "forged" in (await event(journal, written.id, 2)).payload


def test_the_command_refuses(journal_url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given an edited payload, when retention runs from the command line, then it says where, and exits with 1."""
    for _ in range(4):
        assert run(["counter", "increment", "hits", "--url", journal_url]) == 0
    assert run(["retention", "set", "counter", "hits", "--keep", "1", "--url", journal_url]) == 0
    asyncio.run(
        Tamperer(journal_url).run("UPDATE casty_events SET payload = replace(payload, '2', '7') WHERE sequence = 2")
    )
    capsys.readouterr()

    assert run(["retention", "run", "--archive", str(folder), "--url", journal_url]) == 3

    said = capsys.readouterr().err
    assert "it is not the record that was written there" in said
    assert "position" in said
