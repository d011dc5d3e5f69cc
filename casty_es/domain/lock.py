"""A mutual-exclusion lock: one permit (claims.py). It is not re-entrant."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from rpds import HashTrieMap

from casty_es.domain import claims, requests
from casty_es.domain.claims import (
    Acquire,
    ClaimEvent,
    Destroyed,
    Expired,
    Granted,
    Release,
    Released,
    Requested,
    State,
    TryAcquire,
    Withdraw,
    Withdrawn,
    evolve,
    initial,
)
from casty_es.domain.decider import Destroy, Kind, Query, Story
from casty_es.domain.line import Line
from casty_es.domain.requests import Expire, NoteUnheard, Renew, Standing, Unheard

# Commands


class GetHolder(Query["Holder | None"], frozen=True, gc=False):
    pass


LockCommand: TypeAlias = Acquire | TryAcquire | Release | Withdraw | Renew | Expire | NoteUnheard | GetHolder | Destroy


# Events: those of claims.py, as they are

LockEvent: TypeAlias = ClaimEvent


# State


class Holder(msgspec.Struct, frozen=True):
    owner: str
    request: str
    token: int


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    sequence: int
    exists: bool
    holder: Holder | None
    line: tuple[tuple[str, str], ...]
    standings: dict[str, Standing] = {}


RULES: Final = claims.Rules[LockEvent](
    requested=lambda owner, request, _permits, process: Requested(owner, request, process=process),
    granted=lambda owner, request, token, _permits, process: Granted(owner, request, token, process=process),
    released=Released,
    withdrawn=Withdrawn,
    expired=Expired,
    unheard=Unheard,
    destroyed=Destroyed,
    not_granted="The lock was not granted.",
    gone="The lock was destroyed while the caller waited for it. It was not granted.",
)


def decide(state: State, command: LockCommand) -> tuple[LockEvent, ...]:
    return RULES.decide(state, command)


def answer(state: State, command: LockCommand) -> object:
    return _holder(state) if isinstance(command, GetHolder) else claims.answer(state, command)


def to_snapshot(state: State) -> Snapshot:
    standings = requests.stored(state.standings)
    return Snapshot(state.sequence, state.exists, _holder(state), tuple(state.line.items()), standings)


def from_snapshot(snapshot: Snapshot) -> State:
    one = snapshot.holder
    holders = Line.of([] if one is None else [(one.request, claims.Holder(one.owner, one.token))])
    known = HashTrieMap(snapshot.standings)
    return State(snapshot.sequence, int(snapshot.exists), holders, Line.of(snapshot.line), known)


def _holder(state: State) -> Holder | None:
    first = state.holders.first()
    return None if first is None else Holder(first[1].owner, first[0], first[1].token)


LOCK: Final = Kind[LockCommand, LockEvent, State](
    name="lock",
    initial=initial,
    decide=decide,
    evolve=evolve,
    reply=claims.reply,
    answer=answer,
    columns=(("owner", "text"), ("request", "text"), ("token", "number"), *requests.COLUMNS),
    replies={"h": Holder},
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
    ),
)
