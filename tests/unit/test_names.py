"""Names, keys and numbers at the edge of the library, and where an entity lies."""

from __future__ import annotations

import enum
import math
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_es.errors import InvalidArgumentError, InvalidTypeError
from casty_es.hashes import shard_of, slot_of
from casty_es.names import (
    MAX_KEY_DIGITS,
    MAX_NAME_BYTES,
    check_amount,
    check_at_least_one,
    check_name,
    check_timeout,
    decode_key,
    encode_key,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=128)
KEYS = st.one_of(NAMES, st.integers(-(10**MAX_KEY_DIGITS) + 1, 10**MAX_KEY_DIGITS - 1), st.uuids())


class Role(enum.StrEnum):
    """Stands for a caller's own."""

    ADMIN = "admin"


@given(NAMES)
def test_any_text_names_something(name: str) -> None:
    """Given text of 1 to 512 bytes, when it is checked, then it comes back unchanged."""
    assert check_name(name) == name


def test_a_str_enum_names_by_its_value() -> None:
    """Given a member of a StrEnum, when it is checked, then a plain str of its value comes back."""
    assert check_name(Role.ADMIN) == "admin"
    assert type(check_name(Role.ADMIN)) is str
    assert encode_key(Role.ADMIN) == "s:admin"


def test_a_name_is_measured_in_bytes() -> None:
    """Given two-byte characters, when there are 256 or 257 of them, then only the first is a name."""
    assert check_name("é" * (MAX_NAME_BYTES // 2))
    with pytest.raises(InvalidArgumentError, match="512 bytes"):
        check_name("é" * (MAX_NAME_BYTES // 2 + 1))


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 513, "x" * 1_000_000])
def test_text_that_cannot_be_stored_is_refused(name: str) -> None:
    """Given empty, overlong or unstorable text, when it is checked, then the error names what it was for."""
    with pytest.raises(InvalidArgumentError, match="counter name"):
        check_name(name, "counter name")
    with pytest.raises(InvalidArgumentError):
        encode_key(name)


@pytest.mark.parametrize("name", [None, 1, b"a", ["a"], object()])
def test_a_name_of_another_type_is_refused(name: object) -> None:
    """Given something that is no str, when it is checked, then it is a TypeError of ours."""
    with pytest.raises(InvalidTypeError, match=type(name).__name__):
        check_name(name)


@given(KEYS)
def test_every_key_comes_back_with_its_type(key: str | int | UUID) -> None:
    """Given a key, when it is encoded and decoded, then it is equal and of the same type."""
    back = decode_key(encode_key(key))
    assert back == key
    assert type(back) is type(key)


@given(KEYS, KEYS)
def test_different_keys_have_different_texts(one: str | int | UUID, other: str | int | UUID) -> None:
    """Given two keys, when they are encoded, then the texts are equal only if the keys are."""
    assert (encode_key(one) == encode_key(other)) == (type(one) is type(other) and one == other)


def test_the_tags_are_part_of_the_format() -> None:
    """Given a key of each type, when it is encoded, then the stored text is the one it always was."""
    assert encode_key("alice") == "s:alice"
    assert encode_key("i:1") == "s:i:1"
    assert encode_key(1) == "i:1"
    assert encode_key(-7) == "i:-7"
    assert encode_key(UUID(int=5)) == "u:00000000-0000-0000-0000-000000000005"


@pytest.mark.parametrize("key", [True, False, None, 1.0, b"a", (1,), Decimal(1), object()])
def test_a_key_of_another_type_is_refused(key: object) -> None:
    """Given a bool or anything else that is no key, when it is encoded, then it is a TypeError of ours."""
    with pytest.raises(InvalidTypeError, match="str, an int or a UUID"):
        encode_key(key)


@pytest.mark.parametrize("key", [10**MAX_KEY_DIGITS, -(10**MAX_KEY_DIGITS), 10**4_000])
def test_an_overlong_integer_key_is_refused(key: int) -> None:
    """Given an integer of more than 500 digits, when it is encoded, then the limit is named."""
    with pytest.raises(InvalidArgumentError, match="500 digits"):
        encode_key(key)


@pytest.mark.parametrize(
    "text",
    ["", "s", "s:", "x:1", "i:", "i:01", "i:+1", "i: 1", "i:1_0", "i:-0", "i:\u0661", "i:" + "9" * 5_000, "u:1",
     "u:00000000000000000000000000000005", "u:{00000000-0000-0000-0000-000000000005}", "s:a\0", "s:\ud800", "1"],
)  # fmt: skip
def test_a_text_that_no_key_gives_is_refused(text: str) -> None:
    """Given text that is not the one spelling of a key, when it is decoded, then it is refused."""
    with pytest.raises(InvalidArgumentError, match="not the text of a map key"):
        decode_key(text)


@given(st.one_of(st.floats(min_value=1e-300, allow_infinity=False), st.integers(1, 10**300)))
def test_a_timeout_is_seconds_above_zero(seconds: float) -> None:
    """Given a finite number above zero, when it is checked, then it comes back as a float."""
    assert check_timeout(seconds) == float(seconds)
    assert type(check_timeout(seconds)) is float


@pytest.mark.parametrize("seconds", [0, 0.0, -1, -0.5, math.nan, math.inf, -math.inf, 10**400, -(10**400)])
def test_a_timeout_that_never_or_always_ends_is_refused(seconds: float) -> None:
    """Given zero, a negative, NaN or infinity, when it is checked, then it is refused."""
    with pytest.raises(InvalidArgumentError, match="above zero and finite"):
        check_timeout(seconds)


@pytest.mark.parametrize("seconds", [True, None, "5", Decimal(5), [5]])
def test_a_timeout_of_another_type_is_refused(seconds: object) -> None:
    """Given something that is no int or float, when it is checked, then it is a TypeError of ours."""
    with pytest.raises(InvalidTypeError, match="number of seconds"):
        check_timeout(seconds)


def test_there_must_be_one_of_what_is_counted() -> None:
    """Given 1 or more, it comes back; given less, or what is no int, it is refused by name."""
    assert check_at_least_one(1, "permits") == 1
    assert check_at_least_one(2**31 - 1, "permits") == 2**31 - 1
    for number in (2**31, 10**5_000):
        with pytest.raises(InvalidArgumentError, match="permits must be at most"):
            check_at_least_one(number, "permits")
    for number in (0, -1, -(10**5_000)):
        with pytest.raises(InvalidArgumentError, match="permits must be 1 or more"):
            check_at_least_one(number, "permits")
    for other in (True, 1.0, "1", None):
        with pytest.raises(InvalidTypeError, match="permits must be an int"):
            check_at_least_one(other, "permits")


def test_an_amount_is_any_int() -> None:
    """Given an int of any size and sign, it comes back; given a bool or anything else, it is refused."""
    for amount in (0, -3, 10**5_000):
        assert check_amount(amount) == amount
    for other in (True, 1.0, "1", None, Decimal(1)):
        with pytest.raises(InvalidTypeError, match="amount must be an int"):
            check_amount(other)


@pytest.mark.parametrize(
    ("kind", "name", "key", "shards", "shard"),
    [
        ("counter", "page-views", "", 100, 67),
        ("map", "users", "s:alice", 100, 92),
        ("map", "users", "i:1", 8192, 577),
        ("map", "a", "b:c", 2**64, 2233907432153096875),
        ("map", "a:b", "c", 2**64, 16892637062197370802),
        ("map", "é", "s:✓", 2**64, 7198027426363476284),
    ],
)
def test_the_shard_of_an_entity_never_changes(kind: str, name: str, key: str, shards: int, shard: int) -> None:
    """Given an entity written by an older release, when it is placed, then it lies where it always lay."""
    assert shard_of(kind, name, key, shards) == shard


@pytest.mark.parametrize(
    ("kind", "name", "shard", "slots", "slot"),
    [
        ("map", "users", 92, 256, 21),
        ("counter", "page-views", 0, 8192, 3145),
        ("lock", "x", 99, 2**64, 3438436418827649319),
    ],
)
def test_the_slot_of_a_shard_never_changes(kind: str, name: str, shard: int, slots: int, slot: int) -> None:
    """Given a shard written by an older release, when it is placed, then it lies where it always lay."""
    assert slot_of(kind, name, shard, slots) == slot


@given(st.tuples(st.text("a:b", max_size=4), st.text("a:b", max_size=4)), st.tuples(*[st.text("a:b", max_size=4)] * 2))
def test_a_name_and_a_key_never_run_together(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Given two pairs of name and key, when they are hashed whole, then only equal pairs agree."""
    assert (shard_of("map", *one, 2**64) == shard_of("map", *other, 2**64)) == (one == other)


def test_entities_spread_over_all_slots() -> None:
    """Given many names, when they are placed, then no slot of 64 gets three times its share."""
    slots = [slot_of("counter", f"n{i}", shard_of("counter", f"n{i}", "", 100), 64) for i in range(6_400)]
    assert max(map(slots.count, range(64))) < 300
    assert min(map(slots.count, range(64))) > 30
