"""A flag: up or down, and how often it went up.

1. Raising a flag that is up, and lowering one that is down, changes nothing, and nothing is appended.
2. A flag exists from its first raising until it is destroyed; then it is down, and counts from 0 again.
"""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias, assert_never

import msgspec

from casty_es.domain.decider import Command, Destroy, Event, Kind, Query, Upkeep

# Commands


class Raise(Command[bool], frozen=True, gc=False):
    pass


class Lower(Command[bool], frozen=True, gc=False):
    pass


class IsUp(Query[bool], frozen=True, gc=False):
    pass


FlagCommand: TypeAlias = Raise | Lower | IsUp | Destroy


# Events


class Raised(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = True

    times: int


class Lowered(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = True


class Destroyed(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = False


FlagEvent: TypeAlias = Raised | Lowered | Destroyed


# State


class State(msgspec.Struct, frozen=True, gc=False):
    up: bool
    times: int
    exists: bool


initial: Final = State(False, 0, False)


def decide(state: State, command: FlagCommand) -> tuple[FlagEvent, ...]:
    match command:
        case Raise():
            return () if state.up else (Raised(state.times + 1),)
        case Lower():
            return (Lowered(),) if state.up else ()
        case IsUp():
            return ()
        case Destroy():
            return (Destroyed(),) if state.exists else ()
        case _:
            assert_never(command)


def evolve(state: State, event: FlagEvent | Upkeep) -> State:
    match event:
        case Raised(times=times):
            return State(True, times, True)
        case Lowered():
            return State(False, state.times, True)
        case Destroyed():
            return initial
        case Upkeep():
            return state
        case _:
            assert_never(event)


def reply(command: FlagCommand, events: tuple[FlagEvent, ...]) -> bool:
    return True


def answer(state: State, command: FlagCommand) -> bool:
    return state.up if isinstance(command, IsUp) else False


FLAG: Final = Kind[FlagCommand, FlagEvent, State](
    name="flag", initial=initial, decide=decide, evolve=evolve, reply=reply, answer=answer
)
