"""Spans of time drawn as bars: one row each, under one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from casty_es.cli.table import short_time

_FEWEST_COLUMNS: Final = 20


class Bar(msgspec.Struct, frozen=True):
    """A row: somebody waited from one time to another, and held from then on. Times are microseconds since 1970."""

    label: str  # what stands before the bar, and what behind it
    since: int | None  # the beginning; ``None`` for one that lies before the chart and is not known
    granted: int | None  # when waiting became holding; ``None`` for somebody who only waited
    until: int | None  # the end; ``None`` if it lies behind the chart
    tail: str


def draw(bars: Sequence[Bar], start: int, end: int, *, width: int, ascii_only: bool) -> list[str]:
    """Return the lines of a chart from one time to another.

    A line has ``width`` characters, and more if the texts beside the bars leave no room; with ``ascii_only`` it is
    drawn with ``.`` and ``#`` instead of blocks.

    Examples
    --------
    >>> bars = [Bar("ann", 0, 0, 40_000_000, "held 40s"), Bar("bob", 20_000_000, 40_000_000, None, "waited 20s")]
    >>> print(*draw(bars, 0, 60_000_000, width=40, ascii_only=True), sep=chr(10))
    ann |################       | held 40s
    bob |       ........########| waited 20s
        1970-01-01 00:00:00Z 1970-01-01 00:01:00Z
    """
    waits, holds = (".", "#") if ascii_only else ("░", "█")
    before = max((len(bar.label) for bar in bars), default=0)
    behind = max((len(bar.tail) for bar in bars), default=0)
    columns = max(width - before - behind - len(" || "), _FEWEST_COLUMNS)

    def column(time: int) -> int:
        return min(max((time - start) * columns // (end - start), 0), columns - 1)

    lines = []
    for bar in bars:
        first = column(start if bar.since is None else bar.since)
        last = columns - 1 if bar.until is None else column(bar.until)
        cells = [" "] * columns
        cells[first : last + 1] = waits * (last + 1 - first)
        if bar.granted is not None and bar.granted <= end:
            held = column(bar.granted)
            cells[held : last + 1] = holds * (last + 1 - held)
        lines.append(f"{bar.label:{before}} |{''.join(cells)}| {bar.tail}")
    left, right = short_time(start), short_time(end)
    gap = max(columns + len("||") - len(left) - len(right), 1)
    return [*lines, f"{'':{before}} {left}{'':{gap}}{right}"]
