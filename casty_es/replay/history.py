"""An entity's events in order, as people read them, and where in them a moment lies.

Within an entity, positions grow with the sequence and times never go back, so both are found by halving: about 24
reads of one event in a log of ten million.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from casty_es.domain.catalog import KEYED
from casty_es.errors import ArchivedError, InvalidArgumentError
from casty_es.journal.damaged import BEHIND_ALL
from casty_es.journal.port import EntityName, EventJournal, RecordedEvent
from casty_es.names import decode_key
from casty_es.replay.ahead import refuse_ahead
from casty_es.replay.reading import reading_of

_PAGE_EVENTS: Final = 1_000
PAGE_BYTES: Final = 4_194_304
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNREADABLE: Final = "?"


class HistoryEvent(msgspec.Struct, frozen=True):
    """One recorded event.

    Attributes
    ----------
    kind, name, key : str, str, str | int | UUID | None
        The structure, and the key for a map.
    sequence : int
        The event's place in its entity: 1, 2, 3, …
    type, version, payload : str, int, Any
        What happened, as JSON. ``None`` when it was redacted.
    redacted : bool
        The payload was replaced by its digest.
    recorded_at : datetime
        When the owner wrote it, in UTC.
    slot, position, epoch : int
        Where it stands in the journal, and under which lease it was written.
    node : str | None
        The node that wrote it.
    command_id : UUID | None
        The command that it belongs to.
    idempotency_key : str | None
        The caller's own name for the operation; only at the first event of a command.
    actor, reason, correlation_id : str | None
        What the caller said with ``audit_context``; only at the first event of a command.
    principal : str | None
        Who was proven to have sent it: ``token:NAME``, ``node:NAME``, or ``secret`` for a client with the cluster's
        secret; only at the first event of a command. ``None`` when it came from the process of ``node`` itself.
    unreadable : str | None
        What of the record cannot be read, and why, in a journal that somebody changed. Then the other fields hold what
        can be read, and a kind, name or type that cannot is ``?``.
    """

    kind: str
    name: str
    key: str | int | UUID | None
    sequence: int
    type: str
    version: int
    payload: Any
    redacted: bool
    recorded_at: datetime
    slot: int
    position: int
    epoch: int
    node: str | None
    command_id: UUID | None
    idempotency_key: str | None
    actor: str | None
    reason: str | None
    correlation_id: str | None
    principal: str | None = None
    unreadable: str | None = None


def to_microseconds(moment: datetime) -> int:
    """Return a moment as the journal has it: in microseconds since 1970. One without a zone is refused.

    Examples
    --------
    >>> to_microseconds(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC))
    1000005
    """
    if moment.utcoffset() is None:
        raise InvalidArgumentError(
            f"{moment} has no time zone, so it is not one moment. Nothing was read. Give it one, for instance with "
            f"datetime.now(UTC) or moment.astimezone()."
        )
    return (moment - _EPOCH) // timedelta(microseconds=1)


def history_event(name: EntityName | None, record: RecordedEvent, node: str | None) -> HistoryEvent:
    """Return a record as people read it; without a name, the directory does not have its entity."""
    reading = reading_of(record)
    kind, called, key, nameless = _called(name, record)
    why = [text for text in (reading.unreadable, nameless) if text is not None]
    caller = reading.caller
    return HistoryEvent(
        kind,
        called,
        key,
        0 if record.sequence in (None, BEHIND_ALL) else record.sequence,
        record.type or _UNREADABLE,
        record.version,
        reading.payload,
        reading.redacted,
        _EPOCH + timedelta(microseconds=record.recorded_at),
        record.slot,
        record.position,
        record.epoch,
        node,
        None if record.command_id is None else UUID(bytes=record.command_id),
        record.idempotency_key,
        caller.actor,
        caller.reason,
        caller.correlation_id,
        caller.principal,
        ", ".join(why) or None,
    )


def _called(name: EntityName | None, record: RecordedEvent) -> tuple[str, str, str | int | UUID | None, str | None]:
    """Return kind, name and key of an entity, and what of them cannot be read."""
    if name is None:
        return _UNREADABLE, _UNREADABLE, None, f"the directory does not name its entity {record.entity}"
    kind, called = name.kind or _UNREADABLE, name.name or _UNREADABLE
    if not name.kind or not name.name:
        return kind, called, None, "its kind or name in the directory is not text"
    if name.kind not in KEYED:
        return kind, called, None, None
    try:
        return kind, called, decode_key(name.key), None
    except InvalidArgumentError:
        return kind, called, name.key, "its key in the directory is not one that a map has"


async def events(
    journal: EventJournal, entity: int, *, after: int = 0, until: int | None = None, limit: int | None = None
) -> AsyncIterator[RecordedEvent]:
    """Yield an entity's events after a sequence, page by page: at most until another one, at most so many."""
    left = limit
    while left is None or left > 0:
        limit = _PAGE_EVENTS if left is None else min(left, _PAGE_EVENTS)
        page = await journal.history(entity, after=after, limit=limit, most_bytes=PAGE_BYTES)
        for event in page:
            after = event.sequence or after
            if until is not None and after > until:
                return
            yield event
        if not page:
            return
        left = None if left is None else left - len(page)


async def sequence_at_time(journal: EventJournal, entity: int, moment: int) -> int:
    """Return the sequence of an entity's last event at or before a time in microseconds, 0 if there is none.

    Raises ``ArchivedError`` if the events of that time were cut, and ``TimesAheadError`` if the next event has a
    time that has not come yet, and may have been written before.
    """
    sequence = await sequence_stamped(journal, entity, moment)
    for left_out in await journal.history(entity, after=sequence, limit=1):
        await refuse_ahead(journal, left_out, moment)
    return sequence


async def sequence_stamped(journal: EventJournal, entity: int, moment: int) -> int:
    """Return the sequence of an entity's last event whose time is at or before one in microseconds, 0 for none.

    Taken by its word: see :func:`sequence_at_time` for whoever asks what there was at that time. ``ArchivedError``
    if the events of that time were cut.
    """
    return await _last(journal, entity, lambda event: event.recorded_at <= moment)


async def sequence_at_position(journal: EventJournal, entity: int, position: int) -> int:
    """Return the sequence of an entity's last event at or before a position of its slot, 0 if there is none.

    Raises ``ArchivedError`` if the events of that position were cut.
    """
    return await _last(journal, entity, lambda event: event.position <= position)


async def _last(journal: EventJournal, entity: int, before: Callable[[RecordedEvent], bool]) -> int:
    """Return the last sequence of which ``before`` is true; it is true up to some sequence and false from there on."""
    first, last = await journal.bounds(entity)
    while True:
        begin, low, high = first, max(0, first - 1), last  # everything up to low is before, nothing after high is
        while low < high:
            middle = (low + high + 1) // 2
            found = await journal.history(entity, after=middle - 1, limit=1)
            if found and before(found[0]):
                low = middle
            else:
                high = middle - 1
        first, _ = await journal.bounds(entity)
        if first == begin:  # else retention has cut meanwhile, and other events stood where this looked
            break
    if low and low < first:
        raise archived(low)
    return low


def archived(through: int) -> ArchivedError:
    """Return the error for who asks for what was cut."""
    return ArchivedError(
        f"The events up to sequence {through} were cut by retention, and what was asked for lies among them. Nothing "
        f"was read. The entity's log names the archive that has them (entity.sealed)."
    )
