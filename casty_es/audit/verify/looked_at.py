"""What a verification looked at: a search path, a link or another URL may lead to another journal than is meant."""

from __future__ import annotations

import getpass
import sqlite3
from typing import Final

import msgspec

from casty_es.journal.port import EventJournal, Meta
from casty_es.journal.sql import SqlJournal

_POSTGRES: Final = """
    SELECT 'PostgreSQL ' || current_setting('server_version') || coalesce(' at ' || host(inet_server_addr()) || ':'
            || inet_server_port()::text, ' at a local socket'), current_database()::text, current_user::text,
        (SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.oid = to_regclass('casty_events'))"""


class LookedAt(msgspec.Struct):
    """Which journal was looked at.

    Attributes
    ----------
    server : str
        The database's program, its version, and where it answers.
    database, schema : str
        Where in it the tables are: on SQLite the file, whatever link leads to it.
    role : str
        As whom it was read; on SQLite the user of the operating system.
    journal : str
        What tells the journal from others: when it was made, in microseconds since 1970, its number of slots and its
        incarnation. A copy has the same.
    positions : dict[int, int]
        By slot, the last position that was looked at; slots without records are left out.
    """

    server: str = ""
    database: str = ""
    schema: str = ""
    role: str = ""
    journal: str = ""
    positions: dict[int, int] = {}

    @property
    def text(self) -> str:
        """What was looked at, in one sentence."""
        where = f"{self.database}, schema {self.schema}, as {self.role}" if self.database else "in memory"
        return (
            f"Looked at {self.server}, {where}: journal {self.journal}, {sum(self.positions.values()):,} positions in "
            f"{len(self.positions)} slots."
        )


async def look_at(journal: EventJournal, meta: Meta) -> LookedAt:
    """Return which journal it is; how far it was looked at is not known yet."""
    called = f"{meta.created_at}/{meta.slots}/{meta.incarnation}"
    if not isinstance(journal, SqlJournal):
        return LookedAt("a journal in memory", journal=called)
    if journal.file is not None:
        file = str(journal.file.resolve())
        return LookedAt(f"SQLite {sqlite3.sqlite_version}", file, "main", _user(), called)
    [(server, database, role, schema)] = await journal.query(_POSTGRES)
    return LookedAt(server, database, schema or "none", role, called)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may have users without a name
        return "a user without a name"
