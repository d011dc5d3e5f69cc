"""Connections to Postgres, and the boundary behind which there are no errors of the driver.

Everything that is asked of the driver is asked within ``translated``. What it raises is not listed: besides its own
errors it lets through those of sockets, of TLS and of its own state when the server goes away between two steps.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, TypeVar

import asyncpg

from casty_es.background import looked_at
from casty_es.errors import CastyError, JournalUnavailableError
from casty_es.forking import let_go_of_transport
from casty_es.journal.circuit import Circuit, circuit_of
from casty_es.journal.driver_errors import said, without_values
from casty_es.journal.hosts import Connection, dial
from casty_es.journal.urls import shown
from casty_es.printing import log_of

__all__ = ["ANSWER_SECONDS", "Connection", "Session", "close_quietly", "connect", "said", "translated"]

T = TypeVar("T")

_LOG: Final = log_of("casty_es.journal")

# Set per connection, so that nothing a role or database was set to can end a heartbeat or a replay half-way, or lower
# the isolation the append's guard was written for.
_SESSION: Final = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "jit": "off",
    "client_min_messages": "warning",
}

# Longer than any answer to a batch or a page takes, and short enough for a caller to live to see what became of it.
ANSWER_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 2.0

# How long the server's plans are kept. A plan that it made while the journal was empty may read a whole table for each
# of a thousand rows, and the server gives it up only when it has counted the table anew, which may take minutes.
PLANS_SECONDS = 10.0


@contextlib.contextmanager
def translated(failed: Callable[[Exception], CastyError]) -> Iterator[None]:
    """Let no error out of the block that is not the library's: ``failed`` makes one of ours of it."""
    try:
        yield
    except CastyError:
        raise
    except Exception as error:
        raise failed(without_values(error)) from error


async def connect(url: str, **settings: str) -> Connection:
    """Open a connection that belongs to no pool, with these startup parameters besides the common ones.

    While the server is away this waits for the next attempt of all who want to connect; see ``circuit.py``.
    ``JournalUnavailableError`` if it cannot be reached, or refuses the user or the database.
    """
    return await circuit_of(url).attempt(lambda: _dial(url, settings))


async def _dial(url: str, settings: dict[str, str]) -> Connection:
    def failed(error: Exception) -> CastyError:
        return JournalUnavailableError(
            f"The database at {shown(url)} cannot be reached: {said(error)}. Nothing was written. "
            f"Check that the server runs and that the URL's host, port, user, password and database are right."
        )

    with translated(failed):
        return await dial(url, {**_SESSION, **settings})


async def close_quietly(connection: Connection) -> None:
    """Close a connection that holds nothing any more: whatever goes wrong, it is gone afterwards."""
    try:
        await connection.close(timeout=_CLOSE_SECONDS)
    except Exception:  # noqa: BLE001 - nothing is lost with it
        connection.terminate()


class Session:
    """A connection that is opened anew when it is gone, for one task at a time: the one that holds ``free``.

    ``made`` is awaited with each new connection before it is used.
    """

    def __init__(self, url: str, made: Callable[[Connection], Awaitable[None]]) -> None:
        self._url = url
        self._made = made
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection] | None = None
        self._circuit: Circuit | None = None
        self._closed = False
        self._planned_at = 0.0
        self.free = asyncio.Lock()

    def gone(self) -> bool:
        """Return whether another connection has to be opened."""
        return self._connection is None or self._connection.is_closed()

    @property
    def failures(self) -> int:
        """How often connecting has failed. Whoever waits for ``free`` notes it before: see ``ready``."""
        if self._circuit is None:
            self._circuit = circuit_of(self._url)
        return self._circuit.failed

    async def ready(self, seen: int) -> Connection:
        """Return the connection, which is opened if there is none.

        ``seen`` is what ``failures`` was when the caller came. If an attempt has failed since then, that is the
        answer: those who waited for each other do not make an attempt each. ``ConfigurationError`` if ``made``
        refuses the server.
        """
        connection = self._connection
        if connection is not None and not connection.is_closed():
            planned = asyncio.get_running_loop().time() - self._planned_at < PLANS_SECONDS
            if planned or await self._works(connection):
                return connection
        if self._closed:
            raise self._closed_meanwhile()
        opening = self._opening
        if opening is None:
            circuit = self._circuit = self._circuit or circuit_of(self._url)
            circuit.refuse_since(seen)
            # A caller that has no time left does not end the attempt: the next one finds it further on.
            opening = self._opening = asyncio.create_task(circuit.attempt(self._open), name="casty-connect")
            opening.add_done_callback(self._opened)
        await asyncio.wait({opening})
        if opening.cancelled():
            raise self._closed_meanwhile()
        return opening.result()

    async def _works(self, connection: Connection) -> bool:
        """Let the server plan anew; tell whether the connection works. One that does not is ended."""
        self._planned_at = asyncio.get_running_loop().time()
        try:
            await self.answer(connection.execute("DISCARD PLANS"))
        except TimeoutError as error:
            raise self.unanswered(error) from error
        except Exception as error:  # noqa: BLE001 - the server ended it, maybe: nothing was asked of it yet
            _LOG.info("A connection to Postgres does not work any more, another is opened: %s", said(error))
            connection.terminate()
            return False
        return True

    async def _open(self) -> Connection:
        connection = await _dial(self._url, {})
        self._planned_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                with translated(self.unanswered):
                    await self._made(connection)
        except TimeoutError as error:
            connection.terminate()
            raise self.unanswered(error) from error
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _opened(self, opening: asyncio.Task[Connection]) -> None:
        self._opening = None
        if opening.cancelled() or opening.exception() is not None:
            return
        if self._closed:
            opening.result().terminate()
        else:
            self._connection = opening.result()

    async def answer(self, question: Awaitable[T]) -> T:
        """Wait for the server's answer. Without one in time, or out of step with the server, the connection is ended.

        The driver's own timeout would send a cancel request, and a cancelled commit may be reported as a success.
        """
        task = asyncio.ensure_future(question)
        try:
            answered, _ = await asyncio.wait({task}, timeout=ANSWER_SECONDS)
            if answered:
                return task.result()
        except (asyncpg.PostgresError, asyncpg.InterfaceError):  # the server's answer, or nothing was asked
            raise
        except BaseException:
            self._end(task)
            raise
        self._end(task)
        raise TimeoutError(f"no answer for {ANSWER_SECONDS:g} s")

    def _end(self, task: asyncio.Future[Any]) -> None:
        task.add_done_callback(looked_at)
        task.cancel()
        if self._connection is not None:
            self._connection.terminate()

    def unanswered(self, error: Exception) -> JournalUnavailableError:
        """Return what a caller is told whose question about events, or statement on other tables, was not answered."""
        return JournalUnavailableError(
            f"The database at {shown(self._url)} could not answer: {said(error)}. No event was written. Try again "
            f"when it is back."
        )

    @staticmethod
    def _closed_meanwhile() -> JournalUnavailableError:
        return JournalUnavailableError("The journal was closed meanwhile. Nothing was done.")

    async def close(self) -> None:
        """Close the connection, and open no other."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            await close_quietly(connection)

    def abandon_after_fork(self) -> None:
        """In a forked child: let go of the parent's connection."""
        if self._connection is not None:
            let_go_of_transport(self._connection._transport)  # noqa: SLF001 - asyncpg shows it nowhere else
