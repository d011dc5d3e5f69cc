"""``casty-es who``: who held a lock, a permit or a place at a barrier at a moment, and where a queue's job was."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from casty_es.audit.forensics import CLAIM_KINDS, Claim, Job, Moment, find_job, find_job_by_sequence, who_held
from casty_es.cli.common import FOUND, AsText, Json, Name, NotThereError, dumps, parse_value, say
from casty_es.cli.reaching import look
from casty_es.cli.spans import (
    UNKNOWN,
    UNKNOWN_NOTE,
    caller_text,
    claim_row,
    duration,
    job_row,
    plain,
    tell_unreadable,
    time_text,
    unreadable_rows,
)
from casty_es.cli.table import Table, iso_time, short_time
from casty_es.cli.times import At, parse_time
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.journal.port import EventJournal
from casty_es.journal.sql import SqlJournal
from casty_es.replay import Unreadable

KINDS: Final = (*CLAIM_KINDS, "queue")
_ROWS: Final = 100
_LONGEST_VALUE: Final = 40
_LONGEST_OWNER: Final = 80

Kind = Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}.", show_default=False)]


def who(
    kind: Kind,
    name: Name,
    *,
    at: At = None,
    job: Annotated[
        str | None,
        typer.Option("--job", help="For a queue: the value to look for, as JSON; with --text, as it stands."),
    ] = None,
    sequence: Annotated[
        int | None,
        typer.Option("--sequence", min=1, help="For a queue: the sequence of the event that enqueued the job."),
    ] = None,
    as_text: AsText = False,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Tell who held a lock or permit at a moment, who waited, who had arrived at a barrier; or where a job was.

    Without --at it is told as of now. For a queue, with --json, every job is one line of JSON.
    """
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind[:80]!r} is none of {', '.join(KINDS)}. Nothing was read.")
    moment = datetime.now(UTC) if at is None else parse_time(at)
    if kind == "queue":
        if (job is None) == (sequence is None):
            raise typer.BadParameter("Name the job: give --job VALUE, or --sequence N. Nothing was read.")
        wanted = None if job is None else (parse_value(job, as_text=as_text),)
        asked = None if at is None else moment
        if look(url, lambda journal: _job(journal, name, wanted, sequence, asked, json=json))[1]:
            raise typer.Exit(FOUND)
        return
    if job is not None or sequence is not None:
        raise typer.BadParameter(f"A {kind} has no jobs. Leave out --job and --sequence. Nothing was read.")

    unreadable: list[Unreadable] = []

    async def work(journal: SqlJournal) -> Moment | None:
        return await who_held(journal, kind, name, at=moment, unreadable=unreadable)

    told, damaged = look(url, work)
    if told is None:
        raise NotThereError(f"The journal has no events of {kind}/{name}.")
    if json:
        say(dumps(_row(kind, name, told) | {"unreadable": unreadable_rows(unreadable)}))
    else:
        _print(kind, name, told)
    tell_unreadable(unreadable, json=json)
    if damaged:
        raise typer.Exit(FOUND)


def _row(kind: str, name: str, told: Moment) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "at": iso_time(told.at),
        "sequence": told.sequence,
        "holders": [claim_row(claim) for claim in told.holders],
        "waiters": [claim_row(claim) for claim in told.waiters],
        "permits": told.permits,
        "round": told.round,
        "expected": told.expected,
    }


def _print(kind: str, name: str, told: Moment) -> None:
    if told.holders or told.waiters:
        columns = ("", "owner", "asked by", "asked for", "waited", "held since", "until", "how it ended", "token>")
        table = Table(f"{kind}/{name} at {short_time(told.at)}", columns)
        for claim in told.holders:
            table.add(*_cells("holds", claim, told))
        for claim in told.waiters:
            table.add(*_cells("waits", claim, told))
        table.print()
    say(_sentence(kind, name, told))
    if any(claim.asked_at is None for claim in (*told.holders, *told.waiters)):
        say(UNKNOWN_NOTE)


def _cells(what: str, claim: Claim, told: Moment) -> tuple[object, ...]:
    held = claim.token is not None
    return (
        what,
        plain(claim.owner, _LONGEST_OWNER),
        caller_text(claim.asked_by),
        time_text(claim.asked_at),
        _waited(claim, told),
        time_text(claim.granted_at) if held else "",
        "" if claim.ended_at is None else short_time(claim.ended_at),
        _ending(claim),
        claim.token,
    )


def _waited(claim: Claim, told: Moment) -> str:
    if claim.waited is not None:
        return duration(claim.waited)
    if claim.asked_at is None:
        return UNKNOWN
    return f"{duration(max(told.at - claim.asked_at, 0))} by then"


def _ending(claim: Claim) -> str:
    if claim.ending is None:
        return "holds still" if claim.token is not None else "waits still"
    return claim.ending + (f" by {by}" if (by := caller_text(claim.ended_by)) else "")


def _sentence(kind: str, name: str, told: Moment) -> str:
    at = f"at {short_time(told.at)}"
    if told.sequence == 0:
        return f"{kind}/{name} had not been used {at}."
    waited = f"{len(told.waiters)} waited"
    if told.permits is not None:
        return f"{len(told.holders)} of {told.permits} permits were held {at}, {waited}."
    if told.round is not None:
        return (
            f"Round {told.round} {at}: {len({claim.owner for claim in told.waiters})} of {told.expected} had arrived."
        )
    return f"{'It was held' if told.holders else 'Nobody held it'} {at}, {waited}."


async def _job(
    journal: EventJournal,
    name: str,
    wanted: tuple[Any] | None,
    sequence: int | None,
    at: datetime | None,
    *,
    json: bool,
) -> None:
    """Print each job as it is found, or the first of them in a table, and how many there were."""
    called = f"event {sequence}" if wanted is None else plain(dumps(wanted[0]), _LONGEST_VALUE)
    table = Table(
        f"queue/{name}, {called}",
        ("value", "enqueued", "by", "place then>", "waited", "left", "how", "by", "place>", "sequence>"),
    )
    count: Counter[str] = Counter()
    unreadable: list[Unreadable] = []
    async for job in _jobs(journal, name, wanted, sequence, at, unreadable):
        count[job.ending or "in line"] += 1
        if json:
            say(dumps(job_row(job)))
        elif count.total() <= _ROWS:
            table.add(*_job_cells(job))
    if not count and not unreadable:
        raise NotThereError(f"The journal knows no such job of queue/{name}: {called}.")
    if json:
        tell_unreadable(unreadable, json=True, lines=True)
        return
    table.print()
    if count.total() > _ROWS:
        say(f"These are the first {_ROWS}; --json prints all.")
    say(f"{count.total()} in all: " + ", ".join(f"{number} {what}" for what, number in count.items()) + ".")
    tell_unreadable(unreadable, json=False)


async def _jobs(
    journal: EventJournal,
    name: str,
    wanted: tuple[Any] | None,
    sequence: int | None,
    at: datetime | None,
    unreadable: list[Unreadable],
) -> AsyncIterator[Job]:
    if wanted is not None:
        async for job in find_job(journal, name, wanted[0], at=at, unreadable=unreadable):
            yield job
    elif sequence is not None:
        one = await find_job_by_sequence(journal, name, sequence, at=at, unreadable=unreadable)
        if one is not None:
            yield one


def _job_cells(job: Job) -> tuple[object, ...]:
    return (
        "(redacted)" if job.value is None else plain(job.value, _LONGEST_VALUE),
        time_text(job.enqueued_at),
        caller_text(job.enqueued_by),
        job.place_then,
        "" if job.waited is None else duration(job.waited),
        "" if job.left_at is None else short_time(job.left_at),
        job.ending or "in line",
        caller_text(job.left_by),
        job.place,
        job.enqueued_sequence,
    )
