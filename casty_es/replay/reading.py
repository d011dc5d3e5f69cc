"""Reading single records, so that one that cannot be read is named with its place and does not stand in the way.

Every reader decodes records here: what people see of one (``reading_of``), and what folding needs of it
(``read_event``). What the database may not have as a row at all is in ``journal/damaged.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from casty_es.context import Recorded, metadata_in
from casty_es.domain.decider import Event
from casty_es.errors import EntityQuarantinedError, JournalCorruptError, RedactedError
from casty_es.format.codec import decode_event
from casty_es.format.redacted import redacted_digest
from casty_es.journal.damaged import damage_of, lost_of
from casty_es.journal.port import EventJournal, RecordedEvent

# What decoding raises, whatever stands there.
_ERRORS: Final = (msgspec.MsgspecError, RecursionError, TypeError, ValueError)

# A shorter text holds no whole number that Python refuses to make of its digits.
_SHORT: Final = 4_300
_LONGEST_WHY: Final = 200

_decode: Final = msgspec.json.Decoder().decode


class Unreadable(msgspec.Struct, frozen=True):
    """A record that cannot be read, in place of what it would have said.

    Attributes
    ----------
    slot, position : int
        Where it stands.
    sequence : int | None
        Its place in its entity, if it says one.
    why : str
        What cannot be read.
    """

    slot: int
    position: int
    sequence: int | None
    why: str

    @classmethod
    def of(cls, record: RecordedEvent, why: str) -> Unreadable:
        """Return what is told of a record."""
        return cls(record.slot, record.position, record.sequence, why)


class Reading(msgspec.Struct, frozen=True):
    """What a record says, as far as it can be read."""

    payload: Any  # as JSON; ``None`` if it was redacted or cannot be read
    redacted: bool  # the payload was replaced by its digest
    caller: Recorded  # what the caller said of itself; nothing if that was redacted or cannot be read
    unreadable: str | None = None  # what of the record cannot be read, and why; ``None`` if all can


def reading_of(record: RecordedEvent) -> Reading:
    """Read a record for people: whatever stands there, something is told of it.

    Examples
    --------
    >>> record = RecordedEvent(0, 2, 1, 1, 1, "map.put", 1, "{", None, None, None, 0, bytes(32))
    >>> reading_of(record).unreadable
    'its payload is not JSON (Input data was truncated)'
    """
    damage = damage_of(record)
    why = [] if damage is None else [damage]
    payload, redacted = None, redacted_digest(record.payload) is not None
    if not redacted and "payload" not in lost_of(record):
        try:
            payload = _decode(record.payload)
        except _ERRORS as error:
            why.append(f"its payload is not JSON ({_short(error)})")
    caller, wrong = caller_in(record)
    if wrong is not None and "metadata" not in lost_of(record):
        why.append(wrong)
    return Reading(payload, redacted, caller, ", ".join(why) or None)


def caller_in(record: RecordedEvent) -> tuple[Recorded, str | None]:
    """Return what a record's metadata says of its caller, and why that cannot be read, if it cannot."""
    try:
        return metadata_in(record.metadata), None
    except _ERRORS as error:
        return Recorded(), f"its metadata is not what audit_context writes ({_short(error)})"


def unreadable_content(type_: str, version: int, payload: str, metadata: str | None) -> str | None:
    """Return what of an event no reader could read, although it is the one that was written.

    Redacted payloads are no such thing, and neither are types that the installed code does not know.
    """
    try:
        decode_event(type_, version, payload)
        if len(payload) > _SHORT:
            _decode(payload)
    except RedactedError:
        pass
    except EntityQuarantinedError as error:
        return str(error)
    except _ERRORS as error:
        return f"Its payload is not JSON that can be read: {_short(error)}."
    try:
        metadata_in(metadata)
    except _ERRORS as error:
        return f"Its metadata is not what audit_context writes: {_short(error)}."
    return None


def refuse_damaged(record: RecordedEvent, what: str) -> None:
    """Refuse to write a record anew, or elsewhere, that no program writes: what it held would be lost.

    ``what`` is not done, for the message of the ``JournalCorruptError``.
    """
    damage = damage_of(record)
    if damage is not None:
        raise JournalCorruptError(
            f"The record at {place_of(record)} is none that any program writes: {damage}. Nothing was done of {what}. "
            f"`casty-es verify` says what is wrong."
        )


def told_unreadable(one: Unreadable) -> str:
    """Say that a record cannot be read."""
    place = f"slot {one.slot}, position {one.position}"
    sequence = "" if one.sequence is None else f", event {one.sequence} of its entity"
    return f"The record at {place}{sequence} cannot be read: {one.why}"


def _short(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if len(text) <= _LONGEST_WHY else f"{text[:_LONGEST_WHY]}…"


def read_event(record: RecordedEvent) -> Event:
    """Return the event of a record.

    Raises ``EntityQuarantinedError``, which names slot, position and sequence, if the installed code cannot read
    it, and ``RedactedError``.
    """
    damage = damage_of(record)
    if damage is not None:
        why = EntityQuarantinedError(f"it is not a record that any program writes: {damage}.")
        raise placed(why, place_of(record))
    try:
        return decode_event(record.type, record.version, record.payload)
    except EntityQuarantinedError as error:
        raise placed(error, place_of(record)) from error


def read_events(records: Sequence[RecordedEvent]) -> tuple[Event, ...]:
    """Return the events of some records; see :func:`read_event`."""
    return tuple(map(read_event, records))


def place_of(record: RecordedEvent) -> str:
    """Return where a record stands, as text."""
    return f"slot {record.slot}, position {record.position}, sequence {record.sequence}"


def placed(error: EntityQuarantinedError, place: str) -> EntityQuarantinedError:
    """Return the same error with its place."""
    if isinstance(error, RedactedError):
        return RedactedError(f"At {place}: {error}")
    return EntityQuarantinedError(
        f"The log of the entity cannot be read at {place}: {error} Nothing was changed. Install the version of the "
        f"code that wrote it, or one that has an upcaster for it."
    )


async def unfoldable(journal: EventJournal, entity: int, sequence: int, error: Exception) -> EntityQuarantinedError:
    """Return the error for an event that cannot be folded, whatever was raised, with its place."""
    records = await journal.history(entity, after=sequence - 1, limit=1)
    place = place_of(records[0]) if records else f"sequence {sequence}"
    if not isinstance(error, EntityQuarantinedError):
        error = EntityQuarantinedError(f"folding it failed with {error!r}.")
    return placed(error, place)
