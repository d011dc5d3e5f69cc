"""What is measured, against what, and what we want to reach."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from tests.benchmarks.audit.cases import audit_cases
from tests.benchmarks.cluster.cases import cluster_cases
from tests.benchmarks.databases import Databases
from tests.benchmarks.plan import FULL, Case, Goal, Line, Program, Sizes, alone, ours


def cases(databases: Databases, sizes: Sizes) -> list[Case]:
    """Return all cases, in the order of the report."""
    return [
        _sqlite_increments(databases, sizes),
        _postgres_increments(databases, sizes),
        _one_caller(databases, sizes),
        _cold_puts(databases, sizes),
        _replay(databases, sizes),
        _snapshots(databases, sizes),
        _memory(databases, sizes),
        *cluster_cases(databases, sizes),
        *audit_cases(databases, sizes),
    ]


def _kept(url: str) -> Callable[[], AbstractContextManager[str]]:
    """Return the same file to every measurement."""
    return lambda: nullcontext(url)


def _file(url: str) -> str:
    return url.removeprefix("sqlite:///")


def _casty(sizes: Sizes, action: str, url: str) -> list[str]:
    arguments = [action, _file(url), "--seconds", sizes.seconds]
    return alone(sizes, "casty==0.20.1", (3, 12), "casty_program.py", *arguments)


def _increments(url: str, callers: int, sizes: Sizes) -> list[str]:
    return ours("increments", url, "--callers", callers, "--seconds", sizes.seconds)


def _sqlite_increments(databases: Databases, sizes: Sizes) -> Case:
    title, peer = "increments of one counter, SQLite, 100 callers", "casty 0.20.1, SqliteJournal"
    return Case(
        1,
        "Counter increments on SQLite",
        {
            "ours": Program(lambda url: _increments(url, 100, sizes), databases.sqlite_url),
            peer: Program(lambda url: _casty(sizes, "increments", url), databases.no_file_yet),
        },
        [Line(title, "/s", Goal(20_000), peer), Line(title, "/s", Goal(10, of_ratio=True), peer)],
        sizes.rounds,
    )


def _postgres_increments(databases: Databases, sizes: Sizes) -> Case:
    title, peer = "increments of one counter, Postgres, 100 callers", "UPDATE … RETURNING by 10 asyncpg connections"
    updates = "peers.postgres_program"
    return Case(
        2,
        "Counter increments on Postgres",
        {
            "ours": Program(lambda url: _increments(url, 100, sizes), databases.postgres_url),
            peer: Program(
                lambda url: ours(updates, "updates", url, "--seconds", sizes.seconds), databases.postgres_url
            ),
        },
        [Line(title, "/s", Goal(8, of_ratio=True), peer)],
        sizes.rounds,
    )


def _one_caller(databases: Databases, sizes: Sizes) -> Case:
    goal = Goal(1.5, of_ratio=True, at_most=True)
    two_hops, one_hop = "aiosqlite: execute, commit", "sqlite3 in one thread hop: BEGIN IMMEDIATE, INSERT, COMMIT"
    prepared = "asyncpg: prepared INSERT"

    def inserts(driver: str) -> Program:
        module = "peers.sqlite_inserts"
        return Program(lambda url: ours(module, driver, url, "--seconds", sizes.seconds), databases.sqlite_url)

    def line(database: str, peer: str, program: str) -> Line:
        return Line(f"one increment at a time, {database}", "µs", goal, peer, program, "microseconds")

    return Case(
        3,
        "One caller, beside the same insert into the same table",
        {
            "ours on SQLite": Program(lambda url: _increments(url, 1, sizes), databases.sqlite_url),
            two_hops: inserts("aiosqlite"),
            one_hop: inserts("one-hop"),
            "ours on Postgres": Program(lambda url: _increments(url, 1, sizes), databases.postgres_url),
            prepared: Program(
                lambda url: ours("peers.postgres_program", "inserts", url, "--seconds", sizes.seconds),
                databases.postgres_url,
            ),
        },
        [
            line("SQLite", two_hops, "ours on SQLite"),
            line("SQLite", one_hop, "ours on SQLite"),
            line("Postgres", prepared, "ours on Postgres"),
        ],
        sizes.rounds,
    )


def _cold_puts(databases: Databases, sizes: Sizes) -> Case:
    peer = f"casty 0.20.1, what {sizes.seconds:g} s let it put; timed-out puts are not counted"
    goal = Goal(8_000)
    return Case(
        4,
        "Map puts on distinct cold keys, SQLite, 100 callers",
        {
            "ours": Program(lambda url: ours("puts", url, "--keys", sizes.puts, "--again"), databases.sqlite_url),
            peer: Program(lambda url: _casty(sizes, "puts", url), databases.no_file_yet),
        },
        [
            Line(f"{sizes.puts:,} keys that nobody has put", "/s", goal, peer),
            Line("the same keys after a new start", "/s", goal, value="again_per_second"),
        ],
        sizes.rounds,
    )


def _replay(databases: Databases, sizes: Sizes) -> Case:
    mine, theirs = databases.kept("replay"), databases.kept("eventsourcing")
    peer = "eventsourcing 9.5, SQLite recorder"

    def peer_command(action: str) -> list[str]:
        program = "eventsourcing_program.py"
        return alone(sizes, "eventsourcing==9.5.*", (3, 10), program, action, _file(theirs), "--events", sizes.replay)

    return Case(
        5,
        "Replay without snapshots",
        {
            "ours": Program(lambda url: ours("replay", "read", url, "--events", sizes.replay), _kept(mine)),
            peer: Program(lambda _: peer_command("read"), _kept(theirs)),
        },
        [Line(f"the first read of a counter with {sizes.replay:,} events", "events/s", Goal(200_000), peer)],
        sizes.rounds,
        {
            "ours": lambda: ours("replay", "build", mine, "--events", sizes.replay),
            peer: lambda: peer_command("build"),
        },
    )


def _snapshots(databases: Databases, sizes: Sizes) -> Case:
    url = databases.kept("snapshots")
    note = "" if sizes.counter >= FULL.counter else f"with {sizes.counter:,} events, not {FULL.counter:,}"
    return Case(
        5,
        "Activation with snapshots",
        {"ours": Program(lambda url: ours("replay", "write", url, "--events", sizes.counter), _kept(url))},
        [
            Line(
                f"the first increment, lease and commit included, of a counter with {sizes.counter:,} events",
                "ms",
                Goal(50, at_most=True),
                value="milliseconds",
                note=note,
            )
        ],
        sizes.rounds,
        {"ours": lambda: ours("replay", "build-snapshots", url, "--events", sizes.counter)},
    )


def _memory(databases: Databases, sizes: Sizes) -> Case:
    note = "" if sizes.keys >= FULL.keys else f"with {sizes.keys:,} keys, not {FULL.keys:,}"
    return Case(
        6,
        "Memory",
        {"ours": Program(lambda url: ours("puts", url, "--keys", sizes.keys), databases.sqlite_url)},
        [
            Line(
                f"peak resident memory of the process that puts {sizes.keys:,} distinct keys",
                "MiB",
                Goal(400, at_most=True),
                value="peak_mib",
                note=note,
            )
        ],
        1,
    )
