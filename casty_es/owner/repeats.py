"""A repeat of a command looks into the journal before it acts: what happened once does not happen again.

Looking reads the slot's records after the position that was known when the command was first sent; an earlier attempt
can stand nowhere else. What it finds is its first result, with two exceptions. A claim (``domain/decider.py``) is
answered from the state: it holds what it was granted, or stands in line, or is lost. It never enters twice. What became
of an arrival is read from the log behind it, however many rounds ago it was.

Where retention has cut events of the entity behind that position, what is absent proves nothing. A request that the
state knows is answered from it; of anything else the outcome is unknown, and it is not done again.

A command with an idempotency key looks by its key instead, in all that was ever recorded of its entity.
"""

from __future__ import annotations

from uuid import UUID

from casty_es.domain.decider import WAITING, Claim, Harmless, Query, Request, Upkeep
from casty_es.errors import IdempotencyConflictError, OutcomeUnknownError, RedactedError
from casty_es.format.codec import upkeep_reply
from casty_es.format.redacted import redacted_digest
from casty_es.journal.port import EventJournal, RecordedEvent
from casty_es.owner.entity import Entity
from casty_es.owner.fingerprint import may_be_same
from casty_es.owner.pending import Pending
from casty_es.replay import events, read_event, read_events


def reply_from(entity: Entity, pending: Pending, recorded: list[RecordedEvent]) -> object:
    """Return the reply to a command whose events are recorded."""
    events = read_events(recorded)
    if isinstance(events[0], Upkeep):
        return upkeep_reply(events[0])
    return entity.kind.reply(pending.command, events)


async def look_before_acting(journal: EventJournal, entity: Entity, pending: Pending) -> bool:
    """Settle a repeat from the journal; tell whether that was possible. If not, it is safe to decide it."""
    after, pending.repeat_after = pending.repeat_after, None
    ids = [pending.command_id, *_withdrawn(entity, pending)]
    found = await journal.find(entity.slot.number, after or 0, ids)
    recorded = [event for event in found if event.command_id == pending.command_id]
    if found and not recorded:
        return await _withdrawn_late(journal, entity, pending, found[0])
    if not recorded:
        # In this order: what is cut after the first look was there to be found, and seals come before the cut.
        if isinstance(pending.command, Query | Harmless) or await journal.last_cut(entity.id) <= (after or 0):
            return False
        if not isinstance(pending.command, Request):
            raise cut_away(pending)
        pending.found = pending.cut = True  # if the state knows the request, it has the answer
        return False
    return await _settle(journal, entity, pending, recorded)


def _withdrawn(entity: Entity, pending: Pending) -> list[bytes]:
    """Return the id of the request that a command withdraws, where the state does not know for long how one ended."""
    command = pending.command
    if entity.kind.fate is None or not isinstance(command, Harmless) or "request" not in command.__struct_fields__:
        return []
    request: str = command.request  # type: ignore[attr-defined]  # it has that field
    return [UUID(request).bytes]


async def _withdrawn_late(journal: EventJournal, entity: Entity, pending: Pending, asked: RecordedEvent) -> bool:
    """Settle the withdrawal of a request that had what it waited for; tell whether it had."""
    reply = await _fate(journal, entity, pending, asked)
    if reply is WAITING or isinstance(reply, BaseException):
        return False
    pending.settle(reply)
    return True


async def _settle(journal: EventJournal, entity: Entity, pending: Pending, recorded: list[RecordedEvent]) -> bool:
    """Settle a command from its events; tell whether they say it. If not, the state does when its turn comes."""
    reply = reply_from(entity, pending, recorded)
    if reply is WAITING:
        reply = await _fate(journal, entity, pending, recorded[-1])
    elif isinstance(pending.command, Claim) and reply is not None:
        reply = WAITING  # it was granted then; whether it still is, the state knows
    if reply is WAITING:
        pending.found = True
        return False
    pending.settle(reply)
    return True


def cut_away(pending: Pending) -> OutcomeUnknownError:
    """Return the error for a repeat whose first attempt may be among what was cut."""
    command_id = UUID(bytes=pending.command_id)
    return OutcomeUnknownError(
        f"{type(pending.command).__name__} was sent before, and retention has cut events since then: nobody can tell "
        f"whether it was among them. It was not done again; if it was done, the archive has it under the command id "
        f"{command_id}.",
        command_id=command_id,
    )


async def look_up_key(journal: EventJournal, entity: Entity, pending: Pending) -> bool:
    """Settle a command from what is recorded under its key; tell whether that was possible.

    If not, it is either safe to decide it, or (``pending.found``) its request was made and the state has the answer.
    """
    key, command = pending.idempotency_key, pending.command
    assert key is not None  # only such commands come here
    after, pending.repeat_after = pending.repeat_after, None  # what was committed is found by its key, wherever it is
    recorded = await journal.find_key(entity.id, key) if entity.recorded else []
    if not recorded:
        if after is not None and await journal.last_cut(entity.id) > after:
            raise cut_away(pending)
        return False
    # What came before a redaction was compared under another salt: of that, the key alone counts.
    same_salt = (recorded[0].sequence or 0) > entity.salted_from
    if same_salt and not may_be_same(command, entity.salt, recorded[0].metadata):
        pending.fail(
            IdempotencyConflictError(
                f"The idempotency key {key!r} was used on the {entity.name.kind} {entity.name.name!r} before, for "
                f"another operation. Nothing was done. Use a key of its own for each operation."
            )
        )
        return True
    if not same_salt and redacted_digest(recorded[0].payload) is not None:
        pending.fail(
            RedactedError(
                f"What was done under the idempotency key {key!r} on the {entity.name.kind} {entity.name.name!r} was "
                f"redacted since then: nobody can tell whether it was this operation. It was not done now."
            )
        )
        return True
    return await _settle(journal, entity, pending, recorded)


async def _fate(journal: EventJournal, entity: Entity, pending: Pending, arrived: RecordedEvent) -> object:
    """Read on to where it was settled what a request waited for; ``WAITING`` when that is not written or not kept."""
    fate = entity.kind.fate
    if fate is not None:
        async for event in events(journal, entity.id, after=arrived.sequence or 0):
            reply = fate(pending.command, read_event(event))
            if reply is not None:
                return reply
    return WAITING
