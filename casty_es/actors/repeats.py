"""A repeat of a command looks into the journal before it acts: what happened once does not happen again.

Looking reads the slot's records after the position that was known when the command was first sent; an earlier attempt
can stand nowhere else. A request that is found is answered from the state: it holds what it was granted, or stands in
line, or is lost. It never enters twice.
"""

from __future__ import annotations

from casty_es.actors.entity import Entity
from casty_es.actors.pending import Pending
from casty_es.codec import decode_event
from casty_es.domain.decider import WAITING
from casty_es.errors import NotDoneError
from casty_es.journal.port import EventJournal, RecordedEvent

__all__ = ["look_before_acting", "reply_from"]


def reply_from(entity: Entity, pending: Pending, recorded: list[RecordedEvent]) -> object:
    """Give the reply to a command whose events are recorded."""
    events = tuple(decode_event(event.type, event.version, event.payload) for event in recorded)
    return entity.kind.reply(pending.command, events)


async def look_before_acting(journal: EventJournal, entity: Entity, pending: Pending) -> bool:
    """Settle a repeat from the journal; tell whether that was possible. If not, it is safe to decide it."""
    after, pending.repeat_after = pending.repeat_after, None
    recorded = await journal.find(entity.slot.number, after or 0, [pending.command_id])
    if not recorded:
        return False
    reply = reply_from(entity, pending, recorded)
    if reply is WAITING:
        reply = entity.kind.answer(entity.committed, pending.command)
        if reply is WAITING:
            return False  # still in line: deciding it again finds that and lets the caller wait
        if reply is None:
            reply = NotDoneError("The request was made, and has left the line since. Nothing is held by it.")
    pending.settle(reply)
    return True
