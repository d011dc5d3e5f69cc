"""The lease of a journal on Postgres: a session-level advisory lock on a connection of its own.

1. The connection belongs to no pool: asyncpg's pool releases advisory locks with the connection.
2. The key has two halves: the oid of ``casty_events``, so that it meets no lock of the application, and ``-1``, which
   stands for the whole journal.
3. The session answers a heartbeat every second, sent by a task of its own. An answer counts from the moment its
   question was *sent*; without one for three seconds the lease counts as lost, as it does when the answer comes from
   another backend or server. Postgres itself ends the session after six silent seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import asyncpg

from casty_es.errors import JournalUnavailableError
from casty_es.journal.postgres import connect

__all__ = ["PostgresLeaseManager"]

_TRY_LOCK: Final = "SELECT pg_try_advisory_lock('casty_events'::regclass::oid::int, -1)"
_HEARTBEAT: Final = "SELECT pg_backend_pid(), pg_postmaster_start_time(), pg_is_in_recovery()"

_ANSWER_WITHIN_SECONDS: Final = 3.0
_SESSION: Final = {
    "idle_session_timeout": "6s",
    "idle_in_transaction_session_timeout": "3s",
    "statement_timeout": "3s",
    "lock_timeout": "1s",
    "tcp_user_timeout": "3s",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}
_ERRORS: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class PostgresLease:
    """An advisory lock and the session that holds it."""

    def __init__(self, session: asyncpg.Connection[asyncpg.Record], identity: Any, heartbeat_seconds: float) -> None:
        self._session = session
        self._identity = identity
        self._seconds = heartbeat_seconds
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        session.add_termination_listener(lambda _: self._lose("its session was closed"))
        self._heart = asyncio.create_task(self._beat(), name="casty-lease-heartbeat")

    async def release(self) -> None:
        """Unlock by ending the session."""
        self._heart.cancel()
        await asyncio.gather(self._heart, return_exceptions=True)
        self.lost.cancel()
        await _close(self._session)

    def _lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)

    async def _beat(self) -> None:
        while not self.lost.done():
            sent_at = asyncio.get_running_loop().time()
            question = asyncio.ensure_future(self._session.fetchrow(_HEARTBEAT))
            answered, _ = await asyncio.wait({question}, timeout=_ANSWER_WITHIN_SECONDS)
            late = asyncio.get_running_loop().time() - sent_at > _ANSWER_WITHIN_SECONDS
            if not answered or late:
                self._lose(f"its session did not answer for {_ANSWER_WITHIN_SECONDS:g} s")
                question.cancel()
                await asyncio.gather(question, return_exceptions=True)
            elif (error := question.exception()) is not None:
                self._lose(f"its session failed: {error or type(error).__name__}")
            elif question.result() != self._identity:
                self._lose("its session is not the one that took the lock")
            else:
                await asyncio.wait({self.lost}, timeout=self._seconds)
        self._session.terminate()


class PostgresLeaseManager:
    """Takes the journal's advisory lock.

    Parameters
    ----------
    url : str
        The database; it must reach the server itself, not a pooler in transaction mode.
    heartbeat_seconds : float
        The time between two heartbeats, in seconds.
    """

    def __init__(self, url: str, *, heartbeat_seconds: float) -> None:
        self._url = url
        self._seconds = heartbeat_seconds

    async def try_acquire(self) -> PostgresLease | None:
        """Take the lock unless another session has it."""
        session = await connect(self._url, **_SESSION)
        try:
            if await session.fetchval(_TRY_LOCK):
                identity = await session.fetchrow(_HEARTBEAT)
                return PostgresLease(session, identity, self._seconds)
        except _ERRORS as error:
            await _close(session)
            raise JournalUnavailableError(
                f"The lease session failed: {error or type(error).__name__}. Nothing was written."
            ) from error
        await _close(session)
        return None


async def _close(session: asyncpg.Connection[asyncpg.Record]) -> None:
    with contextlib.suppress(*_ERRORS, asyncio.TimeoutError):  # a session that is gone holds no lock
        await session.close(timeout=2.0)
