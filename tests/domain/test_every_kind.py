"""What holds for every structure, whatever its history."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import casty_es.domain
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Command, Event, Query
from casty_es.errors import CastyError

from . import history
from .history import POOL, UNTOUCHED, AnyKind, Ran, attempt, settled, snapshot_bytes
from .models import MODELS
from .strategies import commands_of

if TYPE_CHECKING:
    from collections.abc import Callable

# Slow machines fail no test: nothing here is about time.
without_deadline = settings(deadline=None)
every_kind = pytest.mark.parametrize("kind", CATALOG.values(), ids=CATALOG)


def any_history(test: Callable[..., None]) -> Callable[..., None]:
    """Run the test for every structure, with ``data`` to draw its histories from."""
    marked: Callable[..., None] = every_kind(without_deadline(given(data=st.data())(test)))
    return marked


def through_json(kind: AnyKind, events: tuple[Event, ...]) -> tuple[Event, ...]:
    """Write the events down by their stable names and read them again."""
    names = {event_type: name for name, event_type in kind.events.items()}
    written = [(names[type(event)], msgspec.json.encode(event)) for event in events]
    return tuple(msgspec.json.decode(payload, type=kind.events[name]) for name, payload in written)


def replay(kind: AnyKind, events: tuple[Event, ...]) -> Any:
    """Return the state that the events lead to."""
    state = kind.initial
    for event in events:
        state = kind.evolve(state, event)
    return state


@pytest.mark.parametrize("kind", [kind for kind in CATALOG.values() if kind.claims is None], ids=lambda kind: kind.name)
@without_deadline
@given(data=st.data())
def test_events_say_by_themselves_what_their_caller_is_told(kind: AnyKind, data: st.DataObject) -> None:
    """Given any history, when only a command's events are known, then its reply is, where nobody waits."""
    state = kind.initial
    for command in data.draw(commands_of(kind)):
        try:
            events = kind.decide(state, command)
        except CastyError:
            continue
        if events:
            assert kind.reply(None, events) == kind.reply(command, events), command
        for event in events:
            state = kind.evolve(state, event)


@any_history
def test_callers_are_told_what_a_plain_model_tells_them(kind: AnyKind, data: st.DataObject) -> None:
    """Given any history, when it runs beside a naive model, then replies, waiters, claims and existence agree."""
    model, ran = MODELS[kind.name](), Ran(kind.initial, (), [])
    for command in data.draw(commands_of(kind)):
        in_line = model.in_line
        before, ran = ran, attempt(kind, command, after=ran)
        assert ran.told == [model.tell(command)], command
        assert kind.exists(ran.state) == model.exists
        if kind.claims is not None:
            assert list(kind.claims(ran.state)) == model.claims
            told = settled(kind, before, ran.events)
            assert {request: told[request] for request in in_line & told.keys()} == {
                request: model.settled[request] for request in in_line & model.settled.keys()
            }


@any_history
def test_effects_begin_and_end_exactly_the_claims(kind: AnyKind, data: st.DataObject) -> None:
    """Given any history, when leases are kept by what the effects say, then they are the claims of the state."""
    if kind.claims is None or kind.effects is None:
        assert (kind.claims, kind.effects, kind.expire, kind.renewed) == (None, None, None, None)
        return
    state = kind.initial
    leases: set[str] = set()
    for event in attempt(kind, *data.draw(commands_of(kind))).events:
        effects = kind.effects(state, event)
        assert set(effects.ended) <= leases
        leases = (leases | set(effects.began)) - set(effects.ended)
        state = kind.evolve(state, event)
        assert leases == set(kind.claims(state))


@any_history
def test_what_is_known_of_a_request_is_kept_as_long_as_it_is(kind: AnyKind, data: st.DataObject) -> None:
    """Given any history, when a plain model notes who made each request and what was counted, then both agree."""
    if kind.standings is None:
        assert kind.claims is None
        return
    model, ran = MODELS[kind.name](), Ran(kind.initial, (), [])
    for command in data.draw(commands_of(kind)):
        model.tell(command)
        ran = attempt(kind, command, after=ran)
        known = {request: (one.process, one.unheard) for request, one in kind.standings(ran.state).items()}
        assert known == {request: one for request in model.claims if (one := model.known(request)) != ("", 0)}
        again = kind.from_snapshot(msgspec.json.decode(snapshot_bytes(kind, ran.state), type=kind.snapshot))
        assert kind.standings(again) == kind.standings(ran.state)


@any_history
def test_deciding_changes_nothing_and_is_repeatable(kind: AnyKind, data: st.DataObject) -> None:
    """Given any state, when a command is decided twice, then the events are the same and the state is as before."""
    state = attempt(kind, *data.draw(commands_of(kind))).state
    before = snapshot_bytes(kind, state)

    def outcome(command: Command) -> object:
        try:
            return kind.decide(state, command)
        except CastyError as error:
            return type(error), str(error)

    for command in data.draw(commands_of(kind)):
        first = outcome(command)
        kind.answer(state, command)
        assert snapshot_bytes(kind, state) == before
        assert outcome(command) == first
    assert snapshot_bytes(kind, kind.initial) == UNTOUCHED[kind.name]


@any_history
def test_queries_cause_no_event(kind: AnyKind, data: st.DataObject) -> None:
    """Given any state, when it is asked a query, then there is nothing to append."""
    state = attempt(kind, *data.draw(commands_of(kind))).state
    for command in (command for group in POOL[kind.name] for command in group if isinstance(command, Query)):
        assert kind.decide(state, command) == ()


@any_history
def test_replay_is_deterministic_and_keeps_every_earlier_state(kind: AnyKind, data: st.DataObject) -> None:
    """Given any history, when it is replayed twice, then each state is equal and no later event altered it."""
    events = attempt(kind, *data.draw(commands_of(kind))).events
    states, written = [kind.initial], [snapshot_bytes(kind, kind.initial)]
    for event in events:
        states.append(kind.evolve(states[-1], event))
        written.append(snapshot_bytes(kind, states[-1]))
    assert [snapshot_bytes(kind, state) for state in states] == written
    assert [snapshot_bytes(kind, replay(kind, events[:count])) for count in range(len(states))] == written


@any_history
def test_events_survive_the_journal(kind: AnyKind, data: st.DataObject) -> None:
    """Given any history, when its events are written as JSON by name and read, then they are the same and lead on."""
    ran = attempt(kind, *data.draw(commands_of(kind)))
    read = through_json(kind, ran.events)
    assert read == ran.events
    assert snapshot_bytes(kind, replay(kind, read)) == snapshot_bytes(kind, ran.state)


@any_history
def test_a_repeat_is_answered_from_the_events_alone(kind: AnyKind, data: st.DataObject) -> None:
    """Given a command in the journal, when it is repeated long after, then its events as read give the same reply."""
    ran = Ran(kind.initial, (), [])
    for command in data.draw(commands_of(kind)):
        ran = attempt(kind, command, after=ran)
        if ran.events:
            assert kind.reply(command, through_json(kind, ran.events)) == ran.told[0]


@any_history
def test_a_snapshot_stands_for_the_history(kind: AnyKind, data: st.DataObject) -> None:
    """Given a state read from its snapshot, when it goes on, then events and replies are those of the replayed one."""
    ran = attempt(kind, *data.draw(commands_of(kind)))
    stored = snapshot_bytes(kind, ran.state)
    state = kind.from_snapshot(msgspec.json.decode(stored, type=kind.snapshot))
    assert snapshot_bytes(kind, state) == stored
    assert kind.exists(state) == kind.exists(ran.state)
    if kind.claims is not None:
        assert list(kind.claims(state)) == list(kind.claims(ran.state))
    more = data.draw(commands_of(kind))
    loaded, replayed = attempt(kind, *more, after=Ran(state, (), [])), attempt(kind, *more, after=ran)
    assert (loaded.events, loaded.told) == (replayed.events, replayed.told)
    assert snapshot_bytes(kind, loaded.state) == snapshot_bytes(kind, replayed.state)


def test_the_hash_seed_changes_nothing() -> None:
    """Given one history of each structure, when it runs under other hash seeds, then every byte is the same."""
    root = str(Path(casty_es.domain.__file__).parents[2])

    def printed(seed: str) -> bytes:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, history.__file__], env=environment, capture_output=True, check=True
        ).stdout

    first = printed("1")
    assert all(f'["{name}",'.encode() in first for name in CATALOG)
    assert [printed(seed) for seed in ("2", "3")] == [first, first]


def test_the_names_in_the_journal_never_change() -> None:
    """Given the names that journals are full of, when code changes, then it still knows each, under its structure."""
    lease = ["destroyed", "expired", "granted", "released", "requested", "unheard", "withdrawn"]
    meeting = ["arrived", "destroyed", "expired", "tripped", "unheard", "withdrawn"]
    assert {kind.name: sorted(kind.events) for kind in CATALOG.values()} == {
        "counter": [f"counter.{name}" for name in ("decremented", "destroyed", "incremented", "replaced", "set")],
        "map": ["entity.redacted", "map.added", "map.deleted", "map.popped", "map.put", "map.replaced"],
        "set": ["entity.redacted", "set.added", "set.destroyed", "set.removed"],
        "queue": ["entity.redacted", "queue.dequeued", "queue.destroyed", "queue.enqueued", "queue.given_back"],
        "lock": [f"lock.{name}" for name in lease],
        "semaphore": [f"semaphore.{name}" for name in lease],
        "barrier": [f"barrier.{name}" for name in meeting],
    }
