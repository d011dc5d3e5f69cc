"""Tables for people, and the times in them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from casty_es.journal.damaged import in_calendar
from casty_es.printing import visible

# Where the output is no terminal nobody's lines wrap, so a cell may be long.
_WIDE: Final = 240

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Table:
    """A table that is printed at the end; numbers go to the right under a heading that ends in ``>``."""

    def __init__(self, title: str, headings: Sequence[str]) -> None:
        from rich.table import Table as RichTable  # noqa: PLC0415 - takes as long to load as a small command runs
        from rich.text import Text  # noqa: PLC0415 - likewise

        # Text, because what is shown may hold what rich would take for markup.
        self._text = Text
        self._title = Text(visible(title))  # printed by itself: rich would break it to the width of a narrow table
        self._table = RichTable()
        for heading in headings:
            right = heading.endswith(">")
            self._table.add_column(heading.removesuffix(">"), overflow="fold", justify="right" if right else "left")

    def add(self, *cells: object, style: str = "") -> None:
        """Add a row; ``None`` is an empty cell."""
        self._table.add_row(*(self._text("" if cell is None else visible(str(cell)), style=style) for cell in cells))

    def print(self) -> None:
        """Print it: as wide as the terminal, or as wide as it needs to be where there is none."""
        from rich.console import Console  # noqa: PLC0415 - as above

        console = Console(width=None if sys.stdout.isatty() else _WIDE)
        console.print(self._title)
        console.print(self._table)


def iso_time(microseconds: int) -> str:
    """Return microseconds since 1970 as programs want them; a time that no calendar has stays a number."""
    if not in_calendar(microseconds):
        return str(microseconds)
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")


def short_time(microseconds: int) -> str:
    """Return microseconds since 1970 as people want them: to the second, in UTC; as a number if no calendar has it."""
    if not in_calendar(microseconds):
        return str(microseconds)
    return f"{_EPOCH + timedelta(microseconds=microseconds):%Y-%m-%d %H:%M:%S}Z"
