"""What a process asked for or held ends with it: long before a lease is over nothing is left of one that is killed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from .nodes import SETTINGS, nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from .nodes import Node, Nodes

    Sql = Callable[..., list[tuple[Any, ...]]]

# So long that no test is green because a lease ran out.
_LASTING = msgspec.structs.replace(SETTINGS, lease_seconds=600.0)
_PATIENT = 60.0

_LOG = """
    SELECT e.type, e.payload FROM casty_events e JOIN casty_entities n ON n.id = e.entity
    WHERE n.kind = '{kind}' AND n.name = '{name}' ORDER BY e.sequence
"""


def log(sql: Sql, url: str, kind: str, name: str) -> list[str]:
    """Return the types of an entity's events without its kind, an expiry with its cause."""
    rows = sql(url, _LOG.format(kind=kind, name=name))
    events = [(type_.rpartition(".")[2], msgspec.json.decode(payload)) for type_, payload in rows]
    return [f"{type_} {payload['cause']}" if payload.get("cause") else type_ for type_, payload in events]


def until(sql: Sql, url: str, kind: str, name: str, event: str, number: int = 1) -> None:
    """Wait until an entity's log has so many of an event."""
    give_up_at = time.monotonic() + _PATIENT
    while log(sql, url, kind, name).count(event) < number:
        assert time.monotonic() < give_up_at, log(sql, url, kind, name)
        time.sleep(0.01)  # what is asked is a database, and it sets no event


def holding(running: Nodes, sql: Sql) -> Node:
    """Let a node hold a lock and a permit, and stand at a barrier and in two lines; return it."""
    url, [front, dying] = running.url, running.all[:2]
    dying.ask("hold", "lock")
    dying.ask("take", "pool", 1)
    dying.order("arrive", "barrier", 2, _PATIENT)
    until(sql, url, "barrier", "barrier", "arrived")
    front.ask("hold", "busy")
    dying.order("hold", "busy")
    until(sql, url, "lock", "busy", "requested")
    return dying


def test_what_a_killed_process_held_is_free_while_others_go_on(journal_url: str, sql: Sql) -> None:
    """Whoever waits behind it is granted within moments, in the order of the line, and nobody passes the barrier."""
    with nodes(journal_url, 3, settings=_LASTING) as running:
        dying = holding(running, sql)
        waiter = running.all[2]
        lock, permit = waiter.order("hold", "lock"), waiter.order("take", "pool", 1)
        behind = waiter.order("hold", "busy")
        until(sql, journal_url, "lock", "lock", "requested")
        until(sql, journal_url, "semaphore", "pool", "requested")
        until(sql, journal_url, "lock", "busy", "requested", 2)

        dying.kill()

        assert waiter.came_of(lock)["reply"]
        assert waiter.came_of(permit)["reply"]
        until(sql, journal_url, "lock", "busy", "expired died")
        until(sql, journal_url, "barrier", "barrier", "expired died")
        came = waiter.came_of(waiter.order("arrive", "barrier", 2, 0.5))
        assert came["error"] == "NotDoneError"
        assert not waiter.said(behind)
        running.all[0].kill()
        assert waiter.came_of(behind)["reply"]


def test_what_a_killed_process_held_is_free_when_nobody_was_left(journal_url: str, sql: Sql) -> None:
    """Every process is killed; the next finds nothing held, has the lock at once, and waits alone at the barrier."""
    with nodes(journal_url, 2, settings=_LASTING) as running:
        holding(running, sql)
        for node in running.all:
            node.kill()

        [next_one] = running.start()

        assert next_one.ask("locked", "lock") is False
        assert next_one.ask("available", "pool", 1) == 1
        assert next_one.ask("hold", "busy")
        came = next_one.came_of(next_one.order("arrive", "barrier", 2, 0.5))
        assert came["error"] == "NotDoneError"
        assert "expired died" in log(sql, journal_url, "barrier", "barrier")


def test_the_next_process_of_a_name_is_another_one(journal_url: str, sql: Sql) -> None:
    """A process that is started under the name of a dead one does not keep alive what that one held."""
    locks = [f"lock-{number}" for number in range(8)]  # some of which either of the two to come will own
    with nodes(journal_url, 2, settings=_LASTING) as running:
        dying, other = running.all
        for lock in locks:
            dying.ask("hold", lock)
        for node in (dying, other):
            node.kill()

        running.again(dying)
        [witness] = running.start()

        for lock in locks:
            assert witness.ask("hold", lock)
            assert log(sql, journal_url, "lock", lock) == ["granted", "expired died", "granted"]


def test_a_lone_process_that_is_started_again_finds_its_lock_free(journal_url: str, sql: Sql) -> None:
    """One process, one name: killed with the lock and started again, it has the lock at once, round after round."""
    with nodes(journal_url, 1, settings=_LASTING) as running:
        [node] = running.all
        tokens = []
        for _ in range(3):
            assert node.ask("locked", "lock") is False
            tokens.append(node.ask("hold", "lock"))
            node.kill()
            node = running.again(node)

    assert tokens == sorted(set(tokens))
    assert log(sql, journal_url, "lock", "lock") == [
        "granted",
        "expired died",
        "granted",
        "expired died",
        "granted",
    ]


def test_who_loses_its_session_and_opens_another_keeps_what_it_holds(postgres_journal_url: str, sql: Sql) -> None:
    """The server ends the lease session of a process that lives; what the process holds is still its own."""
    with nodes(postgres_journal_url, 2, settings=_LASTING) as running:
        witness, holder = running.all
        holder.ask("hold", "lock")
        for _ in range(3):
            sql(postgres_journal_url, f"SELECT pg_terminate_backend({holder.ask('sessions')['lease']})")
            assert witness.ask("locked", "lock") is True
        with pytest.raises(AssertionError, match="NotDoneError"):
            witness.ask("acquire", "lock", 3.0)
        assert "expired died" not in log(sql, postgres_journal_url, "lock", "lock")


def test_asking_settles_what_was_sent_to_an_owner_that_is_gone(journal_url: str) -> None:
    """The slot of a command without an answer lies idle: whoever is asked takes it, also after a restart of all."""
    with nodes(journal_url, 1, settings=_LASTING) as running:
        [owner] = running.all
        owner.ask("add", "hits", 1, _PATIENT)
        sent = owner.ask("sends", "hits")
        [witness] = running.start()
        owner.kill()
        assert settled(witness, sent) == "not executed"

        witness.ask("add", "hits", 1, _PATIENT)
        sent = witness.ask("sends", "hits")
        witness.kill()
        [next_one] = running.start()
        assert settled(next_one, sent) == "not executed"
        assert next_one.ask("get", "hits", _PATIENT) == 2


def settled(node: Node, sent: list[int]) -> str:
    """Ask what became of a command until it is known: for a moment, the dead owner may still look alive."""
    give_up_at = time.monotonic() + _PATIENT
    while (status := node.ask("outcome", *sent)) == "unknown":
        assert time.monotonic() < give_up_at
    return str(status)
