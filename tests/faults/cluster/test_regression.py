"""The database loses records that it had acknowledged: the slot is closed, and nobody gets a wrong answer."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from casty_es import ClusteredActorSystem, Settings
from casty_es.errors import JournalRegressedError
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import is_sqlite, sqlite_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Sql = Callable[..., list[tuple[Any, ...]]]

# Who waits for an answer here waits for one that does not come.
pytestmark = pytest.mark.timeout(60)

_SETTINGS = Settings(membership_seconds=0.2)


class Loss:
    """Takes the newest records of the journal away: all that came after ``keep`` was called."""

    def __init__(self, url: str, folder: Path, sql: Sql) -> None:
        self._url = url
        self._copy = folder / "older.db"
        self._sql = sql
        self._heads: list[tuple[Any, ...]] = []

    async def keep(self) -> None:
        """Remember the journal as it is."""
        await asyncio.to_thread(self._keep)

    async def strike(self) -> None:
        """Make the journal what it was."""
        await asyncio.to_thread(self._strike)

    def _keep(self) -> None:
        if is_sqlite(self._url):
            with self._opened() as live, contextlib.closing(sqlite3.connect(self._copy)) as copy:
                live.backup(copy)
        else:
            self._heads = self._sql(self._url, "SELECT slot, max(position) FROM casty_events GROUP BY slot")

    def _strike(self) -> None:
        if is_sqlite(self._url):
            with self._opened() as live, contextlib.closing(sqlite3.connect(self._copy)) as copy:
                copy.backup(live)
            return
        kept = " OR ".join(f"(slot = {slot} AND position <= {position})" for slot, position in self._heads)
        self._sql(
            self._url,
            "DO $$ BEGIN PERFORM set_config('casty_es.maintenance', 'on', true); "
            f"DELETE FROM casty_events WHERE NOT ({kept}); END $$",
        )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(sqlite_file(self._url), timeout=30.0)) as connection:
            yield connection


@pytest.fixture
def loss(journal_url: str, tmp_path: Path, sql: Sql) -> Loss:
    """How the journal loses records."""
    return Loss(journal_url, tmp_path, sql)


@pytest.mark.parametrize("first", ["read", "write"])
async def test_a_slot_that_lost_records_is_closed(journal_url: str, loss: Loss, first: str) -> None:
    """Neither a read nor a write is answered over a log that is shorter than what was acknowledged; others go on."""
    async with ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS) as system:
        d = system.distributed()
        hits, other = d.counter("hits"), d.counter("other")
        await hits.increment()
        await other.increment()
        await loss.keep()
        assert await hits.increment() == 2
        # given a database that has lost the last increment
        await loss.strike()
        # when the counter is used, by reading it or by writing to it first
        uses = [hits.get, hits.increment] if first == "read" else [hits.increment, hits.get]
        # then its users are told, whatever they try and however often
        for use in (*uses, *uses):
            with pytest.raises(JournalRegressedError, match="accept the loss"):
                await use()
        # and what lost nothing is served
        assert await other.increment() == 2


async def test_another_node_is_told_of_the_loss(journal_url: str, loss: Loss) -> None:
    """A caller at another node gets the same error as one at the owner, and no answer."""
    async with (
        ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS) as one,
        ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS) as two,
    ):
        counters = [system.distributed().counter("hits") for system in (one, two)]
        await counters[0].increment()
        await loss.keep()
        assert await counters[1].increment() == 2
        # given a database that has lost what one of the two nodes acknowledged
        await loss.strike()
        # when both use it, then both are told
        for counter in counters:
            with pytest.raises(JournalRegressedError):
                await counter.increment()
            with pytest.raises(JournalRegressedError):
                await counter.get()


async def test_a_loss_of_what_was_written_under_the_last_epoch_is_noticed(journal_url: str, loss: Loss) -> None:
    """Losing the lease record, too, is no takeover: the owner still knows what it had been told was committed."""
    async with ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS) as system:
        d = system.distributed()
        await d.counter("other").increment()
        await loss.keep()
        # given a slot of which nothing is left
        hits = d.counter("hits")
        assert await hits.increment() == 1
        await loss.strike()
        # when it is used, then it is closed
        for use in (hits.get, hits.increment):
            with pytest.raises(JournalRegressedError):
                await use()


async def test_an_accepted_loss_opens_the_slot_again(journal_url: str, loss: Loss) -> None:
    """When an operator accepts the loss, running nodes go on where the log ends, and tokens go on growing."""
    async with (
        ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS) as one,
        ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS) as two,
    ):
        systems = [system.distributed() for system in (one, two)]
        hits = [d.counter("hits") for d in systems]
        await hits[0].increment()
        lock = systems[0].lock("deploy")
        await lock.acquire()
        await lock.release()
        await loss.keep()
        assert await hits[1].increment() == 2
        await lock.acquire()
        token = lock.token
        assert token is not None
        # given slots that were closed over a loss
        await loss.strike()
        for counter in hits:
            with pytest.raises(JournalRegressedError):
                await counter.increment()
        with pytest.raises(JournalRegressedError):
            await systems[1].lock("deploy", timeout=2.0).acquire()
        # when the loss is accepted
        operator = SqlJournal(journal_url)
        await operator.open()
        await operator.raise_incarnation()
        await operator.close()
        # then both nodes count on from what is there
        assert [await counter.increment() for counter in hits] == [2, 3]
        # and the token of the next grant is higher than the lost one
        next_lock = systems[1].lock("deploy", timeout=10.0)
        await next_lock.acquire()
        assert next_lock.token is not None
        assert next_lock.token > token
