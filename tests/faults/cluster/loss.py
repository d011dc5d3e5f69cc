"""A database that goes back to what it was: what failovers and restored backups do."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from casty_es.journal.urls import is_sqlite, sqlite_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Sql = Callable[..., list[tuple[Any, ...]]]


class Loss:
    """Takes the newest records of the journal away: all that came after ``keep`` was called."""

    def __init__(self, url: str, folder: Path, sql: Sql) -> None:
        self._url = url
        self._kept, self._lost = folder / "older.db", folder / "newer.db"
        self._sql = sql
        self._heads: list[tuple[Any, ...]] = []

    async def keep(self) -> None:
        """Remember the journal as it is."""
        await asyncio.to_thread(self._keep)

    async def strike(self) -> None:
        """Make the journal what it was."""
        await asyncio.to_thread(self._strike)

    async def restore(self) -> None:
        """Put back what was taken away; of an SQLite file only."""
        await asyncio.to_thread(self._copy, self._lost, self._file)

    def _keep(self) -> None:
        if is_sqlite(self._url):
            self._copy(self._file, self._kept)
        else:
            self._heads = self._sql(self._url, "SELECT slot, max(position) FROM casty_events GROUP BY slot")

    def _strike(self) -> None:
        if is_sqlite(self._url):
            self._copy(self._file, self._lost)
            self._copy(self._kept, self._file)
            return
        kept = " OR ".join(f"(slot = {slot} AND position <= {position})" for slot, position in self._heads)
        self._sql(
            self._url,
            "DO $$ BEGIN PERFORM set_config('casty_es.maintenance', 'on', true); "
            f"DELETE FROM casty_events WHERE NOT ({kept}); END $$",
        )

    @property
    def _file(self) -> Path:
        return sqlite_file(self._url)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        with (
            contextlib.closing(sqlite3.connect(source, timeout=30.0)) as read,
            contextlib.closing(sqlite3.connect(target, timeout=30.0)) as written,
        ):
            read.backup(written)
