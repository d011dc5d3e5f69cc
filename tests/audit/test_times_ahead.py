"""Times that have not come yet: who asks for a moment that they hide is told so, and everything else is answered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from casty_es import ClusteredActorSystem, Distributed, Settings, SqlJournal, connect
from casty_es.audit.forensics import who_held
from casty_es.audit.retention import retention_run, run_retention, set_retention
from casty_es.audit.verify import verify
from casty_es.cli.app import run
from casty_es.errors import TimesAheadError
from casty_es.runtime import SystemRuntime

TEN_YEARS = timedelta(days=3_650, hours=12)


class Ahead(SystemRuntime):
    """A clock that is ten years ahead."""

    def now(self) -> int:
        """Return what it shows."""
        return super().now() + TEN_YEARS // timedelta(microseconds=1)


class Written(NamedTuple):
    """A counter that was 1 before a clock was ahead, was written by that clock once, and three times since."""

    url: str
    d: Distributed
    system: Any
    last_good_time: datetime
    slot: int
    position: int


@pytest_asyncio.fixture
async def written(journal_url: str) -> AsyncIterator[Written]:
    """That counter, and a lock that was taken under that clock."""
    async with connect(journal_url) as d:
        await d.counter("hits").increment()
    reckless = Settings(max_clock_ahead_seconds=1e9)
    async with ClusteredActorSystem(journal=SqlJournal(journal_url), runtime=Ahead(), settings=reckless) as system:
        d = system.distributed()
        await d.counter("hits").increment()
        await d.lock("deploy").acquire()
    async with ClusteredActorSystem(journal=SqlJournal(journal_url)) as system:
        d = system.distributed()
        for _ in range(3):
            await d.counter("hits").increment()
        before, first = [event async for event in d.counter("hits").history(limit=2)]
        # The lease record that the clock's node began with is the first.
        yield Written(journal_url, d, system, before.recorded_at, first.slot, first.position - 1)


async def test_a_moment_that_cannot_be_told(written: Written) -> None:
    """A moment behind the clock's jump is refused, with the slot, the position and how far."""
    for ask in (
        written.d.at(datetime.now(UTC)).counter("hits").get(),
        anext(aiter(written.d.at(datetime.now(UTC)).counter("hits").history(after=1))),
        exhausted(written.d.counter("hits").history(until=datetime.now(UTC))),
        who_held(written.system.journal, "lock", "deploy", at=datetime.now(UTC)),
    ):
        with pytest.raises(TimesAheadError, match="sequence or with a cursor"):
            await ask

    with pytest.raises(TimesAheadError, match=f"slot {written.slot} from position {written.position} on, by 3650 days"):
        await written.d.at(datetime.now(UTC)).counter("hits").get()


async def exhausted(history: AsyncIterator[Any]) -> None:
    """Go to the end."""
    async for _ in history:
        pass


async def test_what_can_be_told(written: Written) -> None:
    """Moments up to the last time before the jump, cursors, sequences and other slots are answered as ever."""
    d = written.d
    assert await d.at(written.last_good_time).counter("hits").get() == 1
    assert await d.at(await d.cursor()).counter("hits").get() == 5
    assert await d.counter("hits").at(sequence=3).get() == 3
    await d.counter("other").increment()
    assert await d.at(datetime.now(UTC)).counter("other").get() == 1


async def test_the_command_line(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    """``show --at now`` and ``log --until now`` fail and say why; the doctor and verify name the places."""
    place = f"slot {written.slot} from position {written.position} on, by 3650 days"

    async def called(*arguments: str, code: int) -> str:
        capsys.readouterr()
        assert await asyncio.to_thread(run, [*arguments, "--url", written.url]) == code
        return "".join(capsys.readouterr())

    assert place in await called("show", "counter", "hits", "--at", "now", code=3)
    assert place in await called("log", "counter/hits", "--until", "now", code=3)
    assert "counter.incremented" in await called("log", "counter/hits", code=0)
    checks = {one["name"]: one for one in json.loads(await called("doctor", "--json", code=0))["checks"]}
    assert checks["times in the journal"]["status"] == "warn"
    assert place in checks["times in the journal"]["found"]
    report = await verify(written.url)
    assert report.ok
    assert any(place in note for note in report.notes)


async def test_retention_by_age(written: Written, tmp_path: Path) -> None:
    """What has a time in the future is kept by its age, and the run says so."""
    journal = written.system.journal
    await set_retention(journal, "counter", "hits", timedelta(days=1))

    done = await run_retention(written.system, journal, tmp_path)

    assert done.events == 0
    assert any(f"slot {written.slot} from position {written.position} on" in note for note in done.notes)


async def test_retention_by_a_clock_that_is_ahead(
    postgres_journal_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run on a host whose clock is ahead cuts by the database's clock: nothing goes before its age."""
    ahead = SimpleNamespace(time_ns=lambda: time.time_ns() + 10**18, perf_counter=time.perf_counter)
    monkeypatch.setattr(retention_run, "time", ahead)
    async with ClusteredActorSystem(journal=SqlJournal(postgres_journal_url)) as system:
        for _ in range(5):
            await system.distributed().counter("hits").increment()
        await set_retention(system.journal, "counter", "hits", timedelta(days=30))

        assert (await run_retention(system, system.journal, tmp_path)).events == 0


def test_nothing_is_said_where_no_time_is_ahead(journal_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A journal whose times have all come is asked for any moment."""
    assert run(["counter", "increment", "hits", "--url", journal_url]) == 0
    assert run(["show", "counter", "hits", "--at", "now", "--url", journal_url]) == 0
    assert "future" not in "".join(capsys.readouterr())
