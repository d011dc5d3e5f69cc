"""A first-in, first-out queue.

1. Items are numbered as they arrive. The queue is the numbers from ``front`` up to ``back``, kept in a persistent hash
   trie, so every operation costs the same however long the queue is.
2. ``Dequeued`` carries the item, so that who took what can be read from that one event.
3. An item that reached nobody, because its taker was gone before it had the reply or could not read it, goes back to
   the front. A queue that was destroyed since takes nothing back: the item went with it.
"""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias, assert_never

import msgspec
from rpds import HashTrieMap

from casty_es.bounds import RequestId
from casty_es.domain.decider import Command, Destroy, Event, Kind, Query, TakenValue, Upkeep, Value
from casty_es.domain.upkeep import Redact, Redacted

# Commands


class Enqueue(Command[None], frozen=True, gc=False):
    value: Value


class Dequeue(Command[Value | None], frozen=True, gc=False):
    pass


class GiveBack(Command[bool], frozen=True, gc=False):
    relieves: ClassVar[bool] = True

    value: TakenValue
    taken: RequestId  # the command id of the dequeue that took it


class Peek(Query[Value | None], frozen=True, gc=False):
    pass


class Size(Query[int], frozen=True, gc=False):
    pass


QueueCommand: TypeAlias = Enqueue | Dequeue | GiveBack | Peek | Size | Destroy | Redact


# Events


class Enqueued(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = True

    value: Value


class Dequeued(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = True

    value: Value


class GivenBack(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = True

    value: Value
    taken: str


class Destroyed(Event, frozen=True, gc=False):
    alive: ClassVar[bool] = False


QueueEvent: TypeAlias = Enqueued | Dequeued | GivenBack | Destroyed | Redacted


# State


class State(msgspec.Struct, frozen=True):
    items: HashTrieMap[int, Value]
    front: int
    back: int
    exists: bool


class Snapshot(msgspec.Struct, frozen=True):
    items: tuple[Value, ...]
    exists: bool


initial: Final = State(HashTrieMap(), 0, 0, False)


def decide(state: State, command: QueueCommand) -> tuple[QueueEvent, ...]:
    match command:
        case Enqueue(value=value):
            return (Enqueued(value),)
        case Dequeue():
            return () if state.front == state.back else (Dequeued(state.items[state.front]),)
        case GiveBack(value=value, taken=taken):
            return (GivenBack(value, taken),) if state.exists else ()
        case Destroy():
            return (Destroyed(),) if state.exists else ()
        case Peek() | Size():
            return ()
        case Redact(reason=reason):
            return (Redacted(reason),)
        case _:
            assert_never(command)


def evolve(state: State, event: QueueEvent | Upkeep) -> State:
    match event:
        case Enqueued(value=value):
            return State(state.items.insert(state.back, value), state.front, state.back + 1, True)
        case Dequeued():
            return State(state.items.remove(state.front), state.front + 1, state.back, True)
        case GivenBack(value=value):
            return State(state.items.insert(state.front - 1, value), state.front - 1, state.back, True)
        case Destroyed() | Redacted():
            return initial
        case Upkeep():
            return state
        case _:
            assert_never(event)


def reply(command: QueueCommand, events: tuple[QueueEvent, ...]) -> Value | bool | None:
    match events[0]:
        case Enqueued():
            return None
        case Dequeued(value=value):
            return value
        case GivenBack() | Destroyed() | Redacted():
            return True
        case _:
            assert_never(events[0])


def answer(state: State, command: QueueCommand) -> Value | int | bool | None:
    match command:
        case Size():
            return state.back - state.front
        case Peek():
            return None if state.front == state.back else state.items[state.front]
        case Dequeue():
            return None
        case _:
            return False


def to_snapshot(state: State) -> Snapshot:
    return Snapshot(tuple(state.items[number] for number in range(state.front, state.back)), state.exists)


def from_snapshot(snapshot: Snapshot) -> State:
    # Copied, because a decoded item is a view that would keep the whole snapshot's text in memory.
    items = HashTrieMap({number: item.copy() for number, item in enumerate(snapshot.items)})
    return State(items, 0, len(snapshot.items), snapshot.exists)


QUEUE: Final = Kind[QueueCommand, QueueEvent, State](
    name="queue",
    initial=initial,
    decide=decide,
    evolve=evolve,
    reply=reply,
    answer=answer,
    columns=(("value", "json"), ("taken", "text")),
    snapshot=Snapshot,
    to_snapshot=to_snapshot,
    from_snapshot=from_snapshot,
)
