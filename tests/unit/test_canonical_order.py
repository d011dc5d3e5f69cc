"""What has no order of its own is written in one order: the same in every class of every library, at every depth."""

from __future__ import annotations

import dataclasses
import enum
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypedDict

from casty_es.format.values import value_codec


class Colour(enum.Enum):
    """An enum with text values."""

    RED = "red"
    BLUE = "blue"
    GREEN = "green"


MEMBERS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    date: st.dates(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    time: st.times().map(lambda one: one.replace(fold=0)),
    timedelta: st.timedeltas(),
    UUID: st.uuids(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    Colour: st.sampled_from(Colour),
    tuple[int, str]: st.tuples(st.integers(), st.text("ab", max_size=2)),
    frozenset[int]: st.frozensets(st.integers(), max_size=4),
    int | str: st.integers() | st.text("ab", max_size=2),
    int | None: st.integers() | st.none(),
}


def classes(kind: Any) -> list[tuple[Any, Callable[[Any], Any]]]:
    """Give, for a type, every class that has a part of it and writes it as ``{"v": part}``, and how one is made."""
    model = pydantic.create_model("Model", v=(kind, ...))
    alias = pydantic.create_model("Alias", part=(kind, pydantic.Field(alias="v")))
    root = pydantic.RootModel[kind]
    rooted = pydantic.create_model("Rooted", v=(root, ...))
    typed = TypedDict("Typed", {"v": kind})  # type: ignore[misc]  # noqa: UP013 - the type is a variable
    plain = [
        dataclasses.make_dataclass("Data", [("v", kind)]),
        pydantic.dataclasses.dataclass(dataclasses.make_dataclass("Checked", [("v", kind)])),
        msgspec.defstruct("Record", [("v", kind)]),
        attrs.make_class("Attrs", {"v": attrs.field(type=kind)}),
        model,
        typed,
    ]
    return [
        *((one, lambda part, one=one: one(v=part)) for one in plain),
        (alias, lambda part: alias(v=part)),
        (rooted, lambda part: rooted(v=root(part))),
        (dict[str, kind], lambda part: {"v": part}),
    ]


def shuffled(members: Any) -> list[Any]:
    """Return members in another order."""
    return sorted(members, key=lambda member: repr(member)[::-1])


@pytest.mark.parametrize("kind", MEMBERS, ids=str)
def test_a_set_has_the_same_bytes_wherever_it_is(kind: Any) -> None:
    """Given one set as it is and in a class of every library, then its members are written in the same order."""
    sets = st.sets(MEMBERS[kind], min_size=2, max_size=6)
    bare = value_codec(set[kind])
    with_classes = [(value_codec(declared), make) for declared, make in classes(set[kind])]
    frozen = [(value_codec(declared), make) for declared, make in classes(list[frozenset[kind]])]

    @settings(max_examples=25, deadline=None)
    @given(sets)
    def check(members: set[Any]) -> None:
        order = [value_codec(kind).decode(json.dumps(one).encode()) for one in json.loads(bare.encode(members))]
        for codec, make in with_classes:
            assert order_in(codec.encode(make(set(shuffled(members)))), kind, deep=False) == order
        for codec, make in frozen:
            assert order_in(codec.encode(make([frozenset(members)])), kind, deep=True) == order

    check()


def order_in(raw: bytes, kind: Any, *, deep: bool) -> Any:
    """Return the members of ``v`` in the order in which they are written."""
    members = json.loads(raw)["v"]
    # Libraries may spell a member in their own way; it is the order that is the same.
    return pydantic.TypeAdapter(list[kind]).validate_json(json.dumps(members[0] if deep else members))


def test_numbers_are_in_the_order_of_numbers() -> None:
    """Given a set of ints in a model beside parts that need sorting, then 10 comes after 2, as in a bare set."""

    class Model(pydantic.BaseModel):
        s: set[int]

    @dataclasses.dataclass
    class Data:
        s: set[int]
        colours: set[Colour]

    assert value_codec(set[int]).encode({1, 2, 3, 10}) == b"[1,2,3,10]"
    assert value_codec(Model).encode(Model(s={1, 2, 3, 10})) == b'{"s":[1,2,3,10]}'
    assert value_codec(Data).encode(Data({1, 2, 3, 10}, set())) == b'{"colours":[],"s":[1,2,3,10]}'
    assert value_codec(set[bytes]).encode({b"z", b"\xff", b"~~"}) == b'["eg==","fn4=","/w=="]'
    assert value_codec(set[bytes | None]).encode({b"z", b"\xff", b"~~"}) == b'["eg==","fn4=","/w=="]'
    assert value_codec(set[int | str]).encode({1, 2, 10}) == b"[1,2,10]"
    assert value_codec(set[int | str]).encode({1, 2, 10, "1"}) == b'["1",1,10,2]'


DEEP = """
import collections, dataclasses, enum, json, random, sys
from typing import NamedTuple
import attrs, msgspec, pydantic
from typing_extensions import TypedDict
from casty_es.format.values import value_codec
E = enum.Enum("E", {c: c for c in "qwertyuiop"})
class Root(pydantic.RootModel[set[str]]): pass
class Typed(TypedDict):
    s: set[str]
    a: set[E]
class Named(NamedTuple):
    s: frozenset[str]
@dataclasses.dataclass
class Data:
    s: set[str]
    n: dict[E, set[E]]
@pydantic.dataclasses.dataclass
class Checked:
    inner: set[str] = pydantic.Field(alias="outer")
class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, set[str]]
    root: Root
    typed: Typed
    named: Named
    data: Data
    checked: Checked
    more: collections.deque[set[str]]
    keys: dict[str, dict[int, list[frozenset[E]]]]
    aliased: set[str] = pydantic.Field(serialization_alias="written", validation_alias="written")
    either: int | set[str]
    pairs: set[tuple[str, frozenset[str]]]
@attrs.define
class Top:
    model: Model
    _hidden: set[str]
class Record(msgspec.Struct):
    tops: list[Top]
letters = list("asdfghjklzxcvbnm")
random.shuffle(letters)
def some(): return {c for c in letters}
def enums(): return {E[c] for c in "qwertyuiop"}
model = Model(root=Root(some()), typed={"a": enums(), "s": some()}, named=Named(frozenset(some())),
    data=Data(some(), {E.q: enums()}), checked=Checked(outer=some()), more=collections.deque([some()]),
    keys={"k": {10: [frozenset(enums())], 9: []}}, written=some(), either=some(),
    pairs={("a", frozenset(some())), ("b", frozenset(some()))}, extra_one=some())
print(value_codec(Record).encode(Record([Top(model, some())])).decode())
"""


def test_the_order_of_sets_shows_nowhere() -> None:
    """Given equal values with sets in every kind of place, in processes with other hash seeds, the bytes agree."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", DEEP], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True, text=True
        ).stdout
        for seed in "123"
    }
    assert len(outputs) == 1
    written = json.loads(outputs.pop())["tops"][0]
    letters = sorted("asdfghjklzxcvbnm")
    assert written["_hidden"] == written["model"]["extra_one"] == written["model"]["root"] == letters
    assert written["model"]["checked"]["outer"] == written["model"]["written"] == written["model"]["either"] == letters


class Pair(NamedTuple):
    """A tuple with names."""

    a: frozenset[int]
    b: dict[int, int]


def test_members_are_sorted_inside_of_members() -> None:
    """Given sets in sets and dicts whose keys are no text, then every level is in order."""
    assert value_codec(set[frozenset[int]]).encode({frozenset({10, 9}), frozenset({2})}) == b"[[2],[9,10]]"
    assert value_codec(list[Pair]).encode([Pair(frozenset({10, 9}), {10: 1, 9: 2})]) == b'[[[9,10],{"10":1,"9":2}]]'


_SERIALIZED = """
import datetime, uuid
from typing import Any
import pydantic
from casty_es.format.values import value_codec
class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_bytes=BYTES, val_json_bytes=BYTES)
    texts: set[str]
    ids: set[uuid.UUID]
    spans: set[datetime.timedelta]
    blobs: set[bytes]
    numbers: set[int]
    keyed: dict[str, set[str]]
    @pydantic.field_serializer("texts", "ids", "spans", "blobs", "numbers", when_used="always")
    def in_order(self, value: set[Any]) -> list[Any]:
        return sorted(value, reverse=True)
    @pydantic.field_serializer("keyed")
    def keys_in_order(self, value: dict[str, set[str]]) -> dict[str, list[str]]:
        return {key: sorted(value[key]) for key in sorted(value, reverse=True)}
some = {f"text {number}" for number in range(9)} | {'"', "\\\\", "~"}
spans = {datetime.timedelta(n * 100) for n in range(9)}
model = Model(texts=some, ids={uuid.UUID(int=n) for n in range(9)}, spans=spans,
    blobs={bytes([65 + n]) * 3 for n in range(9)}, numbers={*range(30)}, keyed={"a": some, "b": {"x", "y"}})
print(value_codec(Model).encode(model).decode())
"""


@pytest.mark.parametrize("spelling", ["utf8", "base64"])
def test_a_serializer_of_ones_own_makes_no_order(spelling: str) -> None:
    """Given models whose serializers order sets in their own way, then every process writes the same bytes."""
    program = _SERIALIZED.replace("BYTES", repr(spelling))
    said = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
    assert b'"spans":["PT0S","P100D","P200D","P300D","P1Y35D"' in said.pop()
