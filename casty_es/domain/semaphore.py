"""A counting semaphore with a line of waiters and fencing tokens.

1. The number of permits is fixed by the first request and stands in its event. Another number later is a
   ``ConfigurationError``, until the semaphore is destroyed.
2. While a permit is free and nobody is in line a request is granted at once; else ``Acquire`` stands in line and
   ``TryAcquire`` is refused. Whoever gives a permit back grants it to the front of the line in the same decision.
3. A permit is held by a request, named by its command id. An owner (one ``Semaphore`` object) may hold several;
   ``Release`` returns the one it names, whoever asked for it, or the one that its owner has held longest.
4. Withdrawal, expiry, tokens and what a request's staying rests on are as for the lock (lock.py).
"""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias, assert_never

import msgspec
from rpds import HashTrieMap

from casty_es.bounds import Count, Name, RequestId
from casty_es.domain import requests as requests_
from casty_es.domain.decider import (
    WAITING,
    Claim,
    Command,
    Effects,
    Event,
    Harmless,
    Internal,
    Kind,
    Query,
    Upkeep,
    Waiting,
)
from casty_es.domain.line import EMPTY, Line
from casty_es.domain.requests import DIED, NONE, NoteUnheard, Standing, Standings
from casty_es.errors import ConfigurationError, DestroyedError, NotDoneError

# Commands


class Acquire(Claim, frozen=True, gc=False):
    permits: Count


class TryAcquire(Claim, frozen=True, gc=False):
    permits: Count


class Release(Command, frozen=True, gc=False):
    relieves: ClassVar[bool] = True

    owner: Name
    request: RequestId | None = (
        None  # whose permit is meant, whoever holds it; without one, what the owner has held longest
    )

    def essence(self) -> Release:
        return Release("")


class Withdraw(Harmless, frozen=True, gc=False):
    request: RequestId
    keep_grant: bool


class Renew(Harmless, frozen=True, gc=False):
    requests: tuple[RequestId, ...]


class Expire(Internal, frozen=True, gc=False):
    requests: tuple[str, ...]
    died: bool = False  # because their process did; else because their leases ran out


class GetUsage(Query, frozen=True, gc=False):
    pass


class Destroy(Command, frozen=True, gc=False):
    pass


SemaphoreCommand: TypeAlias = (
    Acquire | TryAcquire | Release | Withdraw | Renew | Expire | NoteUnheard | GetUsage | Destroy
)


# Events


class Requested(Event, frozen=True, gc=False, omit_defaults=True):
    owner: str
    request: str
    permits: int
    process: str = ""


class Granted(Event, frozen=True, gc=False, omit_defaults=True):
    owner: str
    request: str
    token: int
    permits: int
    process: str = ""  # of a request that never stood in line


class Released(Event, frozen=True, gc=False):
    owner: str
    request: str
    token: int


class Withdrawn(Event, frozen=True, gc=False):
    owner: str
    request: str


class Expired(Event, frozen=True, gc=False, omit_defaults=True):
    owner: str
    request: str
    cause: str = ""


class Unheard(requests_.Unheard, frozen=True, gc=False):
    pass


class Destroyed(Event, frozen=True, gc=False):
    pass


SemaphoreEvent: TypeAlias = Requested | Granted | Released | Withdrawn | Expired | Unheard | Destroyed


# State


class Holder(msgspec.Struct, frozen=True):
    owner: str
    token: int


class Usage(msgspec.Struct, frozen=True):
    """What ``GetUsage`` tells: permits in all (0 before the first request), held, and requests in line."""

    permits: int
    held: int
    waiting: int


class State(msgspec.Struct, frozen=True):
    sequence: int
    permits: int
    holders: Line[Holder]
    line: Line[str]
    standings: Standings


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    sequence: int
    permits: int
    holders: tuple[tuple[str, Holder], ...]
    line: tuple[tuple[str, str], ...]
    standings: dict[str, Standing] = {}


initial: Final = State(0, 0, EMPTY, EMPTY, NONE)


def decide(state: State, command: SemaphoreCommand) -> tuple[SemaphoreEvent, ...]:
    match command:
        case Acquire(request=request, permits=permits) | TryAcquire(request=request, permits=permits):
            if request in state.holders or request in state.line:
                return ()
            if _free(state, permits):
                return (Granted(command.owner, request, state.sequence + 1, permits, command.process),)
            waits = isinstance(command, Acquire)
            return (Requested(command.owner, request, permits, command.process),) if waits else ()
        case Release(owner=owner, request=request):
            meant = _held_longest(state, owner) if request is None else request
            held = state.holders.get(meant)
            return () if held is None else _leave(state, meant, held)
        case Withdraw(request=request, keep_grant=keep_grant):
            holder = state.holders.get(request)
            if holder is not None:
                return () if keep_grant else _leave(state, request, holder)
            waiter = state.line.get(request)
            return () if waiter is None else (Withdrawn(waiter, request),)
        case Expire(requests=requests, died=died):
            return _expire(state, requests, DIED if died else "")
        case NoteUnheard(quarters=quarters):
            unheard = requests_.to_note(state.standings, command, claims(state))
            return tuple(Unheard(request, quarters) for request in unheard)
        case Destroy():
            return (Destroyed(),) if state.permits else ()
        case Renew() | GetUsage():
            return ()
        case _:
            assert_never(command)


def evolve(state: State, event: SemaphoreEvent | Upkeep) -> State:
    sequence, permits, known = state.sequence + 1, state.permits, state.standings
    match event:
        case Requested(owner=owner, request=request, process=process):
            line = state.line.join(request, owner)
            return State(sequence, event.permits, state.holders, line, requests_.begun(known, request, process))
        case Granted(owner=owner, request=request, token=token, process=process):
            line = state.line.leave(request) if request in state.line else state.line
            holders = state.holders.join(request, Holder(owner, token))
            return State(sequence, event.permits, holders, line, requests_.begun(known, request, process))
        case Released(request=request) | Withdrawn(request=request) | Expired(request=request):
            known = known.discard(request)
            if request in state.line:
                return State(sequence, permits, state.holders, state.line.leave(request), known)
            return State(sequence, permits, state.holders.leave(request), state.line, known)
        case Unheard():
            return State(sequence, permits, state.holders, state.line, requests_.noted(known, event))
        case Destroyed():
            return State(sequence, 0, EMPTY, EMPTY, NONE)
        case Upkeep():
            return State(sequence, permits, state.holders, state.line, known)
        case _:
            assert_never(event)


def reply(command: SemaphoreCommand, events: tuple[SemaphoreEvent, ...]) -> int | bool | Waiting | None:
    match command:
        case Acquire() | TryAcquire():
            event = events[0]
            return event.token if isinstance(event, Granted) else WAITING
        case Withdraw():
            return None
        case _:
            return True


def answer(state: State, command: SemaphoreCommand) -> object:
    match command:
        case Acquire(request=request):
            return WAITING if request in state.line else _token(state, request)
        case TryAcquire(request=request) | Withdraw(request=request):
            return _token(state, request)
        case Renew(requests=requests):
            return tuple(request for request in requests if request in state.holders or request in state.line)
        case GetUsage():
            return Usage(state.permits, len(state.holders), len(state.line))
        case _:
            return False


def effects(state: State, event: SemaphoreEvent | Upkeep) -> Effects:
    match event:
        case Requested(request=request):
            return Effects(began=(request,))
        case Granted(request=request, token=token):
            return Effects(began=(request,), settled=((request, token),))
        case Released(request=request):
            return Effects(ended=(request,))
        case Withdrawn(request=request):
            error = NotDoneError("The request was withdrawn. No permit was granted.")
            return Effects(ended=(request,), settled=((request, error),))
        case Expired(request=request, cause=cause):
            error = NotDoneError(requests_.why_expired(cause, "No permit was granted."))
            return Effects(ended=(request,), settled=((request, error),))
        case Destroyed():
            destroyed = DestroyedError("The semaphore was destroyed while the caller waited. No permit was granted.")
            settled = tuple((request, destroyed) for request, _ in state.line.items())
            return Effects(ended=tuple(claims(state)), settled=settled)
        case Unheard() | Upkeep():
            return Effects()
        case _:
            assert_never(event)


def claims(state: State) -> list[str]:
    return [request for request, _ in (*state.holders.items(), *state.line.items())]


def _free(state: State, permits: int) -> bool:
    if state.permits not in (0, permits):
        raise ConfigurationError(
            f"The semaphore was opened with {state.permits} permits and is asked for with {permits}. Nothing was "
            f"acquired. Use the recorded number, or destroy the semaphore to open it with another."
        )
    return len(state.holders) < permits and not len(state.line)


def _token(state: State, request: str) -> int | None:
    holder = state.holders.get(request)
    return None if holder is None else holder.token


def _held_longest(state: State, owner: str) -> str:
    return next((request for request, holder in state.holders.items() if holder.owner == owner), "")


def _leave(state: State, request: str, holder: Holder) -> tuple[SemaphoreEvent, ...]:
    """Return the permit's last event, and the grants to those who can have one now."""
    released = Released(holder.owner, request, holder.token)
    return (released, *_grants(evolve(state, released)))


def _expire(state: State, requests: tuple[str, ...], cause: str) -> tuple[SemaphoreEvent, ...]:
    gone: list[SemaphoreEvent] = []
    after = state
    for request in requests:
        holder = after.holders.get(request)
        owner = after.line.get(request) if holder is None else holder.owner
        if owner is not None:
            gone.append(Expired(owner, request, cause))
            after = evolve(after, gone[-1])
    return (*gone, *_grants(after)) if gone else ()


def _grants(state: State) -> tuple[SemaphoreEvent, ...]:
    granted: list[SemaphoreEvent] = []
    first = state.line.first()
    while first is not None and len(state.holders) < state.permits:
        granted.append(Granted(first[1], first[0], state.sequence + 1, state.permits))
        state = evolve(state, granted[-1])
        first = state.line.first()
    return tuple(granted)


SEMAPHORE: Final = Kind[SemaphoreCommand, SemaphoreEvent, State](
    name="semaphore",
    initial=initial,
    decide=decide,
    evolve=evolve,
    reply=reply,
    answer=answer,
    exists=lambda state: state.permits > 0,
    commands=(Acquire, TryAcquire, Release, Withdraw, Renew, Expire, NoteUnheard, GetUsage, Destroy),
    events={
        "semaphore.requested": Requested,
        "semaphore.granted": Granted,
        "semaphore.released": Released,
        "semaphore.withdrawn": Withdrawn,
        "semaphore.expired": Expired,
        "semaphore.unheard": Unheard,
        "semaphore.destroyed": Destroyed,
    },
    snapshot=Snapshot,
    to_snapshot=lambda state: Snapshot(
        state.sequence,
        state.permits,
        tuple(state.holders.items()),
        tuple(state.line.items()),
        requests_.stored(state.standings),
    ),
    from_snapshot=lambda snapshot: State(
        snapshot.sequence,
        snapshot.permits,
        Line.of(snapshot.holders),
        Line.of(snapshot.line),
        HashTrieMap(snapshot.standings),
    ),
    claims=claims,
    standings=lambda state: state.standings,
    effects=effects,
    expire=Expire,
    renewed=lambda command: command.requests if isinstance(command, Renew) else (),
)
