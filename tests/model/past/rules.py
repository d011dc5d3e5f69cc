"""The rules by which a database that went back is noticed. Every one can be switched off."""

from __future__ import annotations

import enum

__all__ = ["Rule"]


class Rule(enum.Enum):
    """A rule that the model keeps unless it is switched off; the value says what the rule is."""

    LOCATE_CARRIES = "Who asks for the owner carries the highest position that it was told"
    READS_CARRY = "So does who reads what the journal holds, whether or not somebody owns the slot"
    CARRIED_HASH = "What is carried names its record by hash, not only by position"
    COMMANDS_CARRY = "So does a command, unless the owner that it goes to told it itself"
    OWN_MEMORY = "Who takes a slot, or reads its log, compares it with what it remembers itself"
    FENCED_COMPARES = "Who finds that the log is not what it knew compares it too, and does not only give the slot up"
    PEERS_COMPARED = "On a changed server the heads are compared with the peers before a slot is taken or read"
    OWNED_ON_SERVER = "A slot is owned on the server that it was taken on, and on no other"
    PEER_AWAITED = "A peer that lives and does not answer is waited for"
    SERVER_RECORDED = "Which server was compared is written down in the database"
    CLOSED_WRITTEN = "That a slot is closed is written down in the database"
    CLOSED_FENCES = "It is a record at the head of the slot's log, so that it fences who owns the slot"
    INCARNATION = "Accepting the loss raises the incarnation"
