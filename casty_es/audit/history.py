"""What happened, event by event: of one structure through its handle, and of the whole journal for ``casty-es log``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from casty_es.errors import InvalidArgumentError, UsageError
from casty_es.gateway.port import EntityGateway, HistoryReader
from casty_es.journal.damaged import BEHIND_ALL
from casty_es.journal.port import EntityName, RecordedEvent
from casty_es.names import check_at_least_one, check_sequence, decode_key
from casty_es.replay import reading_of, refuse_ahead_of_here

__all__ = ["HistoryEvent", "history_event", "history_of", "to_microseconds"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNREADABLE: Final = "?"
_PAGE_EVENTS: Final = 1_000  # asked for at once; whoever answers may give fewer


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
    """Return a moment as the journal has it: in microseconds since 1970.

    Raises
    ------
    InvalidArgumentError
        It has no time zone, so nobody can say which moment it is.

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
    if name.kind != "map":
        return kind, called, None, None
    try:
        return kind, called, decode_key(name.key), None
    except InvalidArgumentError:
        return kind, called, name.key, "its key in the directory is not one that a map has"


async def history_of(
    gateway: EntityGateway,
    name: EntityName,
    *,
    after: int | datetime,
    until: int | datetime | None,
    limit: int | None,
) -> AsyncIterator[HistoryEvent]:
    """Yield an entity's events; see ``history`` of the handles."""
    if not isinstance(gateway, HistoryReader):
        raise UsageError(f"{type(gateway).__name__} cannot read histories. Nothing was read.")
    left = None if limit is None else check_at_least_one(limit, "limit")
    after_time = to_microseconds(after) if isinstance(after, datetime) else None
    sequence = 0 if isinstance(after, datetime) else check_sequence(after, "after")
    last_time = to_microseconds(until) if isinstance(until, datetime) else None
    last = None if until is None or isinstance(until, datetime) else check_sequence(until, "until")
    while left is None or left > 0:
        page = await gateway.read_history(
            name, after=sequence, after_time=after_time, limit=_PAGE_EVENTS if left is None else min(left, _PAGE_EVENTS)
        )
        after_time = None
        for record in page.records:
            sequence = record.sequence or sequence
            if last is not None and sequence > last:
                return
            if last_time is not None and record.recorded_at > last_time:
                refuse_ahead_of_here(record, last_time)
                return
            yield history_event(name, record, page.nodes.get(record.epoch))
        if not page.records:
            return
        left = None if left is None else left - len(page.records)
