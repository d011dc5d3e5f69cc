"""Reading single events of an entity's log, so that one that cannot be read is named with its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from casty_es.codec import decode_event
from casty_es.domain.decider import Event
from casty_es.errors import EntityQuarantinedError, RedactedError
from casty_es.journal.port import EventJournal, RecordedEvent

__all__ = ["place_of", "placed", "read_event", "read_events", "unfoldable"]

T = TypeVar("T", bound=EntityQuarantinedError)


def read_event(record: RecordedEvent) -> Event:
    """Give the event of a record.

    Raises
    ------
    EntityQuarantinedError
        The installed code cannot read it; slot, position and sequence are named.
    RedactedError
        Its payload was redacted.
    """
    try:
        return decode_event(record.type, record.version, record.payload)
    except EntityQuarantinedError as error:
        raise placed(error, place_of(record)) from error


def read_events(records: Sequence[RecordedEvent]) -> tuple[Event, ...]:
    """Give the events of some records; see :func:`read_event`."""
    return tuple(map(read_event, records))


def place_of(record: RecordedEvent) -> str:
    """Give where a record stands, as text."""
    return f"slot {record.slot}, position {record.position}, sequence {record.sequence}"


def placed(error: EntityQuarantinedError, place: str) -> EntityQuarantinedError:
    """Give the same error with its place."""
    if isinstance(error, RedactedError):
        return RedactedError(f"At {place}: {error}")
    return EntityQuarantinedError(
        f"The log of the entity cannot be read at {place}: {error} Nothing was changed. Install the version of the "
        f"code that wrote it, or one that has an upcaster for it."
    )


async def unfoldable(journal: EventJournal, entity: int, sequence: int, error: Exception) -> EntityQuarantinedError:
    """Give the error for an event that cannot be folded, whatever was raised, with its place."""
    records = await journal.history(entity, after=sequence - 1, limit=1)
    place = place_of(records[0]) if records else f"sequence {sequence}"
    if not isinstance(error, EntityQuarantinedError):
        error = EntityQuarantinedError(f"folding it failed with {error!r}.")
    return placed(error, place)
