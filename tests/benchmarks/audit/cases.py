"""The cases of audits."""

from __future__ import annotations

from contextlib import nullcontext

from tests.benchmarks.databases import Databases
from tests.benchmarks.plan import Case, Goal, Line, Program, Sizes, ours

__all__ = ["export_cases"]

_PER_SECOND = 100_000
_MIB = 300


def export_cases(databases: Databases, sizes: Sizes) -> list[Case]:
    """Give the cases of exports."""
    url = databases.kept("export")
    names = {"JSON Lines": "journal.jsonl", "JSON Lines, gzip": "journal.jsonl.gz", "Parquet": "journal.parquet"}

    def program(name: str) -> Program:
        def command(url: str) -> list[str]:
            return ours("audit.export", "export", url, "--events", sizes.replay, "--name", name)

        return Program(command, lambda: nullcontext(url))

    lines = [
        Line(f"{title}, {sizes.replay:,} events", "events/s", Goal(_PER_SECOND), ours=title) for title in names
    ] + [
        Line(f"{title}, peak memory", "MiB", Goal(_MIB, at_most=True), ours=title, value="peak_mib") for title in names
    ]
    build = ours("audit.export", "build", url, "--events", sizes.replay)
    return [
        Case(
            13,
            "Export of a journal in SQLite",
            {title: program(name) for title, name in names.items()},
            lines,
            sizes.rounds,
            {"JSON Lines": lambda: build},
        )
    ]
