"""The counter: an exact integer within its bounds."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_es.domain.counter import (
    COUNTER,
    CompareAndSet,
    CounterCommand,
    Decrement,
    DecrementWithin,
    Destroy,
    Get,
    GetAndSet,
    Increment,
    IncrementWithin,
    State,
)
from casty_es.errors import BoundsError

from .history import run

LIMIT = 10**4000


def test_a_counter_that_nobody_changed_is_zero_and_absent() -> None:
    """Given a new counter, when it is read, then it is 0, does not exist, and nothing is appended."""
    ran = run(COUNTER, Get())
    assert (ran.told, ran.events) == ([0], ())
    assert not COUNTER.exists(ran.state)


def test_adding_and_subtracting_give_the_new_value() -> None:
    """Given a counter, when it goes up and down, then each caller is told the value after its own change."""
    ran = run(COUNTER, Increment(5), Decrement(7), Increment(0), Get())
    assert ran.told == [5, -2, -2, -2]
    assert len(ran.events) == 3
    assert COUNTER.exists(ran.state)


def test_whoever_sets_it_is_told_what_it_was_at() -> None:
    """Given a counter, when it is set twice, then each caller is told the value before, 0 for a new one."""
    ran = run(COUNTER, GetAndSet(5), GetAndSet(5), Increment(1), Get())
    assert ran.told == [0, 5, 6, 6]
    assert len(ran.events) == 3


def test_it_is_set_only_from_what_was_expected() -> None:
    """Given a counter, when it is set from two values, then only the one it is at counts, 0 for a new one."""
    ran = run(COUNTER, CompareAndSet(1, 5), CompareAndSet(0, 5), CompareAndSet(5, -2), Get())
    assert ran.told == [False, True, True, -2]
    assert len(ran.events) == 2


@pytest.mark.parametrize(
    ("inside", "beyond"),
    [
        (IncrementWithin(3, None, 10), IncrementWithin(4, None, 10)),
        (DecrementWithin(7, 0, None), DecrementWithin(8, 0, None)),
        (IncrementWithin(-7, 0, None), IncrementWithin(-8, 0, None)),
        (DecrementWithin(-3, 0, 10), DecrementWithin(-4, 0, 10)),
        (IncrementWithin(0, 7, 7), IncrementWithin(0, 6, 6)),
    ],
)
def test_a_result_beyond_the_bounds_of_a_call_is_refused(inside: CounterCommand, beyond: CounterCommand) -> None:
    """Given a counter at 7, when a call's result may be its bound, then it is done; one further, it is refused."""
    at_seven = run(COUNTER, Increment(7))
    run(COUNTER, inside, after=at_seven)
    with pytest.raises(BoundsError, match="Nothing was appended"):
        run(COUNTER, beyond, after=at_seven)


def test_a_bound_of_thousands_of_digits_is_not_printed() -> None:
    """Given bounds at the counter's own, when a call is refused by them, then its message stays short."""
    at_limit = run(COUNTER, Increment(LIMIT))
    with pytest.raises(BoundsError, match="a number of 4000 digits that this call gave") as refused:
        run(COUNTER, IncrementWithin(0, None, LIMIT - 1), after=at_limit)
    assert len(str(refused.value)) < 300


def test_a_negative_amount_goes_the_other_way() -> None:
    """Given a counter, when it is incremented by a negative amount, then it goes down, and the reverse."""
    assert run(COUNTER, Increment(-3), Decrement(-10)).told == [-3, 7]


def test_destroy_starts_again_at_zero_and_tells_whether_it_did_something() -> None:
    """Given a counter, when it is destroyed twice, then only the first did something, and it counts from 0 again."""
    ran = run(COUNTER, Destroy(), Increment(4), Destroy(), Destroy(), Get(), Increment(1))
    assert ran.told == [False, 4, True, False, 0, 1]
    assert len(ran.events) == 3


def test_values_beyond_every_machine_word_are_exact() -> None:
    """Given 2**70, when one is added, through JSON too, then no digit is lost."""
    ran = run(COUNTER, Increment(2**70), Increment(1))
    assert ran.told == [2**70, 2**70 + 1]
    assert msgspec.json.decode(msgspec.json.encode(ran.state), type=State).value == 2**70 + 1
    read = msgspec.json.decode(msgspec.json.encode(ran.events[-1]), type=COUNTER.events["counter.incremented"])
    assert read == ran.events[-1]


def test_the_bounds_themselves_can_be_reached() -> None:
    """Given the widest step there is, when it goes from bound to bound, then it is allowed and survives JSON."""
    ran = run(COUNTER, Increment(LIMIT), Decrement(2 * LIMIT), Increment(2 * LIMIT))
    assert ran.told == [LIMIT, -LIMIT, LIMIT]
    assert msgspec.json.decode(msgspec.json.encode(ran.state), type=State) == ran.state


@settings(deadline=None)
@given(amounts=st.lists(st.integers()))
def test_sums_are_exact_whatever_the_integers(amounts: list[int]) -> None:
    """Given any integers, when they are added to a counter, then it has their sum."""
    assert run(COUNTER, *map(Increment, amounts), Get()).told[-1] == sum(amounts)


@pytest.mark.parametrize(
    ("towards", "beyond"),
    [
        (Increment(LIMIT), Increment(1)),
        (Increment(LIMIT), Decrement(-1)),
        (Decrement(LIMIT), Decrement(1)),
        (Decrement(LIMIT), Increment(-1)),
    ],
)
def test_one_step_beyond_the_bounds_is_refused(towards: Increment | Decrement, beyond: Increment | Decrement) -> None:
    """Given a counter at a bound, when it goes one further, then it is refused, keeps its value and can go back."""
    at_bound = run(COUNTER, towards)
    with pytest.raises(BoundsError, match="Nothing was appended"):
        run(COUNTER, beyond, after=at_bound)
    assert run(COUNTER, Get(), after=at_bound).told == at_bound.told
    assert run(COUNTER, Destroy(), Get(), after=at_bound).told == [True, 0]
