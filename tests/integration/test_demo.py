"""The demo: it runs to a green end, and it can fail."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from casty_es import ClusteredActorSystem, SqlJournal
from casty_es.cli.app import run
from casty_es.cli.demo.check import Found, check_chains, compare, gap_seconds, look
from casty_es.cli.demo.drive import Child, DemoError
from casty_es.cli.demo.load import (
    PERMITS,
    Acknowledged,
    Operation,
    Order,
    Record,
    acknowledge,
    kind_of,
    mark_killed,
    opened,
    read_ledger,
)
from casty_es.journal.port import EntityName

TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger'"

STRUCTURES = [
    "counter page-views",
    "map users",
    "set tags",
    "queue jobs",
    "lock accounts",
    "semaphore uploads",
]


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a short demo as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "casty_es", "demo", "--seconds", "1", "--callers", "16", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def test_the_demo_ends_well_and_would_notice_a_loss(journal_url: str, tmp_path: Path) -> None:
    """A killed node loses nothing that was acknowledged, and the others go on; a false acknowledgement is noticed."""
    # given a journal, when the demo runs
    folder = tmp_path / "demo"
    done = demo("--folder", str(folder), "--url", journal_url, "--json")

    # then one of three nodes was killed, the one that owned the counter, and another took over
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] is True
    killed = result["kill"]["node_id"]
    assert {node["node_id"]: node["exit_code"] for node in result["nodes"]}[killed] == -signal.SIGKILL
    assert sorted(node["exit_code"] for node in result["nodes"]) == [-signal.SIGKILL, 0, 0]
    assert result["counter"]["owner_before"] == killed
    survivors = {node["node_id"] for node in result["nodes"]} - {killed}
    assert result["counter"]["owner_after"] in survivors
    assert result["counter"]["gap_seconds"] > 0

    # and all that was acknowledged is there, from before and after the kill, and the log is whole
    assert result["load"]["acknowledged"] > result["kill"]["acknowledged_by_then"] > 0
    assert [row["structure"] for row in result["structures"]] == STRUCTURES
    assert not any(row["missing"] or row["wrong"] for row in result["structures"])
    assert result["chains"]["records"] > result["load"]["acknowledged"] / 2
    assert result["chains"]["wrong"] == []

    # and when operations are acknowledged that never happened, one of each kind, then they are named
    never = {
        "counter page-views": ("increment", 10**9),
        "map users": ("put", None),
        "set tags": ("add", True),
        "queue jobs": ("enqueue", None),
        "lock accounts": ("locked", (10**15, 10**9)),
        "semaphore uploads": ("permitted", (10**15, 10**9)),
    }
    ledger = opened(folder)
    for number, (kind, answer) in enumerate(never.values()):
        acknowledge(ledger, Operation(999, number, kind), answer)
    os.close(ledger)
    seen = asyncio.run(look(journal_url, folder, result["prefix"]))
    missing = {row.structure: row.missing for row in compare(seen.record, seen.found)}
    for number, (structure, (kind, _)) in enumerate(never.items()):
        assert len(missing[structure]) == 1
        assert f"{kind} {number} of caller 999" in missing[structure][0]


def test_without_a_terminal_it_prints_plain_lines(tmp_path: Path) -> None:
    """In a log the demo is readable: no control characters, the table, the figures, the folder."""
    # given no terminal, when it runs
    done = demo("--folder", str(tmp_path))

    # then it tells what happened in plain text
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    figures = ("operations/s", "kill -9 of node-", "owns it", "pause of the counter", "Replay after a fresh start")
    for text in (*STRUCTURES, *figures, str(tmp_path), "Every acknowledged operation", "every hash chain whole"):
        assert text in done.stdout
    assert done.stderr == ""


async def test_a_node_that_ends_by_itself_ends_the_demo(sqlite_journal_url: str, tmp_path: Path) -> None:
    """When a node ends that nobody killed, the demo says what it said, and leaves no process behind."""
    # given an order that cannot be carried out, because the node's name is taken
    async with ClusteredActorSystem(journal=SqlJournal(sqlite_journal_url), node_id="taken"):
        child = await Child.start(Order(sqlite_journal_url, "", str(tmp_path), "taken", [0], 1), tmp_path)

        # when its readiness is waited for, then it is told why there is none
        with pytest.raises(DemoError, match=r"exit code 1 before its time.*NodeInUseError"):
            await child.ready()
    await child.kill()
    assert child.exit_code == 1


async def test_a_killed_child_was_killed(sqlite_journal_url: str, tmp_path: Path) -> None:
    """A child dies in the middle of its work, by the hardest signal, and had acknowledged something."""
    # given a child at work
    child = await Child.start(Order(sqlite_journal_url, "", str(tmp_path), "one", list(range(16)), 1), tmp_path)
    await child.ready()
    await child.go()
    while not child.acknowledged:
        child.refuse_ended()
        await asyncio.sleep(0.01)

    # when it is killed
    await child.kill()

    # then it is dead, and what it acknowledged is written down
    assert child.exit_code == -signal.SIGKILL
    assert len(read_ledger(tmp_path).acknowledged) >= child.acknowledged
    await child.kill()


async def test_a_broken_chain_is_noticed(sqlite_journal_url: str, sql: Callable[..., Any]) -> None:
    """A record that somebody changed, or took away, is named by its place."""
    # given three increments
    async with ClusteredActorSystem(journal=SqlJournal(sqlite_journal_url)) as system:
        counter = system.distributed().counter("page-views")
        for _ in range(3):
            await counter.increment()
        name = EntityName("counter", "page-views", "")
        whole = await check_chains(system.journal, [name])
        assert (whole.slots, whole.records, whole.wrong) == (1, 4, [])

        # when one is changed behind the triggers, then its hash does not fit
        sql(sqlite_journal_url, *(f"DROP TRIGGER {trigger}" for [trigger] in sql(sqlite_journal_url, TRIGGERS)))
        sql(sqlite_journal_url, "UPDATE casty_events SET payload = '{}' WHERE position = 3")
        wrongs = (await check_chains(system.journal, [name])).wrong
        assert [wrong for wrong in wrongs if "position" in wrong and "position 3" not in wrong] == []
        assert any("position 3" in wrong and "hash" in wrong for wrong in wrongs)
        assert any("trigger" in wrong for wrong in wrongs)

        # and when it is taken away, then it is missing
        sql(sqlite_journal_url, "DELETE FROM casty_events WHERE position = 3")
        wrongs = (await check_chains(system.journal, [name])).wrong
        assert any("position 3" in wrong and "missing" in wrong for wrong in wrongs)


def test_the_pause_is_the_longest_one_after_the_kill() -> None:
    """The gap is measured between acknowledged increments, from the last one before the kill on."""
    # given increments acknowledged at these times, and puts in between
    acks = [Acknowledged(Operation(9, n, "increment"), n, at) for n, at in enumerate([0.0, 5.0, 5.1, 5.9, 6.0, 6.3])]
    acks.append(Acknowledged(Operation(9, 7, "put"), None, 5.5))

    # when the kill came at 5.2, then the pause ended at 5.9, and the one before it does not count
    assert gap_seconds(Record(acks, [], {}), 5.2) == pytest.approx(0.8)
    assert gap_seconds(Record([], [], {}), 5.2) == 0.0


def test_a_folder_with_a_journal_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo never writes into somebody's journal."""
    # given a folder with a journal
    (tmp_path / "casty.db").write_bytes(b"mine")

    # when the demo is to run there
    assert run(["demo", "--folder", str(tmp_path)]) == 2

    # then it does not
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "casty.db").read_bytes() == b"mine"


def test_the_ledger_knows_what_was_under_way(tmp_path: Path) -> None:
    """Of each caller the operation after its last acknowledged one may have happened; its number is not used again."""
    # given two callers, of whom one acknowledged an operation, and a kill
    ledger = opened(tmp_path)
    acknowledge(ledger, Operation(0, 1, "locked"), (5, 1))
    os.close(ledger)
    mark_killed(tmp_path, [0, 1])

    # when the ledger is read
    record = read_ledger(tmp_path)

    # then one operation of each is open
    [ack] = record.acknowledged
    assert ack[:2] == (Operation(0, 1, "locked"), [5, 1])
    assert record.in_flight == [Operation(0, 2, kind_of(0, 2)), Operation(1, 1, kind_of(1, 1))]
    assert record.following == {0: 3, 1: 2}


# A ledger of one operation of each kind, and the structures that fit it.
RECORD = Record(
    [
        Acknowledged(Operation(9, 1, "increment"), 1),
        Acknowledged(Operation(9, 2, "put"), None),
        Acknowledged(Operation(9, 3, "add"), True),
        Acknowledged(Operation(9, 4, "enqueue"), None),
        Acknowledged(Operation(9, 5, "dequeue"), "job-9-4"),
        Acknowledged(Operation(0, 1, "locked"), [1, 1]),
        Acknowledged(Operation(3, 1, "permitted"), [1, 1]),
    ],
    [],
    {},
)
FOUND = Found(
    page_views=1,
    users={"user-9-2": {"visits": 1}},
    tags=frozenset({"tag-9-3"}),
    tags_size=1,
    balance=1,
    token=2,
    uploads=1,
    permits=PERMITS,
    taken=["job-9-4"],
)


def changed(**fields: Any) -> Found:
    """Return structures that differ."""
    return msgspec.structs.replace(FOUND, **fields)


def test_what_fits_is_accepted() -> None:
    """The comparison finds nothing wrong where nothing is."""
    # given a ledger and structures that fit, when they are compared, then all is well
    assert all(row.ok for row in compare(RECORD, FOUND))


@pytest.mark.parametrize(
    ("found", "structure", "missing"),
    [
        (changed(page_views=0), "counter page-views", "increment 1 of caller 9"),
        (changed(users={}), "map users", "put 2 of caller 9"),
        (changed(users={"user-9-2": {"visits": 2}}), "map users", "put 2 of caller 9"),
        (changed(tags=frozenset(), tags_size=0), "set tags", "add 3 of caller 9"),
        (changed(taken=[]), "queue jobs", "enqueue 4 of caller 9"),
        (changed(balance=0), "lock accounts", "locked 1 of caller 0"),
        (changed(uploads=0), "semaphore uploads", "permitted 1 of caller 3"),
    ],
)
def test_a_lost_operation_is_named(found: Found, structure: str, missing: str) -> None:
    """An acknowledged operation that is not there is named, and only its structure is wrong."""
    # given structures without it, when they are compared
    rows = compare(RECORD, found)

    # then it is named
    [row] = [row for row in rows if not row.ok]
    assert row.structure == structure
    assert missing in row.missing[0]


@pytest.mark.parametrize(
    ("found", "structure"),
    [
        (changed(page_views=2), "counter page-views"),
        (changed(users=FOUND.users | {"user-1-1": {"visits": 1}}), "map users"),
        (changed(tags_size=2), "set tags"),
        (changed(taken=["job-9-4", "job-9-4"]), "queue jobs"),
        (changed(taken=["job-9-4", "job-1-1"]), "queue jobs"),
        (changed(balance=2), "lock accounts"),
        (changed(token=1), "lock accounts"),
        (changed(uploads=2), "semaphore uploads"),
        (changed(permits=PERMITS + 1), "semaphore uploads"),
        (changed(permits=PERMITS - 1), "semaphore uploads"),
    ],
)
def test_what_is_there_twice_or_from_nowhere_is_wrong(found: Found, structure: str) -> None:
    """Nothing may be there that was neither acknowledged nor under way."""
    # given structures with more in them, when they are compared
    rows = compare(RECORD, found)

    # then that one is wrong
    assert [row.structure for row in rows if row.wrong] == [structure]


def test_what_was_under_way_may_be_there_or_not() -> None:
    """An operation that was under way at the kill is right either way; one more than that is not."""
    # given an increment that was under way
    record = RECORD._replace(in_flight=[Operation(10, 1, "increment")])

    # when the counter shows it or not, then both are right, and two of it are not
    assert all(row.ok for row in compare(record, FOUND))
    assert all(row.ok for row in compare(record, changed(page_views=2)))
    assert not all(row.ok for row in compare(record, changed(page_views=3)))


def test_two_holders_of_a_lock_are_noticed() -> None:
    """A balance that an older token wrote after a newer one shows that two held the lock."""
    # given a ledger where token 2 wrote what token 1 should have seen
    acks = [Acknowledged(Operation(0, 1, "locked"), [2, 1]), Acknowledged(Operation(1, 1, "locked"), [1, 2])]

    # when it is compared
    rows = compare(Record(acks, [], {}), changed(balance=2, token=3))

    # then the lock is wrong
    assert any("two held the lock" in text for row in rows for text in row.wrong)
