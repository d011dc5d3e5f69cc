"""What crosses the wire arrives as it was: errors, numbers of any size, values of the caller's own types."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from itertools import repeat
from typing import Any, TypeAlias

import pytest

from casty_es import (
    BoundsError,
    CastyError,
    ConfigurationError,
    DestroyedError,
    Distributed,
    InvalidArgumentError,
    InvalidTypeError,
    InvalidValueError,
    NotDoneError,
)

from .nodes import PATIENT

InLine: TypeAlias = Callable[..., Awaitable[None]]


@dataclass
class User:
    """A value of a type that no owner has to know."""

    name: str
    born: date
    friends: list[User] = field(default_factory=list)


VALUES: list[tuple[Any, Any]] = [
    (type(None), None),
    (bytes, bytes(range(256))),
    (User, User("Ada", date(1815, 12, 10), [User("Charles", date(1791, 12, 26))])),
    (str, "a\0b\u2028🐍"),
    (Any, {"a": [1, 2.5, None, True, 2**80]}),
    (bytes, secrets.token_bytes(500_000)),
    (list[str], ["x" * 1_000] * 500),
]


async def error_of(work: Callable[..., Awaitable[Any]], *arguments: Any) -> tuple[type[BaseException], str]:
    """Return the type and the text of what this raises."""
    with pytest.raises(CastyError) as caught:
        await work(*arguments)
    return type(caught.value), str(caught.value)


async def test_a_refusal_reads_the_same_everywhere(everywhere: list[Distributed]) -> None:
    """An owner's refusal has the same type and text in its own process and in every other."""
    await everywhere[0].counter("full").increment(10**4000)
    await everywhere[0].semaphore("pool", permits=2).acquire()
    await everywhere[0].lock("held").acquire()

    refusals: dict[type[Exception], Callable[[Distributed], Awaitable[Any]]] = {
        BoundsError: lambda d: d.counter("full").increment(),
        ConfigurationError: lambda d: d.semaphore("pool", permits=3).acquire(),
        NotDoneError: lambda d: d.lock("held", timeout=1.0).acquire(),
    }
    for kind, refused in refusals.items():
        seen = set(await asyncio.gather(*(error_of(refused, d) for d in everywhere)))
        assert len(seen) == 1
        assert seen.pop()[0] is kind


async def test_a_barrier_of_another_size_reads_the_same_everywhere(
    everywhere: list[Distributed], in_line: InLine
) -> None:
    """Who expects another number than the round began with is refused alike from every place."""
    waiting = asyncio.create_task(everywhere[0].barrier("b", node_id="first", timeout=PATIENT).arrive(2))
    await in_line("barrier", "b", 1)

    seen = {await error_of(d.barrier("b", node_id="other").arrive, 3) for d in everywhere}

    assert [kind for kind, _ in seen] == [ConfigurationError]
    assert await everywhere[-1].barrier("b", node_id="x").destroy() is True
    with pytest.raises(DestroyedError):
        await waiting


async def test_what_cannot_be_sent_is_refused_alike_and_changes_nothing(everywhere: list[Distributed]) -> None:
    """A bad argument has the same error at every place, before anything is sent."""
    wrong: list[tuple[type[Exception], Callable[[Distributed], Any]]] = [
        (InvalidValueError, lambda d: d.map[str, float]("m").put("k", float("nan"))),
        (InvalidValueError, lambda d: d.queue[bytes]("q").enqueue(b"x" * 2_000_000)),
        (InvalidArgumentError, lambda d: d.map[str, int]("m").put("", 1)),
        (InvalidTypeError, lambda d: d.map[str, int]("m").get(1)),
        (InvalidArgumentError, lambda d: d.counter("c", timeout=0)),
        (InvalidTypeError, lambda d: d.counter("c").increment(1.5)),
        (InvalidArgumentError, lambda d: d.barrier("b", node_id="x").arrive(0)),
    ]
    for kind, refused in wrong:
        seen = {await error_of(refused, d) for d in everywhere}
        assert [type_ for type_, _ in seen] == [kind]
    assert [await d.counter("c").get() for d in everywhere] == [0] * len(everywhere)
    assert [await d.queue[bytes]("q").size() for d in everywhere] == [0] * len(everywhere)


async def test_integers_of_any_size_cross_the_wire(everywhere: list[Distributed]) -> None:
    """Numbers beyond 64 bits are exact as amounts, as values and as keys, from every place."""
    large = 2**70
    counters = [d.counter("large") for d in everywhere]

    for number, counter in enumerate(counters, start=1):
        assert await counter.increment(large + 1) == number * (large + 1)
    assert [await counter.get() for counter in counters] == [len(counters) * (large + 1)] * len(counters)
    assert await counters[0].decrement(10**3999) == len(counters) * (large + 1) - 10**3999
    for number, d in enumerate(everywhere):
        assert await d.map[int, int]("numbers").put(large, -large - number) == (-large - number + 1 if number else None)
        assert await d.set[int]("members").add(large) is (number == 0)
        await d.queue[int]("items").enqueue(large + number)
    assert [await d.queue[int]("items").dequeue() for d in everywhere] == [large + n for n in range(len(everywhere))]


async def test_values_cross_the_wire_as_they_are(everywhere: list[Distributed]) -> None:
    """What one place stored another reads back equal, and of the same type; over the values each does so of each."""

    async def stored(writer: Distributed, name: str, declared: Any, value: Any) -> None:
        assert await writer.map[str, declared](name, timeout=PATIENT).put("k", value) is None
        await writer.queue[declared](name, timeout=PATIENT).enqueue(value)
        assert await writer.set[declared](name, timeout=PATIENT).add(value) is True

    async def read(reader: Distributed, name: str, declared: Any, value: Any) -> None:
        back = await reader.map[str, declared](name, timeout=PATIENT).get("k")
        assert (back, type(back)) == (value, type(value))
        back = await reader.queue[declared](name, timeout=PATIENT).peek()
        assert (back, type(back)) == (value, type(value))
        assert await reader.map[str, declared](name, timeout=PATIENT).contains("k") is True
        assert await reader.set[declared](name, timeout=PATIENT).contains(value) is True
        assert await reader.map[str, declared](name, timeout=PATIENT).put("k", value) == value

    for number, (declared, value) in enumerate(VALUES):
        names = {f"{number}-from-{place}": writer for place, writer in enumerate(everywhere)}
        await asyncio.gather(*(stored(writer, name, declared, value) for name, writer in names.items()))
        readers = [everywhere[(place + number) % len(everywhere)] for place in range(len(everywhere))]
        await asyncio.gather(*map(read, readers, names, repeat(declared), repeat(value)))


async def test_many_large_values_at_once_all_arrive(everywhere: list[Distributed]) -> None:
    """Thirty values of 500 kB that travel side by side arrive whole, with small commands between them."""
    values = {number: secrets.token_bytes(500_000) for number in range(30)}
    maps = [d.map[int, bytes]("blobs", timeout=PATIENT) for d in everywhere]
    hits = everywhere[-1].counter("between", timeout=PATIENT)

    await asyncio.gather(*(maps[number % len(maps)].put(number, value) for number, value in values.items()))
    *back, told = await asyncio.gather(
        *(maps[(number + 1) % len(maps)].get(number) for number in values),
        asyncio.gather(*(hits.increment() for _ in range(20))),
    )

    assert back == list(values.values())
    assert sorted(told) == list(range(1, 21))
