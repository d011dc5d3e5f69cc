"""Moments as people write them on a command line: ``14:03`` is today, a time without a zone is local."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Annotated, Final, TypeAlias

import typer

_FORMS: Final = "14:03 (today), 2026-11-17, '2026-11-17 12:00', 2026-11-17T12:00:00.5+01:00 or ...Z"

At: TypeAlias = Annotated[
    str | None, typer.Option("--at", help=f"The moment: {_FORMS}. Without a zone it is local time.")
]


def parse_time(text: str, *, now: datetime | None = None) -> datetime:
    """Return the moment that a user typed, with its zone.

    It is a time of today, a day (its first moment), or a day and a time, in ISO 8601; without a zone it is local
    time. ``now`` is what ``now`` and ``today`` mean. Anything else is a ``typer.BadParameter``.

    Examples
    --------
    >>> parse_time("2026-11-17 12:00Z").isoformat()
    '2026-11-17T12:00:00+00:00'
    >>> parse_time("14:03Z", now=datetime(2026, 11, 17, tzinfo=UTC)).isoformat()
    '2026-11-17T14:03:00+00:00'
    """
    moment = text.strip()
    now = datetime.now(UTC) if now is None else now
    if moment == "now":
        return now
    try:
        if ":" in moment and "-" not in moment.split(":")[0]:
            clock = time.fromisoformat(moment)
            # Today where the clock is: in its zone if it has one, else here.
            return _checked(datetime.combine(now.astimezone(clock.tzinfo).date(), clock))
        return _checked(datetime.fromisoformat(moment))
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text[:80]!r} is not a time. Nothing was read. Write it as {_FORMS}.") from None


def _checked(moment: datetime) -> datetime:
    """Take a moment without a zone for local time; ``OverflowError`` if in UTC no calendar has its year."""
    aware = moment if moment.tzinfo is not None else moment.astimezone()
    aware.astimezone(UTC)
    return aware
