"""``check-replay``: whatever the installed code makes otherwise of a stored log is named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from casty_es import InMemoryJournal, InvalidArgumentError, SqlJournal, connect
from casty_es.audit.check_replay import Difference, Problem, check_replay, slot_replay
from casty_es.audit.check_replay import differences as differences_module
from casty_es.audit.verify import verify
from casty_es.cli.app import run
from casty_es.domain import counter
from casty_es.domain.catalog import CATALOG
from casty_es.journal.urls import is_sqlite
from tests.audit.verifying.journals import SLOTS
from tests.audit.verifying.tampering import Tamperer
from tests.versions import with_state_lifts


async def differences(url: str, **options: Any) -> list[tuple[str, int | None, int | None, Problem]]:
    """Check, and return what differs: name, sequence, position, problem."""
    report = await check_replay(url, **options)
    return [(one.name, one.sequence, one.position, one.problem) for one in report.differences]


async def test_an_unchanged_code(written_url: str) -> None:
    """Given a journal of every structure, when the code that wrote it checks it, then nothing differs."""
    alone, shared = await check_replay(written_url), await check_replay(written_url, processes=2)

    assert alone.ok
    assert shared.ok
    assert (alone.slots, alone.entities) == (SLOTS, 9)
    assert alone.events == shared.events > 120
    assert alone.snapshots == shared.snapshots >= 5
    assert alone.unread_snapshots == 0


async def test_a_part_of_it(written_url: str) -> None:
    """Given a kind, a name, both, or slots, then only they are looked at."""
    counters = await check_replay(written_url, kind="counter")
    hits = await check_replay(written_url, kind="counter", name="hits")
    users = await check_replay(written_url, name="users")
    nowhere = await check_replay(written_url, slots=[0], kind="counter", name="never")

    assert (counters.entities, hits.entities, users.entities, nowhere.entities) == (2, 1, 3, 0)
    assert (hits.events, users.slots) == (60, SLOTS)

    async with connect(written_url) as d:
        await d.counter("few", shards=2).increment()
    few = await check_replay(written_url, kind="counter", name="few")
    assert (few.entities, few.events) == (1, 1)
    assert few.slots <= 2


def _doubled(state: counter.State, event: Any) -> counter.State:
    changed: counter.State = counter.evolve(state, event)
    return msgspec.structs.replace(changed, value=2 * changed.value) if changed.value == 30 else changed


def _adding(state: counter.State, event: Any) -> counter.State:
    if isinstance(event, counter.Incremented):
        return counter.State(state.value + 2 * event.amount, exists=True)
    return counter.evolve(state, event)


async def test_a_changed_folding(tamperer: Tamperer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given code that folds otherwise, then the first snapshot that differs is named, with what differs."""
    monkeypatch.setitem(CATALOG, "counter", msgspec.structs.replace(counter.COUNTER, evolve=_adding))
    at = await tamperer.place("counter", "hits", 20)

    report = await check_replay(tamperer.url)

    [one] = report.differences
    assert (one.kind, one.name, one.slot, one.position, one.sequence) == ("counter", "hits", at.slot, at.position, 20)
    assert one.problem is Problem.SNAPSHOT
    assert "value: stored 20, folded 40" in one.text


async def test_what_no_snapshot_shows(tamperer: Tamperer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given code that is wrong for a moment that no snapshot was taken at, then nothing differs: that is its limit."""
    monkeypatch.setitem(CATALOG, "counter", msgspec.structs.replace(counter.COUNTER, evolve=_doubled))

    assert await differences(tamperer.url) == []


async def test_an_entity_that_dies_or_lives(tamperer: Tamperer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given code for which a destroyed counter exists, then its last event is named."""
    monkeypatch.setitem(CATALOG, "counter", msgspec.structs.replace(counter.COUNTER, exists=lambda _: True))
    gone = await tamperer.place("counter", "gone", 2)

    assert await differences(tamperer.url) == [("gone", 2, gone.position, Problem.ALIVE)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("type = 'counter.halved'", "'counter.halved' is not known"),
        ("version = 7", "has version 7; this code knows versions 1 to 1"),
        ("payload = '{}'", "does not have that event's shape"),
        ("payload = 'x'", "does not have that event's shape"),
        ("""payload = '{"redacted":"' || '%s' || '"}'""", "was redacted"),
    ],
)
async def test_an_event_that_cannot_be_read(tamperer: Tamperer, change: str, said: str) -> None:
    """Given an event that the code cannot read, then slot and position are named, and other logs are folded on."""
    at = await tamperer.place("counter", "hits", 25)
    change = change.replace("%s", "0" * 64)
    await tamperer.run(f"UPDATE casty_events SET {change} WHERE entity = {at.entity} AND sequence = 25")

    report = await check_replay(tamperer.url)

    [one] = report.differences
    assert (one.slot, one.position, one.sequence, one.problem) == (at.slot, at.position, 25, Problem.QUARANTINED)
    assert said in one.text
    assert report.entities == 9


async def test_an_event_that_is_missing(tamperer: Tamperer) -> None:
    """Given events that are not there, then the one behind them is named, unless a snapshot stands in their place."""
    at = await tamperer.place("counter", "hits", 31)
    await tamperer.run(f"DELETE FROM casty_events WHERE entity = {at.entity} AND sequence = 30")
    assert await differences(tamperer.url) == [("hits", 31, at.position, Problem.MISSING)]

    await tamperer.run(f"DELETE FROM casty_events WHERE entity = {at.entity} AND sequence <= 20")
    behind = await tamperer.place("counter", "hits", 31)
    assert await differences(tamperer.url) == [("hits", 31, behind.position, Problem.MISSING)]


async def test_behind_a_cut(tamperer: Tamperer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given events that were cut, then folding begins with the snapshot in their place, if the code reads it."""
    at = await tamperer.place("counter", "hits", 21)
    await tamperer.run(
        f"DELETE FROM casty_events WHERE entity = {at.entity} AND sequence <= 20",
        f"UPDATE casty_snapshots SET state = replace(state, '40', '41') WHERE entity = {at.entity}",
    )
    later = await tamperer.place("counter", "hits", 40)
    assert await differences(tamperer.url) == [("hits", 40, later.position, Problem.SNAPSHOT)]

    with_state_lifts(monkeypatch, "counter", None)
    report = await check_replay(tamperer.url)
    [one] = report.differences
    assert (one.sequence, one.position, one.problem) == (21, at.position, Problem.QUARANTINED)
    assert "state version 1" in one.text


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "exists": True}


def _wrong(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "value": 0}


def _failing(fields: dict[str, Any]) -> dict[str, Any]:
    return {"value": fields["missing"]}


@pytest.mark.parametrize(
    ("lift", "problems", "unread"), [(_renamed, 0, 0), (_wrong, 1, 0), (_failing, 1, 0), (None, 0, 3)]
)
async def test_older_states(
    written_url: str, monkeypatch: pytest.MonkeyPatch, lift: Callable[..., Any] | None, problems: int, unread: int
) -> None:
    """Given snapshots of an older version, then they are compared lifted; those that are not read are counted."""
    with_state_lifts(monkeypatch, "counter", lift)

    report = await check_replay(written_url, kind="counter")

    assert [one.problem for one in report.differences] == [Problem.SNAPSHOT] * problems
    assert report.unread_snapshots == unread
    assert len(report.notes) == (1 if unread else 0)


async def test_an_entity_of_nothing(tamperer: Tamperer) -> None:
    """Given a kind that the code does not have, and an entity without events, then both are named."""
    hits = await tamperer.place("counter", "hits", 1)
    gone = await tamperer.place("counter", "gone", 1)
    await tamperer.run(
        f"UPDATE casty_entities SET kind = 'clock' WHERE id = {hits.entity}",
        f"DELETE FROM casty_events WHERE entity = {gone.entity}",
    )

    found = await differences(tamperer.url)

    assert set(found) == {("hits", 1, hits.position, Problem.QUARANTINED), ("gone", None, None, Problem.MISSING)}


async def test_a_directory_that_was_changed(tamperer: Tamperer) -> None:
    """Given a directory that says otherwise than the events whether an entity exists, then it is named."""
    hits = await tamperer.place("counter", "hits", 60)
    value = "1 - alive" if is_sqlite(tamperer.url) else "NOT alive"
    await tamperer.run(f"UPDATE casty_entities SET alive = {value} WHERE id = {hits.entity}")

    assert await differences(tamperer.url) == [("hits", 60, hits.position, Problem.ALIVE)]


async def test_beside_live_traffic(written_url: str) -> None:
    """Given a map whose keys come and go all the time, when it is checked meanwhile, then nothing differs."""
    async with connect(written_url) as d:
        users = d.map[str, int]("users")
        stop = asyncio.Event()

        async def churn() -> int:
            times = 0
            while not stop.is_set():
                await users.put("dave", times)
                await users.delete("dave")
                times += 1
            return times

        churning = asyncio.create_task(churn())
        try:
            reports = [await check_replay(written_url, name="users") for _ in range(5)]
        finally:
            stop.set()
            times = await churning

    assert times > 0
    assert [one for report in reports for one in report.differences] == []


async def test_with_the_right_to_read_alone(tamperer: Tamperer) -> None:
    """Given a role that may only read, then it checks and verifies."""
    if is_sqlite(tamperer.url):
        pytest.skip("SQLite has no roles")
    role = "reader_" + urlsplit(tamperer.url).path[-8:]
    await tamperer.run(f"CREATE ROLE {role} LOGIN PASSWORD 'reader'", f"GRANT pg_read_all_data TO {role}")
    try:
        parts = urlsplit(tamperer.url)
        host = parts.netloc.rpartition("@")[2]
        url = parts._replace(netloc=f"{role}:reader@{host}").geturl()
        assert (await check_replay(url)).ok
        assert (await verify(url)).ok
    finally:
        await tamperer.run(f"DROP ROLE {role}")


async def test_what_cannot_be_checked(written_url: str) -> None:
    """Given a kind or a slot that is not there, or processes for a journal in memory, then nothing is read."""
    for options in ({"kind": "clock"}, {"slots": [SLOTS]}):
        with pytest.raises(InvalidArgumentError, match="Nothing was"):
            await check_replay(written_url, **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="Nothing was checked"):
        await check_replay(InMemoryJournal(), processes=2)


def test_the_command(written_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Given the command, when nothing differs it exits with 0, and when something does with 1, naming it."""
    arguments = ["check-replay", "--processes", "1", "--url", written_url]
    assert run(arguments) == 0
    assert "Nothing differs." in capsys.readouterr().out
    assert run([*arguments, "--json", "--kind", "map", "--name", "users", "--slots", f"0-{SLOTS - 1}"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["entities"], told["differences"]) == (True, 3, [])

    async def break_it() -> None:
        tamperer = Tamperer(written_url)
        at = await tamperer.place("map", "users", 1, key="s:alice")
        await tamperer.run(f"UPDATE casty_events SET version = 2 WHERE entity = {at.entity}")

    asyncio.run(break_it())
    assert run(arguments) == 1
    assert "quarantined" in capsys.readouterr().out
    assert run([*arguments, "--json"]) == 1
    [one] = json.loads(capsys.readouterr().out)["differences"]
    assert (one["kind"], one["name"], one["key"], one["sequence"]) == ("map", "users", "alice", 1)


async def test_too_many_differences(tamperer: Tamperer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a slot where everything differs, then its check ends, and a note says so."""
    monkeypatch.setattr(differences_module, "DIFFERENCES_PER_SLOT", 1)
    assert slot_replay.SlotReplay is differences_module.SlotReplay
    await tamperer.run("UPDATE casty_events SET version = 7 WHERE entity IS NOT NULL")

    report = await check_replay(tamperer.url)

    slots = {one.slot for one in report.differences}
    assert len(report.differences) == len(slots) == len(report.notes) > 1
    assert all(isinstance(one, Difference) for one in report.differences)


async def test_a_journal_that_was_opened_stays_open(written_url: str) -> None:
    """Given a journal, when it is checked, then it can be used afterwards."""
    journal = SqlJournal(written_url)
    await journal.open()
    try:
        assert (await check_replay(journal)).ok
        assert (await journal.open()).slots == SLOTS
        assert len(await journal.structure_rows()) > 0
    finally:
        await journal.close()
