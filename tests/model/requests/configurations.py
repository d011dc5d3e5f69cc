"""What is explored of requests and those who made them, each with the rules for which it is there."""

from __future__ import annotations

from tests.model.check import Part

from .model import Requests
from .rules import Rule
from .state import Budget

__all__ = ["REQUESTS"]

_CLIENT = frozenset({0})

_MODELS = {
    model.name: model
    for model in (
        # A process dies, and may be started again under its name.
        Requests("dead holder", "lock", Budget(deaths=1, restarts=1, owners=1)),
        Requests("dead party", "barrier", Budget(deaths=1, restarts=1, owners=1)),
        # A process lives, and its session was away.
        Requests("lost session", "lock", Budget(sessions=1)),
        # A caller is cancelled, or lets go of what it has.
        Requests("cancelled", "lock", Budget(cancels=2, cuts=1, owners=1)),
        Requests("cancelled party", "barrier", Budget(cancels=1, cuts=1, owners=1)),
        Requests("cancelled taker", "queue", Budget(cancels=2, cuts=1, owners=1)),
        # A client has no session: its silence is counted.
        Requests("silent client", "lock", Budget(deaths=1, owners=1, ticks=2), clients=_CLIENT),
        Requests("stalled owner", "lock", Budget(freezes=1, ticks=3), clients=_CLIENT),
    )
}

_RULES = {
    Rule.DEAD_END_FIRST: "dead party",
    Rule.PROCESS_ID: "dead holder",
    Rule.REOPENED_LIVES: "lost session",
    Rule.RENEWED_AFTER_REOPENING: "lost session",
    Rule.HEARD_SINCE: "lost session",
    Rule.LATE_REQUEST: "dead holder",
    Rule.WITHDRAWAL_LAST: "cancelled",
    Rule.WITHDRAWN_UNTIL_ANSWERED: "cancelled",
    Rule.ITEM_BACK: "cancelled taker",
    Rule.BACK_IN_FRONT: "cancelled taker",
    Rule.STALLED_IS_NOT_SILENT: "stalled owner",
    Rule.COUNT_KEPT: "silent client",
    Rule.COUNT_UNMADE: "silent client",
}

_LONG = {
    model.name: model
    for model in (
        Requests("silent client, more", "lock", Budget(deaths=1, owners=2, ticks=4), clients=_CLIENT),
        Requests("dead holder, more", "lock", Budget(deaths=1, restarts=1, owners=1, sessions=1)),
        Requests("dead party, more", "barrier", Budget(deaths=2, restarts=2, owners=1)),
    )
}

REQUESTS = Part("Requests and those who made them", _MODELS, _RULES, _LONG)
