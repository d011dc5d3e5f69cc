"""Two values are the same when the parts that make them are, at every depth and in every container."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypedDict

from casty_es.errors import InvalidValueError
from casty_es.format.values import ValueCodec, value_codec

BERLIN = ZoneInfo("Europe/Berlin")
LONDON = ZoneInfo("Europe/London")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # its clocks go back by half an hour

Wrap = Callable[[Any], Any]


def containers(kind: Any) -> dict[str, tuple[Any, Wrap, Wrap]]:
    """Give, by name, every container of one part: its type, how a part is put in, and how it is taken out."""
    data = dataclasses.make_dataclass("Data", [("v", kind)], frozen=True)
    inner = dataclasses.make_dataclass("Inner", [("inner", data)], frozen=True)
    record = msgspec.defstruct("Record", [("v", kind)], frozen=True)
    row = msgspec.defstruct("Row", [("v", kind)], frozen=True, array_like=True)
    attrs_class = attrs.make_class("Attrs", {"v": attrs.field(type=kind)}, frozen=True)
    hidden = attrs.make_class("Hidden", {"_v": attrs.field(type=kind)}, frozen=True)
    model = pydantic.create_model("Model", v=(kind, ...))
    models = pydantic.create_model("Models", v=(list[model], ...))  # type: ignore[valid-type]
    root = pydantic.RootModel[kind]
    named = NamedTuple("Named", [("v", kind)])  # type: ignore[misc]  # noqa: UP014 - the type is a variable
    typed = TypedDict("Typed", {"v": kind})  # type: ignore[misc]  # noqa: UP013 - the type is a variable
    return {
        "bare": (kind, lambda v: v, lambda v: v),
        "optional": (kind | None, lambda v: v, lambda v: v),
        "list": (list[kind], lambda v: [v], lambda v: v[0]),
        "tuple": (tuple[int, kind], lambda v: (1, v), lambda v: v[1]),
        "dict": (dict[str, kind], lambda v: {"k": v}, lambda v: v["k"]),
        "key": (dict[kind, int], lambda v: {v: 1}, lambda v: next(iter(v))),
        "set": (set[kind], lambda v: {v}, lambda v: next(iter(v))),
        "frozenset in a list": (list[frozenset[kind]], lambda v: [frozenset({v})], lambda v: next(iter(v[0]))),
        "set of tuples": (set[tuple[kind, int]], lambda v: {(v, 1)}, lambda v: next(iter(v))[0]),
        "set of dataclasses": (set[data], lambda v: {data(v)}, lambda v: next(iter(v)).v),
        "dataclass": (data, data, lambda v: v.v),
        "dataclass in a dataclass": (inner, lambda v: inner(data(v)), lambda v: v.inner.v),
        "Struct": (record, record, lambda v: v.v),
        "Struct as a list": (row, row, lambda v: v.v),
        "attrs": (attrs_class, attrs_class, lambda v: v.v),
        "attrs, hidden": (hidden, hidden, lambda v: v._v),
        "pydantic": (model, lambda v: model(v=v), lambda v: v.v),
        "pydantic, nested": (models, lambda v: models(v=[model(v=v)]), lambda v: v.v[0].v),
        "pydantic, root": (root, root, lambda v: v.root),
        "NamedTuple": (named, named, lambda v: v.v),
        "TypedDict": (typed, lambda v: typed(v=v), lambda v: v["v"]),
    }


CONTAINERS = sorted(containers(int))


def reading(moment: datetime | time) -> tuple[Any, ...]:
    """Return what a clock shows, and how far it is from UTC."""
    naive = moment.replace(tzinfo=None, fold=0)
    return naive, moment.utcoffset(), moment.fold if moment.tzinfo is None else 0


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN), id="first"),
        pytest.param(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1), id="second"),
        pytest.param(datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN), id="skipped"),
        pytest.param(datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN, fold=1), id="skipped, fold"),
        pytest.param(datetime(2026, 4, 5, 1, 45, tzinfo=LORD_HOWE, fold=1), id="half an hour"),
        pytest.param(datetime(2026, 7, 1, 2, 30, tzinfo=BERLIN), id="plain"),
    ],
)
def test_a_local_time_is_stored_on_every_day_of_the_year(container: str, moment: datetime) -> None:
    """Given a time of a repeated or skipped hour, anywhere, then it comes back as that reading at that offset."""
    declared, put, take = containers(datetime)[container]
    codec = value_codec(declared)
    assert reading(take(codec.decode(codec.encode(put(moment))))) == reading(moment)


@settings(deadline=None)  # the first of each zone reads a file
@given(st.datetimes(timezones=st.sampled_from([BERLIN, LONDON, LORD_HOWE, UTC]), allow_imaginary=True))
@pytest.mark.parametrize("fold", [0, 1])
def test_every_aware_datetime_with_whole_minutes_of_offset_comes_back(fold: int, moment: datetime) -> None:
    """Given any aware datetime, then it comes back, or its offset has seconds, which JSON cannot carry."""
    moment = moment.replace(fold=fold)
    offset = moment.utcoffset()
    assert offset is not None
    codec = value_codec(dict[datetime, list[datetime]])
    if offset % timedelta(minutes=1):
        with pytest.raises(InvalidValueError, match="Nothing was stored"):
            codec.encode({moment: [moment]})
        return
    ((key, (item,)),) = codec.decode(codec.encode({moment: [moment]})).items()
    assert reading(key) == reading(item) == reading(moment)


def test_the_two_halves_of_a_repeated_hour_are_two_members() -> None:
    """Given both readings of 2:30 in one set, then both come back; what is one instant elsewhere is refused."""
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    second = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo.no_cache("Europe/Berlin"), fold=1)
    codec = value_codec(set[datetime])
    assert codec.encode({first, second}) == b'["2026-10-25T02:30:00+01:00","2026-10-25T02:30:00+02:00"]'
    assert len(codec.decode(codec.encode({first, second}))) == 2
    with pytest.raises(InvalidValueError, match="length"):
        codec.encode({second, datetime(2026, 10, 25, 1, 30, tzinfo=UTC)})


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    "moment",
    [datetime(2026, 10, 25, 2, 30, fold=1), time(2, 30, fold=1)],  # noqa: DTZ001 - it is the point
    ids=["datetime", "time"],
)
def test_the_fold_of_a_time_without_zone_is_refused(container: str, moment: datetime | time) -> None:
    """Given a naive time with fold=1, anywhere, then it is refused with what to do, because JSON would lose it."""
    declared, put, _ = containers(type(moment))[container]
    with pytest.raises(InvalidValueError, match=r"fold=1.*time zone"):
        value_codec(declared).encode(put(moment))
    value_codec(declared).encode(put(moment.replace(fold=0)))


@pytest.mark.parametrize(
    "moment",
    [time(2, 30, tzinfo=BERLIN), datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=30)))],
    ids=["time of a zone", "seconds of offset"],
)
def test_a_zone_that_json_would_lose_is_refused(moment: Any) -> None:
    """Given a time whose zone or offset has no form in JSON, then it is refused."""
    with pytest.raises(InvalidValueError, match="Nothing was stored"):
        value_codec(type(moment)).encode(moment)


class Number(Enum):
    """An enum whose members call each other equal."""

    ONE = 1
    TWO = 2

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number)

    __hash__ = object.__hash__


class Access(Flag):
    """Bits."""

    READ = 1
    WRITE = 2


def lossy(kind: Any, write: Callable[[Any], Any]) -> Any:
    """Return a model that writes its field in its own way, so that something else may come back."""

    class Lossy(pydantic.BaseModel):
        v: kind

        @pydantic.field_serializer("v")
        def _write(self, value: Any) -> Any:
            return write(value)

    return Lossy


@pytest.mark.parametrize(
    ("kind", "value", "write"),
    [
        pytest.param(float, -0.0, lambda v: v + 0.0, id="sign of zero"),
        pytest.param(list[float], [1.0, -0.0], lambda v: [one + 0.0 for one in v], id="sign of zero in a list"),
        pytest.param(dict[float, int], {-0.0: 1}, lambda _: {"0.0": 1}, id="sign of zero as a key"),
        pytest.param(set[float], {-0.0}, lambda _: [0.0], id="sign of zero in a set"),
        pytest.param(deque[float], deque([-0.0]), lambda _: [0.0], id="sign of zero in a deque"),
        pytest.param(complex, complex(0.0, -0.0), lambda _: "0j", id="sign of an imaginary zero"),
        pytest.param(Decimal, Decimal("1.0"), lambda _: "1", id="exponent"),
        pytest.param(Decimal, Decimal("-0"), lambda _: "0", id="sign of a decimal zero"),
        pytest.param(set[Decimal], {Decimal("1.0")}, lambda _: ["1"], id="exponent in a set"),
        pytest.param(dict[Decimal, int], {Decimal("1.0"): 1}, lambda _: {"1": 1}, id="exponent as a key"),
        pytest.param(tuple[Decimal, ...], (Decimal("1.0"),), lambda _: ["1"], id="exponent in a tuple"),
        pytest.param(int | bool, True, lambda _: 1, id="bool"),
        pytest.param(int | float, 1.0, lambda _: 1, id="float as int"),
        pytest.param(deque[int | bool], deque([True]), lambda _: [1], id="bool in a deque"),
        pytest.param(Number, Number.ONE, lambda _: 2, id="enum that equals another"),
        pytest.param(OrderedDict[str, int], OrderedDict(b=1, a=2), dict, id="order of an OrderedDict"),
    ],
)
def test_what_python_calls_equal_is_still_another_value(kind: Any, value: Any, write: Callable[[Any], Any]) -> None:
    """Given a value that comes back as one that only ``==`` takes for the same, then it is refused."""
    model = lossy(kind, write)
    with pytest.raises(InvalidValueError, match=r"(comes back|equal).*Nothing was stored"):
        value_codec(model).encode(model(v=value))


@pytest.mark.parametrize(
    "value",
    [Decimal("NaN"), Decimal("-sNaN"), [Decimal("NaN")], {Decimal("NaN")}, {"a": (Decimal("NaN"),)}],
    ids=repr,
)
def test_a_decimal_that_is_no_number_is_refused(value: Any) -> None:
    """Given a NaN of Decimal, anywhere, then it is refused: it would not even equal itself."""
    kinds: dict[type, Any] = {Decimal: Decimal, list: list[Decimal], set: set[Decimal]}
    declared = kinds.get(type(value), dict[str, tuple[Decimal, ...]])
    with pytest.raises(InvalidValueError, match="Nothing was stored"):
        value_codec(declared).encode(value)


def test_members_without_equality_are_compared_by_their_parts() -> None:
    """Given a set of objects that equal only themselves, then their parts decide whether they came back."""

    @dataclasses.dataclass(eq=False)
    class Box:
        v: float

    codec: ValueCodec[Any] = value_codec(set[Box])
    assert codec.encode({Box(10.5), Box(9.0)}) == b'[{"v":10.5},{"v":9.0}]'
    assert sorted(box.v for box in codec.decode(codec.encode({Box(10.5), Box(9.0)}))) == [9.0, 10.5]


def test_members_of_an_enum_are_themselves() -> None:
    """Given members of enums that equal one another or are combined, then each comes back as itself."""
    codec = value_codec(list[Number])
    assert [one.name for one in codec.decode(codec.encode([Number.ONE, Number.TWO]))] == ["ONE", "TWO"]

    class Grant(pydantic.BaseModel):
        access: Access

    grants = value_codec(Grant)
    assert grants.decode(grants.encode(Grant(access=Access.READ))).access is Access.READ
