"""Nodes in processes of their own: killed, frozen, forked."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from casty_es.journal.sql import SqlJournal
from casty_es.leases.port import LeaseSession
from tests.forked import Started, started
from tests.leases.conftest import Cluster


@pytest_asyncio.fixture
async def durable_cluster(journal_url: str) -> AsyncIterator[Cluster]:
    """Nodes over each database in turn."""
    from tests.leases.conftest import _cluster

    async for made in _cluster(SqlJournal(journal_url)):
        yield made


@asynccontextmanager
async def node(
    url: str, node_id: str, *more: str, session_seconds: float = 6.0
) -> AsyncIterator[Started | asyncio.subprocess.Process]:
    """Start a node that takes 16 slots in a process of its own."""
    process = await started("tests.leases.node_program", url, node_id, "16", str(session_seconds), *more)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_of(process: Started | asyncio.subprocess.Process) -> str:
    """Wait for the next line that a process prints."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def all_taken(session: LeaseSession) -> None:
    """Wait until the 16 slots are this session's: no database tells when a lock becomes free."""
    while len(await session.acquire(range(16))) < 16:  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.01)


def url_of(cluster: Cluster) -> str:
    """Return the journal's URL."""
    assert isinstance(cluster.journal, SqlJournal)
    return cluster.journal.url


async def test_killed(durable_cluster: Cluster) -> None:
    """Given a node with slots, when it is killed with SIGKILL, then its slots and its name are free."""
    here = await durable_cluster.open("here")
    async with node(url_of(durable_cluster), "there") as process:
        assert await line_of(process) == "held 16"
        assert await here.living(["there"]) == {"there"}
        assert await here.acquire(range(17)) == {16}

        process.kill()
        assert await process.wait() == -signal.SIGKILL

    await all_taken(here)
    assert await here.living(["there"]) == set()
    await durable_cluster.open("there")


async def test_one_name_in_two_processes(durable_cluster: Cluster) -> None:
    """Given a node here, when another process uses its name, then that one is refused and this one goes on."""
    here = await durable_cluster.open("twin")
    await here.acquire(range(16))

    async with node(url_of(durable_cluster), "twin") as process:
        assert await line_of(process) == "refused NodeInUseError"

    assert not here.lost.done()
    assert await here.acquire(range(16)) == set(range(16))


async def test_frozen_on_a_file(file_cluster: Cluster) -> None:
    """Given a node on a file, when it is frozen, then it keeps its slots until it is killed."""
    here = await file_cluster.open("here")
    async with node(url_of(file_cluster), "there") as process:
        assert await line_of(process) == "held 16"
        process.send_signal(signal.SIGSTOP)

        assert await here.acquire(range(16)) == set()
        assert await here.living(["there"]) == {"there"}

    await all_taken(here)


async def test_frozen_on_postgres(postgres_cluster: Cluster) -> None:
    """Given a frozen node, when Postgres has ended its session, then its slots are free, and thawed it hears of it."""
    here = await postgres_cluster.open("here")
    async with node(url_of(postgres_cluster), "there", session_seconds=2.0) as process:
        assert await line_of(process) == "held 16"
        process.send_signal(signal.SIGSTOP)

        await all_taken(here)
        assert await here.living(["there"]) == set()
        process.send_signal(signal.SIGCONT)

        assert (await line_of(process)).startswith("lost its")
    assert await here.acquire(range(16)) == set(range(16))


async def test_a_forked_child_holds_nothing(durable_cluster: Cluster) -> None:
    """Given a node whose forked child sleeps, when the node is killed, then its slots are free at once."""
    here = await durable_cluster.open("here")
    async with node(url_of(durable_cluster), "there", "fork", session_seconds=600.0) as process:
        assert await line_of(process) == "held 16"
        child = int((await line_of(process)).removeprefix("child "))
        try:
            # The parent's session and journal have outlived the fork.
            for _ in range(3):
                assert await line_of(process) == "serves 16 0"
            assert await here.acquire(range(16)) == set()

            process.kill()

            await all_taken(here)
            os.kill(child, 0)  # it is still there
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("rounds", [5])
async def test_killed_again_and_again(file_cluster: Cluster, rounds: int) -> None:
    """Given nodes under one name that are killed one after the other, when each starts, then it gets the slots."""
    for _ in range(rounds):
        async with node(url_of(file_cluster), "again") as process:
            assert await line_of(process) == "held 16"
            process.kill()
            await process.wait()
