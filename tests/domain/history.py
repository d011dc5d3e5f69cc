"""How these tests run commands, and a pool of commands per structure to make random histories from.

Run as a script it prints what one fixed history of every structure leads to, so that a test can compare the output of
interpreters with different hash seeds.
"""

from __future__ import annotations

import random
from itertools import product
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from casty_es.domain import barrier, counter, lock, map_entry, queue, semaphore
from casty_es.domain import set as set_
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Command, Event, Kind
from casty_es.domain.requests import NoteUnheard
from casty_es.errors import CastyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AnyKind: TypeAlias = Kind[Any, Any, Any]


class Ran(NamedTuple):
    """The state after some commands, all their events, and what the caller of each was told."""

    state: Any
    events: tuple[Event, ...]
    told: list[Any]


def run(kind: AnyKind, *commands: Command, after: Ran | None = None) -> Ran:
    """Decide and evolve ``commands`` one after the other; a refusal is raised."""
    state = kind.initial if after is None else after.state
    history: list[Event] = []
    told: list[Any] = []
    for command in commands:
        events = kind.decide(state, command)
        told.append(kind.reply(command, events) if events else kind.answer(state, command))
        for event in events:
            state = kind.evolve(state, event)
        history.extend(events)
    return Ran(state, tuple(history), told)


def attempt(kind: AnyKind, *commands: Command, after: Ran | None = None) -> Ran:
    """Like ``run``, but whoever is refused is told the type of the error."""
    ran = Ran(kind.initial if after is None else after.state, (), [])
    for command in commands:
        try:
            one = run(kind, command, after=ran)
        except CastyError as error:
            one = Ran(ran.state, (), [type(error)])
        ran = Ran(one.state, ran.events + one.events, ran.told + one.told)
    return ran


def snapshot_bytes(kind: AnyKind, state: Any) -> bytes:
    """Return the state as the journal would store it."""
    return msgspec.json.encode(kind.to_snapshot(state))


def settled(kind: AnyKind, before: Ran, events: tuple[Event, ...]) -> dict[str, Any]:
    """Return what the effects of the events tell each request, errors by their type."""
    assert kind.effects is not None
    state, outcomes = before.state, {}
    for event in events:
        for request, outcome in kind.effects(state, event).settled:
            outcomes[request] = type(outcome) if isinstance(outcome, Exception) else outcome
        state = kind.evolve(state, event)
    return outcomes


# Taken before any command runs: the initial states are shared by all tests, and none may leave a trace in them.
UNTOUCHED: Final = {name: snapshot_bytes(kind, kind.initial) for name, kind in CATALOG.items()}


def value(plain: object) -> msgspec.Raw:
    """Return a user's value as the handles would encode it."""
    return msgspec.Raw(msgspec.json.encode(plain, order="sorted"))


VALUES: Final = list(map(value, (None, 0, 1, "1", 2**70, "", [], {"a": 1}, False, "é")))
OWNERS: Final = ("ann", "bob", "cat")
PROCESSES: Final = ("node:1", "client:2")
REQUESTS: Final = ("r1", "r2", "r3", "r4", "r5", "r6")
SOME_REQUESTS: Final = [(), ("r1",), ("r2", "r1"), ("r1", "r2", "r3"), ("r3", "r3"), ("r6", "r4", "r5"), REQUESTS]
# The smallest and largest that fit the counter, what leaves it from everywhere, and what no machine word holds.
AMOUNTS: Final = [0, 1, -1, 3, 2**70, -(2**70), 10**4000, -(10**4000), 2 * 10**4000, 1 - 10**4000]


def _all(make: Callable[..., Command], *choices: Sequence[Any]) -> list[Command]:
    return [make(*chosen) for chosen in product(*choices)]


def _made(commands: list[Command]) -> list[Command]:
    """Return the requests once more, each as made by some process."""
    return [command.made_by(PROCESSES[number % 2]) for number, command in enumerate(commands)]


COUNTS: Final = _all(NoteUnheard, SOME_REQUESTS, (0, 2, 3))


POOL: Final[dict[str, list[list[Command]]]] = {
    "counter": [
        _all(counter.Increment, AMOUNTS),
        _all(counter.Decrement, AMOUNTS),
        [counter.IncrementWithin(2, None, 6), counter.DecrementWithin(3, 0, None), counter.IncrementWithin(1, -5, 5)],
        _all(counter.GetAndSet, AMOUNTS),
        [counter.CompareAndSet(expected, value) for expected in (0, 1, 7) for value in (0, 7)],
        [counter.Get()],
        [counter.Destroy()],
    ],
    "map": [
        _all(map_entry.Put, VALUES),
        _all(map_entry.PutIfAbsent, VALUES[:4]),
        _all(map_entry.Replace, map(map_entry.digest_of, VALUES[:3]), VALUES[:3]),
        [map_entry.Get()],
        [map_entry.Delete(), map_entry.Pop()],
        [map_entry.Contains()],
    ],
    "set": [
        _all(set_.Add, VALUES),
        _all(set_.Remove, VALUES),
        _all(set_.Contains, VALUES),
        [*[set_.Size()] * 4, set_.Destroy()],
    ],
    "queue": [
        _all(queue.Enqueue, VALUES),
        _all(queue.Enqueue, VALUES),
        [queue.Dequeue()],
        [queue.Peek()],
        [*[queue.Size()] * 4, queue.Destroy()],
    ],
    "lock": [
        _all(lock.Acquire, OWNERS, REQUESTS),
        _made(_all(lock.Acquire, OWNERS, REQUESTS)),
        [*_all(lock.TryAcquire, OWNERS, REQUESTS), *_made(_all(lock.TryAcquire, OWNERS, REQUESTS))],
        _all(lock.Release, OWNERS),
        _all(lock.Withdraw, REQUESTS, (True, False)),
        _all(lock.Expire, SOME_REQUESTS, (True, False)),
        COUNTS,
        [*_all(lock.Renew, SOME_REQUESTS), lock.GetHolder(), lock.Destroy()],
    ],
    "semaphore": [
        _made(_all(semaphore.Acquire, OWNERS, REQUESTS, (2,))),
        _all(semaphore.Acquire, OWNERS, REQUESTS, (2, 2, 2, 3)),
        _all(semaphore.TryAcquire, OWNERS, REQUESTS, (2, 2, 2, 1)),
        _all(semaphore.Release, OWNERS),
        _all(semaphore.Withdraw, REQUESTS, (True, False)),
        _all(semaphore.Expire, SOME_REQUESTS, (True, False)),
        COUNTS,
        [*_all(semaphore.Renew, SOME_REQUESTS), semaphore.GetUsage(), semaphore.Destroy()],
    ],
    "barrier": [
        _made(_all(barrier.Arrive, OWNERS, REQUESTS, (2,))),
        _all(barrier.Arrive, OWNERS, REQUESTS, (3,)),
        _all(barrier.Withdraw, REQUESTS),
        _all(barrier.Expire, SOME_REQUESTS, (True, False)),
        COUNTS,
        [*_all(barrier.Renew, SOME_REQUESTS), barrier.GetRound(), barrier.Destroy()],
    ],
}


def main() -> None:
    """Print one fixed history of every structure, a command a line: its events, what its caller is told, the state."""
    for name, kind in CATALOG.items():
        # Python seeds this from the name's bytes and not from its hash: the commands are always the same.
        chance = random.Random(name)  # noqa: S311 -- nothing here is secret
        ran = Ran(kind.initial, (), [])
        for _ in range(200):
            ran = attempt(kind, chance.choice(chance.choice(POOL[name])), after=ran)
            told = [item.__name__ if isinstance(item, type) else item for item in ran.told]
            written = msgspec.json.encode([name, ran.events, told, kind.to_snapshot(ran.state)])
            print(written.decode())  # noqa: T201 -- the output is the point


if __name__ == "__main__":
    main()
