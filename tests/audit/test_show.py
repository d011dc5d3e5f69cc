"""``casty-es show``: every structure as it is, and as it was."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from casty_es import Distributed
from casty_es.cli.app import run

from .conftest import NOON, SetClock


def moment(seconds: float) -> str:
    """Return a moment as a user types it."""
    return (datetime.fromtimestamp(NOON / 1_000_000, UTC) + timedelta(seconds=seconds)).isoformat()


async def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Run the command and give what it prints as JSON."""
    assert await asyncio.to_thread(run, ["show", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


async def test_now_and_then(
    d: Distributed, clock: SetClock, journal_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a counter that grew, when it is shown now, then, and by sequence, then each has its value."""
    for second in range(3):
        clock.time = NOON + second * 1_000_000
        await d.counter("hits").increment(5)
    where = ["counter", "hits", "--url", journal_url]

    assert (await shown(capsys, *where))["state"]["value"] == 15
    then = await shown(capsys, *where, "--at", moment(1.5))
    assert (then["state"]["value"], then["sequence"], then["exists"]) == (10, 2, True)
    assert then["at"] == datetime.fromisoformat(moment(1.5)).isoformat(timespec="microseconds")
    assert (await shown(capsys, *where, "--at", moment(-1)))["exists"] is False
    assert (await shown(capsys, *where, "--sequence", "1"))["state"]["value"] == 5


async def test_every_kind(d: Distributed, journal_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Given all structures, when each is shown as a table, then what is in it can be read."""
    await d.map[int, str]("a").put(7, "[red]x[/red]")
    await d.set[str]("a").add("member")
    for number in range(30):
        await d.queue[int]("a").enqueue(number)
    await d.lock("a").acquire()
    await d.semaphore("a", permits=2).acquire()
    await d.barrier("a", node_id="me").arrive(expected=1)
    await d.counter("a").increment(10**30)
    expected = {
        "counter": [str(10**30)],
        "map": ["[red]x[/red]"],
        "set": ['1: "member"'],
        "queue": ["30: 0, 1, 2", "and 10 more"],
        "lock": ["holder", "line"],
        "semaphore": ["permits", "2"],
        "barrier": ["generation"],
    }
    for kind, texts in expected.items():
        key = ["--key", "7", "--key-type", "int"] if kind == "map" else []
        assert await asyncio.to_thread(run, ["show", kind, "a", *key, "--url", journal_url]) == 0
        out = capsys.readouterr().out
        for text in [*texts, "exists"]:
            assert text in out, (kind, text, out)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["thing", "a"], 2),
        (["map", "a"], 2),
        (["counter", "a", "--key", "k"], 2),
        (["counter", "a", "--at", "soon"], 2),
        (["counter", "a", "--at", "12:00", "--sequence", "1"], 2),
        (["counter", "a", "--sequence", "1"], 2),
    ],
)
def test_unusable_options(
    sqlite_journal_url: str, arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given options that say nothing, when the command runs, then it says what is wrong."""
    assert run(["show", *arguments, "--url", sqlite_journal_url]) == code
    assert capsys.readouterr().err
