"""The table of operations: what can be interrupted, how it is brought about, and which events a told result means.

Each row is one command of the catalog as a caller asks for it. ``uncovered`` names the commands that have no row: a
structure that gets a new command turns a test red until it has one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from casty_es import CastyError, Distributed
from casty_es.domain import barrier, counter, lock, map_entry, queue, semaphore, upkeep
from casty_es.domain import set as set_
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Command, Event, Harmless, Internal, Query

if TYPE_CHECKING:
    from .cases import Case

__all__ = ["ITEMS", "LOOK", "PERMITS", "ROWS", "Entity", "Row", "uncovered"]

Events: TypeAlias = "tuple[Event, ...]"
Later: TypeAlias = Callable[[], Awaitable[None]]

PERMITS: Final = 2
ITEMS: Final = 2
"""What is in a queue before it is interrupted: fewer than those who take something out of it."""
_FOREVER: Final = 120.0


class Entity(NamedTuple):
    """The structure that some cases share: its name, who brings it about, and how long a holder stays in the way."""

    name: str
    helper: Distributed
    caller: Distributed
    hold_seconds: float
    parked: list[asyncio.Task[None]]


class Row(NamedTuple):
    """One operation.

    Attributes
    ----------
    title : str
        The operation, and the state that it meets.
    call : Callable
        ``call(d, case)``: what the caller awaits.
    fits : Callable
        ``fits(result, events)``: whether a told result is what these events of the command, or none, mean.
    before : Callable | None
        Brings the state about; may give what goes on while the calls are interrupted.
    crowd : int
        How many call it on the same entity.
    stands : bool
        Whether its request may be held or in line afterwards.
    """

    title: str
    command: type[Command]
    call: Callable[[Distributed, Case], Awaitable[Any]]
    fits: Callable[[Any, Events], bool]
    before: Callable[[Entity], Awaitable[Later | None]] | None = None
    crowd: int = 1
    stands: bool = False

    @property
    def kind(self) -> str:
        """The structure."""
        return self.title.partition(".")[0]


def _counter(d: Distributed, name: str, seconds: float) -> Any:
    return d.counter(name, shards=1, timeout=seconds)


def _map(d: Distributed, name: str, seconds: float, type_: Any = str) -> Any:
    return d.map[str, type_](name, shards=1, timeout=seconds)


def _set(d: Distributed, name: str, seconds: float) -> Any:
    return d.set[str](name, shards=1, timeout=seconds)


def _queue(d: Distributed, name: str, seconds: float, type_: Any = str) -> Any:
    return d.queue[type_](name, shards=1, timeout=seconds)


def _lock(d: Distributed, name: str, seconds: float) -> Any:
    return d.lock(name, shards=1, timeout=seconds)


def _semaphore(d: Distributed, name: str, seconds: float) -> Any:
    return d.semaphore(name, permits=PERMITS, shards=1, timeout=seconds)


def _barrier(d: Distributed, name: str, seconds: float, who: str) -> Any:
    return d.barrier(name, node_id=who, shards=1, timeout=seconds)


# What an entity is before the calls.


async def _counted(entity: Entity) -> None:
    await _counter(entity.helper, entity.name, _FOREVER).increment()


async def _put(entity: Entity) -> None:
    await _map(entity.helper, entity.name, _FOREVER).put("k", "before")


async def _member(entity: Entity) -> None:
    await _set(entity.helper, entity.name, _FOREVER).add("before")


async def _filled(entity: Entity) -> None:
    items = _queue(entity.helper, entity.name, _FOREVER)
    for number in range(ITEMS):
        await items.enqueue(f"before-{number}")


def _held(make: Callable[[Distributed, str, float], Any], grants: int) -> Callable[[Entity], Awaitable[Later | None]]:
    """Let somebody else hold all of it, and return it back while the calls are interrupted."""

    async def before(entity: Entity) -> Later:
        holder = make(entity.helper, entity.name, _FOREVER)
        for _ in range(grants):
            await holder.acquire()

        async def meanwhile() -> None:
            await asyncio.sleep(entity.hold_seconds)
            for _ in range(grants):
                with contextlib.suppress(CastyError):
                    await holder.release()

        return meanwhile

    return before


async def _party(entity: Entity) -> None:
    """Let another party stand at the barrier until all is over."""

    async def stand() -> None:
        with contextlib.suppress(CastyError):
            await _barrier(entity.helper, entity.name, _FOREVER, "party").arrive(2)

    entity.parked.append(asyncio.create_task(stand()))
    probe = _barrier(entity.helper, entity.name, _FOREVER, "party")
    while not (await probe._ask(barrier.GetRound())).arrived:  # noqa: ASYNC110 - what is asked sets no event
        await asyncio.sleep(0.001)


# What a call is.


def _on(make: Callable[[Distributed, str, float], Any], method: str, *arguments: Any, **named: Any) -> Any:
    def call(d: Distributed, case: Case) -> Awaitable[Any]:
        return _kept(case, make(d, case.name, case.seconds), method, *arguments, **named)

    return call


def _kept(case: Case, handle: Any, method: str, *arguments: Any, **named: Any) -> Any:
    case.handle = handle  # what it holds is released by it, and what its owner holds is renewed for it
    return getattr(handle, method)(*arguments, **named, idempotency_key=case.key)


def _enqueue(d: Distributed, case: Case) -> Awaitable[Any]:
    return _kept(case, _queue(d, case.name, case.seconds), "enqueue", case.item)


def _dequeue(d: Distributed, case: Case) -> Awaitable[Any]:
    return _kept(case, _queue(d, case.name, case.seconds, int if case.misread else str), "dequeue")


def _overwrite(d: Distributed, case: Case) -> Awaitable[Any]:
    type_: Any = int if case.misread else str
    return _kept(case, _map(d, case.name, case.seconds, type_), "put", "k", case.number if case.misread else case.item)


def _released(make: Callable[[Distributed, str, float], Any]) -> Any:
    """Give back what the caller itself has acquired before."""

    async def before(entity: Entity) -> None:
        handle = _OWN[entity.name] = make(entity.caller, entity.name, _FOREVER)
        await handle.acquire()

    def call(_: Distributed, case: Case) -> Awaitable[Any]:
        handle = _OWN.pop(case.name)
        handle._timeout = case.seconds
        return _kept(case, handle, "release")

    return before, call


_OWN: Final[dict[str, Any]] = {}


def _arrive(d: Distributed, case: Case) -> Awaitable[Any]:
    return _kept(case, _barrier(d, case.name, case.seconds, f"case-{case.number}"), "arrive", 2)


LOOK: Final[dict[str, Callable[[Distributed, str], Awaitable[Any]]]] = {
    "counter": lambda d, name: _counter(d, name, _FOREVER).get(),
    "map": lambda d, name: _map(d, name, _FOREVER).contains("k"),
    "set": lambda d, name: _set(d, name, _FOREVER).size(),
    "queue": lambda d, name: _queue(d, name, _FOREVER).size(),
    "lock": lambda d, name: _lock(d, name, _FOREVER).locked(),
    "semaphore": lambda d, name: _semaphore(d, name, _FOREVER).available(),
    "barrier": lambda d, name: _barrier(d, name, _FOREVER, "looks")._ask(barrier.GetRound()),
}
"""A question by which a caller finds the owner of a structure, and how many shards it has."""


# What a result means.


def _value(result: Any, events: Events) -> bool:
    return len(events) == 1 and result == events[0].value  # type: ignore[attr-defined]


def _value_before(result: Any, events: Events) -> bool:
    return len(events) == 1 and result == events[0].value - events[0].amount  # type: ignore[attr-defined]


def _yes(result: Any, events: Events) -> bool:
    return result is bool(events)


def _nothing_said(result: Any, events: Events) -> bool:
    return result is None and len(events) == 1


def _previous(result: Any, events: Events) -> bool:
    if len(events) != 1:
        return False
    previous = events[0].previous  # type: ignore[attr-defined]
    return bool(result == (None if previous is msgspec.UNSET else msgspec.json.decode(previous)))


def _popped(result: Any, events: Events) -> bool:
    values = [msgspec.json.decode(event.previous) for event in events]  # type: ignore[attr-defined]
    return values == ([] if result is None else [result])


def _taken(result: Any, events: Events) -> bool:
    values = [msgspec.json.decode(event.value) for event in events]  # type: ignore[attr-defined]
    return values == ([] if result is None else [result])


def _granted(result: Any, events: Events) -> bool:
    return bool(result is None and events)


_release_lock, _call_release_lock = _released(_lock)
_release_permit, _call_release_permit = _released(_semaphore)

ROWS: Final = (
    Row("counter.increment of a new one", counter.Increment, _on(_counter, "increment"), _value, crowd=2),
    Row("counter.increment", counter.Increment, _on(_counter, "increment", 3), _value, _counted, crowd=2),
    Row("counter.get_and_set", counter.GetAndSet, _on(_counter, "get_and_set", 9), _value_before, _counted),
    Row("counter.increment below", counter.IncrementWithin, _on(_counter, "increment", max=9), _value, crowd=2),
    Row("counter.decrement above", counter.DecrementWithin, _on(_counter, "decrement", min=0), _value, _counted),
    Row("counter.compare_and_set", counter.CompareAndSet, _on(_counter, "compare_and_set", 1, 9), _yes, _counted),
    Row("counter.decrement", counter.Decrement, _on(_counter, "decrement"), _value, _counted),
    Row("counter.destroy", counter.Destroy, _on(_counter, "destroy"), _yes, _counted),
    Row("map.put of a new key", map_entry.Put, _overwrite, _previous),
    Row("map.put over a value", map_entry.Put, _overwrite, _previous, _put, crowd=2),
    Row("map.put_if_absent", map_entry.PutIfAbsent, _on(_map, "put_if_absent", "k", "new"), _yes, crowd=2),
    Row("map.replace", map_entry.Replace, _on(_map, "replace", "k", "before", "new"), _yes, _put, crowd=2),
    Row("map.pop", map_entry.Pop, _on(_map, "pop", "k"), _popped, _put, crowd=2),
    Row("map.delete", map_entry.Delete, _on(_map, "delete", "k"), _yes, _put, crowd=2),
    Row("set.add", set_.Add, _on(_set, "add", "new"), _yes, _member, crowd=2),
    Row("set.remove", set_.Remove, _on(_set, "remove", "before"), _yes, _member, crowd=2),
    Row("set.destroy", set_.Destroy, _on(_set, "destroy"), _yes, _member),
    Row("queue.enqueue into a new one", queue.Enqueue, _enqueue, _nothing_said),
    Row("queue.enqueue", queue.Enqueue, _enqueue, _nothing_said, _filled, crowd=2),
    Row("queue.dequeue", queue.Dequeue, _dequeue, _taken, _filled, crowd=3),
    Row("queue.destroy", queue.Destroy, _on(_queue, "destroy"), _yes, _filled),
    Row("lock.acquire of a free one", lock.Acquire, _on(_lock, "acquire"), _granted, stands=True),
    Row(
        "lock.acquire of a held one",
        lock.Acquire,
        _on(_lock, "acquire"),
        _granted,
        _held(_lock, 1),
        crowd=3,
        stands=True,
    ),
    Row("lock.try_acquire", lock.TryAcquire, _on(_lock, "try_acquire"), _yes, crowd=2, stands=True),
    Row("lock.release", lock.Release, _call_release_lock, _yes, _release_lock),
    Row("lock.destroy", lock.Destroy, _on(_lock, "destroy"), _yes, _held(_lock, 1)),
    Row("semaphore.acquire of a free one", semaphore.Acquire, _on(_semaphore, "acquire"), _granted, stands=True),
    Row(
        "semaphore.acquire of a held one",
        semaphore.Acquire,
        _on(_semaphore, "acquire"),
        _granted,
        _held(_semaphore, PERMITS),
        crowd=3,
        stands=True,
    ),
    Row("semaphore.try_acquire", semaphore.TryAcquire, _on(_semaphore, "try_acquire"), _yes, crowd=3, stands=True),
    Row("semaphore.release", semaphore.Release, _call_release_permit, _yes, _release_permit),
    Row("semaphore.destroy", semaphore.Destroy, _on(_semaphore, "destroy"), _yes, _held(_semaphore, PERMITS)),
    Row("barrier.arrive alone", barrier.Arrive, _arrive, _granted, stands=True),
    Row("barrier.arrive as the last", barrier.Arrive, _arrive, _granted, _party, stands=True),
    Row(
        "barrier.destroy",
        barrier.Destroy,
        _on(lambda d, name, seconds: _barrier(d, name, seconds, "case"), "destroy"),
        _yes,
        _party,
    ),
)

# Queries change nothing. What an owner asks itself is asked by nobody else. Some commands follow in the wake of another
# one (a withdrawal, a renewal, the giving back of an item), and are interrupted with it. Upkeep is for operators;
# tests/audit interrupts it.
_NOT_ASKED: Final = (Query, Internal, Harmless, queue.GiveBack, upkeep.Redact)


def uncovered() -> set[tuple[str, type[Command]]]:
    """Return the commands of the catalog that a caller can ask for and no row does, each with its structure."""
    asked = {(row.title.partition(".")[0], row.command) for row in ROWS}
    return {
        (kind.name, command)
        for kind in CATALOG.values()
        for command in kind.commands
        if not issubclass(command, _NOT_ASKED) and (kind.name, command) not in asked
    }
