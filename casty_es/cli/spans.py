"""What ``who`` and ``timeline`` print of a request or a job: as JSON, and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import typer

from casty_es.audit.forensics import Caller, Claim, Job
from casty_es.cli.common import FOUND, dumps, say
from casty_es.cli.table import iso_time, short_time
from casty_es.printing import visible
from casty_es.replay import Unreadable, told_unreadable

UNKNOWN: Final = "?"
UNKNOWN_NOTE: Final = "?: the event was cut by retention, or lies further back than was looked."

_SECOND: Final = 1_000_000
_LONGEST_CALLER: Final = 200
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def claim_row(claim: Claim) -> dict[str, Any]:
    """Return a request for programs."""
    return {
        "owner": claim.owner,
        "request": claim.request,
        "asked_at": _iso(claim.asked_at),
        "asked_sequence": claim.asked_sequence,
        "asked_by": _caller(claim.asked_by),
        "waited_seconds": _seconds(claim.waited),
        "granted_at": _iso(claim.granted_at),
        "token": claim.token,
        "round": claim.round,
        "ended_at": _iso(claim.ended_at),
        "ended_sequence": claim.ended_sequence,
        "ending": claim.ending,
        "ended_by": _caller(claim.ended_by),
    }


def job_row(job: Job) -> dict[str, Any]:
    """Return a job for programs; its value is JSON text."""
    return {
        "value": job.value,
        "enqueued_at": _iso(job.enqueued_at),
        "enqueued_sequence": job.enqueued_sequence,
        "enqueued_by": _caller(job.enqueued_by),
        "place_then": job.place_then,
        "waited_seconds": _seconds(job.waited),
        "left_at": _iso(job.left_at),
        "left_sequence": job.left_sequence,
        "left_by": _caller(job.left_by),
        "ending": job.ending,
        "place": job.place,
    }


def unreadable_rows(unreadable: Iterable[Unreadable]) -> list[dict[str, Any]]:
    """Return records that cannot be read for programs; each once, however often it was looked at."""
    return [msgspec.structs.asdict(one) for one in dict.fromkeys(unreadable)]


def tell_unreadable(unreadable: Sequence[Unreadable], *, json: bool, lines: bool = False) -> None:
    """Say which records could not be read, and exit with that being found; do nothing if all could.

    Where the JSON output is ``lines``, each record is one more of them.
    """
    for one, row in zip(dict.fromkeys(unreadable), unreadable_rows(unreadable), strict=True):
        if not json:
            say(told_unreadable(one))
        elif lines:
            say(dumps({"unreadable": row}))
    if unreadable:
        raise typer.Exit(FOUND)


def caller_text(caller: Caller | None) -> str:
    """Return who caused an event, and why, in one cell; empty when nobody said."""
    if caller is None:
        return ""
    if caller.redacted:
        return "(redacted)"
    said = ": ".join(text for text in (caller.actor, caller.reason) if text is not None)
    proven = "" if caller.principal is None else f"[{caller.principal}]"
    return plain(" ".join(text for text in (said, proven) if text), _LONGEST_CALLER)


def time_text(microseconds: int | None) -> str:
    """Return a time that may not be known."""
    return UNKNOWN if microseconds is None else short_time(microseconds)


def duration(microseconds: int) -> str:
    """Return how long something took as people say it: the two largest units.

    Examples
    --------
    >>> [duration(int(seconds * 1e6)) for seconds in (0, 0.25, 15, 75.5, 3725, 90061)]
    ['0s', '250ms', '15s', '1m 15s', '1h 2m', '1d 1h']
    """
    if 0 < microseconds < _SECOND:
        return f"{microseconds // 1_000}ms"
    left = microseconds // _SECOND
    parts: list[tuple[int, str]] = []
    for size, unit in _UNITS:
        number, left = divmod(left, size)
        if number or parts:
            parts.append((number, unit))
    return " ".join(f"{number}{unit}" for number, unit in parts[:2] if number) or "0s"


def plain(text: str, longest: int) -> str:
    """Return a text that others chose with all of it to be seen, cut to a length."""
    safe = visible(text)
    return safe if len(safe) <= longest else safe[: longest - 3] + "..."


def _iso(microseconds: int | None) -> str | None:
    return None if microseconds is None else iso_time(microseconds)


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / _SECOND


def _caller(caller: Caller | None) -> dict[str, Any] | None:
    if caller is None:
        return None
    return {
        "actor": caller.actor,
        "reason": caller.reason,
        "correlation_id": caller.correlation_id,
        "principal": caller.principal,
        "redacted": caller.redacted,
    }
