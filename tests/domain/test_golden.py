"""Every byte that a long history of each structure leads to is the same as ever, whatever becomes of the code."""

from __future__ import annotations

import random
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from casty_es.domain import lock, semaphore
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import WAITING
from casty_es.errors import CastyError
from casty_es.format.codec import encode_command, encode_event, encode_reply, encode_state

from .history import OWNERS, POOL, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casty_es.domain.decider import Command

    from .history import AnyKind

# What the code wrote that was there before lock and semaphore were made of one piece.
GOLDEN = {
    "counter": "9b930f9f5712c06ada56070ab9b751ce6e3779fbafdf25910c46f88d967aeaf1",
    "map": "104d094e19a0ff7eb9a0bb6ea82a6d8b63f135a245a439075bacb13132f303b4",
    "set": "74db5df08079e019fb980a13d671ebebea1c2b1244cae18181d7ff5057e9ce80",
    "queue": "9ae5ba5c2502eb45d373ab84cef72583264f18f95a0851a57be084d2487ee811",
    "lock": "e60f006635efe36d20142f90a16059d3041eb3dee1a009f74a3120523c95d1e3",
    "semaphore": "64afd9af4f8f556927533b42aa38c6bf9887b79eebce6decdfe9dd037eb80c5d",
    "barrier": "a120a1a859a99af7e80ef2a3cf82903ca63714b0858596e0d4346e5d17ce7b59",
}

# A restarted program gives back by the request's name, which the pool's commands never do.
BY_NAME: dict[str, list[Command]] = {
    "lock": [lock.Release(owner, request) for owner in OWNERS for request in REQUESTS],
    "semaphore": [semaphore.Release(owner, request) for owner in OWNERS for request in REQUESTS],
}


def trace(kind: AnyKind) -> Iterator[object]:
    """Yield all that anybody is told or can read of one fixed history: one line a command."""
    # Python seeds this from the name's bytes and not from its hash: the commands are always the same.
    chance = random.Random(kind.name)  # noqa: S311 - nothing here is secret
    pool = [*POOL[kind.name], *([BY_NAME[kind.name]] if kind.name in BY_NAME else [])]
    state = kind.initial
    for _ in range(3_000):
        command = chance.choice(chance.choice(pool))
        yield encode_command(command), encode_command(command.essence()), command.relieves
        try:
            events = kind.decide(state, command)
        except CastyError as refusal:
            yield type(refusal).__name__, str(refusal)
            continue
        reply = kind.reply(command, events) if events else kind.answer(state, command)
        yield repr(reply) if reply is WAITING else encode_reply(reply)
        for event in events:
            yield encode_event(event)
            if kind.effects is not None:
                yield [f"{one!r}" for one in kind.effects(state, event).settled]
                yield kind.effects(state, event).began, kind.effects(state, event).ended
            yield None if kind.fate is None else repr(kind.fate(command, event))
            state = kind.evolve(state, event)
        yield encode_state(kind, state), kind.exists(state), list(kind.claims(state)) if kind.claims else None
        yield kind.renewed(command) if kind.renewed else None
        state = kind.from_snapshot(kind.to_snapshot(state)) if chance.random() < 0.01 else state


@pytest.mark.parametrize("kind", CATALOG.values(), ids=CATALOG)
def test_a_long_history_is_the_same_to_the_last_byte(kind: AnyKind) -> None:
    """Given a fixed history, when it runs, then commands, events, replies, refusals and states are the golden ones."""
    digest = sha256()
    for line in trace(kind):
        digest.update(f"{line!r}\n".encode())
    assert digest.hexdigest() == GOLDEN[kind.name]
