"""Keys of a map that are read, computed and stored in one step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from casty_es import Distributed, InvalidTypeError, InvalidValueError, NotDoneError, StoredValueError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from casty_es import Dict


async def test_a_value_is_put_where_there_is_none(d: Distributed) -> None:
    """Given a key, when values are put if it has none, then the first one stays, also if it is None."""
    seats = d.map[str, str | None]("seats")

    assert await seats.put_if_absent("12A", None) is True
    assert await seats.put_if_absent("12A", "bob") is False
    assert await seats.get("12A", default="nobody") is None
    assert await seats.delete("12A") is True
    assert await seats.put_if_absent("12A", "bob") is True
    assert await seats.get("12A") == "bob"


async def test_of_many_who_put_one_is_first(d: Distributed) -> None:
    """Given 20 callers who all put if there is nothing, then one did, and its value is there."""
    seats = d.map[str, int]("seats")

    told = await asyncio.gather(*(seats.put_if_absent("12A", number) for number in range(20)))

    assert told.count(True) == 1
    assert await seats.get("12A") == told.index(True)


async def test_a_value_is_replaced_if_it_is_the_one_expected(d: Distributed) -> None:
    """Given a value, when it is replaced, then only if it is equal to what was expected, types included."""
    values = d.map[int, object]("values")

    assert await values.replace(1, None, 2) is False
    assert await values.contains(1) is False
    await values.put(1, {"b": [1, 2.0], "a": None})
    assert await values.replace(1, {"a": None, "b": [1, 2]}, "no") is False
    assert await values.replace(1, {"a": None, "b": [1, 2.0]}, None) is True
    assert await values.replace(1, None, 2) is True
    assert await values.replace(1, 2.0, 3) is False
    assert await values.get(1) == 2


async def test_whoever_pops_a_key_has_its_value_alone(d: Distributed) -> None:
    """Given a value, when 20 callers pop it, then one of them has it and it is gone."""
    carts = d.map[str, list[str]]("carts")
    await carts.put("ann", ["tea"])

    told = await asyncio.gather(*(carts.pop("ann") for _ in range(20)))

    assert [cart for cart in told if cart is not None] == [["tea"]]
    assert await carts.contains("ann") is False
    assert await carts.pop("ann", default=[]) == []


async def test_fifty_who_read_compute_and_store_lose_nothing(d: Distributed) -> None:
    """Given 50 callers that each add one to what they read, then there are 50, and each was told another number."""
    wins = d.map[str, int]("wins", timeout=60.0)

    told = await asyncio.gather(*(wins.update("ann", lambda n: n + 1, default=0) for _ in range(50)))

    assert sorted(told) == list(range(1, 51))
    assert await wins.get("ann") == 50


async def test_an_update_may_wait_and_gets_none_for_what_is_not_there(d: Distributed) -> None:
    """Given a coroutine function, when a key is updated with it, then it is awaited; without a default it gets None."""
    names = d.map[str, list[str]]("names")

    async def added(before: list[str] | None) -> list[str]:
        await asyncio.sleep(0)
        return [*(before or []), "ann"]

    assert await names.update("a", added) == ["ann"]
    assert await names.update("a", added) == ["ann", "ann"]


async def test_a_default_is_a_new_one_for_each_attempt(volatile: Distributed) -> None:
    """Given a function that changes what it gets, when it has to be called again, then the default is as it was."""
    names = volatile.map[str, list[int]]("names")
    nobody: list[int] = []
    calls = 0

    async def added(before: list[int]) -> list[int]:
        nonlocal calls
        calls += 1
        before.append(1)
        if calls == 1:  # somebody else is first
            await names.put("a", [7])
            await names.delete("a")
            await names.put("a", [8])
        return before

    assert await names.update("a", added, default=nobody) == [8, 1]
    assert nobody == []
    assert calls == 2


async def test_what_a_function_raises_is_raised_and_nothing_stored(volatile: Distributed) -> None:
    """Given functions that fail, or return what cannot be stored, when a key is updated, then it stays as it was."""
    wins = volatile.map[str, int]("wins")
    await wins.put("ann", 1)

    with pytest.raises(ZeroDivisionError):
        await wins.update("ann", lambda n: n // 0, default=0)
    with pytest.raises(InvalidValueError):
        await wins.update("ann", lambda _: "many", default=0)  # type: ignore[arg-type, return-value]
    with pytest.raises(InvalidValueError):
        await wins.update("bob", lambda n: n, default="none")  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError):
        await wins.update(1, lambda n: n, default=0)  # type: ignore[arg-type]
    for refused in (wins.put_if_absent("bob", "x"), wins.replace("ann", "x", 2), wins.replace("ann", 1, "x")):  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError):
            await refused
    assert await wins.get("ann") == 1
    assert await wins.contains("bob") is False


async def test_an_update_that_never_gets_through_says_so(volatile: Distributed) -> None:
    """Given a key that changes while the function works, each time, when the time is up, then it did not happen."""
    wins: Dict[str, int] = volatile.map[str, int]("wins", timeout=0.2)

    async def late(before: int) -> int:
        await wins.put("ann", before + 1)
        return 0

    with pytest.raises(
        NotDoneError, match=r"'ann' of the map 'wins' could not be updated within 0\.2 s: .* Nothing was stored"
    ):
        await wins.update("ann", late, default=0)
    assert await wins.get("ann") != 0


async def test_what_was_popped_can_be_read_later(
    reopen: Callable[..., AbstractAsyncContextManager[Distributed]],
) -> None:
    """Given a value of another type than is declared, when it is popped, then the error says that it is deleted."""
    async with reopen() as d:
        await d.map[str, str]("users").put("ann", "x")
        before = await d.cursor()
        with pytest.raises(StoredValueError, match="The key is deleted"):
            await d.map[str, int]("users").pop("ann")
    async with reopen() as d:
        users = d.map[str, str]("users")
        assert await users.get("ann") is None
        assert await d.at(before).map[str, str]("users").get("ann") == "x"
        events = [event async for event in users.history("ann")]
        assert [event.type for event in events] == ["map.put", "map.popped"]
        assert events[-1].payload == {"previous": "x"}
