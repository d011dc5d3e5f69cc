"""Systems whose clock the tests set."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from casty_es import ClusteredActorSystem, Distributed, SqlJournal
from casty_es.runtime import SystemRuntime

NOON = 1_763_380_800_000_000  # 2025-11-17 12:00 UTC, in microseconds


class SetClock(SystemRuntime):
    """The real ids, and a clock that stands until it is set."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> int:
        """Return the time that was set, in microseconds."""
        return self.time


@pytest.fixture
def clock() -> SetClock:
    """A clock that begins at noon."""
    return SetClock()


@pytest_asyncio.fixture
async def journal(journal_url: str) -> AsyncIterator[SqlJournal]:
    """Each database's journal, open."""
    journal = SqlJournal(journal_url)
    await journal.open()
    yield journal
    await journal.close()


@pytest_asyncio.fixture
async def system(journal_url: str, clock: SetClock) -> AsyncIterator[ClusteredActorSystem]:
    """A node with that clock."""
    async with ClusteredActorSystem(journal=SqlJournal(journal_url), runtime=clock, node_id="node-a") as system:
        yield system


@pytest.fixture
def d(system: ClusteredActorSystem) -> Distributed:
    """The node's structures."""
    return system.distributed()
