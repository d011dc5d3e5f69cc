"""``casty-es timeline``: who held and who waited between two moments, as a chart."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from casty_es.audit.forensics import Claim, Job, queue_timeline, timeline
from casty_es.cli.chart import Bar, draw
from casty_es.cli.common import FOUND, Json, Name, NotThereError, dumps, say
from casty_es.cli.reaching import look
from casty_es.cli.spans import UNKNOWN_NOTE, caller_text, claim_row, duration, job_row, plain, tell_unreadable
from casty_es.cli.table import short_time
from casty_es.cli.times import parse_time
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.cli.who import KINDS, Kind
from casty_es.journal.port import EntityName, EventJournal
from casty_es.journal.sql import SqlJournal
from casty_es.names import check_name
from casty_es.replay import Unreadable, to_microseconds

_ROWS: Final = 100
_LONGEST_LABEL: Final = 24
_WIDTH: Final = 120  # where there is no terminal
_BEFORE: Final = timedelta(hours=1)


def timeline_command(
    kind: Kind,
    name: Name,
    *,
    start: Annotated[
        str | None, typer.Option("--from", help="The first moment; an hour before --to if it is not given.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="The last moment; now if it is not given.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many rows at most.")] = _ROWS,
    in_ascii: Annotated[
        bool, typer.Option("--plain", help="Draw in ASCII; so it is where the output is no terminal.")
    ] = False,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Draw who held and who waited between two moments: a row for each request, or for each job of a queue.

    With --json every row is one line of JSON, in the order in which they ended. A time without a zone is local time.
    """
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind[:80]!r} is none of {', '.join(KINDS)}. Nothing was read.")
    last = datetime.now(UTC) if end is None else parse_time(end)
    first = last - _BEFORE if start is None else parse_time(start)
    if first >= last:
        raise typer.BadParameter(f"--from {first} is not before --to {last}. Nothing was read.")

    unreadable: list[Unreadable] = []

    async def work(journal: SqlJournal) -> tuple[list[Claim | Job], bool]:
        rows: list[Claim | Job] = []
        async with aclosing(_spans(journal, kind, name, first, last, unreadable)) as spans:
            async for span in spans:
                if json:
                    say(dumps(job_row(span) if isinstance(span, Job) else claim_row(span)))
                elif len(rows) == limit:
                    return rows, True
                else:
                    rows.append(span)
        return rows, False

    (rows, more), damaged = look(url, work)
    if not json:
        _print(f"{kind}/{name}", rows, to_microseconds(first), to_microseconds(last), in_ascii=in_ascii)
        if more:
            say(f"There are more: give --limit, or another --from than {first.isoformat()}.")
    tell_unreadable(unreadable, json=json, lines=True)
    if damaged:
        raise typer.Exit(FOUND)


async def _spans(
    journal: EventJournal, kind: str, name: str, start: datetime, end: datetime, unreadable: list[Unreadable]
) -> AsyncGenerator[Claim | Job, None]:
    [stored] = await journal.entities([EntityName(kind, check_name(name), "")])
    if stored is None:
        raise NotThereError(f"The journal has no events of {kind}/{name}.")
    if kind == "queue":
        async for job in queue_timeline(journal, name, start, end, unreadable=unreadable):
            yield job
    else:
        async for claim in timeline(journal, kind, name, start, end, unreadable=unreadable):
            yield claim


def _print(called: str, rows: list[Claim | Job], start: int, end: int, *, in_ascii: bool) -> None:
    between = f"between {short_time(start)} and {short_time(end)}"
    if not rows:
        say(f"Nobody held {called} or waited for it {between}.")
        return
    ascii_only = in_ascii or not sys.stdout.isatty() or not (sys.stdout.encoding or "").lower().startswith("utf")
    bars = sorted((_bar(row) for row in rows), key=lambda bar: (bar.since or 0, bar.granted or end, bar.label))
    width = shutil.get_terminal_size((_WIDTH, 24)).columns
    say(f"{called} {between}:")
    for line in draw(bars, start, end, width=width, ascii_only=ascii_only):
        say(line)
    say(". waits, # holds" if ascii_only else "░ waits, █ holds")
    if any(bar.since is None for bar in bars):
        say(UNKNOWN_NOTE)


def _bar(row: Claim | Job) -> Bar:
    if isinstance(row, Job):
        label = "(unknown)" if row.value is None else plain(row.value, _LONGEST_LABEL)
        tail = [_lasted("waited", row.enqueued_at, row.left_at), row.ending or f"in line at {row.place}"]
        return Bar(label, row.enqueued_at, None, row.left_at, ", ".join(tail))
    actor = None if row.asked_by is None else row.asked_by.actor
    waited_until = row.granted_at if row.token is not None else row.ended_at
    tail = [_lasted("waited", row.asked_at, waited_until)]
    if row.token is not None:
        tail.append(_lasted("held", row.granted_at, row.ended_at))
    ending = row.ending or ("holds still" if row.token is not None else "waits still")
    if row.ended_by is not None and row.ended_by.actor not in (None, actor):
        ending += f" by {caller_text(row.ended_by)}"
    return Bar(
        plain(actor or row.owner, _LONGEST_LABEL),
        row.asked_at,
        row.granted_at,
        row.ended_at,
        ", ".join([*(text for text in tail if text), ending]),
    )


def _lasted(what: str, since: int | None, until: int | None) -> str:
    if since is None:
        return f"{what} ?"
    return what if until is None else f"{what} {duration(until - since)}"
