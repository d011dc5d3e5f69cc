"""The database's own clock, which the clocks of those who write are compared with."""

from __future__ import annotations

from typing import Final

from casty_es import runtime
from casty_es.journal.port import EventJournal
from casty_es.journal.sql import SqlJournal

CLOCK_SECONDS: Final = 5.0
"""How far two clocks may differ before it is worth a word: NTP keeps them closer."""

_CLOCK: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


async def database_clock(journal: EventJournal) -> int:
    """Return the database's clock in microseconds since 1970-01-01 UTC.

    Only a server has one of its own. Whoever uses an SQLite file or a journal in memory is on one host, with one
    clock. ``JournalUnavailableError`` if the server cannot be asked.
    """
    if isinstance(journal, SqlJournal) and journal.file is None:
        [(clock,)] = await journal.query(_CLOCK)
        return int(clock)
    return runtime.wall_clock()
