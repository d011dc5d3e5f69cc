"""Tests of the tests: each promise that is broken in what callers were told is named."""

from __future__ import annotations

import pytest

from casty_es.domain import counter, lock, queue
from casty_es.domain.decider import Command, Value
from casty_es.journal.port import EntityName
from tests.faults.recording import Operation

from .promises import check_items, check_sum, check_tokens

_NAME = EntityName("any", "thing", "")


def told(command: Command, called: int, *, reply: bytes | None = None, error: str | None = None) -> Operation:
    """An operation that took one instant; without an outcome it never returned."""
    returned = None if reply is None and error is None else called + 1
    return Operation(
        id=bytes([called]) * 16, name=_NAME, command=command, called=called, returned=returned, reply=reply, error=error
    )


def acquired(called: int, token: int) -> Operation:
    """A grant."""
    return told(lock.Acquire("me", str(called)), called, reply=str(token).encode())


def put(called: int, item: bytes, **outcome: str) -> Operation:
    """An item that was put in, for sure unless an error is given."""
    return told(queue.Enqueue(Value(item)), called, **(outcome or {"reply": b"null"}))  # type: ignore[arg-type]


def taken(called: int, item: bytes | None) -> Operation:
    """An item that was taken out; ``None`` for a caller who never heard."""
    return told(queue.Dequeue(), called, reply=item)


@pytest.mark.parametrize(
    ("grants", "wrong"),
    [
        ([acquired(1, 1), acquired(3, 4)], 0),
        ([acquired(1, 4), acquired(3, 1)], 1),
        ([acquired(1, 4), acquired(1, 2)], 0),
        ([acquired(1, 4), acquired(1, 4)], 1),
    ],
    ids=["growing", "shrinking", "at the same time", "twice"],
)
def test_tokens(grants: list[Operation], wrong: int) -> None:
    """A token that is not higher than one that was told before is named."""
    assert len(check_tokens(grants)) == wrong


@pytest.mark.parametrize(
    ("operations", "left", "wrong"),
    [
        ([put(1, b"1"), put(2, b"2"), taken(3, b"1")], [b"2"], 0),
        ([put(1, b"1"), taken(3, b"1"), taken(4, b"1")], [], 1),
        ([put(1, b"1"), taken(3, b"1")], [b"1"], 1),
        ([put(1, b"1")], [], 1),
        ([put(1, b"1"), taken(3, None)], [], 0),
        ([taken(3, b"1")], [], 1),
        ([put(1, b"1", error="NotDoneError")], [b"1"], 1),
        ([put(1, b"1", error="OutcomeUnknownError")], [b"1"], 0),
        ([put(1, b"1", error="OutcomeUnknownError")], [], 0),
    ],
    ids=[
        "right",
        "out twice",
        "out and there",
        "gone",
        "maybe out",
        "never put in",
        "denied",
        "maybe in",
        "maybe not in",
    ],
)
def test_items(operations: list[Operation], left: list[bytes], wrong: int) -> None:
    """An item that is lost, doubled, invented or denied is named."""
    assert len(check_items(operations, left)) == wrong


@pytest.mark.parametrize(("value", "wrong"), [(1, 1), (2, 0), (7, 0), (5, 0), (8, 1)])
def test_sums(value: int, wrong: int) -> None:
    """A counter outside of what was acknowledged and what may have happened is named."""
    operations = [
        told(counter.Increment(5), 1, reply=b"5"),
        told(counter.Increment(2), 2, error="OutcomeUnknownError"),
        told(counter.Decrement(3), 3),
        told(counter.Increment(50), 4, error="NotDoneError"),
    ]
    assert len(check_sum(operations, value)) == wrong
