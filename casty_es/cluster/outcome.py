"""What became of a command whose caller never got an answer.

It was executed if it stands in the slot's log. It was not, and never will be, only when a lease record stands behind
the highest term that it was sent under and the command is absent up to it: whatever was on its way under that term can
no longer be written. Until then nobody can say.
"""

from __future__ import annotations

import enum
from typing import Any
from uuid import UUID

import msgspec

from casty_es.actors.slot import split_term, term_of
from casty_es.codec import upkeep_reply
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import WAITING, Upkeep, Value
from casty_es.errors import Sent
from casty_es.journal.port import EventJournal
from casty_es.replay import read_events

__all__ = ["CommandOutcome", "CommandStatus", "find_outcome"]


class CommandStatus(enum.StrEnum):
    """What is known of a command."""

    EXECUTED = "executed"
    NOT_EXECUTED = "not executed"
    UNKNOWN = "unknown"


class CommandOutcome(msgspec.Struct, frozen=True):
    """What became of a command.

    Attributes
    ----------
    status : CommandStatus
        Whether it was executed, certainly was not, or that it is still unknown.
    reply : object
        What its caller would have been told, if it was executed: user values as plain JSON, ``None`` for a request that
        stood in a line.
    """

    status: CommandStatus
    reply: Any = None


async def find_outcome(journal: EventJournal, command_id: UUID, sent: Sent) -> CommandOutcome:
    """Look a command up in the log of the slot that it was sent to.

    Parameters
    ----------
    command_id : UUID
        The command.
    sent : Sent
        Where it went; ``OutcomeUnknownError.sent`` has it.

    Raises
    ------
    JournalError
        The journal cannot be read.
    """
    # The head first: what is absent behind it, when it belongs to a later term, stays absent.
    term = await _term(journal, sent.slot)
    same_log = split_term(term)[0] == split_term(sent.term)[0]
    after = sent.after if same_log else 0
    recorded = await journal.find(sent.slot, after, [command_id.bytes])
    if recorded:
        events = read_events(recorded)
        if isinstance(events[0], Upkeep):
            return CommandOutcome(CommandStatus.EXECUTED, _plain(upkeep_reply(events[0])))
        return CommandOutcome(CommandStatus.EXECUTED, _plain(CATALOG[sent.kind].reply(None, events)))
    if await journal.seals(sent.slot, after=after, limit=1):
        return CommandOutcome(CommandStatus.UNKNOWN)  # retention may have cut it
    return CommandOutcome(CommandStatus.NOT_EXECUTED if term > sent.term else CommandStatus.UNKNOWN)


async def _term(journal: EventJournal, slot: int) -> int:
    """Give the term of a slot's newest lease record."""
    head = (await journal.heads([slot]))[slot]
    if not head.epoch:
        return 0
    lease = (await journal.records(slot, after=head.epoch - 1, limit=1))[0]
    return term_of(msgspec.json.decode(lease.payload).get("incarnation", 1), head.epoch)


def _plain(reply: object) -> object:
    if reply is WAITING:
        return None
    return msgspec.json.decode(reply) if isinstance(reply, Value) else reply
