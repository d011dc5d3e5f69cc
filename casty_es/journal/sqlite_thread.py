"""A connection to SQLite and the one thread that uses it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from casty_es.journal.sqlite_file import OpenFiles

__all__ = ["Connection", "rolled_back"]

T = TypeVar("T")


class Connection:
    """A connection and the one thread that uses it.

    Attributes
    ----------
    sqlite : sqlite3.Connection | None
        The connection, while there is one.
    files : OpenFiles | None
        The files that it has open.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self.sqlite: sqlite3.Connection | None = None
        self.files: OpenFiles | None = None

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Run in the thread. The loop's own ``run_in_executor`` chains two futures, which a lone caller would feel."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._thread.submit(_report, loop, done, function, arguments)
        return await done

    def run_later(self, function: Callable[[], None]) -> None:
        """Run in the thread, and wait for nothing."""
        self._thread.submit(function)

    async def close(self) -> None:
        await self.run(self.drop)
        self._thread.shutdown()

    def drop(self) -> None:
        """Close the connection, in its thread."""
        if self.sqlite is not None:
            self.sqlite.close()
            self.sqlite = self.files = None


def rolled_back(sqlite: sqlite3.Connection) -> bool:
    """Roll back what is open; tell whether nothing is any more."""
    try:
        if sqlite.in_transaction:
            sqlite.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def _report(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[T], function: Callable[..., T], arguments: tuple[object, ...]
) -> None:
    """Run in the thread, and let the loop know how it ended."""
    try:
        result = function(*arguments)
    except BaseException as error:  # noqa: BLE001 - whoever awaits it gets it
        loop.call_soon_threadsafe(_finish, done, done.set_exception, error)
    else:
        loop.call_soon_threadsafe(_finish, done, done.set_result, result)


def _finish(done: asyncio.Future[T], tell: Callable[[Any], None], outcome: object) -> None:
    if not done.cancelled():
        tell(outcome)
