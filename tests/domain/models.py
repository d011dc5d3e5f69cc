# ruff: noqa: D101, D102 -- the lines below say it for every model at once
"""The structures again, as anybody would write them without a journal: mutable, with plain ints, lists and dicts.

Each has ``tell(command)``, which gives what the caller is told (a refusal is an exception's type), ``settled``, which
has what became of those whom the last command settled, and ``exists``, ``claims`` and ``in_line``.
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from typing import Any

import msgspec

from casty_es.domain import barrier, counter, lock, map_entry, queue, semaphore
from casty_es.domain import set as set_
from casty_es.domain.decider import WAITING
from casty_es.domain.requests import NoteUnheard
from casty_es.errors import BoundsError, ConfigurationError, DestroyedError, NotDoneError


class Model:
    def __init__(self) -> None:
        self.exists = False
        self.settled: dict[str, Any] = {}
        self.processes: dict[str, str] = {}
        self.unheard: dict[str, int] = {}

    @property
    def claims(self) -> list[str]:
        return []

    @property
    def in_line(self) -> set[str]:
        return set(self.claims)

    def tell(self, command: Any) -> Any:
        raise NotImplementedError

    def known(self, request: str) -> tuple[str, int]:
        return self.processes.get(request, ""), self.unheard.get(request, 0)

    def came(self, command: Any) -> None:
        self.processes[command.request] = command.process
        self.unheard[command.request] = 0

    def note(self, command: NoteUnheard) -> int:
        noted = [one for one in dict.fromkeys(command.requests) if one in self.claims]
        noted = [one for one in noted if self.unheard[one] != command.quarters]
        self.unheard.update(dict.fromkeys(noted, command.quarters))
        return len(noted)

    def destroy(self) -> bool:
        existed, self.exists = self.exists, False
        return existed


class CounterModel(Model):
    value = 0

    def tell(self, command: Any) -> Any:
        before = self.value
        match command:
            case counter.Get():
                return before
            case counter.Destroy():
                self.value = 0
                return self.destroy()
            case counter.CompareAndSet():
                told = command.expected == before and self.at(command.value, True)
            case counter.GetAndSet():
                told = self.at(command.value, before)
            case _:
                up = isinstance(command, counter.Increment | counter.IncrementWithin)
                after = before + (command.amount if up else -command.amount)
                low, high = getattr(command, "minimum", None), getattr(command, "maximum", None)
                out = (low is not None and after < low) or (high is not None and after > high)
                told = BoundsError if out else self.at(after, after)
        return told

    def at(self, value: int, told: Any) -> Any:
        if abs(value) > 10**4000:
            return BoundsError
        self.exists, self.value = True, value
        return told


class MapModel(Model):
    def __init__(self) -> None:
        super().__init__()
        self.entry: dict[str, bytes] = {}

    def tell(self, command: Any) -> Any:
        was_there = "key" in self.entry
        told = msgspec.Raw(self.entry["key"]) if was_there else None
        done = was_there
        match command:
            case map_entry.Put(value=value):
                self.entry["key"] = bytes(value)
            case map_entry.PutIfAbsent(value=value):
                done = not was_there
                self.entry.setdefault("key", bytes(value))
            case map_entry.Replace(digest=digest, value=value):
                done = was_there and sha256(self.entry["key"]).hexdigest() == digest
                self.entry.update({"key": bytes(value)} if done else {})
            case map_entry.Delete() | map_entry.Pop():
                self.entry.clear()
        self.exists = "key" in self.entry
        return told if isinstance(command, map_entry.Put | map_entry.Get | map_entry.Pop) else done


class SetModel(Model):
    def __init__(self) -> None:
        super().__init__()
        self.members: set[bytes] = set()

    def tell(self, command: Any) -> Any:
        if isinstance(command, set_.Size):
            return len(self.members)
        if isinstance(command, set_.Destroy):
            self.members.clear()
            return self.destroy()
        known = bytes(command.value) in self.members
        match command:
            case set_.Contains():
                return known
            case set_.Add():
                self.exists = True
                self.members.add(bytes(command.value))
                return not known
            case _:
                self.members.discard(bytes(command.value))
                return known


class QueueModel(Model):
    def __init__(self) -> None:
        super().__init__()
        self.items: deque[msgspec.Raw] = deque()

    def tell(self, command: Any) -> Any:
        match command:
            case queue.Enqueue(value=value):
                self.exists = True
                self.items.append(value)
                return None
            case queue.Dequeue():
                return self.items.popleft() if self.items else None
            case queue.GiveBack(value=value):
                if self.exists:
                    self.items.appendleft(value)
                return self.exists
            case queue.Peek():
                return self.items[0] if self.items else None
            case queue.Size():
                return len(self.items)
            case _:
                self.items.clear()
                return self.destroy()


class PermitsModel(Model):
    """A lock is a semaphore of one permit, except for the words; so one model serves both."""

    permits = 0
    events = 0

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, tuple[str, int]] = {}
        self.waiting: dict[str, str] = {}

    @property
    def claims(self) -> list[str]:
        return [*self.held, *self.waiting]

    @property
    def in_line(self) -> set[str]:
        return set(self.waiting)

    def tell(self, command: Any) -> Any:  # noqa: PLR0911 -- one for each command
        self.settled = {}
        match command:
            case lock.Acquire() | semaphore.Acquire() | lock.TryAcquire() | semaphore.TryAcquire():
                return self.acquire(command)
            case lock.Release(owner=owner) | semaphore.Release(owner=owner):
                mine = [request for request, (holder, _) in self.held.items() if holder == owner]
                return bool(mine) and self.leave(mine[0])
            case lock.Withdraw() | semaphore.Withdraw():
                return self.withdraw(command.request, keep_grant=command.keep_grant)
            case lock.Renew(requests=requests) | semaphore.Renew(requests=requests):
                return tuple(request for request in requests if request in self.claims)
            case lock.Expire(requests=requests) | semaphore.Expire(requests=requests):
                return self.expire(requests)
            case NoteUnheard():
                noted = self.note(command)
                self.events += noted
                return noted > 0
            case lock.GetHolder():
                return next((lock.Holder(owner, request, token) for request, (owner, token) in self.held.items()), None)
            case semaphore.GetUsage():
                return semaphore.Usage(self.permits, len(self.held), len(self.waiting))
            case _:
                self.events += self.exists
                self.settled = dict.fromkeys(self.waiting, DestroyedError)
                self.held, self.waiting, self.permits = {}, {}, 0
                return self.destroy()

    def acquire(self, command: Any) -> Any:
        permits = getattr(command, "permits", 1)
        waits = isinstance(command, lock.Acquire | semaphore.Acquire)
        if command.request in self.waiting:
            return WAITING if waits else None
        if command.request in self.held:
            return self.held[command.request][1]
        if self.permits not in (0, permits):
            return ConfigurationError
        if len(self.held) == permits and not waits:
            return None
        self.exists, self.permits, self.events = True, permits, self.events + 1
        self.came(command)
        if len(self.held) == permits:
            self.waiting[command.request] = command.owner
            return WAITING
        self.held[command.request] = (command.owner, self.events)
        return self.events

    def leave(self, request: str) -> bool:
        del self.held[request]
        self.events += 1
        self.pass_on()
        return True

    def pass_on(self) -> None:
        while self.waiting and len(self.held) < self.permits:
            request = next(iter(self.waiting))
            self.events += 1
            self.held[request] = (self.waiting.pop(request), self.events)
            self.settled[request] = self.events

    def withdraw(self, request: str, *, keep_grant: bool) -> int | None:
        if request in self.waiting:
            del self.waiting[request]
            self.events += 1
            self.settled[request] = NotDoneError
        elif request in self.held:
            if keep_grant:
                return self.held[request][1]
            self.leave(request)
        return None

    def expire(self, requests: tuple[str, ...]) -> bool:
        gone = [request for request in dict.fromkeys(requests) if request in self.claims]
        for request in gone:
            self.events += 1
            if self.waiting.pop(request, None):
                self.settled[request] = NotDoneError
            self.held.pop(request, None)
        self.pass_on()
        return bool(gone)


class BarrierModel(Model):
    generation = 0
    expected = 0

    def __init__(self) -> None:
        super().__init__()
        self.here: dict[str, str] = {}
        self.last_round: set[str] = set()

    @property
    def claims(self) -> list[str]:
        return list(self.here)

    def tell(self, command: Any) -> Any:  # noqa: PLR0911 -- one for each command
        self.settled = {}
        match command:
            case barrier.Arrive():
                return self.arrive(command)
            case barrier.Withdraw(request=request):
                self.leave((request,))
                return self.generation - 1 if request in self.last_round else None
            case barrier.Renew(requests=requests):
                return tuple(request for request in requests if request in self.here)
            case barrier.Expire(requests=requests):
                return self.leave(requests)
            case NoteUnheard():
                return self.note(command) > 0
            case barrier.GetRound():
                return barrier.Round(self.generation, self.expected, tuple(sorted(set(self.here.values()))))
            case _:
                self.settled = dict.fromkeys(self.here, DestroyedError)
                self.here, self.last_round, self.expected = {}, set(), 0
                return self.destroy()

    def arrive(self, command: Any) -> Any:
        if command.request in self.here:
            return WAITING
        if command.request in self.last_round:
            return self.generation - 1
        if self.here and command.expected != self.expected:
            return ConfigurationError
        self.exists, self.expected = True, command.expected
        self.came(command)
        self.here[command.request] = command.participant
        if len(set(self.here.values())) < self.expected:
            return WAITING
        tripped = self.generation
        self.settled = dict.fromkeys(self.here, tripped)
        self.last_round, self.here, self.expected = set(self.here), {}, 0
        self.generation += 1
        return tripped

    def leave(self, requests: tuple[str, ...]) -> bool:
        gone = {request: NotDoneError for request in requests if self.here.pop(request, None)}
        self.settled = dict(gone)
        self.expected = self.expected if self.here else 0
        return bool(gone)


MODELS: dict[str, type[Model]] = {
    "counter": CounterModel,
    "map": MapModel,
    "set": SetModel,
    "queue": QueueModel,
    "lock": PermitsModel,
    "semaphore": PermitsModel,
    "barrier": BarrierModel,
}
