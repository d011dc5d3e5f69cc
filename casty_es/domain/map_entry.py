"""One key of a map. A map is no more than its keys: each is an entity of its own.

1. ``put`` tells the value that was there before. ``None`` is a value (JSON ``null``), not an absence.
2. ``delete`` tells whether there was something to delete, ``pop`` what it was.
3. A value may be put where there is none only, or in place of one only, which is named by the SHA-256 of its bytes.
"""

from __future__ import annotations

from hashlib import sha256
from typing import ClassVar, Final, TypeAlias, assert_never

import msgspec
from msgspec import UNSET, UnsetType

from casty_es.bounds import Digest
from casty_es.domain.decider import Command, Event, Kind, Query, Upkeep, Value
from casty_es.domain.upkeep import Redact, Redacted

# Commands


class Put(Command[Value | None], frozen=True, gc=False):
    value: Value


class PutIfAbsent(Command[bool], frozen=True, gc=False):
    value: Value


class Replace(Command[bool], frozen=True, gc=False):
    digest: Digest
    value: Value


class Get(Query[Value | None], frozen=True, gc=False):
    pass


class Delete(Command[bool], frozen=True, gc=False):
    pass


class Pop(Command[Value | None], frozen=True, gc=False):
    pass


class Contains(Query[bool], frozen=True, gc=False):
    pass


MapCommand: TypeAlias = Put | PutIfAbsent | Replace | Get | Delete | Pop | Contains | Redact


# Events


class EntryPut(Event, frozen=True, gc=False, omit_defaults=True):
    stored_as: ClassVar[str] = "map.put"
    alive: ClassVar[bool] = True

    value: Value
    previous: Value | UnsetType = UNSET


class EntryAdded(Event, frozen=True, gc=False):
    stored_as: ClassVar[str] = "map.added"
    alive: ClassVar[bool] = True

    value: Value


class EntryReplaced(Event, frozen=True, gc=False):
    stored_as: ClassVar[str] = "map.replaced"
    alive: ClassVar[bool] = True

    value: Value
    previous: Value


class EntryDeleted(Event, frozen=True, gc=False):
    stored_as: ClassVar[str] = "map.deleted"
    alive: ClassVar[bool] = False


class EntryPopped(Event, frozen=True, gc=False):
    stored_as: ClassVar[str] = "map.popped"
    alive: ClassVar[bool] = False

    previous: Value


MapEvent: TypeAlias = EntryPut | EntryAdded | EntryReplaced | EntryDeleted | EntryPopped | Redacted


# State


class State(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    value: Value | UnsetType = UNSET


initial: Final = State()


def digest_of(value: Value) -> str:
    """Return what names a value in a command that expects it."""
    return sha256(value).hexdigest()


def decide(state: State, command: MapCommand) -> tuple[MapEvent, ...]:
    match command:
        case Put(value=value):
            return (EntryPut(value, state.value),)
        case PutIfAbsent(value=value):
            return (EntryAdded(value),) if state.value is UNSET else ()
        case Replace(digest=digest, value=value):
            if state.value is UNSET or digest_of(state.value) != digest:
                return ()
            return (EntryReplaced(value, state.value),)
        case Delete():
            return () if state.value is UNSET else (EntryDeleted(),)
        case Pop():
            return () if state.value is UNSET else (EntryPopped(state.value),)
        case Get() | Contains():
            return ()
        case Redact(reason=reason):
            return (Redacted(reason),)
        case _:
            assert_never(command)


def evolve(state: State, event: MapEvent | Upkeep) -> State:
    match event:
        case EntryPut(value=value) | EntryAdded(value=value) | EntryReplaced(value=value):
            return State(value)
        case EntryDeleted() | EntryPopped() | Redacted():
            return initial
        case Upkeep():
            return state
        case _:
            assert_never(event)


def reply(command: MapCommand, events: tuple[MapEvent, ...]) -> Value | bool | None:
    match events[0]:
        case EntryPut(previous=previous) | EntryPopped(previous=previous):
            return None if previous is UNSET else previous
        case EntryAdded() | EntryReplaced() | EntryDeleted() | Redacted():
            return True
        case _:
            assert_never(events[0])


def answer(state: State, command: MapCommand) -> Value | bool | None:
    match command:
        case Get() | Pop():
            return None if state.value is UNSET else state.value
        case Contains():
            return state.value is not UNSET
        case _:
            return False


MAP: Final = Kind[MapCommand, MapEvent, State](
    name="map",
    initial=initial,
    decide=decide,
    evolve=evolve,
    reply=reply,
    answer=answer,
    columns=(("value", "json"), ("previous", "json")),
    exists=lambda state: state.value is not UNSET,
    keyed=True,
)
