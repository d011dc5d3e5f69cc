"""Postgres loses sessions, and restarts under load: nothing acknowledged is lost.

Each test drives a load over all structures, does its harm while answers are coming, waits until answers come again,
and audits the journal against everything that callers were told.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from casty_es import ClusteredActorSystem, Distributed
from casty_es.config import Settings
from casty_es.errors import CastyError
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import postgres_dsn

from .audit import audit, read_sql
from .mixed import Caller
from .recording import Recorder
from .servers import Server, own_database, own_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_CALLERS = 6
_SETTINGS = Settings(lease_seconds=1.0, snapshot_events=20, heartbeat_seconds=0.2, session_seconds=2.0)


class Load:
    """A system under load, in this process."""

    def __init__(self, system: ClusteredActorSystem) -> None:
        self.system = system
        self.recorder = Recorder(system, self._noted)
        self.d = Distributed(self.recorder)
        self._answers = 0
        self._wake: list[tuple[int, asyncio.Future[None]]] = []

    def _noted(self, operation: Any) -> None:
        if operation.returned is not None and operation.reply is not None:
            self._answers += 1
            for wanted, future in self._wake:
                if self._answers >= wanted and not future.done():
                    future.set_result(None)

    async def answers(self, number: int = 60) -> None:
        """Wait until so many more operations were acknowledged."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wake.append((self._answers + number, future))
        await future


@asynccontextmanager
async def under_load(url: str) -> AsyncIterator[Load]:
    """A system with callers that use everything; at the end the journal is audited."""
    async with ClusteredActorSystem(journal=SqlJournal(url), settings=_SETTINGS) as system:
        running = Load(system)
        callers = [Caller(running.d, number) for number in range(_CALLERS)]
        dice = [Random(caller.number) for caller in callers]  # noqa: S311 - a load, not a secret
        tasks = [asyncio.create_task(caller.forever(die)) for caller, die in zip(callers, dice, strict=True)]
        try:
            await running.answers()
            yield running
            await running.answers()
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end for end in ends if not isinstance(end, asyncio.CancelledError)] == []
    strangers = [error for caller in callers for error in caller.errors if not isinstance(error, CastyError)]
    assert strangers == []
    findings = audit(await read_sql(url), running.recorder.operations)
    assert not findings, "\n".join(findings)


def session(system: ClusteredActorSystem, which: str) -> Any:
    """One of the three sessions that a system has."""
    backend = system.journal._backend  # type: ignore[attr-defined]
    if which == "lease":
        assert system._node is not None
        lease: Any = system._node.owner.leases._session
        return lease._connection
    return {"writer": backend._writer, "reader": backend._reader}[which]._connection


async def execute(url: str, statement: str, *arguments: object) -> None:
    """Run a statement as the database's operator."""
    connection = await asyncpg.connect(postgres_dsn(url))
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


@pytest.mark.parametrize("which", ["writer", "reader", "lease"])
async def test_terminated_sessions_are_replaced(postgres_journal_url: str, which: str) -> None:
    """A session that the server ends is replaced while the load goes on, as often as it happens."""
    async with under_load(postgres_journal_url) as running:
        for _ in range(5):
            # given a session at work
            victim = session(running.system, which)
            # when the server ends it
            await execute(postgres_journal_url, "SELECT pg_terminate_backend($1)", victim.get_server_pid())
            # then answers come again, over another one
            await running.answers()
            assert session(running.system, which) is not victim


async def test_all_sessions_terminated_at_once(postgres_journal_url: str) -> None:
    """The server ends every session of the system in one moment; it comes back by itself."""
    async with under_load(postgres_journal_url) as running:
        for _ in range(5):
            await execute(
                postgres_journal_url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND datname = "
                "current_database()",
                "casty_es",
            )
            await running.answers()


async def test_cancelled_appends_are_told_truly(postgres_journal_url: str) -> None:
    """An operator cancels the writer's statements while they run; callers are told what happened to theirs."""
    async with under_load(postgres_journal_url) as running:
        connection = await asyncpg.connect(postgres_dsn(postgres_journal_url))
        try:
            for _ in range(50):
                writer = session(running.system, "writer").get_server_pid()
                await connection.execute("SELECT pg_cancel_backend($1)", writer)
                await running.answers(10)
        finally:
            await connection.close()


async def test_a_lost_lease_is_acquired_again(postgres_journal_url: str) -> None:
    """When the lease session ends, the process takes the right to write anew and its slots under higher epochs."""
    async with ClusteredActorSystem(journal=SqlJournal(postgres_journal_url), settings=_SETTINGS) as system:
        # given a system that holds the lease
        hits = system.distributed().counter("hits")
        await hits.increment()
        before = session(system, "lease")
        assert system._node is not None
        lease: Any = system._node.owner.leases._session
        # when the session ends and the process has learnt it
        await execute(postgres_journal_url, "SELECT pg_terminate_backend($1)", before.get_server_pid())
        await asyncio.shield(lease.lost)
        # then the next write goes through, over another session and under a new lease record
        assert await hits.increment() == 2
        assert session(system, "lease") is not before
    log = await read_sql(postgres_journal_url)
    assert audit(log) == []
    assert [record.type for record in log.records] == [
        "lease.acquired",
        "counter.incremented",
        "lease.acquired",
        "counter.incremented",
    ]


@pytest.fixture(scope="module")
def private_server() -> Iterator[Server]:
    """A server that no other test uses."""
    with own_server() as server:
        yield server


@pytest.fixture
def private_url(private_server: Server, sql: Callable[..., Any]) -> str:
    """A migrated database on that server."""
    return own_database(private_server, sql)


@pytest.mark.parametrize("mode", ["immediate", "fast"])
async def test_a_restart_under_load_loses_nothing(private_server: Server, private_url: str, mode: str) -> None:
    """The server is stopped without mercy and started again; the system goes on by itself with all it acknowledged."""
    async with under_load(private_url) as running:
        for _ in range(3):
            await asyncio.to_thread(private_server.control, "restart", "-m", mode)
            await running.answers()
