"""A barrier that releases everybody when the expected number of participants has arrived.

1. The first arrival of a round fixes how many are expected; another number in the same round is a
   ``ConfigurationError``.
2. A participant counts once a round, however many of its requests wait. When the last one arrives the barrier trips:
   all requests of the round are released and the next round begins.
3. A request that withdraws or expires leaves the round; its participant counts no more when it was its last request.
4. The requests of the last round are remembered, so that a late question about one is answered for its own round.
5. A request stands for as long as its process lives and its lease is renewed (requests.py).
"""

from __future__ import annotations

from typing import Final, TypeAlias, assert_never

import msgspec
from rpds import HashTrieMap, HashTrieSet

from casty_es.bounds import Count, Participant, RequestId
from casty_es.domain import requests as requests_
from casty_es.domain.decider import (
    WAITING,
    Destroy,
    Effects,
    Event,
    Harmless,
    Kind,
    Query,
    Request,
    Story,
    Upkeep,
    Waiting,
)
from casty_es.domain.line import EMPTY, Line
from casty_es.domain.requests import DIED, NONE, Expire, NoteUnheard, Renew, Standing, Standings
from casty_es.errors import CastyError, ConfigurationError, DestroyedError, NotDoneError

# Commands


class Arrive(Request[int | None], frozen=True, gc=False):
    participant: Participant
    request: RequestId
    expected: Count

    def essence(self) -> Arrive:
        # A participant without a name of its own is called after its request.
        nameless = self.participant.endswith("/" + self.request)
        return Arrive("" if nameless else self.participant, "", self.expected)


class Withdraw(Harmless[int | None], frozen=True, gc=False):
    request: RequestId


class GetRound(Query["Round"], frozen=True, gc=False):
    pass


BarrierCommand: TypeAlias = Arrive | Withdraw | Renew | Expire | NoteUnheard | GetRound | Destroy


# Events


class Arrived(requests_.Made, frozen=True, gc=False):
    participant: str
    request: str
    expected: int
    generation: int


class Tripped(Event, frozen=True, gc=False):
    generation: int


class Withdrawn(Event, frozen=True, gc=False):
    participant: str
    request: str


class Expired(Event, frozen=True, gc=False, omit_defaults=True):
    participant: str
    request: str
    cause: str = ""


class Unheard(requests_.Unheard, frozen=True, gc=False):
    pass


class Destroyed(Event, frozen=True, gc=False):
    pass


BarrierEvent: TypeAlias = Arrived | Tripped | Withdrawn | Expired | Unheard | Destroyed


# State


class Round(msgspec.Struct, frozen=True):
    """What ``GetRound`` tells: the round's number from 0, how many are expected (0 when none came), who arrived."""

    generation: int
    expected: int
    arrived: tuple[str, ...]


class State(msgspec.Struct, frozen=True):
    exists: bool
    generation: int
    expected: int
    line: Line[str]
    requests_of: HashTrieMap[str, int]
    released: HashTrieSet[str]
    standings: Standings


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    exists: bool
    generation: int
    expected: int
    line: tuple[tuple[str, str], ...]
    released: tuple[str, ...]
    standings: dict[str, Standing] = {}


initial: Final = State(False, 0, 0, EMPTY, HashTrieMap(), HashTrieSet(), NONE)


def decide(state: State, command: BarrierCommand) -> tuple[BarrierEvent, ...]:
    match command:
        case Arrive(participant=participant, request=request, expected=expected, process=process):
            if request in state.line or request in state.released:
                return ()
            if state.expected not in (0, expected):
                raise ConfigurationError(
                    f"This round of the barrier expects {state.expected} participants and the arrival expects "
                    f"{expected}. The arrival was not counted. Use the same number everywhere."
                )
            arrived = Arrived(participant, request, expected, state.generation, process=process)
            if len(evolve(state, arrived).requests_of) < expected:
                return (arrived,)
            return (arrived, Tripped(state.generation))
        case Withdraw(request=request):
            participant_in_line = state.line.get(request)
            return () if participant_in_line is None else (Withdrawn(participant_in_line, request),)
        case Expire(requests=requests, died=died):
            # Each once, however often it is named: a request can leave only once.
            waiting = [(state.line.get(request), request) for request in dict.fromkeys(requests)]
            cause = DIED if died else ""
            return tuple(Expired(party, request, cause) for party, request in waiting if party is not None)
        case NoteUnheard(quarters=quarters):
            unheard = requests_.to_note(state.standings, command, claims(state))
            return tuple(Unheard(request, quarters) for request in unheard)
        case Destroy():
            return (Destroyed(),) if state.exists else ()
        case Renew() | GetRound():
            return ()
        case _:
            assert_never(command)


def evolve(state: State, event: BarrierEvent | Upkeep) -> State:
    match event:
        case Arrived(participant=participant, request=request, expected=expected, process=process):
            counts = state.requests_of
            return State(
                True,
                state.generation,
                expected,
                state.line.join(request, participant),
                counts.insert(participant, (counts.get(participant) or 0) + 1),
                state.released,
                requests_.begun(state.standings, request, process),
            )
        case Tripped(generation=generation):
            released = HashTrieSet(request for request, _ in state.line.items())
            return State(True, generation + 1, 0, EMPTY, HashTrieMap(), released, NONE)
        case Withdrawn(participant=participant, request=request) | Expired(participant=participant, request=request):
            left = state.requests_of[participant] - 1
            counts = state.requests_of
            counts = counts.insert(participant, left) if left else counts.remove(participant)
            line, known = state.line.leave(request), state.standings.discard(request)
            expected = state.expected if len(line) else 0
            return State(True, state.generation, expected, line, counts, state.released, known)
        case Unheard():
            return msgspec.structs.replace(state, standings=requests_.noted(state.standings, event))
        case Destroyed():
            return State(False, state.generation, 0, EMPTY, HashTrieMap(), HashTrieSet(), NONE)
        case Upkeep():
            return state
        case _:
            assert_never(event)


def reply(command: BarrierCommand, events: tuple[BarrierEvent, ...]) -> int | bool | Waiting | None:
    match command:
        case Arrive():
            last = events[-1]
            return last.generation if isinstance(last, Tripped) else WAITING
        case Withdraw():
            return None
        case _:
            return True


def answer(state: State, command: BarrierCommand) -> object:
    match command:
        case Arrive(request=request):
            if request in state.line:
                return WAITING
            return state.generation - 1 if request in state.released else None
        case Withdraw(request=request):
            return state.generation - 1 if request in state.released else None
        case Renew(requests=requests):
            return tuple(request for request in requests if request in state.line)
        case GetRound():
            return Round(state.generation, state.expected, tuple(sorted(state.requests_of)))
        case _:
            return False


def effects(state: State, event: BarrierEvent | Upkeep) -> Effects:
    match event:
        case Arrived(request=request):
            return Effects(began=(request,))
        case Tripped(generation=generation):
            gone = tuple(claims(state))
            return Effects(ended=gone, settled=tuple((request, generation) for request in gone))
        case Withdrawn(request=request) | Expired(request=request):
            return Effects(ended=(request,), settled=((request, _lost(event)),))
        case Destroyed():
            gone = tuple(claims(state))
            return Effects(ended=gone, settled=tuple((request, _lost(event)) for request in gone))
        case Unheard() | Upkeep():
            return Effects()
        case _:
            assert_never(event)


def claims(state: State) -> list[str]:
    return [request for request, _ in state.line.items()]


def fate(command: BarrierCommand, event: BarrierEvent | Upkeep) -> object:
    """Return what an event meant for an arrival that stood in line: it may be asked about rounds later."""
    match event:
        case Tripped(generation=generation):
            return generation
        case Withdrawn(request=request) | Expired(request=request):
            return _lost(event) if isinstance(command, Arrive | Withdraw) and command.request == request else None
        case Destroyed():
            return _lost(event)
        case Arrived() | Unheard() | Upkeep():
            return None
        case _:
            assert_never(event)


def _lost(event: Withdrawn | Expired | Destroyed) -> CastyError:
    match event:
        case Withdrawn():
            return NotDoneError("The arrival was withdrawn. It does not count in this round.")
        case Expired(cause=cause):
            return NotDoneError(requests_.why_expired(cause, "It does not count any more."))
        case Destroyed():
            return DestroyedError("The barrier was destroyed while the caller waited at it.")
        case _:
            assert_never(event)


def from_snapshot(snapshot: Snapshot) -> State:
    counts: HashTrieMap[str, int] = HashTrieMap()
    for _, participant in snapshot.line:
        counts = counts.insert(participant, (counts.get(participant) or 0) + 1)
    line = Line.of(snapshot.line)
    released = HashTrieSet(snapshot.released)
    known = HashTrieMap(snapshot.standings)
    return State(snapshot.exists, snapshot.generation, snapshot.expected, line, counts, released, known)


BARRIER: Final = Kind[BarrierCommand, BarrierEvent, State](
    name="barrier",
    initial=initial,
    decide=decide,
    evolve=evolve,
    reply=reply,
    answer=answer,
    columns=(
        ("participant", "text"),
        ("request", "text"),
        ("expected", "number"),
        ("generation", "number"),
        *requests_.COLUMNS,
    ),
    replies={"r": Round},
    usual_shards=10,
    snapshot=Snapshot,
    to_snapshot=lambda state: Snapshot(
        state.exists,
        state.generation,
        state.expected,
        tuple(state.line.items()),
        tuple(sorted(state.released)),
        requests_.stored(state.standings),
    ),
    from_snapshot=from_snapshot,
    claims=claims,
    standings=lambda state: state.standings,
    effects=effects,
    expire=Expire,
    renewed=requests_.renewed,
    fate=fate,
    story=Story(
        asked=Arrived,
        ends=(Withdrawn, Expired),
        ends_all=(Destroyed, Tripped),
        who="participant",
        round="generation",
        told={"round": "generation", "expected": "expected"},
    ),
)
