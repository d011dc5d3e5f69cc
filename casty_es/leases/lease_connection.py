"""The connection of a lease session: what it is set to, and the keys of its advisory locks.

Everything is a startup parameter, because those survive a RESET, and because a connection pooler that does not hold to
them refuses them. With D for the seconds after which Postgres ends a silent session:

- ``idle_session_timeout`` = D: the process is frozen, or gone without a word.
- ``statement_timeout``, ``transaction_timeout`` and ``idle_in_transaction_session_timeout`` = D/2: it is frozen while a
  statement runs, which the first one does not see.
- ``tcp_user_timeout`` = D/2 and keepalives: the network is silent.
"""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import Final

import asyncpg

from casty_es.errors import ConfigurationError, JournalUnavailableError
from casty_es.journal.sessions import Connection, connect, said, translated
from casty_es.journal.urls import shown

OLDEST_VERSION: Final = 14
"""``idle_session_timeout`` came with it."""

DEFAULT_SESSION_SECONDS: Final = 6.0
"""The seconds after which Postgres ends a silent session, where nothing else is said."""

SESSION_SECONDS_FLOOR: Final = 2.0
"""Below it the keepalives, which count in seconds, and a busy event loop would end sessions that are well."""

_TRANSACTION_TIMEOUT_SINCE: Final = 17
_LOCK_TIMEOUT_MS: Final = 1_000


def lease_settings(session_seconds: float) -> dict[str, str]:
    """Return the startup parameters of a session that Postgres ends after so many silent seconds, in milliseconds."""
    whole, half = round(session_seconds * 1_000), round(session_seconds * 500)
    return {
        "idle_session_timeout": str(whole),
        "idle_in_transaction_session_timeout": str(half),
        "statement_timeout": str(half),
        "lock_timeout": str(min(_LOCK_TIMEOUT_MS, half)),
        "tcp_user_timeout": str(half),
        "tcp_keepalives_idle": "2",
        "tcp_keepalives_interval": "1",
        "tcp_keepalives_count": "3",
        "client_encoding": "UTF8",
    }


def node_key(name: str) -> int:
    """Return the second half of the key of a node's or process's presence: negative, where slots are not."""
    return -1 - (int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") >> 1)


async def connect_for_leases(url: str, session_seconds: float) -> Connection:
    """Open a connection with a lease session's settings.

    Raises ``ConfigurationError`` if a connection pooler is in between, or the server is too old for the settings.
    """
    try:
        connection = await connect(url, **lease_settings(session_seconds))
    except JournalUnavailableError as error:
        raise _explained(url, error) from error
    try:
        with translated(lambda error: failed_lease(url, unanswered(error, session_seconds))):
            if connection.get_server_version().major >= _TRANSACTION_TIMEOUT_SINCE:
                half = str(round(session_seconds * 500))
                async with asyncio.timeout(session_seconds):
                    await connection.execute(f"SET transaction_timeout = {half}")
    except BaseException:
        connection.terminate()
        raise
    return connection


def unanswered(error: Exception, seconds: float) -> str:
    """Return what happened to a question that had so many seconds."""
    return f"no answer for {seconds:g} s" if isinstance(error, TimeoutError) else said(error)


def failed_lease(url: str, what: str) -> JournalUnavailableError:
    """Return what is said when a session could not be opened."""
    return JournalUnavailableError(
        f"The lease session at {shown(url)} could not be opened: {what}. Nothing was taken. Try again when "
        f"the server is back."
    )


def _explained(url: str, error: JournalUnavailableError) -> ConfigurationError | JournalUnavailableError:
    cause = error.__cause__
    if isinstance(cause, asyncpg.ProtocolViolationError):  # PgBouncer: "unsupported startup parameter: …"
        return ConfigurationError(
            f"What answers at {shown(url)} refuses a lease session's settings, as a connection pooler does: {cause}. "
            f"Nothing was started. Set session_url to a URL that reaches Postgres itself; the journal may keep the "
            f"pooler's."
        )
    if isinstance(cause, asyncpg.UndefinedObjectError):  # "unrecognized configuration parameter …"
        return ConfigurationError(
            f"The server at {shown(url)} does not know a setting of lease sessions: {cause}. Nothing was started. Use "
            f"Postgres {OLDEST_VERSION} or later."
        )
    return error
