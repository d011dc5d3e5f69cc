"""Every field of every message, with its limits: what is beyond them, for tests that send it.

A field that is not in ``FIELDS`` or ``COMMANDS`` fails ``test_limits.py``, so that none is added without its limits.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from casty_es.replay import HistoryPage, Positions
from casty_es.transport.frames import Part
from casty_es.transport.wire import (
    Answered,
    Ask,
    Failed,
    FindOutcome,
    FindShards,
    Locate,
    Located,
    NodeEntry,
    Outcome,
    ReadHistory,
    ReadPast,
    Recall,
    Recalled,
    Refused,
    ShardsFound,
    SlotEntry,
    Topology,
)

__all__ = ["COMMANDS", "FIELDS", "HEX", "REQUEST", "Row", "as_json"]

REQUEST: Final = "018f0c3a-0000-7000-8000-000000000001"
HEX: Final = "ab" * 32
MEBIBYTE: Final = 2**20
NO_TEXT: Final = Raw(b"\xa2\xc3\x28")  # two bytes that are no UTF-8, as msgpack's text
_TOO_LARGE: Final = b'"' + b"x" * (7 * MEBIBYTE) + b'"'


class Row(NamedTuple):
    """A field's limits in words, and what is beyond them.

    Attributes
    ----------
    wrong : list
        Always tried.
    more : Callable[[random.Random], object]
        Makes another value that is beyond them.
    """

    limits: str
    wrong: list[Any]
    more: Callable[[random.Random], Any]


def _one_of(wrong: list[Any]) -> Callable[[random.Random], Any]:
    return lambda rng: rng.choice(wrong)


def number(low: int, high: int, *, none: bool = False, extra: tuple[Any, ...] = ()) -> Row:
    """A whole number; ``none`` says whether it may be left out."""
    wrong: list[Any] = ["1", 1.5, True, b"1", [1], {"a": 1}, *extra]
    wrong += [beyond for beyond in (low - 1, -(2**63), high + 1, 2**64 - 1) if -(2**63) <= beyond < 2**64]
    wrong += [] if none else [None]
    wrong = [one for one in wrong if type(one) is not int or not low <= one <= high]
    lowest = -(2**63)
    return Row(
        f"{low} to {high}",
        wrong,
        lambda rng: rng.randrange(lowest, low) if low > lowest and rng.random() < 0.5 else rng.choice(wrong),
    )


def text(longest: int, *, none: bool = False, extra: tuple[Any, ...] = ()) -> Row:
    """A text of 1 to so many bytes, without NUL."""
    wrong: list[Any] = [1, 1.5, b"a", ["a"], {"a": "b"}, "", "a\0b", "x" * (longest + 1), "é" * (longest // 2 + 1)]
    wrong += [NO_TEXT, *extra, *([] if none else [None])]
    return Row(f"1 to {longest} bytes", wrong, lambda rng: rng.choice("xé€") * rng.randrange(longest + 1, 5 * longest))


def looked_up(*others: str) -> Row:
    """A name that has to be in a table."""
    row = text(80, extra=("os", "x" * MEBIBYTE, *others))
    return Row("a name of the table", row.wrong, lambda rng: "".join(rng.choices("abcXYZ_.", k=rng.randrange(1, 99))))


def exactly(what: str, wrong: list[Any]) -> Row:
    """Whatever these are not."""
    return Row(what, wrong, _one_of(wrong))


def shape(what: str, *wrong: Any) -> Row:
    """Something of a shape of its own."""
    return exactly(what, list(wrong))


def bytes_of(low: int, high: int) -> Row:
    """So many bytes."""
    wrong = [1, None, "x" * low, [1], {}, b"x" * (high + 1), b"x" * 70_000, *([b"x" * (low - 1)] if low else [])]
    return Row(f"{low} to {high} bytes", wrong, lambda rng: rng.randbytes(rng.randrange(high + 1, 300)))


ANY_BYTES: Final = shape("bytes", 1, None, "text", [1], {})
ANY_TEXT: Final = shape("text", 1, None, b"text", [1], NO_TEXT)
KIND: Final = looked_up("Counter", "mapp", "casty_es.domain.counter")
NAME: Final = text(512, extra=("x" * MEBIBYTE,))
KEY: Final = exactly(
    "the tagged text of a map's key",
    [
        *(1, None, b"s:a", NO_TEXT, "", "k", "alice", "s:", "s:a\0b", "s:" + "x" * 513, "s:" + "x" * MEBIBYTE, "x:1"),
        *("i:", "i:x", "i:01", "i:-0", "i:1.5", "i: 1", "i:1_0", "i:" + "1" * 501, "i:" + "1" * 5_000),
        *("u:", "u:1", f"u:{REQUEST.upper()}", f"u:{{{REQUEST}}}", "S:a", "s"),
    ],
)
STORED: Final = number(0, 2**63 - 1)
STORED_OR_NONE: Final = number(0, 2**63 - 1, none=True)
SIGNED: Final = number(-(2**63), 2**63 - 1)
SLOT: Final = number(0, 8_191, extra=(256, 8_191))  # the journals of the tests have 256
ANY_SLOT: Final = number(0, 8_191)
COUNT: Final = number(1, 2**31 - 1, extra=(2**31, 2**40))
SHARDS_OR_NONE: Final = number(0, 2**31 - 1, extra=(2**31, 2**40))
ID: Final = bytes_of(16, 16)
HASH: Final = bytes_of(0, 8)
NAME_OR_NONE: Final = text(512, none=True)
ADDRESS: Final = Row(
    "1 to 300 characters", [1, b"h:1", "", "x" * 301, NO_TEXT], lambda rng: "x" * rng.randrange(301, 999)
)
ID_NAME: Final = Row(
    "1 to 512 characters", [1, None, b"n", "", "x" * 513, NO_TEXT], lambda rng: "x" * rng.randrange(513, 999)
)
MARK: Final = exactly(
    "incarnation, position from 1, at most 8 bytes of a hash",
    ["x", 1, [], [1], [0, 1], [1, 0], [1, -1], [1, 2**44], [2**19, 1], [1, "1"], [1, 1, "x"], [1, 1, b"x" * 9]],
)
SETTING: Final = number(1, 10**9)

FIELDS: Final[dict[tuple[type[msgspec.Struct], str], Row]] = {
    (Ask, "slot"): SLOT,
    (Ask, "term"): STORED,
    (Ask, "kind"): KIND,
    (Ask, "name"): NAME,
    (Ask, "key"): KEY,
    (Ask, "shards"): COUNT,
    (Ask, "command"): looked_up("Incremented", "Expire", "NoteUnheard", "__class__", "Enqueue"),
    (Ask, "body"): shape("the command as JSON", 1, None, "{}", b"", b"{", b"null", b"[]", b"1", b'{"value":"\xff"}'),
    (Ask, "command_id"): ID,
    (Ask, "seconds"): shape("finite, above zero", math.nan, math.inf, -math.inf, 0.0, -5.0, -1, "5", None, True, [5.0]),
    (Ask, "local"): shape("true or false", 0, 1, None, "no", [], b""),
    (Ask, "repeat_after"): STORED_OR_NONE,
    # One that is right gives its command an id, which the command here does not have.
    (Ask, "idempotency_key"): text(255, none=True, extra=("order-1",)),
    (Ask, "metadata"): shape(
        "what audit_context says", 1, b"{}", "", "no", "[]", '{"actor":5}', '{"actor":""}', '{"x":"y"}'
    )._replace(more=lambda rng: msgspec.json.encode({"actor": "x" * rng.randrange(513, 2_000)}).decode()),
    (Locate, "slot"): SLOT,
    (Locate, "mark"): MARK,
    (FindShards, "kind"): KIND,
    (FindShards, "name"): NAME,
    (FindOutcome, "kind"): KIND,
    (FindOutcome, "slot"): SLOT,
    (FindOutcome, "after"): STORED,
    (FindOutcome, "term"): STORED,
    (FindOutcome, "command_id"): ID,
    (ReadHistory, "kind"): KIND,
    (ReadHistory, "name"): NAME,
    (ReadHistory, "key"): KEY,
    (ReadHistory, "after"): STORED,
    (ReadHistory, "after_time"): number(-(2**63), 2**63 - 1, none=True),
    (ReadHistory, "limit"): COUNT,
    (ReadPast, "kind"): KIND,
    (ReadPast, "name"): NAME,
    (ReadPast, "key"): KEY,
    (ReadPast, "command"): looked_up("Put", "Delete", "Redact", "Seal", "Size"),
    (ReadPast, "body"): shape("the query as JSON", 1, None, "{}", b"", b"{", b"[]", b'{"a":1}'),
    (ReadPast, "then"): shape(
        "a time, a position, a sequence, a journal",
        "x",
        1,
        None,
        [2**63],
        ["x"],
        [None, -1],
        [None, 2**63],
        [None, None, -1],
    ),
    (Recall, "slots"): shape("slots of the journal", 1, None, "x", [-1], [256], [8_192], ["1"], [1.5], [0] * 8_193),
    (Answered, "body"): ANY_BYTES,
    (Answered, "position"): STORED,
    (Answered, "hash"): HASH,
    (Failed, "error"): Row(
        "1 to 80 characters", [1, None, b"e", "", "x" * 81], lambda rng: "x" * rng.randrange(81, 999)
    ),
    (Failed, "message"): ANY_TEXT,
    (Failed, "detail"): ANY_TEXT,
    (Refused, "message"): ANY_TEXT,
    (Refused, "slot"): ANY_SLOT,
    (Refused, "node_id"): Row(
        "1 to 512 characters", [1, b"n", "", "x" * 513], lambda rng: "x" * rng.randrange(513, 999)
    ),
    (Refused, "address"): ADDRESS,
    (Refused, "epoch"): STORED,
    (Refused, "shards"): SHARDS_OR_NONE,
    (Located, "term"): STORED,
    (Located, "position"): STORED,
    (Located, "hash"): HASH,
    (ShardsFound, "shards"): SHARDS_OR_NONE,
    (Topology, "slots"): number(1, 8_192),
    (Topology, "incarnation"): number(1, 2**19 - 1),
    (Topology, "lease_seconds"): shape("above zero, finite", 0.0, -1.0, math.nan, math.inf, "5", None, 2e9),
    (Topology, "max_value_bytes"): SETTING,
    (Topology, "nodes"): shape("nodes", 1, None, "x", [1], [["n"]], {"n": 1}),
    (Topology, "owners"): shape("owners", 1, None, "x", [1], [[1]], {"n": 1}),
    (Topology, "unreached"): shape("names", 1, None, "x", [1], [""], ["x" * 513], {"n": 1}),
    (NodeEntry, "node_id"): ID_NAME,
    (NodeEntry, "address"): ADDRESS,
    (NodeEntry, "host"): ANY_TEXT,
    (NodeEntry, "pid"): STORED,
    (NodeEntry, "started_at"): SIGNED,
    (SlotEntry, "slot"): ANY_SLOT,
    (SlotEntry, "node_id"): ID_NAME,
    (SlotEntry, "address"): ADDRESS,
    (SlotEntry, "epoch"): STORED,
    (SlotEntry, "since"): SIGNED,
    (Outcome, "status"): looked_up("Executed", "done"),
    (Outcome, "body"): ANY_BYTES,
    (Recalled, "marks"): shape("marks by slot", 1, None, [], {"x": []}, {-1: []}, {8_192: []}, {0: [[1, 0]]}, {0: 1}),
    (Recalled, "unlisted"): shape("nodes", 1, "x", [1], [["n"]], {"n": 1}),
    (HistoryPage, "records"): shape("records", 1, None, "x", [1], [["x"]], [{}], {"a": 1}),
    (HistoryPage, "nodes"): shape("names by epoch", 1, None, [1], {"x": "n"}, {1: 2}, {1: None}),
    (Positions, "journal"): STORED,
    (Positions, "positions"): shape("positions by slot", 1, None, "x", [-1], [2**63], ["1"], [0] * 8_193),
    (Part, "data"): ANY_BYTES,
    (Part, "total"): shape("a number", "1", 1.5, None, b""),
    (Part, "last"): shape("true or false", 0, 1, None, "no"),
}


def as_json(value: object) -> Raw:
    """Write a value down as a command's field."""
    return value if isinstance(value, Raw) else Raw(msgspec.json.encode(value))


def json_text(longest: int, *, none: bool = False) -> Row:
    """A text of 1 to so many bytes, in JSON."""
    row = text(longest, none=none)
    return row._replace(wrong=[one for one in row.wrong if not isinstance(one, bytes | Raw)] + [Raw(b'"\xc3\x28"')])


def json_count() -> Row:
    """A number of things, in JSON."""
    wrong = [0, -1, 2**31, 2**40, 2**70, -(2**70), 1.5, "1", None, True, [], Raw(b"1e999"), Raw(b"1" + b"0" * 5_000)]
    return Row("1 to 2**31 - 1", wrong, lambda rng: rng.randrange(2**31, 2**200))


UNREADABLE: Final = [
    *(Raw(one) for one in (b"1e999", b"-1e999", b'"\\ud800"', b"1" * 4_001, b"1" * 5_000, b"[" * 201 + b"]" * 201)),
    *(Raw(one) for one in (b'"\xff"', b"[" * 100_000, b"nul", b"NaN", b"Infinity", b"01", b'"a', b"'a'", _TOO_LARGE)),
]
VALUE: Final = exactly(
    "canonical JSON, at most max_value_bytes",
    UNREADABLE
    + [Raw(one) for one in (b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b"[1, 2]", b"1.50", b"1E5", b"-0")]
    + [Raw(one) for one in (b'"\\u00e9"', b'"\\/"', b"1.0e0", b"[1 ]", b"0.10")],
)._replace(more=lambda rng: Raw(b"[" + b" " * rng.randrange(1, 500) + b"1]"))
TAKEN: Final = exactly("JSON that can be read, at most max_value_bytes", UNREADABLE)._replace(
    more=lambda rng: Raw(b"-%de999" % rng.randrange(1, 10**9))
)
BY_ID: Final = exactly(
    "a command id as text",
    [1, None, "", "r", REQUEST.upper(), REQUEST + "\n", REQUEST[:-1], REQUEST.replace("-", ""), [REQUEST]],
)
BY_ID_OR_NONE: Final = exactly(BY_ID.limits, [one for one in BY_ID.wrong if one is not None])
BY_IDS: Final = exactly("command ids as text", [1, None, REQUEST, ["r"], [REQUEST, ""], [1], {REQUEST: 1}, [[REQUEST]]])
OWN_ID: Final = BY_ID._replace(wrong=[*BY_ID.wrong, "018f0c3a-0000-7000-8000-0000000000ff"])
DIGEST: Final = exactly("64 hexadecimal digits", [1, None, "", "ab", HEX.upper(), HEX + "0", HEX[:-1] + "g"])
AMOUNT: Final = exactly(
    "at most 2 * 10**4000 either way",
    [
        "1",
        1.5,
        True,
        None,
        [1],
        {},
        2 * 10**4_000 + 1,
        -2 * 10**4_000 - 1,
        *(Raw(b"1" * n) for n in (4_200, 4_400, 5_000)),
    ],
)._replace(more=lambda rng: Raw(b"-9" + b"%d" % rng.randrange(10) * rng.randrange(4_001, 9_000)))
BOUND: Final = AMOUNT._replace(wrong=[one for one in AMOUNT.wrong if one is not None])
NOBODY: Final = exactly("left out", [1, None, "x", "node:018f0c3a-0000-7000-8000-000000000001"])
STEPS: Final = exactly("1 to 2**44 - 1", [0, -1, 2**44, 2**70, 1.5, "1", None, True])

_WITHIN: Final = ("IncrementWithin", "DecrementWithin")
COMMANDS: Final[dict[tuple[str, str], Row]] = {
    **{(command, "amount"): AMOUNT for command in ("Increment", "Decrement", *_WITHIN)},
    **{(command, bound): BOUND for command in _WITHIN for bound in ("minimum", "maximum")},
    ("GetAndSet", "value"): AMOUNT,
    ("CompareAndSet", "expected"): AMOUNT,
    ("CompareAndSet", "value"): AMOUNT,
    ("Put", "value"): VALUE,
    ("PutIfAbsent", "value"): VALUE,
    ("Replace", "digest"): DIGEST,
    ("Replace", "value"): VALUE,
    ("Add", "value"): VALUE,
    ("Remove", "value"): VALUE,
    ("Contains", "value"): VALUE,
    ("Enqueue", "value"): VALUE,
    ("GiveBack", "value"): TAKEN,
    ("GiveBack", "taken"): BY_ID,
    **{(command, "process"): NOBODY for command in ("Acquire", "TryAcquire", "Arrive")},
    **{(command, "owner"): json_text(512) for command in ("Acquire", "TryAcquire", "Release")},
    **{(command, "request"): OWN_ID for command in ("Acquire", "TryAcquire", "Arrive")},
    **{(command, "permits"): json_count() for command in ("Acquire", "TryAcquire")},
    ("Release", "request"): BY_ID_OR_NONE,
    ("Withdraw", "request"): BY_ID,
    ("Withdraw", "keep_grant"): exactly("true or false", [0, 1, None, "no", []]),
    ("Renew", "requests"): BY_IDS,
    ("Arrive", "participant"): json_text(549),
    ("Arrive", "expected"): json_count(),
    # With fields that are right, a warrant that is not is refused by the entity.
    **{(command, "warrant"): exactly("maintenance's", [1, None, "", "ab", HEX]) for command in ("Seal", "Redact")},
    ("Seal", "through"): STEPS,
    ("Seal", "events"): STEPS,
    **{("Seal", field): DIGEST for field in ("rows", "state", "archive_sha256")},
    ("Seal", "archive"): json_text(255),
    ("Redact", "reason"): json_text(1_000),
}
