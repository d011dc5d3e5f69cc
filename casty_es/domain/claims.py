"""What a lock and a semaphore have in common: permits to hold, a line of waiters, fencing tokens.

1. While a permit is free and nobody is in line a request is granted at once; else ``Acquire`` stands in line and
   ``TryAcquire`` is refused. Whoever gives a permit back, in whatever way, grants it to the front of the line in the
   same decision.
2. A request is one attempt to acquire, named by its command id, and holds one permit. An owner (one handle) may have
   many requests in line and hold several permits. ``Release`` gives back the grant of the request it names, whoever
   asked for it: a restarted program has another owner and the same request. Without a name it is the one that its owner
   has held longest.
3. A request that withdraws is never granted later. If it was granted meanwhile, the caller chose beforehand whether it
   keeps the grant or gives it back.
4. The token of a grant is the sequence of its event, which goes on after ``destroy``: it only grows (Kleppmann 2016,
   "How to do distributed locking").
5. Requests that expire together are removed together, before anybody is granted: no grant goes to a dead waiter.
6. A request stands for as long as its process lives and its lease is renewed (requests.py).
7. The number of permits is fixed by the first request. Another number later is a ``ConfigurationError``, until the
   structure is destroyed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, Generic, TypeAlias, TypeVar, assert_never

import msgspec

from casty_es.bounds import Name, RequestId
from casty_es.domain import requests as requests_
from casty_es.domain.decider import WAITING, Claim, Command, Destroy, Effects, Event, Harmless, Query, Upkeep, Waiting
from casty_es.domain.line import EMPTY, Line
from casty_es.domain.requests import DIED, NONE, Expire, NoteUnheard, Renew, Standings
from casty_es.errors import ConfigurationError, DestroyedError, NotDoneError

# Commands


class _Asking(Claim, frozen=True, gc=False):
    @property
    def permits(self) -> int:
        """How many may hold it at once; a structure on which a caller says so has a field of this name."""
        return 1


class Acquire(_Asking, frozen=True, gc=False):
    pass


class TryAcquire(_Asking, frozen=True, gc=False):
    pass


class Release(Command[bool], frozen=True, gc=False):
    relieves: ClassVar[bool] = True

    owner: Name
    request: RequestId | None = None  # whose grant is meant, whoever holds it; without one, what the owner holds

    def essence(self) -> Release:
        return Release("")


class Withdraw(Harmless[int | None], frozen=True, gc=False):
    request: RequestId
    keep_grant: bool


ClaimCommand: TypeAlias = Acquire | TryAcquire | Release | Withdraw | Renew | Expire | NoteUnheard | Query | Destroy


# Events: a lock has these, a semaphore its own that are derived from them.


class Requested(requests_.Made, frozen=True, gc=False):
    owner: str
    request: str

    @property
    def permits(self) -> int:
        return 1


class Granted(requests_.Made, frozen=True, gc=False):  # its process is that of a request that never stood in line
    owner: str
    request: str
    token: int

    @property
    def permits(self) -> int:
        return 1


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


class Destroyed(Event, frozen=True, gc=False):
    pass


ClaimEvent: TypeAlias = Requested | Granted | Released | Withdrawn | Expired | requests_.Unheard | Destroyed


# State


class Holder(msgspec.Struct, frozen=True):
    owner: str
    token: int


class State(msgspec.Struct, frozen=True):
    sequence: int
    permits: int  # 0 before the first request
    holders: Line[Holder]
    line: Line[str]
    standings: Standings

    @property
    def exists(self) -> bool:
        return self.permits > 0


initial: Final = State(0, 0, EMPTY, EMPTY, NONE)

E = TypeVar("E", bound=ClaimEvent)


class Rules(msgspec.Struct, Generic[E], frozen=True):
    """How a structure decides, in its own events and words."""

    # Make its events; a request's number of permits stands before its process.
    requested: Callable[[str, str, int, str], E]
    granted: Callable[[str, str, int, int, str], E]
    released: Callable[[str, str, int], E]
    withdrawn: Callable[[str, str], E]
    expired: Callable[[str, str, str], E]
    unheard: Callable[[str, int], E]
    destroyed: Callable[[], E]
    not_granted: str  # this and the next: what is told to who gets nothing, and to who waits for what is destroyed
    gone: str

    def decide(self, state: State, command: ClaimCommand) -> tuple[E, ...]:
        match command:
            case Acquire(owner=owner, request=request) | TryAcquire(owner=owner, request=request):
                if request in state.holders or request in state.line:
                    return ()
                if _free(state, command.permits):
                    return (self.granted(owner, request, state.sequence + 1, command.permits, command.process),)
                waits = isinstance(command, Acquire)
                return (self.requested(owner, request, command.permits, command.process),) if waits else ()
            case Release(owner=owner, request=named):
                meant = _held_longest(state, owner) if named is None else named
                held = state.holders.get(meant)
                return () if held is None else self._leave(state, meant, held)
            case Withdraw(request=request, keep_grant=keep_grant):
                held = state.holders.get(request)
                if held is not None:
                    return () if keep_grant else self._leave(state, request, held)
                waiter = state.line.get(request)
                return () if waiter is None else (self.withdrawn(waiter, request),)
            case Expire(requests=requests, died=died):
                return self._expire(state, requests, DIED if died else "")
            case NoteUnheard(quarters=quarters):
                unheard = requests_.to_note(state.standings, command, claims(state))
                return tuple(self.unheard(request, quarters) for request in unheard)
            case Destroy():
                return (self.destroyed(),) if state.exists else ()
            case Renew() | Query():
                return ()
            case _:
                assert_never(command)

    def effects(self, state: State, event: ClaimEvent | Upkeep) -> Effects:
        match event:
            case Requested(request=request):
                return Effects(began=(request,))
            case Granted(request=request, token=token):
                return Effects(began=(request,), settled=((request, token),))
            case Released(request=request):
                return Effects(ended=(request,))
            case Withdrawn(request=request):
                error = NotDoneError(f"The request was withdrawn. {self.not_granted}")
                return Effects(ended=(request,), settled=((request, error),))
            case Expired(request=request, cause=cause):
                error = NotDoneError(requests_.why_expired(cause, self.not_granted))
                return Effects(ended=(request,), settled=((request, error),))
            case Destroyed():
                destroyed = DestroyedError(self.gone)
                settled = tuple((request, destroyed) for request, _ in state.line.items())
                return Effects(ended=tuple(claims(state)), settled=settled)
            case requests_.Unheard() | Upkeep():
                return Effects()
            case _:
                assert_never(event)

    def _leave(self, state: State, request: str, held: Holder) -> tuple[E, ...]:
        """Return the permit's last event, and the grants to those who can have one now."""
        released = self.released(held.owner, request, held.token)
        return (released, *self._grants(evolve(state, released))) if len(state.line) else (released,)

    def _expire(self, state: State, requests: tuple[str, ...], cause: str) -> tuple[E, ...]:
        gone: list[E] = []
        after = state
        for request in requests:
            holder = after.holders.get(request)
            owner = after.line.get(request) if holder is None else holder.owner
            if owner is not None:
                gone.append(self.expired(owner, request, cause))
                after = evolve(after, gone[-1])
        return (*gone, *self._grants(after)) if gone else ()

    def _grants(self, state: State) -> list[E]:
        granted: list[E] = []
        while (first := state.line.first()) is not None and len(state.holders) < state.permits:
            granted.append(self.granted(first[1], first[0], state.sequence + 1, state.permits, ""))
            state = evolve(state, granted[-1])
        return granted


def evolve(state: State, event: ClaimEvent | Upkeep) -> State:
    sequence, permits, known = state.sequence + 1, state.permits, state.standings
    match event:
        case Requested(owner=owner, request=request, process=process):
            line = state.line.join(request, owner)
            return State(sequence, event.permits, state.holders, line, requests_.begun(known, request, process))
        case Granted(owner=owner, request=request, token=token, process=process):
            line = state.line.leave(request) if request in state.line else state.line
            holders = state.holders.join(request, Holder(owner, token))
            return State(sequence, event.permits, holders, line, requests_.begun(known, request, process))
        case Released(request=request):
            return State(sequence, permits, state.holders.leave(request), state.line, known.discard(request))
        case Withdrawn(request=request) | Expired(request=request):
            known = known.discard(request)
            if request in state.line:
                return State(sequence, permits, state.holders, state.line.leave(request), known)
            return State(sequence, permits, state.holders.leave(request), state.line, known)
        case requests_.Unheard():
            return State(sequence, permits, state.holders, state.line, requests_.noted(known, event))
        case Destroyed():
            return State(sequence, 0, EMPTY, EMPTY, NONE)
        case Upkeep():
            return State(sequence, permits, state.holders, state.line, known)
        case _:
            assert_never(event)


def reply(command: ClaimCommand, events: tuple[ClaimEvent, ...]) -> int | bool | Waiting | None:
    match command:
        case Acquire() | TryAcquire():
            event = events[0]
            return event.token if isinstance(event, Granted) else WAITING
        case Withdraw():
            return None
        case _:
            return True


def answer(state: State, command: ClaimCommand) -> object:
    match command:
        case Acquire(request=request) if request in state.line:
            return WAITING
        case Acquire(request=request) | TryAcquire(request=request) | Withdraw(request=request):
            holder = state.holders.get(request)
            return None if holder is None else holder.token
        case Renew(requests=requests):
            return tuple(request for request in requests if request in state.holders or request in state.line)
        case _:
            return False


def claims(state: State) -> list[str]:
    return [request for request, _ in (*state.holders.items(), *state.line.items())]


def _free(state: State, permits: int) -> bool:
    if state.permits not in (0, permits):
        raise ConfigurationError(
            f"The semaphore was opened with {state.permits} permits and is asked for with {permits}. Nothing was "
            f"acquired. Use the recorded number, or destroy the semaphore to open it with another."
        )
    return len(state.holders) < permits and not len(state.line)


def _held_longest(state: State, owner: str) -> str:
    return next((request for request, holder in state.holders.items() if holder.owner == owner), "")
