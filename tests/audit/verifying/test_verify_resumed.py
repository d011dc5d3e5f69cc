"""A verification that is taken up when nothing came since: few questions, and what it looked at is still found."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from casty_es import InMemoryJournal, connect
from casty_es.audit.opening import opened
from casty_es.audit.verify import Report, Wrong, beside, progress, verify
from casty_es.audit.verify.whole import digest_of
from casty_es.errors import ConfigurationError, JournalUnavailableError
from casty_es.journal.postgres import PostgresBackend
from casty_es.journal.sql import SqlJournal
from casty_es.journal.sqlite import SqliteBackend
from casty_es.journal.urls import sqlite_file
from casty_es.private_files import replace

from .journals import LongWriter, write_all_kinds
from .tampering import Tamperer

ENTITIES = 3_000
PAGES = 8  # in which the entities are read


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the databases are asked, one after the other."""
    questions: list[str] = []

    def counted(backend: Any) -> None:
        read = backend.read

        async def noting(self: Any, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
            questions.append(statement)
            rows: Sequence[Sequence[Any]] = await read(self, statement, *parameters)
            return rows

        monkeypatch.setattr(backend, "read", noting)

    counted(PostgresBackend)
    counted(SqliteBackend)
    return questions


async def test_questions_are_not_asked_of_each_entity(journal_url: str, tmp_path: Path, asked: list[str]) -> None:
    """Given thousands of entities, when nothing came since, a few questions are asked; when one did, a few more."""
    file = tmp_path / "progress.json"
    await LongWriter(journal_url, counters=ENTITIES).write(ENTITIES)
    first = await verify(journal_url, resume=file)
    full = len(asked)
    asked.clear()

    second = await verify(journal_url, resume=file)
    resumed = len(asked)
    async with connect(journal_url) as d:
        await d.counter("hits-1").increment()
    asked.clear()
    third = await verify(journal_url, resume=file)

    assert first.ok
    assert (second.ok, second.records, second.entities) == (True, 0, ENTITIES)
    assert (third.ok, third.entities) == (True, ENTITIES)
    assert 0 < third.records <= 4
    assert resumed <= 20 + PAGES
    assert resumed < full / 10
    assert len(asked) <= resumed + 30


async def resumed(tamperer: Tamperer, file: Path, *statements: str) -> Report:
    """Verify everything, change something, and take the verification up."""
    assert (await verify(tamperer.url, resume=file)).ok
    await tamperer.run(*statements)
    return await verify(tamperer.url, resume=file)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE casty_entities SET name = 'other' WHERE name = 'hits'",
        "UPDATE casty_structures SET shards = shards + 1 WHERE name = 'users'",
        "DELETE FROM casty_structures WHERE name = 'tags'",
        (
            "INSERT INTO casty_entities SELECT id + 900, slot, kind, 'new', key, alive, salt, 0 FROM casty_entities "
            "WHERE name = 'hits'"
        ),
    ],
)
async def test_a_changed_directory_is_found(tamperer: Tamperer, tmp_path: Path, change: str) -> None:
    """Given a complete verification, when what stands beside the records is changed, then taking it up finds it."""
    report = await resumed(tamperer, tmp_path / "progress.json", change)

    assert Wrong.DIRECTORY in {one.wrong for one in report.findings}


async def test_structures_that_were_changed_after_an_interruption_are_found_by_the_next(
    tamperer: Tamperer, tmp_path: Path
) -> None:
    """Given slots that were done when shards were changed, when a verification ends with them, then the next looks."""
    file = tmp_path / "progress.json"
    assert (await verify(tamperer.url, resume=file)).ok
    interrupted = msgspec.json.decode(file.read_bytes()) | {"complete": False, "file": ""}
    file.write_bytes(msgspec.json.encode(interrupted))
    await tamperer.run("UPDATE casty_structures SET shards = shards + 1 WHERE name = 'users'")
    await verify(tamperer.url, resume=file)

    report = await verify(tamperer.url, resume=file)

    assert Wrong.DIRECTORY in {one.wrong for one in report.findings}


async def test_a_changed_structure_changes_the_digest(journal_url: str) -> None:
    """Given structures, when the shards of any are changed, then their digest is another one."""
    await LongWriter(journal_url, counters=5).write(5)
    async with opened(journal_url) as (journal, _):
        assert isinstance(journal, SqlJournal)
        seen = {(await beside.look(journal, [])).structures}
        for number in range(5):
            name = f"hits-{number}"
            await journal.maintain([(f"UPDATE casty_structures SET shards = shards + 1 WHERE name = '{name}'", ())])
            seen.add((await beside.look(journal, [])).structures)

    assert len(seen) == 6


@pytest.fixture
def sorted_out(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of how many slots the rows beside the records were read, each time that they were."""
    slots: list[int] = []
    read = beside._add_all

    async def noting(query: Any, sign: str, made: Any) -> int:
        slots.append(len(made))
        return await read(query, sign, made)

    monkeypatch.setattr(beside, "_add_all", noting)
    return slots


def at_the_last_look(monkeypatch: pytest.MonkeyPatch, do: Callable[[SqlJournal], Awaitable[None]]) -> list[int]:
    """Do something before the second look of a first verification; return of how many slots each look was."""
    looks: list[int] = []

    async def look(journal: SqlJournal, slots: Collection[int], tables: bytes = b"") -> beside.Stand:
        looks.append(len(slots))
        if len(looks) == 2:
            await do(journal)
        return await beside.look(journal, slots, tables)

    monkeypatch.setattr(progress, "look", look)
    return looks


async def test_a_file_is_not_written_for_each_slot(
    sqlite_journal_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given hundreds of slots that are walked within seconds, then the file is written a few times, and at the end."""
    written: list[bytes] = []

    def write(file: Path, content: bytes) -> None:
        written.append(content)
        replace(file, content)

    monkeypatch.setattr(progress, "replace", write)
    report = await verify(sqlite_journal_url, resume=tmp_path / "progress.json")
    assert report.slots == 256
    assert 2 <= len(written) <= 3 + report.seconds
    assert len(msgspec.json.decode(written[-1])["done"]) == 256


async def test_tables_that_are_as_they_were_are_not_sorted_out(
    postgres_journal_url: str, tmp_path: Path, sorted_out: list[int]
) -> None:
    """Given a verification, then the rows beside the records are looked at by one digest until one is moved."""
    file = tmp_path / "progress.json"
    await LongWriter(postgres_journal_url, counters=20).write(20)
    assert (await verify(postgres_journal_url, resume=file)).ok
    sorted_out.clear()

    assert (await verify(postgres_journal_url, resume=file)).ok
    assert sorted_out == []

    async with opened(postgres_journal_url) as (journal, _):
        assert isinstance(journal, SqlJournal)
        await journal.maintain([("UPDATE casty_entities SET name = name WHERE name = 'hits-1'", ())])
    assert (await verify(postgres_journal_url, resume=file)).records == 0
    assert sorted_out == [256]
    assert (await verify(postgres_journal_url, resume=file)).records == 0
    assert sorted_out == [256]


async def test_tables_that_were_changed_meanwhile_are_not_taken_for_those_that_were_looked_at(
    postgres_journal_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a change behind the walk and before its end, then the next verification finds it."""
    file = tmp_path / "progress.json"
    await LongWriter(postgres_journal_url, counters=20).write(20)

    async def change(journal: SqlJournal) -> None:
        await journal.maintain([("UPDATE casty_entities SET name = 'other' WHERE name = 'hits-1'", ())])

    looks = at_the_last_look(monkeypatch, change)
    assert (await verify(postgres_journal_url, resume=file)).ok
    assert looks == [0, 256]
    assert not msgspec.json.decode(file.read_bytes())["tables"]

    assert Wrong.DIRECTORY in {one.wrong for one in (await verify(postgres_journal_url, resume=file)).findings}


async def test_a_row_that_no_index_has_is_found_once_it_has(postgres_journal_url: str, tmp_path: Path) -> None:
    """Given a row that is in the table and not in its index, then a digest that has it stands for nothing."""
    file = tmp_path / "progress.json"
    await LongWriter(postgres_journal_url, counters=5).write(5)
    assert (await verify(postgres_journal_url, resume=file)).ok
    ready = "UPDATE pg_index SET indisready = {} WHERE indexrelid = 'pk_casty_entities'::regclass"
    hidden = (
        "INSERT INTO casty_entities SELECT id + 900, slot, kind, 'new', key, alive, salt, 0 FROM casty_entities "
        "WHERE name = 'hits-1'"
    )
    await Tamperer(postgres_journal_url).run(ready.format("false"), hidden, ready.format("true"))
    await verify(postgres_journal_url, resume=file)

    await Tamperer(postgres_journal_url).run("REINDEX INDEX pk_casty_entities")

    assert Wrong.DIRECTORY in {one.wrong for one in (await verify(postgres_journal_url, resume=file)).findings}


async def test_columns_are_told_from_each_other(tamperer: Tamperer) -> None:
    """Given two columns of a table, when they change their names, then the digest over the tables is another one."""
    if tamperer.url.startswith("sqlite"):
        pytest.skip("SQLite's tables are compared as text")
    swap = "ALTER TABLE casty_seals RENAME {} TO {}"
    names = [("previous_hash", "x"), ("hash", "previous_hash"), ("x", "hash")]
    checks = [(f"CONSTRAINT ck_casty_seals_{old}", f"ck_casty_seals_{new}") for old, new in names]
    place, hash_ = await tamperer.place("counter", "hits", 10), tamperer.bytes_as("00" * 32)
    cut = (
        f"{place.slot}, {place.position}, {place.position}, {place.entity}, {hash_}, {tamperer.bytes_as('11' * 32)}, 20"
    )
    await tamperer.run(f"INSERT INTO casty_seals VALUES ({cut})")
    async with opened(tamperer.url) as (journal, _):
        before = (await beside.look(journal, range(33))).tables
        await tamperer.run(*(swap.format(*one) for one in names + checks))
        assert before
        assert (await beside.look(journal, range(33))).tables != before


async def test_a_last_look_that_fails_costs_no_report(
    postgres_journal_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a database that goes away when all is walked, then what was found is told, and the next one looks anew."""
    file = tmp_path / "progress.json"
    await LongWriter(postgres_journal_url, counters=20).write(20)

    async def go_away(_: SqlJournal) -> None:
        raise JournalUnavailableError("It went away.")

    at_the_last_look(monkeypatch, go_away)
    assert (await verify(postgres_journal_url, resume=file)).ok
    assert (await verify(postgres_journal_url, resume=file)).records == 0
    assert msgspec.json.decode(file.read_bytes())["tables"]


async def test_other_databases_are_looked_at_once(
    sqlite_journal_url: str, tmp_path: Path, sorted_out: list[int]
) -> None:
    """Given a file of SQLite, which has a digest of its own, then nothing is looked at once more behind the walk."""
    await LongWriter(sqlite_journal_url, counters=5).write(5)
    assert (await verify(sqlite_journal_url, resume=tmp_path / "progress.json")).ok
    assert sorted_out == [0]


async def test_a_row_that_says_another_slot_is_found(tamperer: Tamperer, tmp_path: Path) -> None:
    """Given a complete verification, when a row comes whose slot its number does not have, then it is found."""
    report = await resumed(
        tamperer,
        tmp_path / "progress.json",
        "INSERT INTO casty_entities SELECT id + 900, 9999, kind, 'new', key, alive, salt, 0 FROM casty_entities "
        "WHERE name = 'hits'",
    )

    assert Wrong.DIRECTORY in {one.wrong for one in report.findings}


@pytest.mark.parametrize("besides", [(), ("INSERT INTO casty_structures VALUES ('counter', 'other', 1, NULL)",)])
async def test_an_entity_that_is_gone_is_found(tamperer: Tamperer, tmp_path: Path, besides: tuple[str, ...]) -> None:
    """Given a complete verification, when an entity is deleted from the directory, then taking it up finds it.

    Also where a structure came, for which every slot is looked at.
    """
    statement = "DELETE FROM casty_entities WHERE name = 'hits'"
    report = await resumed(tamperer, tmp_path / "progress.json", statement, *besides)

    assert report.findings


async def test_a_seal_that_was_added_is_found(tamperer: Tamperer, tmp_path: Path) -> None:
    """Given a complete verification, when a seal is forged, then taking it up finds it."""
    place, hash_ = await tamperer.place("counter", "hits", 10), tamperer.bytes_as("00" * 32)
    forged = f"{place.slot}, {place.position}, {place.position}, {place.entity}, {hash_}, {hash_}, 20"
    report = await resumed(tamperer, tmp_path / "progress.json", f"INSERT INTO casty_seals VALUES ({forged})")

    assert (place.slot, Wrong.SEAL) in [(one.slot, one.wrong) for one in report.findings]


async def test_a_last_record_that_was_changed_is_told(tamperer: Tamperer, tmp_path: Path) -> None:
    """Given a complete verification, when a slot's last record is another one, then it cannot be taken up."""
    place = await tamperer.place("counter", "hits", 1)
    last = await tamperer.last(place.slot)
    with pytest.raises(ConfigurationError, match="somebody changed the journal"):
        await resumed(
            tamperer,
            tmp_path / "progress.json",
            f"UPDATE casty_events SET hash = {tamperer.bytes_as('11' * 32)} "
            f"WHERE slot = {place.slot} AND position = {last}",
        )


async def test_a_file_of_an_earlier_version_is_taken_up(tamperer: Tamperer, tmp_path: Path) -> None:
    """Given a file without digests, as earlier versions wrote it, then it is taken up and has them afterwards."""
    file = tmp_path / "progress.json"
    assert (await verify(tamperer.url, resume=file)).ok
    state = msgspec.json.decode(file.read_bytes())
    del state["structures"], state["file"], state["tables"]
    for result in state["done"].values():
        del result["beside"]
    file.write_bytes(msgspec.json.encode(state))

    report = await verify(tamperer.url, resume=file)

    assert (report.ok, report.records) == (True, 0)
    assert msgspec.json.decode(file.read_bytes())["structures"]


def damage_index(file: Path) -> None:
    """Change a name in an index and not in its table, which only SQLite itself finds."""
    with closing(sqlite3.connect(file)) as connection:
        [(page,)] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE tbl_name = 'casty_entities' AND type = 'index' AND sql IS NULL"
        ).fetchall()
        [(size,)] = connection.execute("PRAGMA page_size").fetchall()
    content = bytearray(file.read_bytes())
    at = content.index(b"counterhits", (page - 1) * size, page * size)
    content[at : at + 11] = b"counterhitz"
    file.write_bytes(bytes(content))


async def test_a_file_that_is_as_it_was_is_not_checked_again(sqlite_journal_url: str, tmp_path: Path) -> None:
    """Given a file that SQLite found whole, then it is asked again when a byte of it is another one, and only then."""
    file, progress = sqlite_file(sqlite_journal_url), tmp_path / "progress.json"
    await write_all_kinds(sqlite_journal_url)
    assert (await verify(sqlite_journal_url, resume=progress)).ok
    whole = progress.read_bytes()
    damage_index(file)

    changed = await verify(sqlite_journal_url, resume=progress)
    again = await verify(sqlite_journal_url, resume=progress)
    state = msgspec.json.decode(whole)
    state["file"] = base64.b64encode(await digest_of(file)).decode()  # as if this file had been found whole
    progress.write_bytes(msgspec.json.encode(state))
    believed = await verify(sqlite_journal_url, resume=progress)

    assert {one.wrong for one in changed.findings} == {one.wrong for one in again.findings} == {Wrong.FILE}
    assert believed.ok


async def test_in_memory(tmp_path: Path) -> None:
    """Given a journal in memory, when its verification is taken up, then nothing is walked again."""
    journal, file = InMemoryJournal(slots=16), tmp_path / "progress.json"

    first, second = await verify(journal, resume=file), await verify(journal, resume=file)

    assert (first.ok, second.ok, second.slots) == (True, True, 16)
