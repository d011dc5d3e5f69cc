"""What is measured of audits, and what we want to reach."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from tests.benchmarks.databases import Databases
from tests.benchmarks.plan import Case, Goal, Line, Program, Sizes, ours

__all__ = ["audit_cases"]

_MIB = Goal(300, at_most=True)
_FLOOR = "reading the same rows, and three SHA-256 for each"


def audit_cases(databases: Databases, sizes: Sizes) -> list[Case]:
    """Return these cases, in the order of the report."""
    return [
        _verification(databases, sizes),
        _travel(databases, sizes),
        _export(databases, sizes),
        _beside(databases, sizes),
    ]


def _kept(url: str) -> Callable[[], AbstractContextManager[str]]:
    return lambda: nullcontext(url)


def _verification(databases: Databases, sizes: Sizes) -> Case:
    url = databases.kept("verify")

    def program(action: str, database: Callable[[], AbstractContextManager[str]]) -> Program:
        return Program(lambda url: ours("audit.long", action, url, "--events", sizes.audit), database)

    what = f"{sizes.audit:,} events, one process"
    goal = {"SQLite": Goal(150_000), "Postgres": Goal(100_000)}
    programs, lines = {}, []
    for name, database in (("SQLite", _kept(url)), ("Postgres", databases.postgres_url)):
        floor = f"{_FLOOR}, {name}"
        programs |= {
            f"verify {name}": program("verify", database),
            floor: program("floor", database),
            f"check-replay {name}": program("check-replay", database),
        }
        lines += [
            Line(f"verify, {name}, {what}", "records/s", goal[name], floor, f"verify {name}"),
            Line(f"its peak memory, {name}", "MiB", _MIB, ours=f"verify {name}", value="peak_mib"),
            Line(f"check-replay, {name}, {what}", "events/s", ours=f"check-replay {name}"),
        ]
    return Case(13, "Verification", programs, lines, sizes.rounds)


def _travel(databases: Databases, sizes: Sizes) -> Case:
    url = databases.kept("travel")
    command = ours("audit.long", "travel", url, "--events", sizes.travel, "--counters", 1)
    what = f"a counter with {sizes.travel:,} events at a random moment, SQLite"
    return Case(
        14,
        "Time travel",
        {"ours": Program(lambda _: command, _kept(url))},
        [
            Line(f"{what}, 50th percentile", "ms", value="p50"),
            Line(f"{what}, the longest of 200", "ms", Goal(100, at_most=True), value="most"),
        ],
        1,
    )


def _export(databases: Databases, sizes: Sizes) -> Case:
    url = databases.kept("verify")
    names = {"JSON Lines": "journal.jsonl", "JSON Lines, gzip": "journal.jsonl.gz", "Parquet": "journal.parquet"}

    def program(name: str, database: Callable[[], AbstractContextManager[str]]) -> Program:
        def command(url: str) -> list[str]:
            return ours("audit.export", url, "--events", sizes.audit, "--name", name)

        return Program(command, database)

    databases_by_name = {"SQLite": _kept(url), "Postgres": databases.postgres_url}
    programs, lines = {}, []
    for title, name in names.items():
        for database, opened in databases_by_name.items():
            mine = f"{title}, {database}"
            programs[mine] = program(name, opened)
            lines += [
                Line(f"{mine}, {sizes.audit:,} events", "events/s", Goal(100_000), ours=mine),
                Line(f"{mine}, peak memory", "MiB", _MIB, ours=mine, value="peak_mib"),
            ]
    return Case(15, "Export", programs, lines, sizes.rounds)


def _beside(databases: Databases, sizes: Sizes) -> Case:
    programs, lines = {}, []
    for what in ("verify", "retention"):
        for name, database in (("SQLite", databases.sqlite_url), ("Postgres", databases.postgres_url)):
            mine = f"{what} beside, {name}"
            programs[mine] = Program(
                lambda url, what=what: ours(  # type: ignore[misc]
                    "audit.beside", what, url, "--events", sizes.audit, "--seconds", sizes.seconds
                ),
                database,
            )
            lines.append(
                Line(
                    f"increments by 100 callers beside {what}, {name}, of what they are alone",
                    "%",
                    Goal(80),
                    ours=mine,
                    value="kept",
                )
            )
    return Case(16, "Audits beside load", programs, lines, sizes.rounds)
