"""A node that was frozen, or whose loop stood still, wakes up as a stranger: nothing from before is written or told."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

import msgspec

from casty_es.journal.port import LEASE_ACQUIRED, EntityName
from tests.faults.audit import audit, read_sql, timelines

from .nodes import SETTINGS, nodes
from .promises import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from casty_es.journal.port import RecordedEvent
    from tests.faults.audit import Log

    from .nodes import Node, Nodes

# Postgres ends a silent lease session after this long; the shortest that a node accepts.
_SETTINGS = msgspec.structs.replace(SETTINGS, session_seconds=2.0)
_PATIENT = 60.0


def told(running: Nodes) -> list[str]:
    """Pause all, and return what is wrong with what they were told."""
    running.pause()
    log = asyncio.run(read_sql(running.url))
    operations = running.operations()
    return [*audit(log, operations), *check(operations, timelines(log))]


def leases(log: Log, counter: str) -> tuple[list[RecordedEvent], list[str]]:
    """Return the records of the slot of a counter, and the nodes that were granted it."""
    slot = next(row.slot for row in log.entities.values() if row.name == EntityName("counter", counter, ""))
    records = [record for record in log.records if record.slot == slot]
    return records, [msgspec.json.decode(one.payload)["node"] for one in records if one.type == LEASE_ACQUIRED]


def test_a_stale_owner_neither_writes_nor_reads(postgres_journal_url: str, owner_of: Callable[[str, str], str]) -> None:
    """What a frozen owner was about to do when another took over is refused by the database, and done there once."""
    url = postgres_journal_url
    with nodes(url, 2, settings=_SETTINGS) as running:
        # given an owner with the counter in memory
        running.all[0].ask("add", "hits", 1, _PATIENT)
        stale = running.named(owner_of(url, "hits"))
        fresh = next(node for node in running.all if node is not stale)
        stale.ask("get", "hits", _PATIENT)
        # that is frozen with a write and a read before it, which are the first that it does when it wakes up
        stale.freeze()
        write, read = stale.order("add", "hits", 10, _PATIENT), stale.order("get", "hits", _PATIENT)
        # when another one has taken over and has written
        assert fresh.ask("add", "hits", 100, _PATIENT) == 101
        stale.thaw()
        # then both happen behind that, once
        assert stale.came_of(write)["reply"] == 111
        assert stale.came_of(read)["reply"] in {101, 111}
        assert fresh.ask("get", "hits", _PATIENT) == 111
    log = asyncio.run(read_sql(url))
    assert audit(log) == []
    # and nothing stands under the old epoch behind the record of the new one
    records, owners = leases(log, "hits")
    epochs = [record.epoch for record in records]
    assert epochs == sorted(epochs)
    assert owners[:2] == [stale.name, fresh.name]


def test_a_frozen_owner_under_load_comes_back_and_harms_nothing(
    postgres_journal_url: str, owner_of: Callable[[str, str], str]
) -> None:
    """Under load others take over, the frozen one's callers are answered behind that, and everything counts once."""
    url = postgres_journal_url
    with nodes(url, 3, settings=_SETTINGS) as running:
        running.go()
        for node in running.all:
            node.answers(50)
        # given the owner of what all use, frozen in the middle of it
        stale = running.named(owner_of(url, "shared"))
        stale.freeze()
        witness = next(node for node in running.all if node is not stale)
        frozen_at = time.monotonic_ns()
        # when another one was told that it wrote to that
        witness.wait(lambda: wrote(witness, "shared", frozen_at), "the takeover")
        open_ = [one for one in stale.operations.values() if one.returned is None]
        stale.thaw()
        # then the first gets answers again, also to what it had asked before
        stale.answers(100)
        stale.wait(lambda: all(stale.operations[one.id].returned for one in open_), "its old callers' answers")
        findings = told(running)
    assert not findings, "\n".join(findings)


def wrote(node: Node, counter: str, since: int) -> bool:
    """Return whether a node's callers changed a counter after some time."""
    return any(
        one.name == EntityName("counter", counter, "") and one.called > since and hasattr(one.command, "amount")
        for one in reversed(node.answered)
        if one.reply is not None
    )


def test_a_frozen_owner_beside_a_file_keeps_its_slots(
    sqlite_journal_url: str, owner_of: Callable[[str, str], str]
) -> None:
    """On SQLite nobody takes over from a frozen process: callers get a clear error in time, and go on when it does."""
    url = sqlite_journal_url
    with nodes(url, 2) as running:
        # given an owner that is frozen
        running.all[0].ask("add", "hits", 1, _PATIENT)
        frozen = running.named(owner_of(url, "hits"))
        other = next(node for node in running.all if node is not frozen)
        other.ask("add", "hits", 1, _PATIENT)
        frozen.freeze()
        # when the other one asks, then it is told in time, and what that means
        came = other.came_of(other.order("add", "hits", 10, 1.0))
        assert came["error"] in {"NotDoneError", "OutcomeUnknownError"}, came
        read = other.came_of(other.order("get", "hits", 1.0))
        assert read["error"] == "NotDoneError", read
        # and when the frozen one goes on, so does everything
        frozen.thaw()
        value = other.ask("add", "hits", 100, _PATIENT)
        assert value in ({102, 112} if came["error"] == "OutcomeUnknownError" else {102})
        running.go()
        for node in running.all:
            node.answers(50)
        running.pause()
        log = asyncio.run(read_sql(url))
        assert check(running.operations(), timelines(log)) == []
        assert audit(log) == []


def test_all_nodes_frozen_at_once_go_on(postgres_journal_url: str, sql: Callable[..., list[tuple[Any, ...]]]) -> None:
    """When every node was frozen for longer than its session lasts, each finds out by itself and all go on."""
    url = postgres_journal_url
    with nodes(url, 2, settings=_SETTINGS) as running:
        # given two nodes under load, both frozen
        running.go()
        for node in running.all:
            node.answers(50)
        for node in running.all:
            node.freeze()
        # when Postgres has ended their lease sessions
        while sql(url, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"):
            time.sleep(0.05)  # no database tells when a lock becomes free
        for node in running.all:
            node.thaw()
        # then both go on
        for node in running.all:
            node.answers(100)
        findings = told(running)
    assert not findings, "\n".join(findings)


def test_a_blocked_event_loop_heals(postgres_journal_url: str, owner_of: Callable[[str, str], str]) -> None:
    """User code that blocks the loop for longer than the session lasts costs the slots, and nothing else."""
    url = postgres_journal_url
    with nodes(url, 2, settings=_SETTINGS) as running:
        running.go()
        for node in running.all:
            node.answers(50)
        # given the owner of what all use, whose event loop stands still until the session must be over
        blocked = running.named(owner_of(url, "shared"))
        blocked.ask("block", 3.0)
        # when it goes on, then both nodes are answered, and nobody was told anything wrong
        for node in running.all:
            node.answers(100)
        findings = told(running)
    assert not findings, "\n".join(findings)


def test_a_lock_comes_free_when_its_holder_is_killed(journal_url: str, secret_of: Callable[[str], bytes]) -> None:
    """Neither a node nor a client that is killed keeps a lock: its lease runs out, and the next token is higher."""
    with nodes(journal_url, 2) as running:
        staying, going = running.all
        client = running.client(staying, secret_of(journal_url))
        # given a client that holds a lock, and a node that stands in line behind it
        first = client.ask("hold", "deploy")
        second = going.order("hold", "deploy")
        third = staying.order("hold", "deploy")
        # when the client is killed, then the node gets the lock
        client.kill()
        tokens = [first, going.came_of(second)["reply"]]
        # and when that is killed, the last one
        going.send(signal.SIGKILL)
        tokens.append(staying.came_of(third)["reply"])
        assert tokens == sorted(set(tokens))
    assert audit(asyncio.run(read_sql(journal_url))) == []
