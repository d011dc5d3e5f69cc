"""What is measured of several nodes, against what, and what we want to reach."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.benchmarks.databases import Databases
from tests.benchmarks.environments import redis_server
from tests.benchmarks.plan import Case, Goal, Line, Program, Sizes, alone, ours

_CALLERS = 100
_ONE_AND_MANY = {"one counter": 1, "100 counters": 100}
_SESSIONS = {6.0: 7.0, 3.0: 3.5}
_PAUSE = Goal(200, at_most=True)


def cluster_cases(databases: Databases, sizes: Sizes) -> list[Case]:
    """Return these cases, in the order of the report."""
    return [
        _routed(databases, sizes),
        _hop(databases, sizes),
        _kill(databases, sizes),
        _freeze(databases, sizes),
        _handover(databases, sizes),
        _crowd(databases, sizes),
    ]


def routed_command(url: str, sizes: Sizes, counters: int, *more: object) -> list[str]:
    """Return the command that measures routed increments."""
    arguments = ("--counters", counters, "--callers", _CALLERS, "--seconds", sizes.seconds)
    return ours("cluster.routed", "increments", url, *arguments, *more)


def _both(databases: Databases) -> dict[str, Callable[[], AbstractContextManager[str]]]:
    return {"Postgres": databases.postgres_url, "SQLite": databases.sqlite_url}


def _routed(databases: Databases, sizes: Sizes) -> Case:
    programs: dict[str, Program] = {}
    lines: list[Line] = []
    for what, counters in _ONE_AND_MANY.items():
        title = f"increments of {what} that another process owns, Postgres, {_CALLERS} callers"
        mine, peer = f"ours, {what}", f"redis-py INCR, appendfsync everysec, {what}"
        programs[mine] = Program(
            lambda url, counters=counters: routed_command(url, sizes, counters),  # type: ignore[misc]
            databases.postgres_url,
        )
        programs[peer] = Program(
            lambda folder, counters=counters: _redis(folder, sizes, counters),  # type: ignore[misc]
            databases.empty_folder,
        )
        lines += [
            Line(title, "/s", Goal(1, of_ratio=True), peer, mine),
            Line("processor time of the caller for each of them", "µs", None, None, mine, "caller_cpu_microseconds"),
            Line("processor time of the owner for each of them", "µs", None, None, mine, "owner_cpu_microseconds"),
        ]
    return Case(7, "Routed increments", programs, lines, sizes.rounds)


def _redis(folder: str, sizes: Sizes, counters: int) -> list[str]:
    arguments = ["--counters", counters, "--callers", _CALLERS, "--seconds", sizes.seconds]
    if sizes.downloads:
        arguments += ["--server", redis_server()]
    return alone(sizes, "redis==8.1.0", (3, 10), "redis_program.py", folder, *arguments)


def _hop(databases: Databases, sizes: Sizes) -> Case:
    def of(name: str) -> list[Line]:
        return [
            Line(
                f"what the way to another process adds to one increment at a time, {name}",
                "µs",
                Goal(600, at_most=True),
                ours=name,
                value="hop_microseconds",
            ),
            Line(f"one routed increment at a time, {name}", "µs", ours=name, value="routed_microseconds"),
        ]

    return Case(
        8,
        "One routed caller",
        {
            name: Program(lambda url: ours("cluster.routed", "hop", url, "--seconds", sizes.seconds), database)
            for name, database in _both(databases).items()
        },
        [line for name in _both(databases) for line in of(name)],
        sizes.rounds,
    )


def _kill(databases: Databases, sizes: Sizes) -> Case:
    what = f"kill -9 of one of 3 nodes, {sizes.kills} a turn: until each of its slots answers"
    return Case(
        9,
        "Failover after kill -9",
        {
            name: Program(lambda url: ours("cluster.failover", "kill", url, "--times", sizes.kills), database)
            for name, database in _both(databases).items()
        },
        [
            line
            for name in _both(databases)
            for line in (
                Line(f"{what}, {name}, 50th percentile", "ms", ours=name, value="p50_milliseconds"),
                Line(
                    f"{what}, {name}, 99th percentile",
                    "ms",
                    Goal(1_000, at_most=True),
                    ours=name,
                    value="p99_milliseconds",
                ),
            )
        ],
        sizes.rounds,
    )


def _freeze(databases: Databases, sizes: Sizes) -> Case:
    return Case(
        10,
        "Failover after SIGSTOP",
        {
            f"{seconds:g}": Program(
                lambda url, seconds=seconds: ours(  # type: ignore[misc]
                    "cluster.failover", "freeze", url, "--session-seconds", seconds
                ),
                databases.postgres_url,
            )
            for seconds in _SESSIONS
        },
        [
            Line(
                f"SIGSTOP of one of 3 nodes: until all of its slots answer, Postgres, session_seconds {seconds:g}",
                "s",
                Goal(bound, at_most=True),
                ours=f"{seconds:g}",
                value="most_seconds",
            )
            for seconds, bound in _SESSIONS.items()
        ],
        sizes.rounds,
    )


def _handover(databases: Databases, sizes: Sizes) -> Case:
    def of(name: str) -> list[Line]:
        return [
            Line(f"a slot's pause when a node {verb}, {name}, {label}", "ms", _PAUSE, ours=name, value=value)
            for verb, event in (("joins", "joined"), ("leaves", "left"))
            for label, value in (("50th percentile", f"{event}_p50"), ("longest", f"{event}_most"))
        ]

    return Case(
        11,
        "Handover under load",
        {
            name: Program(lambda url: ours("cluster.handover", url, "--times", sizes.moves), database)
            for name, database in _both(databases).items()
        },
        [line for name in _both(databases) for line in of(name)],
        sizes.rounds,
    )


def _crowd(databases: Databases, sizes: Sizes) -> Case:
    what = f"{sizes.nodes} nodes, each a process, on one Postgres"
    return Case(
        12,
        "Many nodes",
        {
            "ours": Program(
                lambda url: ours("cluster.crowd", url, "--nodes", sizes.nodes, "--seconds", sizes.idle_seconds),
                databases.postgres_url,
            )
        },
        [
            Line(f"{what}: connections of a node", "connections", Goal(4, at_most=True), value="connections"),
            Line(f"{what}: transactions of an idle node", "/s", value="queries_per_second"),
        ],
        1,
    )
