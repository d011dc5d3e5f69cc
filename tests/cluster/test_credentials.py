"""What a node reads of who may talk to it: nothing of it goes on when the node is closed."""

from __future__ import annotations

import asyncio

from casty_es import SqlJournal
from casty_es.cluster.credentials import Credentials
from casty_es.journal.access_tables import AccessTables
from casty_es.transport.keyring import Keyring


class SlowTables(AccessTables):
    """Tables whose reading takes until the test says so."""

    def __init__(self, journal: SqlJournal) -> None:
        super().__init__(journal)
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def secrets(self) -> tuple[bytes, ...]:
        """Wait, then read."""
        self.asked.set()
        await self.go_on.wait()
        return await super().secrets()


async def test_a_reading_that_is_under_way_ends_with_its_node(journal_url: str) -> None:
    """Given a reading that waits for the database, when its node is closed, then it is over before the journal is."""
    journal = SqlJournal(journal_url)
    await journal.open()
    tables = SlowTables(journal)
    before = asyncio.all_tasks()
    credentials = Credentials(
        tables, Keyring((bytes(16),)), fixed=False, seconds=60.0, changed=lambda: None, ended=lambda _: None
    )
    asked = asyncio.create_task(credentials.refresh())
    await tables.asked.wait()
    await credentials.close()
    assert asyncio.all_tasks() - before - {asked} == set()
    await asyncio.gather(asked, return_exceptions=True)
    await journal.close()
