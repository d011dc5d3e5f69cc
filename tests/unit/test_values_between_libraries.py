"""A class may move from one library to another: what one wrote, all others read."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypedDict

from casty_es.errors import InvalidValueError
from casty_es.format.values import value_codec


class Colour(enum.Enum):
    """An enum with text values."""

    RED = "red"


class Level(enum.IntEnum):
    """An enum with numbers."""

    LOW = 1


@dataclasses.dataclass(frozen=True)
class Inner:
    """A part with parts."""

    a: int
    d: timedelta = timedelta(400)


# By default pydantic takes bytes for text; a model that is to be read by others says so.
CONFIG = pydantic.ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

LIBRARIES: dict[str, Callable[[Any], Any]] = {
    "dataclass": lambda kind: dataclasses.make_dataclass("Data", [("v", kind)]),
    "pydantic dataclass": lambda kind: pydantic.dataclasses.dataclass(
        dataclasses.make_dataclass("Checked", [("v", kind)]), config=CONFIG
    ),
    "msgspec": lambda kind: msgspec.defstruct("Record", [("v", kind)]),
    "attrs": lambda kind: attrs.make_class("Attrs", {"v": attrs.field(type=kind)}),
    "pydantic": lambda kind: pydantic.create_model("Model", __config__=CONFIG, v=(kind, ...)),
    "strict pydantic": lambda kind: pydantic.create_model(
        "Strict", __config__=CONFIG | pydantic.ConfigDict(strict=True), v=(kind, ...)
    ),
    "TypedDict": lambda kind: TypedDict("Typed", {"v": kind}),
}

LONG = timedelta(400, 18_000, 5)
PARTS: dict[str, tuple[Any, Any]] = {
    "duration of years": (timedelta, LONG),
    "negative duration": (timedelta, -LONG),
    "no duration": (timedelta, timedelta()),
    "longest duration": (timedelta, timedelta.max),
    "shortest duration": (timedelta, timedelta.min),
    "short duration": (timedelta, timedelta(hours=-25, microseconds=1)),
    "optional duration": (timedelta | None, LONG),
    "durations": (list[timedelta], [LONG, -LONG]),
    "set of durations": (set[timedelta], {LONG, timedelta(1), timedelta(800)}),
    "duration as a key": (dict[timedelta, timedelta], {LONG: -LONG}),
    "durations in a tuple": (tuple[int, timedelta], (1, LONG)),
    "durations in tuples": (dict[str, tuple[timedelta, ...]], {"P1Y": (LONG,)}),
    "text like a duration": (str, "P1Y35DT5H"),
    "dataclass with a duration": (list[Inner], [Inner(1), Inner(2, timedelta(1))]),
    "naive datetime": (datetime, datetime(2026, 1, 2, 3, 4, 5, 6)),  # noqa: DTZ001 - it is the point
    "datetime": (datetime, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    "datetime with an offset": (datetime, datetime(1, 1, 2, 3, tzinfo=timezone(timedelta(hours=-5, minutes=-30)))),
    "repeated hour": (datetime, datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)),
    "datetime as a key": (dict[datetime, int], {datetime(2026, 1, 2, tzinfo=UTC): 1}),
    "date": (date, date(1, 2, 3)),
    "time": (time, time(1, 2, 3, 4)),
    "time with an offset": (time, time(1, 2, 3, tzinfo=UTC)),
    "bytes": (bytes, b"\xff\xfe\xfb abc"),
    "no bytes": (bytes, b""),
    "set of bytes": (set[bytes], {b"\xff\xfe\xfb", b"abc"}),
    "decimal": (Decimal, Decimal("1.00")),
    "large decimal": (Decimal, Decimal("-1.5E+50")),
    "decimal as a key": (dict[Decimal, int], {Decimal("1.0"): 1}),
    "uuid": (UUID, UUID(int=2**127)),
    "uuid as a key": (dict[UUID, int], {UUID(int=7): 1}),
    "enum": (Colour, Colour.RED),
    "enum of numbers": (Level, Level.LOW),
    "enum as a key": (dict[Colour, Level], {Colour.RED: Level.LOW}),
    "int": (int, -(2**70)),
    "float": (float, 1e300),
    "negative zero": (float, -0.0),
    "float as a key": (dict[float, int], {1e300: 1, 0.5: 2}),
    "bool": (bool, True),
    "text": (str, 'a\0\u2028"\U0001f600'),
    "none": (int | None, None),
    "set of numbers": (set[int], {1, 10, 2}),
    "frozen set of text": (frozenset[str], frozenset({'"', "\n", "é"})),
    "literal": (Literal["a", 1], 1),
    "json": (Any, {"a": [1, 1.5, None, "P1Y"]}),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("writer", LIBRARIES)
def test_every_library_reads_what_another_wrote(writer: str, part: str) -> None:
    """Given a part that one library wrote, when the class is of any other library, then it reads the same part."""
    kind, value = PARTS[part]
    written_as = LIBRARIES[writer](kind)
    raw = value_codec(written_as).encode(written_as(v=value))
    for make in LIBRARIES.values():
        read_as = make(kind)
        read = value_codec(read_as).decode(raw)
        # Encoded again, it is what this library writes of that part: the same to the last bit.
        assert value_codec(read_as).encode(read) == value_codec(read_as).encode(read_as(v=value))


@settings(deadline=None)  # classes are made in the first
@given(st.timedeltas())
def test_every_duration_of_a_model_is_read_by_a_dataclass(duration: timedelta) -> None:
    """Given any duration, when a model wrote it, then a dataclass reads it."""
    model, data = LIBRARIES["pydantic"](timedelta), LIBRARIES["dataclass"](timedelta)
    assert value_codec(data).decode(value_codec(model).encode(model(v=duration))).v == duration


class Trip(msgspec.Struct, tag=True):
    """One of a union: its text is a duration."""

    v: timedelta


class Note(msgspec.Struct, tag=True):
    """Another: its text only looks like one."""

    v: str
    more: timedelta = timedelta()


class Row(msgspec.Struct, array_like=True, tag=True, rename="upper"):
    """A Struct that is written as a list."""

    day: timedelta
    more: list[timedelta] = []


class Renamed(msgspec.Struct, rename="camel"):
    """A Struct with other names in JSON."""

    how_long: timedelta


@pytest.mark.parametrize(
    ("declared", "raw", "value"),
    [
        (Trip | Note, b'{"type":"Trip","v":"P1Y"}', Trip(timedelta(365))),
        (Trip | Note, b'{"type":"Note","v":"P1Y","more":"P1Y"}', Note("P1Y", timedelta(365))),
        (list[timedelta | int | None], b'["-P2Y1DT1S",5,null]', [-timedelta(731, 1), 5, None]),
        (Row, b'["Row","P1Y",["P1Y1D"]]', Row(timedelta(365), [timedelta(366)])),
        (Renamed, b'{"howLong":"P1Y"}', Renamed(timedelta(365))),
        (
            dict[str, tuple[str, timedelta, float]],
            b'{"P1Y":["P1Y","P1Y",1e16]}',
            {"P1Y": ("P1Y", timedelta(365), 1e16)},
        ),
        (tuple[timedelta, Decimal], b'["P1Y",1.50]', (timedelta(365), Decimal("1.50"))),
    ],
)
def test_only_what_is_a_duration_is_read_as_one(declared: Any, raw: bytes, value: Any) -> None:
    """Given durations in the other spelling among texts that look alike, then each is read as what it is declared."""
    back = value_codec(declared).decode(raw)
    assert back == value
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    "raw", [b'"P1M"', b'"P"', b'"P1Y1"', b'"P9999999999Y"', b'"1Y"', b"[]", b'["\xff"]', b"[" * 9_999]
)
def test_what_no_library_writes_is_refused(raw: bytes) -> None:
    """Given text that is no duration, then the error is the one that says so."""
    with pytest.raises(InvalidValueError, match="not of timedelta"):
        value_codec(timedelta).decode(raw)


@attrs.define
class Hidden:
    """A class with attributes that its constructor calls otherwise."""

    x: int
    _y: int = 2
    __z: timedelta = timedelta(1)
    other: int = attrs.field(default=3, alias="another")
    made: int = attrs.field(init=False, default=4)


@attrs.frozen(slots=False)
class HiddenToo:
    """The same without slots, frozen."""

    _y: set[int]
    x: Hidden | None = None


def test_an_attribute_with_an_underscore_is_a_part() -> None:
    """Given attrs classes whose attributes have underscores, then all come back, with and without their defaults."""
    codec = value_codec(Hidden)
    for value in (Hidden(1), Hidden(1, 5, timedelta(9), another=7)):
        value.made = 8
        assert codec.decode(codec.encode(value)) == value
    assert codec.encode(Hidden(1, 5)) == b'{"_Hidden__z":"P1D","_y":5,"made":4,"other":3,"x":1}'
    assert codec.decode(b'{"x":1}') == Hidden(1)
    deep = value_codec(dict[str, list[HiddenToo]])
    values = {"a": [HiddenToo({10, 2}, Hidden(1, 5)), HiddenToo({1})]}
    assert deep.decode(deep.encode(values)) == values
