"""A mutual-exclusion lock with a line of waiters and fencing tokens.

1. A free lock with nobody in line is granted at once; else ``Acquire`` stands in line and ``TryAcquire`` is refused.
   Whoever leaves the lock, in whatever way, grants it to the front of the line in the same decision.
2. A request is one attempt to acquire, named by its command id. An owner (one ``Lock`` object) may have many requests
   in line, and holds the lock through one of them: the lock is not re-entrant. ``Release`` gives back the grant of the
   request it names, whoever asked for it: a restarted program has another owner and the same request.
3. A request that withdraws is never granted later. If it was granted meanwhile, the caller chose beforehand whether it
   keeps the grant or gives it back.
4. The token of a grant is the sequence of its event, which goes on after ``destroy``: it only grows (Kleppmann 2016,
   "How to do distributed locking").
5. Requests that expire together are removed together, before anybody is granted: no grant goes to a dead waiter.
6. A request stands for as long as its process lives and its lease is renewed (requests.py).
"""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias, assert_never

import msgspec
from rpds import HashTrieMap

from casty_es.bounds import Name, RequestId
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
from casty_es.errors import DestroyedError, NotDoneError

# Commands


class Acquire(Claim, frozen=True, gc=False):
    pass


class TryAcquire(Claim, frozen=True, gc=False):
    pass


class Release(Command, frozen=True, gc=False):
    relieves: ClassVar[bool] = True

    owner: Name
    request: RequestId | None = None  # whose grant is meant, whoever holds it; without one, what the owner holds

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


class GetHolder(Query, frozen=True, gc=False):
    pass


class Destroy(Command, frozen=True, gc=False):
    pass


LockCommand: TypeAlias = Acquire | TryAcquire | Release | Withdraw | Renew | Expire | NoteUnheard | GetHolder | Destroy


# Events


class Requested(Event, frozen=True, gc=False, omit_defaults=True):
    owner: str
    request: str
    process: str = ""


class Granted(Event, frozen=True, gc=False, omit_defaults=True):
    owner: str
    request: str
    token: int
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


LockEvent: TypeAlias = Requested | Granted | Released | Withdrawn | Expired | Unheard | Destroyed


# State


class Holder(msgspec.Struct, frozen=True):
    owner: str
    request: str
    token: int


class State(msgspec.Struct, frozen=True):
    sequence: int
    exists: bool
    holder: Holder | None
    line: Line[str]
    standings: Standings


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    sequence: int
    exists: bool
    holder: Holder | None
    line: tuple[tuple[str, str], ...]
    standings: dict[str, Standing] = {}


initial: Final = State(0, False, None, EMPTY, NONE)


def decide(state: State, command: LockCommand) -> tuple[LockEvent, ...]:
    match command:
        case Acquire(owner=owner, request=request) | TryAcquire(owner=owner, request=request):
            if _knows(state, request):
                return ()
            if _free(state):
                return (Granted(owner, request, state.sequence + 1, command.process),)
            return (Requested(owner, request, command.process),) if isinstance(command, Acquire) else ()
        case Release(owner=owner, request=request):
            if state.holder is None:
                return ()
            meant = state.holder.owner == owner if request is None else state.holder.request == request
            return _leave(state, _released(state.holder)) if meant else ()
        case Withdraw(request=request, keep_grant=keep_grant):
            if state.holder is not None and state.holder.request == request:
                return () if keep_grant else _leave(state, _released(state.holder))
            waiter = state.line.get(request)
            return () if waiter is None else (Withdrawn(waiter, request),)
        case Expire(requests=requests, died=died):
            return _expire(state, requests, DIED if died else "")
        case NoteUnheard(quarters=quarters):
            unheard = requests_.to_note(state.standings, command, claims(state))
            return tuple(Unheard(request, quarters) for request in unheard)
        case Destroy():
            return (Destroyed(),) if state.exists else ()
        case Renew() | GetHolder():
            return ()
        case _:
            assert_never(command)


def evolve(state: State, event: LockEvent | Upkeep) -> State:
    sequence, known = state.sequence + 1, state.standings
    match event:
        case Requested(owner=owner, request=request, process=process):
            line = state.line.join(request, owner)
            return State(sequence, True, state.holder, line, requests_.begun(known, request, process))
        case Granted(owner=owner, request=request, token=token, process=process):
            line = state.line.leave(request) if request in state.line else state.line
            known = requests_.begun(known, request, process)
            return State(sequence, True, Holder(owner, request, token), line, known)
        case Released(request=request):
            return State(sequence, True, None, state.line, known.discard(request))
        case Withdrawn(request=request) | Expired(request=request):
            known = known.discard(request)
            if request in state.line:
                return State(sequence, True, state.holder, state.line.leave(request), known)
            return State(sequence, True, None, state.line, known)
        case Unheard():
            return State(sequence, state.exists, state.holder, state.line, requests_.noted(known, event))
        case Destroyed():
            return State(sequence, False, None, EMPTY, NONE)
        case Upkeep():
            return State(sequence, state.exists, state.holder, state.line, known)
        case _:
            assert_never(event)


def reply(command: LockCommand, events: tuple[LockEvent, ...]) -> int | bool | Waiting | None:
    match command:
        case Acquire() | TryAcquire():
            event = events[0]
            return event.token if isinstance(event, Granted) else WAITING
        case Withdraw():
            return None
        case _:
            return True


def answer(state: State, command: LockCommand) -> object:
    match command:
        case Acquire(request=request):
            return WAITING if request in state.line else _token(state, request)
        case TryAcquire(request=request) | Withdraw(request=request):
            return _token(state, request)
        case Renew(requests=requests):
            return tuple(request for request in requests if _knows(state, request))
        case GetHolder():
            return state.holder
        case _:
            return False


def effects(state: State, event: LockEvent | Upkeep) -> Effects:
    match event:
        case Requested(request=request):
            return Effects(began=(request,))
        case Granted(request=request, token=token):
            return Effects(began=(request,), settled=((request, token),))
        case Released(request=request):
            return Effects(ended=(request,))
        case Withdrawn(request=request) | Expired(request=request):
            return Effects(ended=(request,), settled=((request, _lost(event)),))
        case Destroyed():
            gone = tuple(claims(state))
            error = DestroyedError("The lock was destroyed while the caller waited for it. It was not granted.")
            return Effects(ended=gone, settled=tuple((request, error) for request, _ in state.line.items()))
        case Unheard() | Upkeep():
            return Effects()
        case _:
            assert_never(event)


def claims(state: State) -> list[str]:
    waiting = [request for request, _ in state.line.items()]
    return waiting if state.holder is None else [state.holder.request, *waiting]


def _free(state: State) -> bool:
    return state.holder is None and not len(state.line)


def _knows(state: State, request: str) -> bool:
    return request in state.line or _token(state, request) is not None


def _token(state: State, request: str) -> int | None:
    return state.holder.token if state.holder is not None and state.holder.request == request else None


def _released(holder: Holder) -> Released:
    return Released(holder.owner, holder.request, holder.token)


def _leave(state: State, event: LockEvent) -> tuple[LockEvent, ...]:
    """Return the holder's last event, and the grant to the front of the line."""
    first = state.line.first()
    return (event,) if first is None else (event, Granted(first[1], first[0], state.sequence + 2))


def _expire(state: State, requests: tuple[str, ...], cause: str) -> tuple[LockEvent, ...]:
    gone: list[LockEvent] = []
    after = state
    for request in requests:
        holder = after.holder
        owner = holder.owner if holder is not None and holder.request == request else after.line.get(request)
        if owner is not None:
            gone.append(Expired(owner, request, cause))
            after = evolve(after, gone[-1])
    first = after.line.first()
    if gone and after.holder is None and first is not None:
        gone.append(Granted(first[1], first[0], after.sequence + 1))
    return tuple(gone)


def _lost(event: LockEvent) -> Exception:
    if isinstance(event, Expired):
        return NotDoneError(requests_.why_expired(event.cause, "The lock was not granted."))
    return NotDoneError("The request was withdrawn. The lock was not granted.")


LOCK: Final = Kind[LockCommand, LockEvent, State](
    name="lock",
    initial=initial,
    decide=decide,
    evolve=evolve,
    reply=reply,
    answer=answer,
    exists=lambda state: state.exists,
    commands=(Acquire, TryAcquire, Release, Withdraw, Renew, Expire, NoteUnheard, GetHolder, Destroy),
    events={
        "lock.requested": Requested,
        "lock.granted": Granted,
        "lock.released": Released,
        "lock.withdrawn": Withdrawn,
        "lock.expired": Expired,
        "lock.unheard": Unheard,
        "lock.destroyed": Destroyed,
    },
    snapshot=Snapshot,
    to_snapshot=lambda state: Snapshot(
        state.sequence, state.exists, state.holder, tuple(state.line.items()), requests_.stored(state.standings)
    ),
    from_snapshot=lambda snapshot: State(
        snapshot.sequence,
        snapshot.exists,
        snapshot.holder,
        Line.of(snapshot.line),
        HashTrieMap(snapshot.standings),
    ),
    claims=claims,
    standings=lambda state: state.standings,
    effects=effects,
    expire=Expire,
    renewed=lambda command: command.requests if isinstance(command, Renew) else (),
)
