"""Changing a journal behind the library's back, as somebody would who may do anything in the database."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import Any, NamedTuple

import asyncpg

from casty_es.journal.urls import is_sqlite, postgres_dsn, sqlite_file

__all__ = ["Place", "Tamperer"]


class Place(NamedTuple):
    """An event: where it stands, and whose it is."""

    slot: int
    position: int
    entity: int
    sequence: int


class Tamperer:
    """Somebody with all rights in a database.

    Parameters
    ----------
    url : str
        The journal.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    async def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements with the guards off, as one transaction; return the rows of the last."""
        if is_sqlite(self.url):
            return await asyncio.to_thread(self._run_sqlite, statements)
        connection = await asyncpg.connect(postgres_dsn(self.url))
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL session_replication_role = replica")
                await connection.execute("SET LOCAL casty_es.maintenance = 'on'")
                return [[tuple(row) for row in await connection.fetch(one)] for one in statements][-1]
        finally:
            await connection.close()

    def _run_sqlite(self, statements: tuple[str, ...]) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(sqlite_file(self.url), isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE casty_meta SET maintenance = 1")
            rows = [connection.execute(one).fetchall() for one in statements][-1]
            connection.execute("UPDATE casty_meta SET maintenance = 0")
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return rows

    async def place(self, kind: str, name: str, sequence: int, *, key: str = "") -> Place:
        """Find an event."""
        rows = await self.run(
            f"SELECT e.slot, e.position, e.entity, e.sequence FROM casty_events e JOIN casty_entities n "
            f"ON n.id = e.entity WHERE n.kind = '{kind}' AND n.name = '{name}' AND n.key = '{key}' "
            f"AND e.sequence = {sequence}"
        )
        return Place(*rows[0])

    async def last(self, slot: int) -> int:
        """Find a slot's last position."""
        return int((await self.run(f"SELECT max(position) FROM casty_events WHERE slot = {slot}"))[0][0])

    def bytes_as(self, text: str) -> str:
        """Return a byte string as this database writes it."""
        return f"X'{text}'" if is_sqlite(self.url) else f"'\\x{text}'::bytea"
