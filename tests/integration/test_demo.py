"""The demo: it runs to a green end, and it can fail."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from casty_es.cli.app import run
from casty_es.cli.demo.check import verify
from casty_es.cli.demo.ledger import (
    Acknowledged,
    Operation,
    Record,
    acknowledge,
    kind_of,
    mark_killed,
    opened,
    read_ledger,
)
from casty_es.cli.demo.load import KILLED, Order
from casty_es.cli.demo.look import Found, look
from casty_es.cli.demo.structures import PERMITS

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
        [sys.executable, "-m", "casty_es", "demo", "--seconds", "0.8", "--callers", "16", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def test_the_demo_ends_well_and_would_notice_a_loss(tmp_path: Path) -> None:
    """A killed process loses nothing that it acknowledged; an acknowledgement of nothing is noticed."""
    # given nothing, when the demo runs
    folder = tmp_path / "demo"
    done = demo("--folder", str(folder), "--json")

    # then all that was acknowledged is there, before and after more load
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] is True
    assert result["killed_load"]["acknowledged"] > 0
    assert result["second_load"]["acknowledged"] > 0
    for moment in ("after_kill", "at_end"):
        assert [row["structure"] for row in result[moment]["structures"]] == STRUCTURES
        assert not any(row["missing"] or row["wrong"] for row in result[moment]["structures"])

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
    seen = asyncio.run(look(folder))
    missing = {row.structure: row.missing for row in verify(seen.record, seen.found)}
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
    for text in (*STRUCTURES, "operations/s", "Replay after the kill", str(tmp_path), "Every acknowledged operation"):
        assert text in done.stdout
    assert done.stderr == ""


def test_the_load_really_dies(tmp_path: Path) -> None:
    """The child ends by its own hand, in the middle of the work, with callers under way."""
    # given an order to die
    order = msgspec.json.encode(Order(str(tmp_path), 16, 0.1, kill=True)).decode()

    # when it is carried out
    done = subprocess.run([sys.executable, "-m", "casty_es.cli.demo.load", order], capture_output=True, check=False)

    # then it died, and had acknowledged something
    assert done.returncode == KILLED, done.stderr
    assert read_ledger(tmp_path).acknowledged


def test_a_folder_with_a_journal_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo never writes into somebody's journal."""
    # given a folder with a journal
    (tmp_path / "casty.db").write_bytes(b"mine")

    # when the demo is to run there
    assert run(["demo", "--folder", str(tmp_path)]) == 1

    # then it does not
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "casty.db").read_bytes() == b"mine"


def test_the_ledger_knows_what_was_under_way(tmp_path: Path) -> None:
    """Of each caller the operation after its last acknowledged one may have happened; its number is not used again."""
    # given two callers, of whom one acknowledged an operation, and a kill
    ledger = opened(tmp_path)
    acknowledge(ledger, Operation(0, 1, "locked"), (5, 1))
    os.close(ledger)
    mark_killed(tmp_path, 2)

    # when the ledger is read
    record = read_ledger(tmp_path)

    # then one operation of each is open
    assert record.acknowledged == [Acknowledged(Operation(0, 1, "locked"), [5, 1])]
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
        Acknowledged(Operation(2, 1, "permitted"), [1, 1]),
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
    """Give structures that differ."""
    return msgspec.structs.replace(FOUND, **fields)


def test_what_fits_is_accepted() -> None:
    """The comparison finds nothing wrong where nothing is."""
    # given a ledger and structures that fit, when they are compared, then all is well
    assert all(row.ok for row in verify(RECORD, FOUND))


@pytest.mark.parametrize(
    ("found", "structure", "missing"),
    [
        (changed(page_views=0), "counter page-views", "increment 1 of caller 9"),
        (changed(users={}), "map users", "put 2 of caller 9"),
        (changed(users={"user-9-2": {"visits": 2}}), "map users", "put 2 of caller 9"),
        (changed(tags=frozenset(), tags_size=0), "set tags", "add 3 of caller 9"),
        (changed(taken=[]), "queue jobs", "enqueue 4 of caller 9"),
        (changed(balance=0), "lock accounts", "locked 1 of caller 0"),
        (changed(uploads=0), "semaphore uploads", "permitted 1 of caller 2"),
    ],
)
def test_a_lost_operation_is_named(found: Found, structure: str, missing: str) -> None:
    """An acknowledged operation that is not there is named, and only its structure is wrong."""
    # given structures without it, when they are compared
    rows = verify(RECORD, found)

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
    rows = verify(RECORD, found)

    # then that one is wrong
    assert [row.structure for row in rows if row.wrong] == [structure]


def test_what_was_under_way_may_be_there_or_not() -> None:
    """An operation that was under way at the kill is right either way; one more than that is not."""
    # given an increment that was under way
    record = RECORD._replace(in_flight=[Operation(10, 1, "increment")])

    # when the counter shows it or not, then both are right, and two of it are not
    assert all(row.ok for row in verify(record, FOUND))
    assert all(row.ok for row in verify(record, changed(page_views=2)))
    assert not all(row.ok for row in verify(record, changed(page_views=3)))


def test_two_holders_of_a_lock_are_noticed() -> None:
    """A balance that an older token wrote after a newer one shows that two held the lock."""
    # given a ledger where token 2 wrote what token 1 should have seen
    acks = [Acknowledged(Operation(0, 1, "locked"), [2, 1]), Acknowledged(Operation(1, 1, "locked"), [1, 2])]

    # when it is compared
    rows = verify(Record(acks, [], {}), changed(balance=2, token=3))

    # then the lock is wrong
    assert any("two held the lock" in text for row in rows for text in row.wrong)
