"""The rules of the protocol, each with the reason why it is there. Every one can be switched off."""

from __future__ import annotations

import enum

__all__ = ["Rule"]


class Rule(enum.Enum):
    """A rule that the model keeps unless it is switched off; the value says what the rule is."""

    EPOCH_REFUSED = "A node that holds the slot under another epoch than the addressed one refuses"
    ONLY_LOCATE_TAKES = "A node that does not hold the slot never takes it because of a command"
    PREDECESSOR = "Every append names its predecessor"
    PREDECESSOR_HASH = "The predecessor is named by its hash, not only by its position"
    LEASE_RECORD = "A new owner first appends a lease record; its position is the epoch"
    REPEATS_LOOK = "Every send after the first is a repeat, which looks before it acts"
    LOOK_FROM_FIRST = "The look begins at the position seen when the command was first sent"
    LOOK_WITHIN_INCARNATION = "Under another incarnation the look begins with the log, not at a position that is gone"
    NEWEST_ATTEMPT = "A reply is taken only for the newest attempt"
    PENDING_JOINED = "A repeat joins the pending entry of its command"
    PENDING_AT_ONCE = "A command is in the pending table from before the first await"
    LOOK_HOLDS = "While the owner looks, later commands of that entity wait"
    OLD_FRAMES_DISCARDED = "A new connection is served only after the old one's frames are discarded"
    REPLY_AFTER_COMMIT = "A reply leaves only after the commit"
    UNKNOWN_FENCES = "An unknown append is settled by a new lease record, not by reading"
    NEW_EPOCH_REFUSES_OLD = "After its own fence an owner refuses what came in under the epoch before"
    SILENT_AFTER_UNKNOWN = "After OutcomeUnknownError the gateway never sends again"
    OUTCOME_LATER_LEASE = "'Not executed' is answered only when a later lease record exists"
    OUTCOME_EVERY_EPOCH = "That lease record is later than every epoch sent under, not only the first"
    OUTCOME_HIGHEST_EPOCH = "That lease record is later than every epoch sent under, not only the last"
    TIMEOUT_EVERY_SEND = "A plain timeout is told only if every send was refused, not only the newest"
    CLOSING_EVERY_SEND = "Who closes tells 'it did not happen' only if nothing was sent or every send was refused"
    KEY_LOOKED_UP = "A command with an idempotency key is looked up before it is decided"
    KEY_CONCLUDED = "A keyed decision without an event appends its reply"
    PROOF_AFTER_ARRIVAL = "The proof of a read is sent after the read arrived"
    PROOF_FROM_LOG = "The proof is the head of the log, not the belief in the lease session"
    PROOF_HASH = "The head is compared by its hash, not only by its position"
    COMMITTED_STATE = "A reply that appended nothing waits until what it stands on is committed"
    INCARNATION = "After the loss of committed records, earlier epochs and positions are not taken for later ones"
