"""User values: what goes in comes back, equal values give equal bytes, and everything else is refused."""
# ruff: noqa: D101, D102 - the classes stand for a caller's own

import dataclasses
import enum
import io
import json
import math
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_es.errors import InvalidTypeError, InvalidValueError
from casty_es.format.canonical import MAX_DEPTH
from casty_es.format.sameness import MAX_DIGITS
from casty_es.format.values import MAX_VALUE_BYTES, ValueCodec, check_canonical, value_codec


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: float | None = None


@dataclasses.dataclass(frozen=True)
class Point3(Point):
    z: int = 0


@dataclasses.dataclass(eq=False)
class Handle:
    parts: list[float | None]


@dataclasses.dataclass
class Tree:
    children: "list[Tree]" = dataclasses.field(default_factory=list)
    labels: "dict[UUID, Tree]" = dataclasses.field(default_factory=dict)


class Cat(msgspec.Struct, tag=True, rename="camel", frozen=True):
    pet_name: str
    toys: frozenset[Color] = frozenset()


class Dog(msgspec.Struct, tag=True, array_like=True, frozen=True):
    tricks: frozenset[Point] = frozenset()


class Lazy(msgspec.Struct, omit_defaults=True):
    a: int | msgspec.UnsetType = msgspec.UNSET
    roles: set[Color] = msgspec.field(default_factory=set)


@attrs.define
class Account:
    owner: str
    limits: dict[int, Decimal] = attrs.field(factory=dict)


@attrs.define
class Hidden:
    _secret: int = 0


class Address(pydantic.BaseModel):
    street: str = pydantic.Field(alias="streetName")
    zips: set[str] = set()
    score: float | None = None


class User(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid")

    id: UUID
    born: date
    homes: list[Address] = []
    url: pydantic.HttpUrl | None = None

    @pydantic.computed_field
    def age(self) -> int:
        return 7


class Pair(NamedTuple):
    a: int
    b: tuple[str, ...]


class Row(TypedDict):
    a: int


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), FLOATS, TEXT)


def first(moment: Any) -> Any:
    """The first of two moments that a clock shows alike."""
    return moment.replace(fold=0)


JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
POINTS = st.builds(Point, st.integers(), st.none() | FLOATS)
HOME = Address(streetName="Rue", zips={"b", "a", "c"})
USER = User(id=UUID(int=7), born=date(2000, 1, 2), homes=[HOME], url=pydantic.HttpUrl("https://example.org/"))

TYPED = st.one_of(
    st.tuples(st.just(Any), JSON),
    st.tuples(st.just(object), JSON),
    st.tuples(st.just(str), TEXT),
    st.tuples(st.just(int), st.integers(-(10**MAX_DIGITS) + 1, 10**MAX_DIGITS - 1)),
    st.tuples(st.just(float), FLOATS),
    st.tuples(st.just(bytes), st.binary()),
    st.tuples(st.just(datetime), st.datetimes(timezones=st.none() | st.just(UTC)).map(first)),
    st.tuples(st.just(time), st.times().map(first)),
    st.tuples(st.just(timedelta), st.timedeltas()),
    st.tuples(st.just(Decimal), st.decimals(allow_nan=False)),
    st.tuples(st.just(set[Point]), st.sets(POINTS)),
    st.tuples(st.just(set[str | int | None]), st.sets(TEXT | st.integers() | st.none())),
    st.tuples(st.just(set[frozenset[int]]), st.sets(st.frozensets(st.integers(), max_size=3))),
    st.tuples(st.just(dict[UUID, Color]), st.dictionaries(st.uuids(), st.sampled_from(Color))),
    st.tuples(st.just(dict[int, list[Point]]), st.dictionaries(st.integers(), st.lists(POINTS, max_size=2))),
    st.tuples(st.just(Pair), st.builds(Pair, st.integers(), st.lists(TEXT).map(tuple))),
    st.tuples(st.just(tuple[int, str] | None), st.none() | st.tuples(st.integers(), TEXT)),
    st.tuples(st.just(Cat | str), TEXT | st.builds(Cat, TEXT, st.frozensets(st.sampled_from(Color)))),
    st.tuples(st.just(dict[str, Dog]), st.dictionaries(TEXT, st.builds(Dog, st.frozensets(POINTS, max_size=3)))),
    st.tuples(st.just(Lazy), st.builds(Lazy, st.integers(), st.sets(st.sampled_from(Color)))),
    st.tuples(st.just(Account), st.builds(Account, TEXT, st.dictionaries(st.integers(), st.decimals(-9, 9)))),
    st.tuples(st.just(Row), st.builds(lambda a: {"a": a}, st.integers())),
    st.tuples(st.just(Literal["a", 1]), st.sampled_from(["a", 1])),
)


@given(TYPED)
def test_every_value_of_its_declared_type_comes_back_equal(typed: tuple[Any, Any]) -> None:
    """Given a value and its type, when it is encoded, then it decodes equal, and the bytes are text without NUL."""
    declared, value = typed
    codec = value_codec(declared)
    raw = codec.encode(value)
    assert codec.decode(raw) == value
    assert type(codec.decode(msgspec.Raw(raw))) is type(value)
    assert codec.encode(codec.decode(raw)) == raw
    assert b"\0" not in raw
    check_canonical(raw, MAX_VALUE_BYTES)
    json.loads(raw.decode())


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (type(None), None),
        (None, None),
        (User, USER),
        (User | None, None),
        (dict[str, list[User]], {"u": [USER]}),
        (Tree, Tree([Tree()], {UUID(int=2): Tree(), UUID(int=1): Tree()})),
        (Lazy, Lazy()),
        (Hidden, Hidden(5)),
        (list[Level], [Level.HIGH]),
        (Color, Color.RED),
        (set[Level], {Level.LOW, Level.HIGH}),
        (dict[float, int], {1.5: 1, 1e300: 2}),
        (datetime, datetime(2020, 7, 1, tzinfo=ZoneInfo("Europe/Paris"))),
        (Annotated[int, msgspec.Meta(ge=0)], 3),
        (int | None, 2**64),
        (str, "a\0b\u2028\U0001f600"),
        (dict[str, Any], {"a\0b": [1, 1.5, None, True, "x", {"y": []}]}),
    ],
)
def test_a_value_of_every_kind_of_type_comes_back_equal(declared: Any, value: Any) -> None:
    """Given a value of each supported kind, when it is encoded and decoded, then it is equal and of its type."""
    raw = value_codec(declared).encode(value)
    check_canonical(raw, MAX_VALUE_BYTES)
    back = value_codec(declared).decode(raw)
    assert back == value
    assert type(back) is type(value)


def test_a_class_without_equality_comes_back_part_by_part() -> None:
    """Given a dataclass with eq=False, when it is encoded, then its fields decide whether it came back."""
    codec = ValueCodec(Handle)
    assert codec.decode(codec.encode(Handle([1.5, None]))).parts == [1.5, None]
    with pytest.raises(InvalidValueError):
        codec.encode(Handle([math.nan]))


@given(st.dictionaries(TEXT, JSON))
def test_the_order_of_a_dict_does_not_show(value: dict[str, Any]) -> None:
    """Given two equal dicts in another order, when they are encoded, then the bytes are equal."""
    codec = ValueCodec(dict[str, Any])
    assert codec.encode(dict(reversed(value.items()))) == codec.encode(value)


def test_sorted_bytes_are_part_of_the_format() -> None:
    """Given values with members to sort, when they are encoded, then the bytes are the ones they always were."""
    cat = Cat("Tom", frozenset({Color.RED, Color.BLUE}))
    assert ValueCodec(Cat).encode(cat) == b'{"petName":"Tom","toys":["blue","red"],"type":"Cat"}'
    assert ValueCodec(Dog).encode(Dog(frozenset({Point(2), Point(1)}))) == (
        b'["Dog",[{"x":1,"y":null},{"x":2,"y":null}]]'
    )
    assert ValueCodec(dict[int, int]).encode({10: 1, 9: 2}) == b'{"10":1,"9":2}'
    assert ValueCodec(Address).encode(HOME) == b'{"score":null,"streetName":"Rue","zips":["a","b","c"]}'
    assert ValueCodec(Point).encode(Point(1, 2)) == b'{"x":1,"y":2.0}'


def test_bytes_do_not_depend_on_the_hash_seed() -> None:
    """Given sets in processes with other hash seeds, when they are encoded, then the bytes agree."""
    program = (
        "import pydantic, enum\nfrom casty_es.format.values import ValueCodec\n"
        "E = enum.Enum('E', {c: c for c in 'qwertyuiop'})\n"
        "class M(pydantic.BaseModel):\n    s: dict[str, set[str]]\n    t: list[frozenset[E]] = []\n"
        "print(ValueCodec(set[E]).encode(set(E)), ValueCodec(M).encode(M(s={'a': set('asdfgh')}, t=[frozenset(E)])))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "1234"
    }
    assert len(outputs) == 1


def test_an_int_is_taken_as_the_float_that_it_is() -> None:
    """Given an int under float, when it is exactly that float, then both have the same bytes; else it is refused."""
    assert ValueCodec(float).encode(1) == ValueCodec(float).encode(1.0) == b"1.0"
    assert ValueCodec(set[float]).encode({2, 1.5}) == b"[1.5,2.0]"
    assert ValueCodec(int | float).encode(1) == b"1"
    for lossy in (2**53 + 1, 10**30, 10**400):
        with pytest.raises(InvalidValueError):
            ValueCodec(float).encode(lossy)


def test_what_a_type_tells_apart_has_other_bytes() -> None:
    """Given values that Python calls equal but writes differently, when they are encoded, then both stay."""
    assert ValueCodec(float).encode(-0.0) != ValueCodec(float).encode(0.0)
    assert ValueCodec(Decimal).encode(Decimal("1.0")) != ValueCodec(Decimal).encode(Decimal("1.00"))


class Text(str):
    __slots__ = ()


class Box(dict[str, int]):
    pass


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (list[int], (1,)), (tuple[int, ...], [1]), (dict, {1: 2}), (dict[str, int], {1: 2}), (str, 1), (int, "1"),
        (int, True), (bool, 1), (list[int], [True]), (int, 1.0), (float, "1"), (dict[str, int], {"a": True}),
        (dict[int, int], {True: 1}), (set[int], {True}), (Any, (1,)), (Any, {1}), (Any, {1: 1}), (Any, Point(1)),
        (Any, b"a"), (Any, Level.LOW), (int, Level.LOW), (str, Text("a")), (Any, Text("a")), (Box, {}),
        (dict[str, int], Box(a=1)), (dict[str, int], OrderedDict(a=1)), (Point, Point3(1)), (Point, {"x": 1}),
        (dict[int | str, int], {1: 1, "1": 2}), (dict[int | str, int], {1: 2}),
        (set[int], frozenset({1})), (bytes, bytearray(b"a")), (datetime, date(2020, 1, 1)), (str, None),
        (Address, USER), (Address, {"streetName": "a"}), (UUID, str(UUID(int=1))), (Decimal, 1), (Pair, (1, ())),
        (datetime, datetime(2020, 1, 1, tzinfo=timezone(timedelta(seconds=30)))), (list[int], None),
        (Annotated[int, msgspec.Meta(ge=0)], -1), (Row, {"a": 1, "b": 2}), (Any, msgspec.Raw(b"\0")),
    ],
)  # fmt: skip
def test_what_would_not_come_back_equal_is_refused(declared: Any, value: Any) -> None:
    """Given a value that its declared type would change, when it is encoded, then it is refused, or its type is."""
    with pytest.raises((InvalidValueError, InvalidTypeError), match=r"Nothing was (stored|sent)"):
        ValueCodec(declared).encode(value)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("declared", "wrap"),
    [
        (float, lambda x: x),
        (float | None, lambda x: x),
        (Any, lambda x: x),
        (Any, lambda x: {"a": [1, {"b": x}]}),
        (list[float | None], lambda x: [1.0, x]),
        (dict[str, float | None], lambda x: {"a": x}),
        (set[float | None], lambda x: {x}),
        (dict[float, int], lambda x: {x: 1}),
        (Point, lambda x: Point(1, x)),
        (tuple[Point, ...], lambda x: (Point(1, x),)),
        (Address, lambda x: Address(streetName="a", score=x)),
        (list[Address], lambda x: [Address(streetName="a", score=x)]),
    ],
)
def test_a_number_that_is_not_finite_is_refused(declared: Any, wrap: Callable[[float], Any], number: float) -> None:
    """Given NaN or infinity anywhere, when it is encoded, then it is refused and never becomes None."""
    with pytest.raises(InvalidValueError, match="Nothing was stored"):
        ValueCodec(declared).encode(wrap(number))


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (str, "\ud800"), (Any, ["\udfff"]), (Any, {"\ud800": 1}), (Any, print), (Any, lambda: 1), (Any, io.StringIO()),
        (Any, object()), (Any, int), (list, [iter([])]), (int, 10**MAX_DIGITS), (int, -(10**4_250)),
        (Any, [10**MAX_DIGITS]), (Any, 1j), (Decimal, Decimal("NaN")), (Decimal, Decimal("sNaN")),
    ],
    ids=lambda _: "x",  # pytest cannot print a surrogate or so long an int
)  # fmt: skip
def test_what_json_cannot_carry_is_refused(declared: Any, value: Any) -> None:
    """Given text, numbers or objects that have no form in JSON, when they are encoded, then they are refused."""
    with pytest.raises(InvalidValueError, match="Nothing was stored"):
        ValueCodec(declared).encode(value)


def test_an_int_that_python_will_not_print_is_refused() -> None:
    """Given an int beyond the interpreter's own limit of digits, when it is encoded, then it is refused."""
    with pytest.raises(InvalidValueError, match="Nothing was stored"):
        ValueCodec(int).encode(10**100_000)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 100_000])
def test_a_value_nested_too_deep_is_refused(depth: int) -> None:
    """Given nested lists or a cycle, when they are deeper than the limit, then they are refused, not a crash."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    with pytest.raises(InvalidValueError, match="deeper than 200 levels"):
        ValueCodec(Any).encode(value)
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(InvalidValueError, match="deeper than 200 levels"):
        ValueCodec(Any).encode(cycle)
    node = Tree()
    node.labels[UUID(int=1)] = node
    with pytest.raises(InvalidValueError, match="deeper than 200 levels"):
        ValueCodec(Tree).encode(node)


def test_a_value_at_the_limit_of_depth_is_taken() -> None:
    """Given lists nested as deep as allowed, when they are encoded, then they come back."""
    value: list[Any] = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    raw = ValueCodec(Any).encode(value)
    check_canonical(raw, MAX_VALUE_BYTES)
    assert ValueCodec(Any).decode(raw) == value


def test_a_value_over_the_limit_of_bytes_is_refused_by_both_numbers() -> None:
    """Given a limit of 1,000 bytes, when a value takes 1,002, then the error names size, limit and setting."""
    codec = ValueCodec(str, max_bytes=1_000)
    assert len(codec.encode("x" * 998)) == 1_000
    with pytest.raises(InvalidValueError, match=r"1,002 bytes.*max_value_bytes is 1,000"):
        codec.encode("x" * 1_000)
    with pytest.raises(InvalidValueError, match="max_value_bytes"):
        ValueCodec(list[float], max_bytes=8).encode([1, 2, 3])


def test_a_refusal_says_where_the_value_changes() -> None:
    """Given a nested value that changes, when it is refused, then the error gives the path and both types."""
    with pytest.raises(InvalidValueError, match=r"the value\['a'\]\[0\] is of type tuple and comes back as list"):
        ValueCodec(Any).encode({"a": [(1,)]})
    with pytest.raises(InvalidValueError, match=r"the value\.y is not a finite number"):
        ValueCodec(Point).encode(Point(1, math.nan))


@pytest.mark.parametrize(
    "declared",
    [
        Callable, Callable[[], int], io.TextIOWrapper, io.IOBase, complex, range, type, print, "int", 3, Point(1),
        list[Callable[[], int]], dict[str, io.StringIO], dict[tuple[int, int], int], dict[int | None, int],
        set[complex], msgspec.Raw, memoryview, Exception, list["nope"], UUID | str, User | int, Box,  # noqa: F821
    ],
)  # fmt: skip
def test_a_type_that_cannot_be_decoded_is_refused_when_the_codec_is_made(declared: Any) -> None:
    """Given a declared type without a form in JSON, when its codec is made, then the error says what to use."""
    with pytest.raises(InvalidTypeError, match=r"(?s)cannot be stored.*Declare a type"):
        value_codec(declared)


def test_a_refused_type_is_named() -> None:
    """Given a class among others that JSON has no form for, when the codec is made, then it is named."""
    with pytest.raises(InvalidTypeError, match="no form for StringIO"):
        value_codec(dict[str, list[io.StringIO]])


@pytest.mark.parametrize("raw", [b"", b"{", b'"1"', b"null", b"1.5", b"\xff", b"[" * 100_000, b"1" * 5_000])
def test_stored_bytes_of_another_type_are_refused(raw: bytes) -> None:
    """Given bytes that are no int, when they are decoded as one, then it is an error of ours."""
    with pytest.raises(InvalidValueError, match=r"not of int.*Declare the type"):
        ValueCodec(int).decode(raw)


def test_a_failing_class_is_refused_as_a_value() -> None:
    """Given a pydantic model that rejects the stored bytes, when they are decoded, then it is an error of ours."""
    with pytest.raises(InvalidValueError, match="not of Address"):
        ValueCodec(Address).decode(b'{"street":1}')


def test_codecs_are_shared_by_type_and_limit() -> None:
    """Given one type twice, the codec is one; given an unhashable type, it is made again and works."""
    assert value_codec(Point) is value_codec(Point)
    assert value_codec(Point, 10) is not value_codec(Point)
    unhashable = Annotated[int, []]
    assert value_codec(unhashable).encode(3) == b"3"


def test_pydantic_is_not_imported() -> None:
    """Given a process that never imports pydantic, when values are stored, then the library does not either."""
    program = (
        "import sys\nfrom casty_es.format.values import ValueCodec\nValueCodec(dict[str, int]).encode({})\n"
        "assert not {'pydantic', 'attrs', 'pickle'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
