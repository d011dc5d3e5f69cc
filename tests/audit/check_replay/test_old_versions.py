"""Events of an older version: everything that reads events lifts them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from casty_es import EntityQuarantinedError, SqlJournal, connect
from casty_es.audit.check_replay import Problem, check_replay
from casty_es.audit.verify import verify
from casty_es.domain.counter import COUNTER, Increment
from casty_es.owner.entity import Entity
from casty_es.owner.repeats import reply_from
from casty_es.replay import events, state_at
from tests.audit.conftest import NOON
from tests.audit.verifying.tampering import Tamperer

from .old import OLD_EVENTS, write_both_versions


async def test_everything_reads_them(journal_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given events of versions 1 and 2, then activation, time travel, history and verify read both."""
    await write_both_versions(journal_url, monkeypatch)
    moment = datetime.fromtimestamp(NOON / 1_000_000, UTC) + timedelta(microseconds=2)

    verified, checked = await verify(journal_url), await check_replay(journal_url)
    await Tamperer(journal_url).run("DELETE FROM casty_snapshots")
    async with connect(journal_url) as d:
        hits = d.counter("hits")
        assert await hits.at(sequence=3).get() == 3
        assert await d.at(moment).counter("hits").get() == 3
        assert await hits.increment() == 2 * OLD_EVENTS + 1
        versions = [event.version async for event in hits.history()]

    assert verified.findings == []
    assert checked.differences == []
    assert verified.snapshots == checked.snapshots == 1
    assert checked.events == 2 * OLD_EVENTS
    assert versions == [1] * OLD_EVENTS + [2] * (OLD_EVENTS + 1)


async def test_a_repeat_is_answered_from_them(journal_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a command whose event has version 1, when it is repeated, then its caller is told what it was told then."""
    await write_both_versions(journal_url, monkeypatch)
    [(id_, slot)] = await Tamperer(journal_url).run("SELECT id, slot FROM casty_entities")
    journal = SqlJournal(journal_url)
    await journal.open()
    try:
        recorded = [record async for record in events(journal, id_, until=2)][1:]
    finally:
        await journal.close()

    class _Asked:
        command = Increment(1)

    asked: Any = _Asked()
    slot_: Any = slot
    entity = Entity(("counter", "hits", ""), COUNTER, slot_, id_, b"")  # type: ignore[arg-type]
    assert reply_from(entity, asked, recorded) == 2


def _fails(_fields: dict[str, Any]) -> dict[str, Any]:
    raise KeyError("by")


@pytest.mark.parametrize("lift", [_fails, lambda _: {"amount": "one"}, lambda _: None])
async def test_a_function_that_is_wrong(journal_url: str, monkeypatch: pytest.MonkeyPatch, lift: Any) -> None:
    """Given an upcaster that raises or gives a wrong shape, then the first event is named, and nothing is skipped."""
    await write_both_versions(journal_url, monkeypatch, lifted_by=lift)
    tamperer = Tamperer(journal_url)
    first = await tamperer.place("counter", "hits", 1)
    where = f"slot {first.slot}, position {first.position}, sequence 1"

    report = await check_replay(journal_url)

    [difference] = report.differences
    assert (difference.problem, difference.slot, difference.position) == (
        Problem.QUARANTINED,
        first.slot,
        first.position,
    )
    await tamperer.run("DELETE FROM casty_snapshots")
    async with connect(journal_url) as d:
        with pytest.raises(EntityQuarantinedError, match=where):
            await d.counter("hits").increment()
        with pytest.raises(EntityQuarantinedError, match=where):
            await d.counter("hits").at(sequence=2).get()
        assert len([event async for event in d.counter("hits").history()]) == 2 * OLD_EVENTS


async def test_folding_that_fails_names_the_place(journal_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given code whose folding raises, when a state is asked for, then the place is named."""
    await write_both_versions(journal_url, monkeypatch)
    first = await Tamperer(journal_url).place("counter", "hits", 1)

    def evolve(_state: object, _event: object) -> object:
        raise ZeroDivisionError

    kind = msgspec.structs.replace(COUNTER, evolve=evolve)
    journal = SqlJournal(journal_url)
    await journal.open()
    try:
        with pytest.raises(EntityQuarantinedError, match=f"position {first.position}, sequence 1: folding"):
            await state_at(journal, first.entity, kind, 1)
    finally:
        await journal.close()
