"""Two nodes on Postgres, whose sessions are ended, whose server restarts or goes away: they heal without a restart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.faults.audit import audit, read_sql, timelines
from tests.faults.servers import Server, own_database, own_server

from .nodes import SETTINGS, nodes
from .promises import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .nodes import Nodes

    Sql = Callable[..., list[tuple[Any, ...]]]

_SETTINGS = msgspec.structs.replace(SETTINGS, session_seconds=2.0)
_ENOUGH = 40


@pytest.fixture(scope="module")
def private_server() -> Iterator[Server]:
    """A server that no other test uses."""
    with own_server() as server:
        yield server


@pytest.fixture
def private_url(private_server: Server, sql: Sql) -> str:
    """A migrated database on that server."""
    return own_database(private_server, sql)


def everybody_is_answered(running: Nodes) -> None:
    """Wait until both nodes got more answers."""
    for node in running.all:
        node.answers(_ENOUGH)


def nothing_is_wrong(running: Nodes) -> None:
    """Pause, and look at everything that anybody was told."""
    running.pause()
    log = asyncio.run(read_sql(running.url))
    operations = running.operations()
    findings = [*audit(log, operations), *check(operations, timelines(log))]
    assert not findings, "\n".join(findings)


def test_terminated_sessions_are_replaced(postgres_journal_url: str, sql: Sql) -> None:
    """Postgres ends each of a node's sessions in turn, then all of both nodes: answers come again, over other ones."""
    url = postgres_journal_url
    with nodes(url, 2, settings=_SETTINGS) as running:
        running.go()
        everybody_is_answered(running)
        victim = running.all[0]
        for which in ("lease", "writer", "reader"):
            # given a session at work
            before = victim.ask("sessions")
            # when the server ends it
            sql(url, f"SELECT pg_terminate_backend({before[which]})")
            # then both nodes are answered, that one over another session
            while victim.ask("sessions")[which] == before[which]:
                everybody_is_answered(running)
            everybody_is_answered(running)
        # and when it ends all sessions of both, too
        sql(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'casty_es'")
        everybody_is_answered(running)
        nothing_is_wrong(running)


def test_an_immediate_restart_under_load_loses_nothing(private_server: Server, private_url: str) -> None:
    """The server is stopped without mercy and started again; both nodes go on with all that they acknowledged."""
    with nodes(private_url, 2, settings=_SETTINGS) as running:
        running.go()
        everybody_is_answered(running)
        for _ in range(2):
            private_server.control("restart", "-m", "immediate")
            everybody_is_answered(running)
        nothing_is_wrong(running)


def test_a_database_that_goes_away_and_returns(private_server: Server, private_url: str) -> None:
    """While it is away callers are told so by errors of ours; when it is back both nodes go on by themselves."""
    with nodes(private_url, 2, settings=_SETTINGS) as running:
        running.go()
        everybody_is_answered(running)
        # given a server that is stopped
        private_server.control("stop", "-m", "immediate")
        try:
            # when both nodes' callers have heard
            for node in running.all:
                met = len([one for one in node.answered if one.error is not None])
                node.wait(
                    lambda node=node, met=met: len([one for one in node.answered if one.error is not None]) > met + 3,
                    "errors",
                )
        finally:
            private_server.start()
        # then both go on when it is back
        everybody_is_answered(running)
        nothing_is_wrong(running)
