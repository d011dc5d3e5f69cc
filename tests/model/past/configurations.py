"""What is explored of a database that goes back, each with the rules for which it is there."""

from __future__ import annotations

from tests.model.check import Part

from .model import Past
from .rules import Rule
from .state import Budget

__all__ = ["PAST"]

_MODELS = {
    model.name: model
    for model in (
        # A promotion or a copy in its place: the database can be told from the one that was there before.
        Past("promoted", Budget(asks=3, takes=2, losses=1, crashes=1)),
        Past("frozen owner", Budget(asks=3, takes=2, losses=1, freezes=1)),
        Past("two losses", Budget(asks=2, takes=2, losses=2, freezes=1)),
        Past("accepted", Budget(asks=2, takes=1, losses=1, freezes=1, accepts=1)),
        # Nothing tells that anything has changed but what is missing.
        Past("silent loss", Budget(asks=3, takes=2, losses=1, crashes=1), visible=False),
        Past("silent, frozen", Budget(asks=3, takes=2, losses=1, freezes=1), visible=False),
    )
}

_RULES = {
    Rule.LOCATE_CARRIES: "silent loss",
    Rule.READS_CARRY: "silent loss",
    Rule.CARRIED_HASH: "silent loss",
    Rule.COMMANDS_CARRY: "silent loss",
    Rule.OWN_MEMORY: "silent loss",
    Rule.FENCED_COMPARES: "silent loss",
    Rule.PEERS_COMPARED: "promoted",
    Rule.OWNED_ON_SERVER: "frozen owner",
    Rule.PEER_AWAITED: "frozen owner",
    Rule.SERVER_RECORDED: "promoted",
    Rule.CLOSED_WRITTEN: "promoted",
    Rule.CLOSED_FENCES: "silent loss",
    Rule.INCARNATION: "accepted",
}

_LONG = {
    model.name: model
    for model in (
        Past("promoted, more", Budget(asks=4, takes=2, losses=1, crashes=1)),
        Past("frozen owner, more", Budget(asks=3, takes=2, losses=1, crashes=1, freezes=1)),
        Past("silent loss, more", Budget(asks=2, takes=2, losses=1, crashes=1, freezes=1), visible=False),
    )
}

PAST = Part("A database that goes back", _MODELS, _RULES, _LONG)
