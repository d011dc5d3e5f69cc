"""How long a structure's events are kept: all of them, those of a time, or so many of each entity."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from casty_es.errors import InvalidArgumentError, InvalidTypeError, JournalCorruptError
from casty_es.journal.damaged import damage_of
from casty_es.journal.maintenance import Maintenance
from casty_es.journal.sql import SqlJournal

Keep: TypeAlias = "Literal['all'] | timedelta | int"
"""``"all"``, how old events may become, or how many events of each entity are kept."""

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGE: Final = re.compile(r"(\d{1,9})([smhdw])")
_STORED: Final = re.compile(r"(seconds|events):(\d{1,18})")


def parse_keep(text: str) -> Keep:
    """Return the policy that a user typed: ``all``, ``90d`` (s, m, h, d, w), or ``1000`` events.

    Raises
    ------
    InvalidArgumentError
        It is none of these.

    Examples
    --------
    >>> parse_keep("90d"), parse_keep("1000"), parse_keep("all")
    (datetime.timedelta(days=90), 1000, 'all')
    """
    if text == "all":
        return "all"
    if match := _AGE.fullmatch(text):
        return _checked(timedelta(seconds=int(match[1]) * _SECONDS[match[2]]))
    if text.isdecimal() and len(text) <= len(str(2**62)):
        return _checked(int(text))
    raise InvalidArgumentError(
        f"{text[:40]!r} does not say how long to keep events: write all, an age such as 90d (s, m, h, d, w), or how "
        f"many events of each entity, such as 1000. Nothing was changed."
    )


def keep_text(keep: Keep) -> str:
    """Return a policy as people write it.

    Examples
    --------
    >>> keep_text(timedelta(days=90)), keep_text(1000), keep_text("all")
    ('90d', '1000', 'all')
    """
    if not isinstance(keep, timedelta):
        return str(keep)
    seconds = int(keep.total_seconds())
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"


async def set_retention(journal: SqlJournal, kind: str, name: str, keep: Keep) -> None:
    """Say how long the events of a structure are kept. Nothing is cut by it: :func:`run_retention` does that.

    Parameters
    ----------
    journal : SqlJournal
        The journal, open.
    keep : Keep
        ``"all"``; a ``timedelta`` of a second or more: older events go; or an int: of each entity so many events stay.
        The newest event of an entity always stays.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        ``keep`` is none of these, or the journal has no such structure. Nothing was changed.

    Examples
    --------
    >>> from casty_es.audit.retention import policies, set_retention
    >>> await d.counter("visits").increment()
    1
    >>> await set_retention(journal, "counter", "visits", timedelta(days=90))
    >>> [(name, keep.days) for (kind, name), keep in (await policies(journal)).items()]
    [('visits', 90)]
    """
    checked = _checked(keep)
    stored = None
    if isinstance(checked, timedelta):
        stored = f"seconds:{int(checked.total_seconds())}"
    elif checked != "all":
        stored = f"events:{checked}"
    if not await Maintenance(journal).set_keep(kind, name, stored):
        raise InvalidArgumentError(f"The journal has no {kind} {name!r}. Nothing was changed.")


async def policies(journal: SqlJournal) -> dict[tuple[str, str], Keep]:
    """Return the policy of every structure that does not keep all, by kind and name.

    Raises
    ------
    JournalCorruptError
        One that is stored cannot be read.
    """
    found, wrong = await readable_policies(journal)
    if wrong:
        raise JournalCorruptError(f"{wrong[0]} Nothing was cut.")
    return found


async def readable_policies(journal: SqlJournal) -> tuple[dict[tuple[str, str], Keep], list[str]]:
    """Return the policies that can be read, by kind and name, and what is said of the others."""
    found: dict[tuple[str, str], Keep] = {}
    wrong = []
    for row in await journal.structure_rows():
        keep = None if row.keep is None else _parsed(row.keep)
        if (damage := damage_of(row)) is not None:
            wrong.append(f"A row of casty_structures cannot be read: {damage}.")
        elif keep is not None:
            found[row.kind, row.name] = keep
        elif row.keep is not None:
            called = f"{row.kind}/{row.name}"[:80]
            wrong.append(f"The policy {row.keep[:80]!r} of {called!r} in casty_structures cannot be read.")
    return found, wrong


def _parsed(text: str) -> Keep | None:
    unit, number = match.groups() if (match := _STORED.fullmatch(text)) is not None else (None, "0")
    try:
        return None if unit is None else timedelta(seconds=int(number)) if unit == "seconds" else int(number)
    except OverflowError:
        return None


def _checked(keep: object) -> Keep:
    if keep == "all":
        return "all"
    if isinstance(keep, timedelta):
        if keep < timedelta(seconds=1):
            raise InvalidArgumentError(f"Events are kept for a second at least, not {keep}. Nothing was changed.")
        return keep
    if type(keep) is int:
        if keep < 1:
            raise InvalidArgumentError(f"One event of each entity is kept at least, not {keep}. Nothing was changed.")
        return keep
    raise InvalidTypeError(f"keep is 'all', a timedelta or an int, not {type(keep).__name__}. Nothing was changed.")
