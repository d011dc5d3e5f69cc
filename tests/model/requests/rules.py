"""The rules by which requests end with those who made them. Every one can be switched off."""

from __future__ import annotations

import enum

__all__ = ["Rule"]


class Rule(enum.Enum):
    """A rule that the model keeps unless it is switched off; the value says what the rule is."""

    DEAD_END_FIRST = "An owner that activates an entity ends what the dead asked for before it decides anything else"
    PROCESS_ID = "A request belongs to a process, by an id fresh at every start, and not to the node's name"
    REOPENED_LIVES = "Whoever has a session is alive, also under another session than it asked under"
    RENEWED_AFTER_REOPENING = "Who lost its session holds nothing until a renewal sent under the new one is answered"
    HEARD_SINCE = "Who was heard after the owner began to look at the sessions is not ended by what it saw"
    LATE_REQUEST = "A request of a process that was seen dead is let in only after another look"
    WITHDRAWAL_LAST = "A withdrawal follows the last send of its request"
    WITHDRAWN_UNTIL_ANSWERED = "A process sends a withdrawal again until it is answered, as long as it lives"
    ITEM_BACK = "An item whose taker was cancelled before it was told of it goes back"
    BACK_IN_FRONT = "It goes back in front, not at the end"
    STALLED_IS_NOT_SILENT = "Who could not be heard, because the owner stood still or had not read, is not silent"
    COUNT_KEPT = "What was counted of a client's silence is not forgotten by a new owner"
    COUNT_UNMADE = "When the client is heard, what was written down of its silence is unmade before it is answered"
