"""Many keys of a map in one call."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from casty_es import (
    BatchError,
    Distributed,
    InvalidArgumentError,
    InvalidTypeError,
    InvalidValueError,
    NotDoneError,
    ReadOnlyError,
    StoredValueError,
)


async def test_many_are_stored_read_and_deleted(d: Distributed) -> None:
    """Given many values, when they are put, read and deleted in one call each, then each is there, and then none."""
    ages = d.map[str, int | None]("ages")

    await ages.put_many({f"k{number}": number for number in range(150)})
    await ages.put_many([("k0", None), ("k1", 7), ("k1", 8)])
    assert await ages.get_many(["k149", "nobody", "k1", "k0", "k149"]) == {"k149": 149, "k1": 8, "k0": None}
    assert list(await ages.get_many(["k149", "k1"])) == ["k149", "k1"]
    assert await ages.delete_many(["k0", "k0", "nobody", *(f"k{number}" for number in range(1, 150))]) == 150
    assert await ages.get_many(f"k{number}" for number in range(150)) == {}
    assert await ages.get_many([]) == {}
    assert await ages.delete_many([]) == 0


async def test_what_cannot_be_sent_is_refused_before_anything_is(volatile: Distributed) -> None:
    """Given one key or value that cannot be stored, or too many, when they are put, then none of them is."""
    ages = volatile.map[str, int]("ages")

    with pytest.raises(InvalidValueError):
        await ages.put_many({"ann": 1, "bob": "x"})  # type: ignore[dict-item]
    with pytest.raises(InvalidTypeError):
        await ages.put_many({"ann": 1, 2: 2})  # type: ignore[dict-item]
    with pytest.raises(InvalidArgumentError):
        await ages.put_many({"ann": 1, "": 2})
    with pytest.raises(InvalidArgumentError, match="more than 10,000 pairs"):
        await ages.put_many({str(number): number for number in range(10_001)})
    with pytest.raises(InvalidArgumentError, match="more than 10,000 keys"):
        await ages.get_many(map(str, count()))
    with pytest.raises(InvalidTypeError, match="not one str"):
        await ages.get_many("ann")
    with pytest.raises(InvalidTypeError, match="tuples of a key and a value"):
        await ages.put_many(["ab"])  # type: ignore[list-item]
    with pytest.raises(InvalidTypeError):
        await ages.get_many(["ann", None])  # type: ignore[list-item]
    with pytest.raises(InvalidTypeError):
        await ages.delete_many(["ann", 1])  # type: ignore[list-item]
    assert await ages.get_many(["ann", "bob", "0"]) == {}


async def test_what_failed_is_told_key_by_key(d: Distributed) -> None:
    """Given values of which two do not fit the declared type, when all are read, then the others are told, too."""
    await d.map[str, object]("mixed").put_many({"a": 1, "b": "two", "c": 3, "d": "four"})

    with pytest.raises(BatchError, match=r"^2 of 5 keys of the map 'mixed' were not read.*'b': .*'d': ") as caught:
        await d.map[str, int]("mixed").get_many(["a", "b", "nobody", "c", "d"])

    assert caught.value.done == {"a": 1, "c": 3}
    assert {key: type(error) for key, error in caught.value.failed.items()} == {
        "b": StoredValueError,
        "d": StoredValueError,
    }


async def test_when_all_fail_the_rest_is_not_sent(volatile: Distributed) -> None:
    """Given the past, which nobody can change, when 1,500 keys are put, then each has its error, the last as unsent."""
    past: Any = volatile.map[str, int]("ages")
    await past.put("ann", 1)
    past = past.at("ann", sequence=1)

    with pytest.raises(BatchError, match=r"^1,500 of 1,500 keys .* …$") as caught:
        await past.put_many({f"k{number}": number for number in range(1_500)})

    told = [type(error) for error in caught.value.failed.values()]
    assert {ReadOnlyError, NotDoneError} == set(told)
    assert 200 <= told.count(ReadOnlyError) < 300
    assert caught.value.done == {}


async def test_values_that_cannot_be_read_keep_nobody_from_the_others(volatile: Distributed) -> None:
    """Given 300 values of another type before one that fits, when all are read, then that one is there."""
    await volatile.map[str, object]("mixed").put_many({**{f"k{number}": "x" for number in range(300)}, "last": 1})

    with pytest.raises(BatchError, match=r"^300 of 301 keys") as caught:
        await volatile.map[str, int]("mixed").get_many([*(f"k{number}" for number in range(300)), "last"])

    assert caught.value.done == {"last": 1}


async def test_keys_are_told_apart_by_their_text(volatile: Distributed) -> None:
    """Given keys of a class that Python calls equal, when they are put, then each is stored, as one by one."""

    class Folded(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return isinstance(other, str) and self.lower() == other.lower()

        def __hash__(self) -> int:
            return hash(self.lower())

    headers = volatile.map[str, int]("headers")
    await headers.put_many([(Folded("Via"), 1), (Folded("via"), 2)])
    assert await headers.get_many(["Via", "via"]) == {"Via": 1, "via": 2}
