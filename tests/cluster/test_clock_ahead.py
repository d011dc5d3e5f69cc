"""A node whose clock is far ahead: it writes nothing, says so, and goes on when the clocks agree again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from casty_es import ClusteredActorSystem, Settings, SqlJournal
from casty_es.errors import ClockAheadError
from casty_es.journal import database_clock as clock_of_journal
from casty_es.runtime import SystemRuntime

from .nodes import until

Rows: TypeAlias = Callable[..., Awaitable[list[tuple[Any, ...]]]]

SECOND = 1_000_000
TEN_YEARS = 10 * 365 * 86_400 * SECOND
RECORDS = "SELECT count(*), max(recorded_at) FROM casty_events"


class Clock(SystemRuntime):
    """A clock that is set by the test."""

    ahead = 0

    def now(self) -> int:
        """Return the real clock, and what it is ahead."""
        return super().now() + self.ahead


def node(url: str, clock: Clock, **settings: Any) -> ClusteredActorSystem:
    """Make a node with a clock of its own."""
    return ClusteredActorSystem(journal=SqlJournal(url), runtime=clock, settings=Settings(**settings))


async def test_nothing_is_written_by_a_clock_that_is_far_ahead(journal_url: str, rows: Rows) -> None:
    """When a clock jumps ten years ahead, its writes are refused, its reads go on, and no time is in the future."""
    clock = Clock()
    async with node(journal_url, clock) as system:
        d = system.distributed()
        hits, others = d.counter("hits"), [d.counter(f"other-{number}") for number in range(5)]
        assert await hits.increment() == 1
        before = await rows(RECORDS)

        clock.ahead = TEN_YEARS
        told = await asyncio.gather(*(c.increment() for c in (hits, hits, *others)), return_exceptions=True)

        assert {type(one) for one in told} == {ClockAheadError}
        assert "Nothing was written" in str(told[0])
        assert "max_clock_ahead_seconds" in str(told[0])
        assert await hits.get() == 1
        assert await rows(RECORDS) == before

        clock.ahead = 0
        assert await hits.increment() == 2
        assert await others[0].increment() == 1


async def test_a_node_with_a_clock_far_ahead_does_not_start(journal_url: str, rows: Rows) -> None:
    """A node whose clock is ten years ahead refuses to start, and leaves nothing behind."""
    clock = Clock()
    clock.ahead = TEN_YEARS
    with pytest.raises(ClockAheadError):
        async with node(journal_url, clock):
            pass

    assert await rows("SELECT count(*) FROM casty_nodes") == [(0,)]
    assert await rows(RECORDS) == [(0, None)]
    clock.ahead = 0
    async with node(journal_url, clock) as system:
        assert await system.distributed().counter("hits").increment() == 1


@pytest.mark.parametrize(("ahead", "most"), [(200, 300.0), (-TEN_YEARS // SECOND, 300.0), (900, 1_000.0)])
async def test_a_clock_that_is_within_bounds(journal_url: str, ahead: int, most: float) -> None:
    """A clock that is behind, or ahead by less than the setting says, is written by."""
    clock = Clock()
    clock.ahead = ahead * SECOND
    async with node(journal_url, clock, max_clock_ahead_seconds=most) as system:
        assert await system.distributed().counter("hits").increment() == 1


async def test_a_host_whose_clock_jumps(
    sqlite_journal_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the jumping clock is all there is, nothing is written until it is looked at, which is logged loudly."""
    host = Clock()
    monkeypatch.setattr(clock_of_journal, "runtime", SimpleNamespace(wall_clock=host.now))
    async with node(sqlite_journal_url, host) as system:
        hits = system.distributed().counter("hits")
        assert await hits.increment() == 1

        host.ahead = TEN_YEARS
        with pytest.raises(ClockAheadError):
            await hits.increment()

        async def logged() -> bool:
            return "jumped ahead" in caplog.text

        await until(logged)
        assert await hits.increment() == 2
