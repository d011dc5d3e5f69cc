"""A counter that is set, and calls that bring bounds for their result."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from casty_es import BoundsError, Distributed, InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

LIMIT = 10**4000


async def test_whoever_sets_it_is_told_what_it_was_at(d: Distributed) -> None:
    """Given a new counter, when it is set, taken and set again, then each is told the value before."""
    hits = d.counter("hits")

    await hits.set(5)
    assert await hits.increment() == 6
    assert await hits.get_and_set(-(2**70)) == 6
    assert await hits.get_and_set(0) == -(2**70)
    assert await hits.get() == 0
    assert await hits.destroy() is True


async def test_it_is_set_from_one_value_only(d: Distributed) -> None:
    """Given a counter, when it is set from a value, then only if that is the one it is at."""
    turn = d.counter("turn")

    assert await turn.compare_and_set(1, 2) is False
    assert await turn.destroy() is False  # a comparison that failed makes no counter
    assert await turn.compare_and_set(0, 2) is True
    assert await turn.compare_and_set(0, 3) is False
    assert await turn.get() == 2


async def test_concurrent_changes_by_comparison_are_all_made(d: Distributed) -> None:
    """Given 20 callers that each double and add one, then nobody's change is lost."""
    one = d.counter("one")

    async def change() -> None:
        while not await one.compare_and_set(seen := await one.get(), 2 * seen + 1):
            pass

    await asyncio.gather(*(change() for _ in range(20)))

    assert await one.get() == 2**20 - 1


async def test_no_more_than_there_are_are_given_away(d: Distributed) -> None:
    """Given 10 of something, when 30 callers take one each, then 10 get one and 20 are refused."""
    stock = d.counter("stock")
    await stock.set(10)

    told = await asyncio.gather(*(stock.decrement(min=0) for _ in range(30)), return_exceptions=True)

    assert sorted(value for value in told if isinstance(value, int)) == list(range(10))
    assert sum(isinstance(one, BoundsError) for one in told) == 20
    assert await stock.get() == 0
    with pytest.raises(BoundsError, match=r"would be at 41, above the maximum of 40 .* keeps its value"):
        await stock.increment(41, max=40)
    assert await stock.increment(40, min=-1, max=40) == 40


async def test_what_was_refused_may_be_done_under_its_key_later(d: Distributed) -> None:
    """Given a call that its bound refused, when there is room again, then it is done under the same key, once."""
    stock = d.counter("stock")
    with pytest.raises(BoundsError):
        await stock.decrement(min=0, idempotency_key="order")

    await stock.set(3)

    assert await stock.decrement(min=0, idempotency_key="order") == 2
    assert await stock.decrement(min=0, idempotency_key="order") == 2
    assert await stock.get() == 2


@pytest.mark.parametrize("bad", [1.0, "1", True, [1]])
async def test_only_whole_numbers_are_taken(volatile: Distributed, bad: object) -> None:
    """Given what is no whole number, when it is given anywhere, then it is refused by its name and nothing is done."""
    hits = volatile.counter("hits")
    calls = {
        "value": lambda: hits.set(bad),  # type: ignore[arg-type]
        "expected": lambda: hits.compare_and_set(bad, 1),  # type: ignore[arg-type]
        "max": lambda: hits.increment(max=bad),  # type: ignore[arg-type]
        "min": lambda: hits.decrement(min=bad),  # type: ignore[arg-type]
    }
    for name, call in calls.items():
        with pytest.raises(InvalidTypeError, match=name):
            await call()
    assert await hits.destroy() is False


async def test_what_no_counter_can_be_is_refused(volatile: Distributed) -> None:
    """Given values and bounds where no counter gets, or none between, when they are given, then nothing is done."""
    hits = volatile.counter("hits")
    for beyond in (LIMIT + 1, -LIMIT - 1, 10**9000):
        with pytest.raises(BoundsError, match="value is beyond"):
            await hits.set(beyond)
        with pytest.raises(BoundsError, match="value is beyond"):
            await hits.compare_and_set(1, beyond)
        with pytest.raises(BoundsError, match="expected is beyond"):
            await hits.compare_and_set(beyond, 1)
        with pytest.raises(BoundsError, match="max is beyond"):
            await hits.increment(max=beyond)
        with pytest.raises(BoundsError, match="min is beyond"):
            await hits.decrement(min=beyond)
    with pytest.raises(InvalidArgumentError, match="min is above max"):
        await hits.increment(min=2, max=1)
    assert await hits.destroy() is False
    await hits.set(LIMIT)
    assert await hits.get_and_set(-LIMIT) == LIMIT


async def test_the_past_and_a_restart_know_what_it_was_set_to(
    reopen: Callable[..., AbstractAsyncContextManager[Distributed]],
) -> None:
    """Given a counter that was set, when the node starts anew, then it is at that value, then and before."""
    async with reopen() as d:
        moments = [await d.cursor()]
        await d.counter("hits").set(5)
        moments.append(await d.cursor())
        assert await d.counter("hits").compare_and_set(5, 9) is True
        moments.append(await d.cursor())
    async with reopen() as d:
        assert await d.counter("hits").increment(max=10) == 10
        events = [event async for event in d.counter("hits").history()]
        assert [event.type for event in events] == ["counter.set", "counter.replaced", "counter.incremented"]
        assert [await d.at(moment).counter("hits").get() for moment in moments] == [0, 5, 9]
