"""Where nobody can tell who lives a lease counts: over every owner together, and never while its owner was deaf."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

import msgspec

from tests.faults.audit import audit, read_sql

from .nodes import SETTINGS, nodes
from .test_dying import log, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from .nodes import Node

    Sql = Callable[..., list[tuple[Any, ...]]]
    Secret = Callable[[str], bytes]

_PATIENT = 60.0


def owned_by(node: Node, by: Node, sql: Sql, url: str) -> str:
    """Return the name of a lock whose slot a node owns, and which another one holds."""
    for number in itertools.count():
        by.ask("hold", f"lock-{number}")
        owners = sql(
            url,
            "SELECT o.node_id FROM casty_slots o JOIN casty_entities e ON e.slot = o.slot "
            f"WHERE e.kind = 'lock' AND e.name = 'lock-{number}'",
        )
        if owners == [(node.name,)]:
            return f"lock-{number}"
    raise AssertionError


def test_what_a_killed_client_held_is_free_after_its_lease(journal_url: str, sql: Sql, secret_of: Secret) -> None:
    """No session tells that a client died, so its lock and its place in line are over when its lease is."""
    settings = msgspec.structs.replace(SETTINGS, lease_seconds=2.0)
    with nodes(journal_url, 1, settings=settings) as running:
        [node] = running.all
        client = running.client(node, secret_of(journal_url))
        client.ask("hold", "lock")
        node.ask("hold", "busy")
        client.order("hold", "busy")
        until(sql, journal_url, "lock", "busy", "requested")

        client.kill()

        assert node.ask("hold", "lock")
        until(sql, journal_url, "lock", "busy", "expired")
        assert log(sql, journal_url, "lock", "busy")[:2] == ["granted", "requested"]


def test_a_new_owner_goes_on_counting_where_the_last_one_was(journal_url: str, sql: Sql, secret_of: Secret) -> None:
    """The lock of a dead client comes free although no owner lives as long as a lease."""
    settings = msgspec.structs.replace(SETTINGS, lease_seconds=4.0)
    with nodes(journal_url, 1, settings=settings) as running:
        client = running.client(running.all[0], secret_of(journal_url))
        client.ask("hold", "lock")
        client.kill()
        for _ in range(4):
            [owner] = running.living
            owner.ask("locked", "lock")
            time.sleep(2.5)  # the fault: an owner that lives for less than a lease
            owner.kill()
            running.start()
        assert running.living[0].ask("locked", "lock") is False

    assert log(sql, journal_url, "lock", "lock") == ["granted", "unheard", "unheard", "expired"]


def test_a_client_that_lives_keeps_what_it_holds_when_its_owner_dies(
    journal_url: str, sql: Sql, secret_of: Secret
) -> None:
    """The client finds the next owner, which counts from where the last one was, and renews there."""
    settings = msgspec.structs.replace(SETTINGS, lease_seconds=6.0)
    with nodes(journal_url, 2, settings=settings) as running:
        owner, witness = running.all
        client = running.client(witness, secret_of(journal_url))
        name = owned_by(owner, client, sql, journal_url)

        owner.kill()

        waits = witness.came_of(witness.order("acquire", name, 10.0))  # longer than a lease
        assert waits["error"] == "NotDoneError"
        assert [one for one in log(sql, journal_url, "lock", name) if one.startswith("expired")] == []


def test_an_owner_that_was_frozen_for_longer_than_a_lease_throws_nobody_out(sqlite_journal_url: str, sql: Sql) -> None:
    """It could hear nobody: who waited goes on waiting in its place, is granted in its turn, and who died is gone."""
    url = sqlite_journal_url
    settings = msgspec.structs.replace(SETTINGS, lease_seconds=3.0)
    with nodes(url, 3, settings=settings) as running:
        owner, holder, waiter = running.all
        name = owned_by(owner, holder, sql, url)
        granted = waiter.order("hold", name)
        until(sql, url, "lock", name, "requested")

        owner.freeze()
        time.sleep(4.0)  # the fault: longer than a lease
        owner.thaw()

        assert waiter.ask("locked", name) is True
        assert not [one for one in log(sql, url, "lock", name) if one.startswith("expired")]
        holder.kill()
        assert waiter.came_of(granted)["reply"]
        assert log(sql, url, "lock", name).count("requested") == 1
    assert audit(asyncio.run(read_sql(url))) == []


def test_an_owner_whose_loop_stood_still_throws_nobody_out(journal_url: str, sql: Sql) -> None:
    """Its own callers could not renew either: the waiter keeps its place, and the holder what it holds."""
    settings = msgspec.structs.replace(SETTINGS, lease_seconds=1.0)
    with nodes(journal_url, 1, settings=settings) as running:
        [node] = running.all
        node.ask("hold", "lock")
        node.order("hold", "lock")
        until(sql, journal_url, "lock", "lock", "requested")

        for _ in range(3):
            node.ask("block", 1.5)

        assert node.ask("locked", "lock") is True
        assert not [one for one in log(sql, journal_url, "lock", "lock") if one.startswith("expired")]
