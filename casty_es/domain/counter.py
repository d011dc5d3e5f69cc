"""A counter: an exact integer within ±10**4000.

1. Adding and subtracting give the new value. A result beyond the bounds is refused, and so is one beyond those that a
   command brings with it.
2. A counter that is set tells what it was at before. It may be set from one value only.
3. A counter exists from its first change until it is destroyed; then it starts again at 0.
"""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias, assert_never

import msgspec

from casty_es.bounds import Amount
from casty_es.domain.decider import Command, Destroy, Event, Kind, Query, Upkeep
from casty_es.errors import BoundsError

# Python refuses to parse integers of more than 4,300 digits (CVE-2020-10735); 4,000 leaves room.
LIMIT: Final = 10**4000
# From one end to the other; whatever is longer might be too long to be sent.
_LONGEST_STEP: Final = 2 * LIMIT
_LONGEST_STEP_DOWN: Final = -_LONGEST_STEP  # to negate 4,000 digits at each call would be felt
_LONGEST_SHOWN: Final = 10**30


# Commands


class Increment(Command[int], frozen=True, gc=False):
    amount: Amount


class Decrement(Command[int], frozen=True, gc=False):
    amount: Amount


# Commands of their own: as fields the bounds would be looked at in each increment.
class IncrementWithin(Command[int], frozen=True, gc=False):
    amount: Amount
    minimum: Amount | None = None
    maximum: Amount | None = None


class DecrementWithin(Command[int], frozen=True, gc=False):
    amount: Amount
    minimum: Amount | None = None
    maximum: Amount | None = None


class GetAndSet(Command[int], frozen=True, gc=False):
    value: Amount


class CompareAndSet(Command[bool], frozen=True, gc=False):
    expected: Amount
    value: Amount


class Get(Query[int], frozen=True, gc=False):
    pass


CounterCommand: TypeAlias = (
    Increment | Decrement | IncrementWithin | DecrementWithin | GetAndSet | CompareAndSet | Get | Destroy
)


# Events


class Incremented(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = True

    amount: int
    value: int


class Decremented(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = True

    amount: int
    value: int


class ValueSet(Event, frozen=True, gc=False):
    stored_as: ClassVar[str] = "counter.set"
    alive: ClassVar[bool] = True

    amount: int  # by how much that changed it, in either direction
    value: int


class Replaced(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = True

    amount: int
    value: int


class Destroyed(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = False


CounterEvent: TypeAlias = Incremented | Decremented | ValueSet | Replaced | Destroyed


# State


class State(msgspec.Struct, frozen=True, gc=False):
    value: int = 0
    exists: bool = False


initial: Final = State()


def decide(state: State, command: CounterCommand) -> tuple[CounterEvent, ...]:
    match command:
        case Increment(amount=amount):
            return (Incremented(amount, _within_bounds(state.value + amount)),)
        case Decrement(amount=amount):
            return (Decremented(amount, _within_bounds(state.value - amount)),)
        case IncrementWithin(amount=amount):
            return (Incremented(amount, _allowed(state.value + amount, command)),)
        case DecrementWithin(amount=amount):
            return (Decremented(amount, _allowed(state.value - amount, command)),)
        case GetAndSet(value=value):
            return (ValueSet(_within_bounds(value) - state.value, value),)
        case CompareAndSet(expected=expected, value=value):
            return (Replaced(_within_bounds(value) - expected, value),) if state.value == expected else ()
        case Get():
            return ()
        case Destroy():
            return (Destroyed(),) if state.exists else ()
        case _:
            assert_never(command)


def evolve(state: State, event: CounterEvent | Upkeep) -> State:
    match event:
        case Incremented(value=value) | Decremented(value=value) | ValueSet(value=value) | Replaced(value=value):
            return State(value, True)
        case Destroyed():
            return initial
        case Upkeep():
            return state
        case _:
            assert_never(event)


def reply(command: CounterCommand, events: tuple[CounterEvent, ...]) -> int | bool:
    match events[0]:
        case Incremented(value=value) | Decremented(value=value):
            return value
        case ValueSet(amount=amount, value=value):
            return value - amount
        case Replaced() | Destroyed():
            return True
        case _:
            assert_never(events[0])


def answer(state: State, command: CounterCommand) -> int | bool:
    return state.value if isinstance(command, Get) else False


def check_step(amount: int) -> int:
    """Return an amount, unless it leads out of the bounds wherever the counter is."""
    if _LONGEST_STEP_DOWN <= amount <= _LONGEST_STEP:
        return amount
    raise BoundsError(
        "The amount would take the counter beyond plus or minus 10**4000, wherever it is. Nothing was done. Use a "
        "smaller amount."
    )


def check_value(value: int, what: str) -> int:
    """Return what a counter is to be at, or a bound for it, unless no counter gets there."""
    if -LIMIT <= value <= LIMIT:
        return value
    raise BoundsError(f"{what} is beyond plus or minus 10**4000, where no counter gets. Nothing was done.")


def _allowed(value: int, command: IncrementWithin | DecrementWithin) -> int:
    if command.maximum is not None and value > command.maximum:
        raise _beyond(value, "above", "maximum", command.maximum)
    if command.minimum is not None and value < command.minimum:
        raise _beyond(value, "below", "minimum", command.minimum)
    return _within_bounds(value)


def _beyond(value: int, where: str, what: str, bound: int) -> BoundsError:
    return BoundsError(
        f"The counter would be at {_shown(value)}, {where} the {what} of {_shown(bound)} that this call gave. Nothing "
        f"was appended and the counter keeps its value."
    )


def _shown(value: int) -> str:
    return str(value) if abs(value) < _LONGEST_SHOWN else f"a number of {len(str(abs(value)))} digits"


def _within_bounds(value: int) -> int:
    if -LIMIT <= value <= LIMIT:
        return value
    raise BoundsError(
        "The counter would leave its bounds of plus or minus 10**4000. Nothing was appended and the counter keeps its "
        "value. Use a smaller amount, or destroy the counter to start again at 0."
    )


COUNTER: Final = Kind[CounterCommand, CounterEvent, State](
    name="counter",
    initial=initial,
    decide=decide,
    evolve=evolve,
    reply=reply,
    answer=answer,
    columns=(("amount", "digits"), ("value", "digits")),
)
