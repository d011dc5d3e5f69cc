"""What idempotency keys ask of the domain: an event that changes nothing, and commands that are the same operation."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from casty_es.domain import barrier, counter, lock, map_entry, semaphore, upkeep
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import WAITING, Command, Concluded, Destroy, Effects, Internal
from casty_es.domain.requests import NoteUnheard
from casty_es.errors import DestroyedError, NotDoneError

from .history import AnyKind, Ran, attempt, run, snapshot_bytes
from .strategies import commands_of

CONCLUDED = Concluded("b", Raw(b"false"))

every_kind = pytest.mark.parametrize("kind", CATALOG.values(), ids=CATALOG)


@every_kind
@settings(deadline=None)
@given(data=st.data())
def test_a_conclusion_changes_nothing_that_anybody_is_told(kind: AnyKind, data: st.DataObject) -> None:
    """Given any state, when a command is concluded, then what exists, is held and is answered stays as it was."""
    ran = attempt(kind, *data.draw(commands_of(kind)))
    after = kind.evolve(ran.state, CONCLUDED)
    if kind.name not in ("lock", "semaphore"):  # these count their events, for the tokens
        assert snapshot_bytes(kind, after) == snapshot_bytes(kind, ran.state)
    assert kind.exists(after) == kind.exists(ran.state)
    if kind.claims is not None and kind.effects is not None:
        assert list(kind.claims(after)) == list(kind.claims(ran.state))
        assert kind.effects(ran.state, CONCLUDED) == Effects()
    for command in data.draw(commands_of(kind)):
        assert kind.answer(after, command) == kind.answer(ran.state, command)


@pytest.mark.parametrize(
    ("kind", "ask"),
    [(lock.LOCK, lock.TryAcquire("ann", "a1")), (semaphore.SEMAPHORE, semaphore.TryAcquire("ann", "a1", 2))],
    ids=["lock", "semaphore"],
)
def test_a_token_is_the_sequence_of_its_grant_also_after_a_conclusion(kind: AnyKind, ask: Command) -> None:
    """Given an entity whose first two events are conclusions, when it is granted, then the token is 3."""
    state = kind.evolve(kind.evolve(kind.initial, CONCLUDED), CONCLUDED)
    assert run(kind, ask, after=Ran(state, (), [])).told == [3]


@every_kind
def test_every_command_of_a_structure_is_listed(kind: AnyKind) -> None:
    """Given a structure's file, when its commands are looked for, then each is listed, and only leases are internal."""
    module = sys.modules[kind.decide.__module__]
    there = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if issubclass(cls, Command)]
    written = [cls for cls in there if cls is Destroy or cls.__module__ != Destroy.__module__]  # the others are bases
    assert sorted(kind.commands, key=str) == sorted(written, key=str)
    assert (upkeep.Redact in written) == (kind.name in ("map", "set", "queue"))  # only these hold values of users
    own = [cls for cls in kind.commands if issubclass(cls, Internal)]
    assert own == ([] if kind.expire is None else [kind.expire, NoteUnheard])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (counter.Increment(1), counter.Increment(1), True),
        (counter.Increment(1), counter.Increment(2), False),
        (counter.Increment(1), counter.Decrement(1), False),
        (map_entry.Put(Raw(b"1")), map_entry.Put(Raw(b"1")), True),
        (map_entry.Put(Raw(b"1")), map_entry.Put(Raw(b'"1"')), False),
        (lock.Acquire("ann", "a1"), lock.Acquire("bob", "b1"), True),
        (lock.Acquire("ann", "a1"), lock.TryAcquire("ann", "a1"), False),
        (lock.Acquire("ann", "a1", process="node:1"), lock.Acquire("ann", "a2", process="node:2"), True),
        (lock.Release("ann", "a1"), lock.Release("bob"), True),
        (semaphore.Acquire("ann", "a1", 2), semaphore.Acquire("bob", "b1", 2), True),
        (semaphore.Acquire("ann", "a1", 2), semaphore.Acquire("ann", "a1", 3), False),
        (semaphore.Release("ann", "a1"), semaphore.Release("bob"), True),
        (barrier.Arrive("n1", "a1", 2), barrier.Arrive("n1", "b1", 2), True),
        (barrier.Arrive("n1", "a1", 2), barrier.Arrive("n2", "a1", 2), False),
        (barrier.Arrive("n1", "a1", 2), barrier.Arrive("n1", "a1", 3), False),
        (barrier.Arrive("h:1/a1", "a1", 2), barrier.Arrive("h:2/a1", "a1", 2), True),
    ],
)
def test_what_makes_two_commands_the_same_operation(one: Any, other: Any, *, same: bool) -> None:
    """Given two commands, when who asks under which name is left out, then they are equal if they ask for the same."""
    assert (one.essence() == other.essence()) is same


HELD = {
    "lock": (lock.LOCK, run(lock.LOCK, lock.Acquire("ann", "a1")), lock.Release),
    "semaphore": (
        semaphore.SEMAPHORE,
        run(semaphore.SEMAPHORE, semaphore.Acquire("ann", "a0", 2), semaphore.Acquire("ann", "a1", 2)),
        semaphore.Release,
    ),
}


@pytest.mark.parametrize("name", HELD)
def test_a_grant_is_released_by_its_request_whoever_the_owner_is(name: str) -> None:
    """Given a grant, when another owner names its request, then it is given back; another request or none is not."""
    kind, held, release = HELD[name]
    assert run(kind, release("bob"), release("bob", "a9"), after=held).told == [False, False]
    released = run(kind, release("bob", "a1"), after=held)
    assert (released.told, released.events[0].request) == ([True], "a1")  # type: ignore[attr-defined]
    assert run(kind, release("bob", "a1"), after=released).told == [False]


def test_an_arrival_learns_rounds_later_what_became_of_it() -> None:
    """Given arrivals of the past, when the log behind each is read, then the first event that settles it tells."""
    kind = barrier.BARRIER
    assert kind.fate is not None

    def fate(request: str, *commands: Command) -> object:
        ran = run(kind, barrier.Arrive("me", request, 2), *commands)
        asked = barrier.Arrive("me", request, 2)
        assert ran.told[0] is WAITING
        told = (kind.fate(asked, event) for event in ran.events[1:])  # type: ignore[misc]
        return next((one for one in told if one is not None), None)

    come = barrier.Arrive("other", "o1", 2)
    again = [barrier.Arrive("x", "x1", 2), barrier.Arrive("y", "y1", 2)]
    assert fate("m1") is None
    assert fate("m1", barrier.Arrive("me", "m2", 2)) is None
    assert fate("m1", come, *again) == 0
    assert isinstance(fate("m1", barrier.Withdraw("m1"), *again), NotDoneError)
    assert isinstance(fate("m1", barrier.Expire(("m1",)), *again), NotDoneError)
    assert isinstance(fate("m1", barrier.Destroy(), *again), DestroyedError)
    assert fate("m1", barrier.Arrive("me", "m2", 2), barrier.Withdraw("m2"), come) == 0
    assert kind.fate(come, CONCLUDED) is None
