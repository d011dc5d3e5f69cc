"""What is explored: small configurations, each with the rules for which it is there."""

from __future__ import annotations

from tests.model.check import Part

from .model import Ownership
from .rules import Rule
from .state import Faults, Op

__all__ = ["OWNERSHIP"]

_PUT = Op("put", "A", sends=2)

_MODELS = {
    model.name: model
    for model in (
        # One command, and everything that can happen to it.
        Ownership("retries", ((Op("put", "A", sends=3),),), Faults(cuts=1, freezes=1, unknowns=1, takes=2)),
        Ownership("crashes", ((_PUT,),), Faults(cuts=1, freezes=1, crashes=1, unknowns=1, takes=2)),
        # One node loses the slot, the other takes it, and it comes back; the frames of the first time still wait.
        Ownership("comeback", ((_PUT,),), Faults(freezes=2, takes=2, cuts=1)),
        # Two callers; the second reads what the first wrote, or is shown what never comes about.
        Ownership("reads", ((_PUT,), (Op("read", "R"),)), Faults(freezes=1, takes=2)),
        Ownership("reads after crashes", ((_PUT,), (Op("read", "R"),)), Faults(crashes=1, takes=2)),
        Ownership("two reads", ((Op("put", "A"),), (Op("read", "R"), Op("read", "S"))), Faults(freezes=1, takes=1)),
        # What a command does depends on what another one did before it.
        Ownership("queue", ((Op("put", "A"),), (Op("take", "T", sends=2),)), Faults(freezes=1, unknowns=1)),
        # A commit group behind an append whose outcome is unknown.
        Ownership("two puts", ((Op("put", "A"),), (Op("put", "B", sends=2),)), Faults(unknowns=1, cuts=1, takes=0)),
        # A caller that gives up waiting withdraws its request, and tells by the answer whether it happened.
        Ownership(
            "withdrawal",
            ((_PUT, Op("withdraw", "W", of="A")),),
            Faults(cuts=1, freezes=1, unknowns=1, takes=2),
        ),
        # A caller's node or client is closed while its command is on the way.
        Ownership("closing", ((_PUT,),), Faults(cuts=1, freezes=1, unknowns=1, takes=1, closes=1)),
        # Two commands under one idempotency key.
        Ownership(
            "keyed puts",
            ((Op("put", "K1", key="k"),), (Op("put", "K2", key="k"),)),
            Faults(freezes=1, cuts=1, unknowns=1, takes=1),
        ),
        Ownership(
            "keyed takes",
            ((Op("take", "K1", key="k"), Op("take", "K2", key="k")), (Op("put", "A"),)),
            Faults(freezes=1, takes=1),
        ),
        # The database loses what it had committed, and what it holds afterwards looks like what was there before.
        Ownership("lossy", ((_PUT,),), Faults(freezes=1, takes=1, losses=1), before=("Z",)),
        Ownership(
            "lossy repeats",
            ((Op("put", "A", sends=3),),),
            Faults(crashes=1, takes=1, losses=1),
            before=("Z",),
        ),
        Ownership(
            "lossy reads", ((Op("put", "A"),), (Op("read", "R"),)), Faults(freezes=1, takes=1, losses=1), before=("Z",)
        ),
    )
}

# More can go wrong in these, for which the search takes half a minute.
_LONG = {
    model.name: model
    for model in (
        Ownership("reads, anything", ((_PUT,), (Op("read", "R"),)), Faults(freezes=1, crashes=1, takes=2)),
        Ownership(
            "queue, moved", ((Op("put", "A"),), (Op("take", "T", sends=2),)), Faults(freezes=1, unknowns=1, takes=1)
        ),
    )
}

# Where each rule is switched off: the configuration in which it is needed soonest, or shows best.
_RULES = {
    Rule.EPOCH_REFUSED: "comeback",
    Rule.ONLY_LOCATE_TAKES: "comeback",
    Rule.PREDECESSOR: "crashes",
    Rule.PREDECESSOR_HASH: "lossy",
    Rule.LEASE_RECORD: "crashes",
    Rule.REPEATS_LOOK: "comeback",
    Rule.LOOK_FROM_FIRST: "comeback",
    Rule.LOOK_WITHIN_INCARNATION: "lossy repeats",
    Rule.NEWEST_ATTEMPT: "queue",
    Rule.PENDING_JOINED: "comeback",
    Rule.PENDING_AT_ONCE: "retries",
    Rule.LOOK_HOLDS: "withdrawal",
    Rule.OLD_FRAMES_DISCARDED: "comeback",
    Rule.REPLY_AFTER_COMMIT: "crashes",
    Rule.UNKNOWN_FENCES: "crashes",
    Rule.NEW_EPOCH_REFUSES_OLD: "two puts",
    Rule.SILENT_AFTER_UNKNOWN: "comeback",
    Rule.OUTCOME_LATER_LEASE: "comeback",
    Rule.OUTCOME_EVERY_EPOCH: "comeback",
    Rule.OUTCOME_HIGHEST_EPOCH: "comeback",
    Rule.TIMEOUT_EVERY_SEND: "crashes",
    Rule.CLOSING_EVERY_SEND: "closing",
    Rule.KEY_LOOKED_UP: "keyed puts",
    Rule.KEY_CONCLUDED: "keyed takes",
    Rule.PROOF_AFTER_ARRIVAL: "two reads",
    Rule.PROOF_FROM_LOG: "two reads",
    Rule.PROOF_HASH: "lossy reads",
    Rule.COMMITTED_STATE: "two reads",
    Rule.INCARNATION: "lossy",
}

OWNERSHIP = Part("Who owns a slot, and what is done once", _MODELS, _RULES, _LONG)
