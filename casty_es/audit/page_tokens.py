"""Where a page of the whole journal ends, and where the next one begins in each slot.

Events are listed by time, slot and position. A time alone does not say where to go on: a group commit gives one to all
that it writes, in many slots.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, NamedTuple

import msgspec

from casty_es.errors import InvalidArgumentError
from casty_es.journal.damaged import lost_of
from casty_es.journal.port import EventJournal, RecordedEvent, Stored
from casty_es.replay import HistoryEvent, to_microseconds

__all__ = ["Place", "is_page_token", "last_until", "page_token", "place_in", "timed"]

_PREFIX: Final = "page-"
_VERSION: Final = 1
_LONGEST: Final = 200
_FEW_RECORDS: Final = 64
_MANY_RECORDS: Final = 4_096


class Place(NamedTuple):
    """A record's place in the order of all; the time is in microseconds since 1970."""

    time: int
    slot: int
    position: int


class _Token(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: int
    time: int
    slot: Stored
    position: Stored


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Token).decode


def page_token(event: HistoryEvent) -> str:
    """Return a text that says where a page ended, to be given to :func:`casty_es.audit.search.search` for the next.

    Parameters
    ----------
    event : HistoryEvent
        The last one of the page.

    Returns
    -------
    str
        For programs and command lines to hand on, not to look into.
    """
    packed = _encode(_Token(_VERSION, to_microseconds(event.recorded_at), event.slot, event.position))
    return _PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def is_page_token(text: str) -> bool:
    """Tell a token from a time or a sequence, without looking whether it is a good one."""
    return text.startswith(_PREFIX)


async def place_in(journal: EventJournal, token: str) -> Place:
    """Return the place that a token stands for.

    Raises
    ------
    InvalidArgumentError
        It is not a token, or one of another journal.
    """
    place = _place(token)
    slots = (await journal.open()).slots
    if place.slot >= slots:
        raise _unusable(f"this journal has {slots} slots, and it is from slot {place.slot} of another")
    found = await journal.records(place.slot, after=place.position - 1, limit=1)
    if not found or found[0].position != place.position:
        return place  # it was cut since, and the token has the time that it had
    if "time" in lost_of(found[0]):
        return place._replace(time=await _time_at(journal, place.slot, place.position))
    if found[0].recorded_at != place.time:
        raise _unusable(f"the record at slot {place.slot}, position {place.position} has another time than it says")
    return place


def _place(token: str) -> Place:
    coded = token.removeprefix(_PREFIX)
    if not is_page_token(token) or len(coded) > _LONGEST:
        raise _unusable("it is none that a page ended with")
    try:
        found = _decode(base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, msgspec.MsgspecError, UnicodeError, ValueError):
        raise _unusable("it cannot be read") from None
    if found.version != _VERSION or found.position < 1:
        raise _unusable("it is not one that this code makes")
    return Place(found.time, found.slot, found.position)


def _unusable(why: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"This is not the end of a page: {why}. Nothing was read. Take it from the end of a page of this journal, or "
        f"give a time."
    )


async def timed(journal: EventJournal, records: list[RecordedEvent]) -> list[tuple[int, RecordedEvent]]:
    """Return records with the times that they are listed by: one without has that of the record before in its slot."""
    listed: list[tuple[int, RecordedEvent]] = []
    for record in records:
        time = record.recorded_at
        if "time" in lost_of(record):
            follows = listed and listed[-1][1].position == record.position - 1
            time = listed[-1][0] if follows else await _time_at(journal, record.slot, record.position)
        listed.append((time, record))
    return listed


async def last_until(journal: EventJournal, slot: int, head: int, moment: int) -> int:
    """Return the position of a slot's last record that is not later than a moment, by halving; 0 if there is none."""
    low, high = 0, head
    while low < high:
        middle = (low + high + 1) // 2
        found = await timed(journal, await journal.records(slot, after=middle - 1, limit=1))
        if found and found[0][0] <= moment:
            low = max(middle, min(found[0][1].position, high))  # what is missing in between was cut
        else:
            high = middle - 1
    return low


async def _time_at(journal: EventJournal, slot: int, position: int) -> int:
    """Return the time of a slot's last record up to a position that has one; 0 if there is none."""
    high, page = position, _FEW_RECORDS
    while high > 0:
        begin = max(0, high - page)
        for record in reversed(await journal.records(slot, after=begin, limit=high - begin)):
            if record.position <= high and "time" not in lost_of(record):
                return record.recorded_at
        high, page = begin, min(2 * page, _MANY_RECORDS)
    return 0
