"""One key of a map. A map is no more than its keys: each is an entity of its own.

1. ``put`` tells the value that was there before. ``None`` is a value (JSON ``null``), not an absence.
2. ``delete`` tells whether there was something to delete.
"""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias, assert_never

import msgspec
from msgspec import UNSET, UnsetType

from casty_es.domain.decider import Command, Event, Kind, Query, Upkeep, Value
from casty_es.domain.upkeep import Redact, Redacted

# Commands


class Put(Command[Value | None], frozen=True, gc=False):
    value: Value


class Get(Query[Value | None], frozen=True, gc=False):
    pass


class Delete(Command[bool], frozen=True, gc=False):
    pass


class Contains(Query[bool], frozen=True, gc=False):
    pass


MapCommand: TypeAlias = Put | Get | Delete | Contains | Redact


# Events


class EntryPut(Event, frozen=True, gc=False, omit_defaults=True):
    stored_as: ClassVar[str] = "map.put"
    alive: ClassVar[bool] = True

    value: Value
    previous: Value | UnsetType = UNSET


class EntryDeleted(Event, frozen=True, gc=False):
    stored_as: ClassVar[str] = "map.deleted"
    alive: ClassVar[bool] = False


MapEvent: TypeAlias = EntryPut | EntryDeleted | Redacted


# State


class State(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    value: Value | UnsetType = UNSET


initial: Final = State()


def decide(state: State, command: MapCommand) -> tuple[MapEvent, ...]:
    match command:
        case Put(value=value):
            return (EntryPut(value, state.value),)
        case Delete():
            return () if state.value is UNSET else (EntryDeleted(),)
        case Get() | Contains():
            return ()
        case Redact(reason=reason):
            return (Redacted(reason),)
        case _:
            assert_never(command)


def evolve(state: State, event: MapEvent | Upkeep) -> State:
    match event:
        case EntryPut(value=value):
            return State(value)
        case EntryDeleted() | Redacted():
            return initial
        case Upkeep():
            return state
        case _:
            assert_never(event)


def reply(command: MapCommand, events: tuple[MapEvent, ...]) -> Value | bool | None:
    match events[0]:
        case EntryPut(previous=previous):
            return None if previous is UNSET else previous
        case EntryDeleted() | Redacted():
            return True
        case _:
            assert_never(events[0])


def answer(state: State, command: MapCommand) -> Value | bool | None:
    if isinstance(command, Get):
        return None if state.value is UNSET else state.value
    return state.value is not UNSET


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
