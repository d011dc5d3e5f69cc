"""A counting semaphore (claims.py). An owner may hold several permits, each by a request of its own.

The number of permits stands in each request and in its events.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from rpds import HashTrieMap

from casty_es.bounds import Count
from casty_es.domain import claims, requests
from casty_es.domain.claims import Holder, Release, State, Withdraw, initial
from casty_es.domain.decider import Destroy, Kind, Query, Story, Upkeep
from casty_es.domain.line import Line
from casty_es.domain.requests import Expire, NoteUnheard, Renew, Standing

# Commands


class Acquire(claims.Acquire, frozen=True, gc=False):
    permits: Count


class TryAcquire(claims.TryAcquire, frozen=True, gc=False):
    permits: Count


class GetUsage(Query["Usage"], frozen=True, gc=False):
    pass


SemaphoreCommand: TypeAlias = (
    Acquire | TryAcquire | Release | Withdraw | Renew | Expire | NoteUnheard | GetUsage | Destroy
)


# Events


class Requested(claims.Requested, frozen=True, gc=False):
    permits: int


class Granted(claims.Granted, frozen=True, gc=False):
    permits: int


class Released(claims.Released, frozen=True, gc=False):
    pass


class Withdrawn(claims.Withdrawn, frozen=True, gc=False):
    pass


class Expired(claims.Expired, frozen=True, gc=False):
    pass


class Unheard(requests.Unheard, frozen=True, gc=False):
    pass


class Destroyed(claims.Destroyed, frozen=True, gc=False):
    pass


SemaphoreEvent: TypeAlias = Requested | Granted | Released | Withdrawn | Expired | Unheard | Destroyed


# State


class Usage(msgspec.Struct, frozen=True):
    """What ``GetUsage`` tells: permits in all (0 before the first request), held, and requests in line."""

    permits: int
    held: int
    waiting: int


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    sequence: int
    permits: int
    holders: tuple[tuple[str, Holder], ...]
    line: tuple[tuple[str, str], ...]
    standings: dict[str, Standing] = {}


RULES: Final = claims.Rules[SemaphoreEvent](
    requested=lambda owner, request, permits, process: Requested(owner, request, permits, process=process),
    granted=lambda owner, request, token, permits, process: Granted(owner, request, token, permits, process=process),
    released=Released,
    withdrawn=Withdrawn,
    expired=Expired,
    unheard=Unheard,
    destroyed=Destroyed,
    not_granted="No permit was granted.",
    gone="The semaphore was destroyed while the caller waited. No permit was granted.",
)


def decide(state: State, command: SemaphoreCommand) -> tuple[SemaphoreEvent, ...]:
    return RULES.decide(state, command)


def evolve(state: State, event: SemaphoreEvent | Upkeep) -> State:
    return claims.evolve(state, event)


def answer(state: State, command: SemaphoreCommand) -> object:
    if isinstance(command, GetUsage):
        return Usage(state.permits, len(state.holders), len(state.line))
    return claims.answer(state, command)


def to_snapshot(state: State) -> Snapshot:
    holders, line = tuple(state.holders.items()), tuple(state.line.items())
    return Snapshot(state.sequence, state.permits, holders, line, requests.stored(state.standings))


def from_snapshot(snapshot: Snapshot) -> State:
    holders, line = Line.of(snapshot.holders), Line.of(snapshot.line)
    return State(snapshot.sequence, snapshot.permits, holders, line, HashTrieMap(snapshot.standings))


SEMAPHORE: Final = Kind[SemaphoreCommand, SemaphoreEvent, State](
    name="semaphore",
    initial=initial,
    decide=decide,
    evolve=evolve,
    reply=claims.reply,
    answer=answer,
    columns=(("owner", "text"), ("request", "text"), ("token", "number"), ("permits", "number"), *requests.COLUMNS),
    replies={"u": Usage},
    snapshot=Snapshot,
    to_snapshot=to_snapshot,
    from_snapshot=from_snapshot,
    claims=claims.claims,
    standings=lambda state: state.standings,
    effects=RULES.effects,
    expire=Expire,
    renewed=requests.renewed,
    story=Story(
        asked=Requested,
        granted=Granted,
        ends=(Released, Withdrawn, Expired),
        ends_all=(Destroyed,),
        told={"permits": "permits"},
    ),
)
