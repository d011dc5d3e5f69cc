"""A set of values. Two values are the same member when their canonical JSON is the same bytes.

1. ``add`` and ``remove`` tell whether they changed something; when not, nothing is appended.
2. The members are a persistent hash trie (Bagwell 2001), so every change is as quick in a large set as in a small one.
"""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias, assert_never

import msgspec
from rpds import HashTrieSet

from casty_es.domain.decider import Command, Destroy, Event, Kind, Query, Upkeep, Value
from casty_es.domain.upkeep import Redact, Redacted

# Commands


class Add(Command[bool], frozen=True, gc=False):
    value: Value


class Remove(Command[bool], frozen=True, gc=False):
    value: Value


class Contains(Query[bool], frozen=True, gc=False):
    value: Value


class Size(Query[int], frozen=True, gc=False):
    pass


SetCommand: TypeAlias = Add | Remove | Contains | Size | Destroy | Redact


# Events


class Added(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = True

    value: Value


class Removed(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = True

    value: Value


class Destroyed(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = False


SetEvent: TypeAlias = Added | Removed | Destroyed | Redacted


# State


class State(msgspec.Struct, frozen=True):
    members: HashTrieSet[bytes]
    exists: bool


class Snapshot(msgspec.Struct, frozen=True):
    members: tuple[Value, ...]
    exists: bool


initial: Final = State(HashTrieSet(), False)


def decide(state: State, command: SetCommand) -> tuple[SetEvent, ...]:
    match command:
        case Add(value=value):
            return () if bytes(value) in state.members else (Added(value),)
        case Remove(value=value):
            return (Removed(value),) if bytes(value) in state.members else ()
        case Destroy():
            return (Destroyed(),) if state.exists else ()
        case Contains() | Size():
            return ()
        case Redact(reason=reason):
            return (Redacted(reason),)
        case _:
            assert_never(command)


def evolve(state: State, event: SetEvent | Upkeep) -> State:
    match event:
        case Added(value=value):
            return State(state.members.insert(bytes(value)), True)
        case Removed(value=value):
            return State(state.members.discard(bytes(value)), True)
        case Destroyed() | Redacted():
            return initial
        case Upkeep():
            return state
        case _:
            assert_never(event)


def reply(command: SetCommand, events: tuple[SetEvent, ...]) -> bool:
    return True


def answer(state: State, command: SetCommand) -> bool | int:
    match command:
        case Size():
            return len(state.members)
        case Contains(value=value):
            return bytes(value) in state.members
        case _:
            return False


def to_snapshot(state: State) -> Snapshot:
    # Sorted, so that equal sets give equal bytes whatever the order of insertion and the seed of the hash.
    return Snapshot(tuple(map(msgspec.Raw, sorted(state.members))), state.exists)


def from_snapshot(snapshot: Snapshot) -> State:
    return State(HashTrieSet(map(bytes, snapshot.members)), snapshot.exists)


SET: Final = Kind[SetCommand, SetEvent, State](
    name="set",
    initial=initial,
    decide=decide,
    evolve=evolve,
    reply=reply,
    answer=answer,
    columns=(("value", "json"),),
    snapshot=Snapshot,
    to_snapshot=to_snapshot,
    from_snapshot=from_snapshot,
)
