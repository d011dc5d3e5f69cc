"""Snapshots that somebody else put there: the log says what a snapshot must be, and nothing else is believed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from casty_es import ClusteredActorSystem, Distributed, Settings, SqlJournal, connect
from casty_es.audit.retention import run_retention, set_retention
from casty_es.audit.verify import Report, Wrong, verify
from casty_es.domain.catalog import CATALOG
from casty_es.domain.counter import Incremented
from casty_es.errors import EntityQuarantinedError, JournalCorruptError
from casty_es.format.codec import encode_state
from casty_es.journal.port import EntityName
from tests.audit.recorder import Recorder
from tests.audit.verifying.tampering import Tamperer

pytestmark = pytest.mark.usefixtures("snapshots_at_once")

Sql = Callable[..., list[tuple[Any, ...]]]

SETTINGS = Settings(snapshot_events=20)
FORGE = """
    INSERT INTO casty_snapshots (entity, sequence, state, version, recorded_at)
    SELECT id, {sequence}, '{{"value":1000000,"exists":true}}', 1, 1 FROM casty_entities WHERE name = 'c'"""


@pytest.fixture
def owner_url(database_kind: str, request: pytest.FixtureRequest) -> str:
    """A migrated journal for whoever may do all: on Postgres one with roles."""
    return str(request.getfixturevalue("sqlite_journal_url" if database_kind == "sqlite" else "granted_url"))


@pytest.fixture
def program_url(database_kind: str, request: pytest.FixtureRequest) -> str:
    """The same for what programs may do, which is all that there is on SQLite."""
    fixture = "sqlite_journal_url" if database_kind == "sqlite" else "application_journal_url"
    return str(request.getfixturevalue(fixture))


async def increment(d: Distributed, times: int) -> None:
    """Increment the counter one by one, each committed before the next."""
    for _ in range(times):
        await d.counter("c").increment()


def named(report: Report) -> list[tuple[Wrong, bool]]:
    """Return what was found, and whether it says that nodes do not believe it."""
    return [(one.wrong, "no node believes it" in one.text) for one in report.findings]


@pytest.mark.parametrize("when", ["behind the last event", "before its event"])
async def test_a_forged_snapshot_is_not_believed(
    owner_url: str, program_url: str, sql: Sql, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a snapshot of an event with another state, when its entity is read, then by its events, and it is named."""
    async with connect(program_url, settings=SETTINGS) as d:
        await increment(d, 55)
        if when == "before its event":
            await asyncio.to_thread(sql, program_url, FORGE.format(sequence=60))
        await increment(d, 10)
    if when == "behind the last event":
        await asyncio.to_thread(sql, program_url, FORGE.format(sequence=65))

    caplog.set_level(logging.INFO, "casty_es")
    for _ in range(2):
        async with connect(program_url, settings=SETTINGS) as d:
            assert await d.counter("c").get() == 65
            assert await d.counter("c").at(sequence=65).get() == 65
            assert await d.counter("c").get() == 65
    told = [record for record in caplog.records if "is not the state that its events give" in record.getMessage()]
    assert [record.levelname for record in told] == ["WARNING"] * 2  # once for each node

    assert named(await verify(owner_url)) == [(Wrong.SNAPSHOT, True)]


async def test_what_the_log_says_is_all_that_counts(journal_url: str) -> None:
    """Given a snapshot that is right, when what the log says of it is gone, then it is folded without it."""
    async with connect(journal_url, settings=SETTINGS) as d:
        await increment(d, 35)
    tamperer = Tamperer(journal_url)
    await tamperer.run("UPDATE casty_events SET payload = '{' WHERE sequence = 10")
    async with connect(journal_url) as d:
        assert await d.counter("c").get() == 35

    await tamperer.run("UPDATE casty_events SET metadata = NULL")

    async with connect(journal_url) as d:
        with pytest.raises(EntityQuarantinedError, match="sequence 10"):
            await d.counter("c").get()


async def test_a_journal_of_before(journal_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Given snapshots that no log speaks of, then they are not used, nothing is wrong, and the next one is used."""
    journal = SqlJournal(journal_url)
    recorder = Recorder(journal, EntityName("counter", "c", ""), (await journal.open()).slots)
    await journal.record_structures([("counter", "c", 100)])
    await recorder.begin(1)
    for value in range(1, 41):
        await recorder.record((Incremented(1, value),), value)
        if value in {20, 40}:
            await recorder.snapshot(value, bound=False)
    await journal.close()

    report = await verify(journal_url)
    assert (report.findings, report.snapshots, report.unbound_snapshots) == ([], 2, 2)
    async with connect(journal_url, settings=SETTINGS) as d:
        assert await d.counter("c").get() == 40
        assert await d.counter("c").at(sequence=30).get() == 30
        await increment(d, 10)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

    await Tamperer(journal_url).run("UPDATE casty_events SET payload = '{' WHERE sequence = 30")
    async with connect(journal_url) as d:
        assert await d.counter("c").get() == 50


async def test_behind_a_cut_the_seal_counts(
    owner_url: str, program_url: str, sql: Sql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given cut events, and forged snapshots beside the one in their place, then the one that was sealed is used."""
    journal = SqlJournal(owner_url)
    await journal.open()
    async with ClusteredActorSystem(journal=SqlJournal(owner_url)) as system:
        await increment(system.distributed(), 30)
        await set_retention(journal, "counter", "c", 20)
        assert (await run_retention(system, journal, tmp_path, pace=0)).events == 10
    await journal.close()
    for sequence in (3, *range(15, 25), 2**63 - 1):
        await asyncio.to_thread(sql, program_url, FORGE.format(sequence=sequence))

    async def elsewhere(*_: object) -> None:
        return None

    for _ in range(2):
        async with connect(program_url) as d:
            assert await d.counter("c").get() == 30
            assert await d.counter("c").at(sequence=28).get() == 28
            with pytest.raises(JournalCorruptError, match="does not say what its snapshot at event 3 must be"):
                await d.counter("c").at(sequence=5).get()
        monkeypatch.setattr(SqlJournal, "binding", elsewhere)  # as if the seal were too far away to be found

    await Tamperer(owner_url).run("DELETE FROM casty_snapshots WHERE sequence = 10")
    async with connect(program_url) as d:
        with pytest.raises(EntityQuarantinedError, match="does not say what its snapshot"):
            await d.counter("c").get()
        assert await d.counter("b").increment() == 1


async def test_a_redaction_that_was_none(program_url: str, sql: Sql) -> None:
    """Given an entity that is said to be redacted, with the empty snapshot of that, then it is what its events give."""
    async with connect(program_url) as d:
        await d.set[str]("s").add("kept")
        await d.set[str]("s").add("too")
    insert = "INSERT INTO casty_snapshots (entity, sequence, state, version, recorded_at)"
    empty = encode_state(CATALOG["set"], CATALOG["set"].initial)
    await asyncio.to_thread(
        sql,
        program_url,
        "UPDATE casty_entities SET salted_from = 2",
        f"{insert} SELECT id, 2, '{empty}', 1, 1 FROM casty_entities",
    )

    async with connect(program_url) as d:
        assert await d.set[str]("s").size() == 2
        assert await d.set[str]("s").at(sequence=2).size() == 2
