"""Values of the caller's own types come back as what they were."""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

from casty_es import Distributed

Reopen: TypeAlias = Callable[..., AbstractAsyncContextManager[Distributed]]


class Colour(enum.Enum):
    """An enum with text values."""

    RED = "red"


@dataclass
class User:
    """A dataclass with a member of its own kind."""

    name: str
    born: date
    friends: list[User] = field(default_factory=list)


class Point(msgspec.Struct, frozen=True):
    """A msgspec Struct."""

    x: float
    y: float | None = None


@attrs.define
class Song:
    """An attrs class."""

    title: str
    seconds: int


class Account(pydantic.BaseModel):
    """A pydantic model."""

    owner: str
    balance: Decimal
    opened: datetime


VALUES = [
    pytest.param(User, User("Ada", date(1815, 12, 10), [User("Charles", date(1791, 12, 26))]), id="dataclass"),
    pytest.param(Point, Point(0.1, None), id="msgspec"),
    pytest.param(Song, Song("Fugue", 273), id="attrs"),
    pytest.param(
        Account, Account(owner="Ada", balance=Decimal("1.10"), opened=datetime(2026, 1, 2, tzinfo=UTC)), id="pydantic"
    ),
    pytest.param(datetime, datetime(2026, 1, 2, 3, 4, 5, 678901, timezone(timedelta(hours=2))), id="datetime"),
    pytest.param(UUID, UUID(int=2**127), id="uuid"),
    pytest.param(Decimal, Decimal("1.00"), id="decimal"),
    pytest.param(bytes, bytes(range(256)), id="bytes"),
    pytest.param(Colour, Colour.RED, id="enum"),
    pytest.param(int, 2**70, id="int"),
    pytest.param(str, "a\0b\u2028🐍", id="str"),
    pytest.param(dict[str, list[Point]], {"b": [Point(1.0)], "a": []}, id="generic"),
    pytest.param(tuple[int, ...], (1, 2, 3), id="tuple"),
    pytest.param(Any, {"a": [1, 2.5, None, True, "x"]}, id="json"),
]


@pytest.mark.parametrize(("declared", "value"), VALUES)
async def test_a_value_comes_back_equal_after_reopening(reopen: Reopen, declared: Any, value: Any) -> None:
    """What was put, enqueued and added is read back equal, and of the same type."""
    async with reopen() as d:
        await d.map[str, declared]("m").put("k", value)
        await d.queue[declared]("q").enqueue(value)
        await d.set[declared]("s").add(value)

    async with reopen() as d:
        for back in (await d.map[str, declared]("m").get("k"), await d.queue[declared]("q").dequeue()):
            assert back == value
            assert type(back) is type(value)
        assert await d.set[declared]("s").contains(value) is True


async def test_members_of_a_set_are_equal_by_their_content(d: Distributed) -> None:
    """Two dicts with the same entries in another order are one member; True and 1 are two."""
    things = d.set[Any]("things")

    assert await things.add({"a": 1, "b": 2}) is True
    assert await things.add({"b": 2, "a": 1}) is False
    assert await things.add(1) is True
    assert await things.add(True) is True
    assert await things.size() == 3


async def test_a_stored_value_is_a_copy(d: Distributed) -> None:
    """Changing an object after it was put, or after it was read, changes nothing that is stored."""
    users = d.map[str, dict]("users")
    value = {"tags": ["a"]}
    await users.put("k", value)

    value["tags"].append("b")
    back = await users.get("k")
    assert back == {"tags": ["a"]}
    back["tags"].append("c")

    assert await users.get("k") == {"tags": ["a"]}


class Numbers(pydantic.BaseModel):
    """A model that holds a set."""

    s: set[int]


async def test_a_member_that_was_written_in_another_order_can_be_taken_out(d: Distributed) -> None:
    """A member whose inner set was written in the order of text is found by its JSON, and added anew under its type."""
    old = {"s": [1, 10, 2, 3]}
    await d.set[Any]("numbers").add(old)
    numbers = d.set[Numbers]("numbers")
    assert await numbers.contains(Numbers(s={1, 2, 3, 10})) is False

    for value in [event.payload["value"] async for event in numbers.history()]:
        assert await d.set[Any]("numbers").remove(value) is True
        await numbers.add(Numbers.model_validate(value))

    assert await numbers.contains(Numbers(s={1, 2, 3, 10})) is True
    assert await numbers.size() == 1
