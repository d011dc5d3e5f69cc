"""What the demo shows: a progress display on a terminal, plain lines elsewhere, nothing with --json."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from casty_es.cli.demo.chains import Chains
from casty_es.cli.demo.check import Row
from casty_es.cli.demo.look import Look
from casty_es.cli.demo.plan import Drive, Plan
from casty_es.journal.urls import shown
from casty_es.printing import visible

__all__ = ["Screen"]

# Where there is no terminal nobody's lines wrap.
_WIDE = 160
_SHOWN = 20


class Screen:
    """Where the demo talks to people."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(quiet=quiet, highlight=False)
        if not self._console.is_terminal:
            self._console.width = _WIDE
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(visible(text), markup=False, soft_wrap=True)

    @contextmanager
    def phase(self, what: str, seconds: float | None) -> Iterator[Callable[[int, float], None]]:
        """Show that something goes on; the function that is given shows how far it is."""
        if not self._console.is_terminal:
            self.say(f"{what} ...")
        task = self._progress.add_task(what, total=seconds, count="")

        def show(acknowledged: int, after: float) -> None:
            self._progress.update(task, completed=after, count=f"{acknowledged:,} acknowledged")

        try:
            yield show
        finally:
            self._progress.stop_task(task)

    def table(self, rows: list[Row]) -> None:
        """Print what was acknowledged beside what is there."""
        table = Table()
        table.add_column("structure")
        table.add_column("counted")
        for heading in ("acknowledged", "found", "in flight", "missing"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("")
        for row in rows:
            numbers = (row.acknowledged, row.found, row.in_flight, len(row.missing))
            verdict = Text("ok", style="green") if row.ok else Text("WRONG", style="bold red")
            table.add_row(row.structure, row.counted, *(f"{number:,}" for number in numbers), verdict)
        self._console.print(table)
        self.say("In flight: under way when the process of its caller was killed, so it may have happened or not.")

    def figures(self, callers: int, driven: Drive, seen: Look, gap: float) -> None:
        """Print what was measured."""
        self.say(
            f"The counter page-views is in slot {driven.slot}. {driven.owner_before} owned it and was killed after "
            f"{driven.killed_after:.1f} s; now {driven.owner_after} owns it."
        )
        self.say(f"The longest pause of the counter after the kill: {gap:.2f} s")
        self.say(
            f"Throughput: {driven.per_second:,.0f} operations/s ({driven.acknowledged_in_time:,} in "
            f"{driven.seconds:.1f} s, {callers} callers, a third of them killed)"
        )
        self.say(
            f"Replay after a fresh start: {seen.replay_seconds:.2f} s; everything read back in {seen.seconds:.1f} s"
        )

    def verdict(self, rows: list[Row], chains: Chains, plan: Plan) -> None:
        """Print how it ended, and where to look further."""
        for row in rows:
            for text in [*(f"missing: {operation}" for operation in row.missing), *row.wrong][:_SHOWN]:
                self.say(f"{row.structure}: {text}")
        for text in chains.wrong[:_SHOWN]:
            self.say(f"log: {text}")
        if all(row.ok for row in rows):
            self.say("Every acknowledged operation is there, and nothing was counted twice.")
        else:
            self.say("NOT every acknowledged operation is there exactly once.")
        if not chains.wrong:
            self.say(
                f"{chains.records:,} records in {chains.slots} slots: positions and sequences without a gap, every "
                f"hash chain whole."
            )
        self.say(f"Look inside: casty-es log lock/{plan.prefix}accounts --url {shown(plan.url)}")
