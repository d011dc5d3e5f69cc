"""Times of a slot that have not come yet: which records have them, and what cannot be told of such a slot.

Times never go back within a slot. So behind a record from a clock that was far ahead, the later ones have its time,
whenever they were written: a moment between the last time that had come and now does not say which of them it follows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from casty_es.errors import TimesAheadError
from casty_es.journal.database_clock import CLOCK_SECONDS, database_clock
from casty_es.journal.port import EventJournal, RecordedEvent

_SECOND: Final = 1_000_000
_SHOWN: Final = 5
_TOLERANCE: Final = round(CLOCK_SECONDS * _SECOND)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SlotAhead(msgspec.Struct, frozen=True):
    """A slot whose last records have times that have not come yet."""

    slot: int  # the slot, and the first record with such a time
    position: int
    seconds: float  # how far the last record's time is ahead of the database's clock
    # Up to this moment, in microseconds since 1970, the slot's times say what had happened; 0 if not even the first
    # of its records does.
    told_until: int

    @property
    def text(self) -> str:
        """Where, and how far."""
        return f"slot {self.slot} from position {self.position} on, by {timedelta(seconds=round(self.seconds))}"


def told_ahead(ahead: Sequence[SlotAhead]) -> str:
    """Return which slots' times are in the future, the first ones by their places."""
    more = f"; and {len(ahead) - _SHOWN} more slots" if len(ahead) > _SHOWN else ""
    return f"Times are in the future: {'; '.join(one.text for one in ahead[:_SHOWN])}{more}"


async def slots_ahead(journal: EventJournal, slots: Iterable[int]) -> list[SlotAhead]:
    """Find the slots whose newest times have not come yet by the database's clock.

    Where none is ahead, all of them cost one query together.
    """
    now = await database_clock(journal)
    heads = await journal.heads(list(slots))
    return [
        await _ahead(journal, slot, head.position, head.recorded_at, now)
        for slot, head in sorted(heads.items())
        if head.recorded_at > now + _TOLERANCE
    ]


async def _ahead(journal: EventJournal, slot: int, last: int, newest: int, now: int) -> SlotAhead:
    """Find by halving where the times of a slot begin to be ahead; positions that were cut have none."""
    low, high, told_until = 0, last, 0  # nothing up to low is ahead, the first record from high on is
    while low + 1 < high:
        middle = (low + high) // 2
        records = await journal.records(slot, after=middle - 1, limit=1)
        if not records or records[0].recorded_at > now + _TOLERANCE:
            high = middle  # what is missing in between was cut
        else:
            low, told_until = max(middle, records[0].position), records[0].recorded_at
    records = await journal.records(slot, after=low, limit=1)
    first = records[0].position if records else last
    return SlotAhead(slot, first, (newest - now) / _SECOND, told_until)


async def refuse_ahead(journal: EventJournal, left_out: RecordedEvent, moment: int) -> None:
    """Refuse to tell what was at a moment, if a record was left out whose time does not say when it was written.

    ``left_out`` is the first record behind the moment, which is in microseconds since 1970. ``TimesAheadError`` if
    its time has not come yet, so that it may have been written before.
    """
    if left_out.recorded_at <= await database_clock(journal) + _TOLERANCE:
        return
    for ahead in await slots_ahead(journal, [left_out.slot]):
        if moment > ahead.told_until:
            raise _refusal(ahead, moment)


def refuse_ahead_of_here(left_out: RecordedEvent, moment: int) -> None:
    """Refuse the same where only this record is at hand, and no journal: by this host's clock, and rather too often."""
    seconds = (left_out.recorded_at - time.time_ns() // 1_000) / _SECOND
    if seconds > CLOCK_SECONDS:
        raise _refusal(SlotAhead(left_out.slot, left_out.position, seconds, 0), moment)


def _refusal(ahead: SlotAhead, moment: int) -> TimesAheadError:
    asked = (_EPOCH + timedelta(microseconds=moment)).isoformat()
    return TimesAheadError(
        f"{told_ahead([ahead])}. They were written by a clock that was far ahead, and say nothing of "
        f"when these records were written; so what was at {asked} cannot be told by a moment. Ask for a "
        f"sequence or with a cursor: their order is exact."
    )
