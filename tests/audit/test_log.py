"""``casty-es log`` and the search behind it: the whole journal in the order of time, filtered, and live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from casty_es import Distributed, SqlJournal, audit_context
from casty_es.audit.check_replay import check_replay
from casty_es.audit.search import Wanted, follow, search
from casty_es.cli.app import run
from casty_es.replay import HistoryEvent

from .conftest import NOON, SetClock

SECOND = 1_000_000


@pytest_asyncio.fixture
async def told(d: Distributed, clock: SetClock) -> list[tuple[str, str, str | None]]:
    """What happened, a second between any two events: over many slots, kinds, names, keys and actors."""
    happened: list[tuple[str, str, str | None]] = []
    users, jobs = d.map[str, int]("users"), d.queue[int]("jobs")
    steps: list[tuple[str, str, str | None, Callable[[], Awaitable[Any]]]] = []
    for number in range(8):
        steps.append(("counter", f"c{number}", None, d.counter(f"c{number}").increment))
        steps.append(("map", "users", f"k{number % 3}", lambda number=number: users.put(f"k{number % 3}", number)))  # type: ignore[misc]
        steps.append(("queue", "jobs", None, lambda number=number: jobs.enqueue(number)))  # type: ignore[misc]
    for number, (kind, name, key, act) in enumerate(steps):
        clock.time = NOON + number * SECOND
        with audit_context(actor="even" if number % 2 == 0 else "odd"):
            await act()
        happened.append((kind, name, key))
    return happened


def short(events: list[HistoryEvent]) -> list[tuple[str, str, Any]]:
    """Return what a test compares."""
    return [(event.kind, event.name, event.key) for event in events]


async def found(journal: SqlJournal, limit: int | None = None, **wanted: Any) -> list[HistoryEvent]:
    """Search."""
    return [event async for event in search(journal, Wanted(**wanted), limit=limit)]


async def test_all_in_the_order_of_time(journal: SqlJournal, told: list[tuple[str, str, str | None]]) -> None:
    """Given events all over the slots, when all are searched, then they come in the order in which they happened."""
    events = await found(journal)

    assert short(events) == told
    assert len({event.slot for event in events}) > 5
    assert {event.node for event in events} == {"node-a"}
    assert short(await found(journal, limit=7)) == told[:7]


async def test_filters(journal: SqlJournal, told: list[tuple[str, str, str | None]]) -> None:
    """Given events, when they are searched by kind, name, key, type, actor, time or slot, then just those come."""
    assert short(await found(journal, kind="map")) == [one for one in told if one[0] == "map"]
    assert short(await found(journal, name="jobs")) == [one for one in told if one[1] == "jobs"]
    assert short(await found(journal, kind="map", name="users")) == [one for one in told if one[0] == "map"]
    assert short(await found(journal, kind="map", name="users", key="s:k1")) == [one for one in told if one[2] == "k1"]
    assert short(await found(journal, types=frozenset({"queue.enqueued"}))) == [
        one for one in told if one[0] == "queue"
    ]
    assert short(await found(journal, actor="odd")) == told[1::2]
    assert short(await found(journal, after=NOON + 3 * SECOND, until=NOON + 6 * SECOND)) == told[4:7]
    assert short(await found(journal, after=NOON + 3 * SECOND + 1, until=NOON + 7 * SECOND - 1)) == told[4:7]
    [first] = await found(journal, kind="counter", name="c3")
    assert ("counter", "c3", None) in short(await found(journal, slot=first.slot))
    assert {event.slot for event in await found(journal, slot=first.slot)} == {first.slot}
    assert await found(journal, kind="counter", name="never") == []
    assert await found(journal, actor="nobody") == []


async def test_a_map_of_many_keys(d: Distributed, journal: SqlJournal, clock: SetClock) -> None:
    """Given more keys than are read one by one, when the map is searched, then all events come in order."""
    numbers = d.map[int, int]("numbers")
    for number in range(60):
        clock.time = NOON + number * SECOND
        await numbers.put(number, number)

    assert [event.key for event in await found(journal, kind="map", name="numbers")] == list(range(60))
    later = await found(journal, kind="map", name="numbers", after=NOON + 29 * SECOND)
    assert [event.key for event in later] == list(range(30, 60))


async def test_follow_goes_on(d: Distributed, journal: SqlJournal) -> None:
    """Given somebody who follows, when events are written meanwhile, then they come, once each."""
    await d.counter("hits").increment()
    seen: list[int] = []
    enough = asyncio.Event()

    async def watch() -> None:
        async for event in follow(journal, Wanted(kind="counter"), seconds=0.01):
            seen.append(event.sequence)
            if len(seen) == 5:
                enough.set()

    watching = asyncio.create_task(watch())
    for _ in range(4):
        await d.counter("hits").increment()
        await d.set[int]("others").add(1)
    await asyncio.wait_for(enough.wait(), 30)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

    assert seen == [1, 2, 3, 4, 5]


def lines(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Run a command that prints JSON lines."""
    assert run([*arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_the_command(
    journal_url: str, told: list[tuple[str, str, str | None]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a journal and a running node, when the command filters, then it prints what the search finds."""
    start = datetime.fromtimestamp(NOON / SECOND + 20, UTC).isoformat()
    url = ["--url", journal_url]

    everything = await asyncio.to_thread(lines, ["log", *url], capsys)
    late = await asyncio.to_thread(lines, ["log", "--after", start, *url], capsys)
    odd = await asyncio.to_thread(lines, ["log", "--actor", "odd", "--kind", "map", *url], capsys)
    one = await asyncio.to_thread(lines, ["log", "map/users", "--key", "k1", "--until", "2", *url], capsys)

    assert [(row["kind"], row["name"], row["key"]) for row in everything] == told
    assert [(row["kind"], row["name"], row["key"]) for row in late] == told[21:]
    assert {(row["actor"], row["kind"]) for row in odd} == {("odd", "map")}
    assert [row["sequence"] for row in one] == [1, 2]
    assert everything[0]["node"] == "node-a"


async def test_the_table(
    journal_url: str, told: list[tuple[str, str, str | None]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Given more events than fit, when the table is printed, then it says how to go on, and that works."""
    assert await asyncio.to_thread(run, ["log", "--limit", "5", "--url", journal_url]) == 0

    shown = capsys.readouterr().out
    assert "counter/c0" in shown
    assert "map/users k0" in shown
    after = shown.rsplit("--after ", 1)[1].strip()
    rest = await asyncio.to_thread(lines, ["log", "--after", after, "--url", journal_url], capsys)
    assert [(row["kind"], row["name"], row["key"]) for row in rest] == told[5:]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--after", "5"],
        ["--after", "yesterday"],
        ["--kind", "thing"],
        ["counter/a", "--kind", "counter"],
        ["counter/a", "--name", "a"],
    ],
)
def test_unusable_options(sqlite_journal_url: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Given options that contradict each other or say nothing, when the command runs, then it says so."""
    assert run(["log", *arguments, "--url", sqlite_journal_url]) == 2
    assert capsys.readouterr().err


@pytest.mark.timeout(60)
async def test_a_structure_of_more_shards_than_can_be_counted(d: Distributed, journal: SqlJournal) -> None:
    """Given as many shards as there can be, when its events are searched, then not every shard is counted."""
    await d.map[str, int]("users", shards=2**31 - 1).put("alice", 1)
    assert short(await found(journal, kind="map", name="users")) == [("map", "users", "alice")]
    assert (await check_replay(journal.url, kind="map", name="users")).entities == 1
