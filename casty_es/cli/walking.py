"""What commands share that walk through a whole journal: which slots, how many processes, and how far they are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Annotated, TypeVar

import typer

from casty_es.errors import JournalCorruptError
from casty_es.journal.damaged import BEHIND_ALL
from casty_es.journal.sql import SqlJournal

T = TypeVar("T")

CORES = os.cpu_count() or 1
"""How many processes walk unless it is said."""

Slots = Annotated[str | None, typer.Option("--slots", help="Only these slots: 7, or 0-63, or 0-3,7.")]
Processes = Annotated[
    int | None, typer.Option("--processes", min=1, help="How many processes walk; one per core if not given.")
]


def walked(
    url: str,
    slots: list[int] | None,
    doing: str,
    work: Callable[[SqlJournal, Callable[[int], None]], Awaitable[T]],
    *,
    despite_damage: bool = False,
) -> T:
    """Walk through a journal; on a terminal, a bar says how far it is.

    With ``despite_damage`` also through one whose ``casty_meta`` is damaged.
    """

    async def main() -> T:
        journal = SqlJournal(url, unsafe_durability=True)  # nothing is written, so nothing can be lost
        meta = await (journal.open_to_read() if despite_damage else journal.open())
        try:
            total = await _positions(journal, range(meta.slots) if slots is None else slots) if _is_seen() else None
            done = 0

            def tell(records: int) -> None:
                nonlocal done
                done += records
                show(done, total)

            with progress_bar(doing) as show:
                return await work(journal, tell)
        finally:
            await journal.close()

    return asyncio.run(main())


async def _positions(journal: SqlJournal, slots: Sequence[int]) -> int | None:
    """Return how many positions there are; ``None`` where a damaged file does not say: whoever walks finds that out."""
    try:
        heads = await journal.heads(slots)
    except JournalCorruptError:
        return None
    return sum(head.position for head in heads.values() if head.position != BEHIND_ALL)


def _is_seen() -> bool:
    return sys.stderr.isatty()


@contextlib.contextmanager
def progress_bar(doing: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show on a terminal how far something is; the function that is yielded is told how much, and of how much."""
    if not _is_seen():
        yield lambda *_: None
        return
    from rich.console import Console  # noqa: PLC0415 - takes as long to load as a small command runs
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def parse_slots(text: str | None) -> list[int] | None:
    """Return the slots that a user named; ``None`` for all."""
    if text is None:
        return None
    chosen: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise typer.BadParameter(f"{text!r} does not name slots: write 7, or 0-63, or 0-3,7. Nothing was read.")
        chosen += range(int(first), int(last or first) + 1)
    return chosen
