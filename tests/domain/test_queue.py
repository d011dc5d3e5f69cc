"""The queue: first in, first out, at the same cost however long it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from rpds import HashTrieMap

from casty_es.domain.queue import QUEUE, Dequeue, Destroy, Enqueue, GiveBack, Peek, QueueCommand, Size, State

from .history import Ran, run, snapshot_bytes, value
from .test_line import Watched


def test_an_empty_queue_gives_nothing() -> None:
    """Given a new queue, when it is asked for an item, then there is none and nothing is appended."""
    ran = run(QUEUE, Dequeue(), Peek(), Size(), Destroy())
    assert (ran.told, ran.events) == ([None, None, 0, False], ())


def test_items_leave_in_the_order_in_which_they_came() -> None:
    """Given three items, when they are taken with one more arriving between, then each leaves in its turn."""
    ran = run(
        QUEUE,
        *(Enqueue(value(number)) for number in (1, 2, 3)),
        *(Dequeue(), Enqueue(value(4)), Dequeue(), Dequeue(), Dequeue(), Dequeue()),
    )
    assert ran.told == [None, None, None, value(1), None, value(2), value(3), value(4), None]


def test_peek_and_size_take_nothing() -> None:
    """Given two items, when they are looked at and counted, then nothing is appended and both are still there."""
    two = run(QUEUE, Enqueue(value("a")), Enqueue(value("b")))
    looked = run(QUEUE, Peek(), Peek(), Size(), after=two)
    assert (looked.told, looked.events) == ([value("a"), value("a"), 2], ())


def test_the_event_says_which_item_was_taken() -> None:
    """Given an item, when it is taken, then the event carries it, for whoever reads the journal later."""
    taken = run(QUEUE, Enqueue(value("job")), Dequeue()).events[-1]
    assert msgspec.json.encode(taken) == b'{"value":"job"}'


def test_none_is_an_item_and_not_an_empty_queue() -> None:
    """Given None as an item, when it is taken, then the caller gets JSON null, which is not what emptiness gives."""
    ran = run(QUEUE, Enqueue(value(None)), Peek(), Dequeue(), Dequeue())
    assert ran.told == [None, msgspec.Raw(b"null"), msgspec.Raw(b"null"), None]


def test_destroy_drops_the_items() -> None:
    """Given items, when the queue is destroyed, then it is empty and new, and a drained one still existed."""
    ran = run(QUEUE, Enqueue(value(1)), Enqueue(value(2)), Destroy(), Size(), Dequeue(), Destroy())
    assert ran.told == [None, None, True, 0, None, False]
    assert QUEUE.exists(run(QUEUE, Enqueue(value(1)), Dequeue()).state)


def test_what_reached_nobody_goes_back_to_the_front() -> None:
    """Given an item that was taken, when it is given back, then it leaves before those that came behind it."""
    two = (Enqueue(value(1)), Enqueue(value(2)))
    ran = run(QUEUE, *two, Dequeue(), GiveBack(value(1), "taker"), Size(), Peek(), Dequeue(), Dequeue(), Dequeue())
    assert ran.told == [None, None, value(1), True, 2, value(1), value(1), value(2), None]


def test_a_destroyed_queue_takes_nothing_back() -> None:
    """Given an item that was taken from a queue that was destroyed since, when it is given back, then it is gone."""
    ran = run(QUEUE, Enqueue(value(1)), Dequeue(), Destroy(), GiveBack(value(1), "taker"), Size())
    assert ran.told == [None, value(1), True, False, 0]


def test_a_snapshot_holds_the_items_that_are_left() -> None:
    """Given a queue that worked for long, when it is stored, then only what is left takes room, in memory too."""
    worked = run(QUEUE, *(command for _ in range(500) for command in (Enqueue(value(7)), Dequeue())), Enqueue(value(8)))
    assert len(worked.state.items) == 1
    assert snapshot_bytes(QUEUE, worked.state) == b'{"items":[8],"exists":true}'


@pytest.mark.parametrize(
    "command",
    [Enqueue(value(1)), Dequeue(), GiveBack(value(1), "taker"), Peek(), Size()],
    ids=lambda item: type(item).__name__,
)
def test_a_long_queue_costs_no_more_than_a_short_one(command: QueueCommand) -> None:
    """Given 10 items and 100,000, when a command runs, then it asks its trie equally often and walks nothing."""

    def asked_with(items: int) -> list[str]:
        asked: list[str] = []
        stored = QUEUE.snapshot(tuple(value(number) for number in range(items)), exists=True)
        full = QUEUE.from_snapshot(stored)
        assert isinstance(full.items, HashTrieMap)
        watched: Any = Watched(full.items, asked)
        ran = run(QUEUE, command, after=Ran(State(watched, full.front, full.back, exists=True), (), []))
        assert isinstance(ran.state.items, Watched)
        return asked

    assert asked_with(100_000) == asked_with(10)
    assert len(asked_with(10)) <= 2
