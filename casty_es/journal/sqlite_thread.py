"""A connection to SQLite and the one thread that uses it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from casty_es.errors import JournalUnavailableError
from casty_es.journal.sqlite_file import OpenFiles
from casty_es.printing import log_of

T = TypeVar("T")

_LOG: Final = log_of("casty_es.journal")


class Connection:
    """A connection and the one thread that uses it."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self.sqlite: sqlite3.Connection | None = None  # while there is one
        self.files: OpenFiles | None = None  # those that it has open
        self.closed = False  # whether it is used up: what was asked of it is finished, and nothing more is begun

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Run in the thread. The loop's own ``run_in_executor`` chains two futures, which a lone caller would feel."""
        if self.closed:
            raise closed_meanwhile()
        return await self._begun(function, arguments)

    def _begun(self, function: Callable[..., T], arguments: tuple[object, ...]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._thread.submit(_report, loop, done, function, arguments)
        return done

    def run_later(self, function: Callable[[], None]) -> None:
        """Run in the thread, and wait for nothing."""
        if not self.closed:
            self._thread.submit(function).add_done_callback(_logged)

    async def close(self) -> None:
        """Finish what was asked, close the connection and end the thread."""
        if self.closed:
            return
        self.closed = True
        try:
            await self._begun(self.drop, ())
        finally:
            self._thread.shutdown()

    def drop(self) -> None:
        """Close the connection, in its thread."""
        sqlite, self.sqlite, self.files = self.sqlite, None, None  # before the log goes away with it: others look
        if sqlite is not None:
            sqlite.close()


def closed_meanwhile() -> JournalUnavailableError:
    """Return what is said to whoever asks something of a connection that is used up."""
    return JournalUnavailableError("The journal was closed meanwhile. Nothing was done.")


def rolled_back(sqlite: sqlite3.Connection) -> bool:
    """Roll back what is open; tell whether nothing is any more."""
    try:
        if sqlite.in_transaction:
            sqlite.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def _logged(work: Future[None]) -> None:
    error = work.exception()
    if error is not None:
        _LOG.error("Work in the background failed", exc_info=error)


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
