"""An entity's events in order, and where in them a moment lies.

Within an entity, positions grow with the sequence and times never go back, so both are found by halving: about 24
reads of one event in a log of ten million.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from casty_es.errors import ArchivedError
from casty_es.journal.port import EventJournal, RecordedEvent
from casty_es.replay.ahead import refuse_ahead

__all__ = ["PAGE_BYTES", "archived", "events", "sequence_at_position", "sequence_at_time", "sequence_stamped"]

_PAGE_EVENTS: Final = 1_000
PAGE_BYTES: Final = 4_194_304


async def events(
    journal: EventJournal, entity: int, *, after: int = 0, until: int | None = None, limit: int | None = None
) -> AsyncIterator[RecordedEvent]:
    """Yield an entity's events after a sequence, page by page.

    Parameters
    ----------
    after : int
        The sequence to begin behind.
    until : int | None
        The last sequence to give.
    limit : int | None
        How many events at most.
    """
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

    Raises
    ------
    ArchivedError
        The events of that time were cut.
    TimesAheadError
        The next event has a time that has not come yet, and may have been written before that moment.
    """
    sequence = await sequence_stamped(journal, entity, moment)
    for left_out in await journal.history(entity, after=sequence, limit=1):
        await refuse_ahead(journal, left_out, moment)
    return sequence


async def sequence_stamped(journal: EventJournal, entity: int, moment: int) -> int:
    """Return the sequence of an entity's last event whose time is at or before one in microseconds, 0 for none.

    Taken by its word: see :func:`sequence_at_time` for whoever asks what there was at that time.

    Raises
    ------
    ArchivedError
        The events of that time were cut.
    """
    return await _last(journal, entity, lambda event: event.recorded_at <= moment)


async def sequence_at_position(journal: EventJournal, entity: int, position: int) -> int:
    """Return the sequence of an entity's last event at or before a position of its slot, 0 if there is none.

    Raises
    ------
    ArchivedError
        The events of that position were cut.
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
