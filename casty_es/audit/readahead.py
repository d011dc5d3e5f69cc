"""Reading the next page while one is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from casty_es.journal.port import EventJournal
from casty_es.journal.sql import SqlJournal

K = TypeVar("K")
P = TypeVar("P")


class ReadAhead(Generic[K, P]):
    """Pages, by what is asked for; one is asked for beforehand where the database is a process of its own."""

    def __init__(self, journal: EventJournal, read: Callable[[K], Coroutine[Any, Any, P]]) -> None:
        self._read = read
        self._apart = isinstance(journal, SqlJournal) and journal.file is None
        self._next: tuple[K, asyncio.Task[P]] | None = None

    async def page(self, key: K) -> P:
        """Return a page."""
        ahead, self._next = self._next, None
        if ahead is not None and ahead[0] == key:
            return await ahead[1]
        if ahead is not None:
            await asyncio.gather(ahead[1], return_exceptions=True)
        return await self._read(key)

    async def prepare(self, key: K) -> None:
        """Ask for the page that comes next, most likely."""
        if self._apart:
            self._next = key, asyncio.create_task(self._read(key))
            await asyncio.sleep(0)  # so that the question is on its way before this page is looked at

    async def close(self) -> None:
        """Let go of the page that was asked for."""
        if self._next is not None:
            await asyncio.gather(self._next[1], return_exceptions=True)
