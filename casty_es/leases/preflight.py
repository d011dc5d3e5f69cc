"""What is looked at before a node trusts a Postgres server with its leases.

Each check says what was found and what to set. A node refuses to start on the first required one that is not well; a
doctor shows them all. It is done on the connection that is to hold the leases, and on a second one, which is closed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from functools import partial
from typing import Final, NamedTuple

import asyncpg

from casty_es.errors import ConfigurationError, JournalUnavailableError
from casty_es.journal.sessions import Connection, connect, said, translated
from casty_es.journal.urls import shown
from casty_es.leases.checks import (
    Check,
    Facts,
    clock,
    connections,
    durability,
    encoding,
    isolation,
    lock_table,
    pooler,
    primary,
    same_database,
    session_settings,
    timeouts,
    version,
)
from casty_es.leases.lease_connection import DEFAULT_SESSION_SECONDS, connect_for_leases

_FACTS: Final = """
    SELECT pg_is_in_recovery() AS standby, pg_postmaster_start_time() AS started, clock_timestamp() AS clock,
        (SELECT oid FROM pg_database WHERE datname = current_database())::bigint AS database,
        to_regclass('casty_events')::oid::bigint AS events, to_regclass('casty_events')::oid::int AS class,
        coalesce(has_table_privilege(to_regclass('casty_events'), 'INSERT'), true)
            AND coalesce(has_table_privilege(to_regclass('casty_slots'), 'INSERT'), true)
            AND coalesce(has_table_privilege(to_regclass('casty_nodes'), 'INSERT'), true) AS may_write,
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS clients"""

_SETTINGS: Final = "SELECT name, setting FROM pg_settings WHERE name = ANY ($1::text[])"
_NAMES: Final = (
    "server_encoding",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "max_connections",
    "superuser_reserved_connections",
    "reserved_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "default_transaction_isolation",
    "idle_session_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
    "statement_timeout",
    "lock_timeout",
)

_PID: Final = "SELECT pg_backend_pid()"
_TRY: Final = "SELECT pg_backend_pid(), pg_try_advisory_lock($1::int, $2::int)"
_UNLOCK: Final = "SELECT pg_advisory_unlock($1::int, $2::int)"
_ROUNDS: Final = 3
_ANSWER_SECONDS: Final = 15.0  # for all of it; a server that is there needs some hundredths
# What a server says when a statement that was prepared on one backend runs on another.
_WRONG_BACKEND: Final = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)


class Looked(NamedTuple):
    """What was found, and the connection for leases that it was found on, unless none could be opened."""

    checks: list[Check]
    session: Connection | None


async def preflight(
    url: str, session_url: str | None = None, *, slots: int, unsafe_durability: bool = False
) -> list[Check]:
    """Do what ``look`` does, and leave nothing open."""
    looked = await look(url, session_url or url, slots=slots, unsafe_durability=unsafe_durability)
    if looked.session is not None:
        looked.session.terminate()
    return looked.checks


async def look(
    url: str,
    session_url: str,
    *,
    slots: int,
    lock_class: int | None = None,
    session_seconds: float = DEFAULT_SESSION_SECONDS,
    unsafe_durability: bool = False,
) -> Looked:
    """Look whether leases and the journal can be trusted to a server.

    ``session_url`` is where lease sessions are opened, if that is another way; ``lock_class`` the first half of every
    lock's key, the oid of ``casty_events`` by default. With ``unsafe_durability`` no settings are required under which
    commits survive a crash.
    """
    opened: list[Connection] = []
    try:
        with translated(partial(_unanswered, session_url)):
            async with asyncio.timeout(_ANSWER_SECONDS):
                # First, as the server ends a lease session that is silent for seconds.
                journal = None if session_url == url else await _facts_of(url)
                opened.append(await connect_for_leases(session_url, session_seconds))
                opened.append(await connect(session_url))
                leases, other = await asyncio.gather(*map(_facts, opened))
                journal = journal or other
                class_ = lock_class if lock_class is not None else leases.row["class"] or 0
                pooled = await _probe(opened[0], opened[1], class_)
        checks = [
            version(leases),
            primary(leases, journal),
            same_database(leases, journal),
            session_settings(leases, session_seconds),
            pooler(pooled),
            *durability(journal, required=not unsafe_durability),
            lock_table(leases, slots),
            connections(leases),
            encoding(journal),
            isolation(journal),
            timeouts(journal),
            clock(journal),
        ]
        return Looked(checks, opened.pop(0))
    except ConfigurationError as error:
        return Looked([Check("lease session", ok=False, found=str(error))], None)
    except JournalUnavailableError as error:
        if isinstance(error.__cause__, _WRONG_BACKEND):
            wrong = f"a statement was prepared on one backend and ran on another ({error.__cause__.args[0]})"
            return Looked([pooler(wrong)], None)
        raise
    finally:
        for connection in opened:
            connection.terminate()


def _unanswered(url: str, error: Exception) -> JournalUnavailableError:
    return JournalUnavailableError(
        f"The database at {shown(url)} could not be looked at: {said(error)}. Nothing was started. Try again when it "
        f"is back."
    )


async def _facts_of(url: str) -> Facts:
    connection = await connect(url)
    try:
        return await _facts(connection)
    finally:
        connection.terminate()


async def _facts(connection: Connection) -> Facts:
    settings = dict(await connection.fetch(_SETTINGS, _NAMES))
    asked = time.time()
    row = await connection.fetchrow(_FACTS)
    skew = row["clock"].timestamp() - (asked + time.time()) / 2
    return Facts(row, settings, connection.get_server_version().major, skew)


async def _probe(one: Connection, other: Connection, class_: int) -> str | None:
    """Return what is wrong if two connections are not two sessions that stay what they are; ``None`` if they are."""
    key = -1 - secrets.randbits(31)
    seen: dict[Connection, set[int]] = {one: set(), other: set()}
    locked: dict[Connection, bool] = {}
    try:
        for _ in range(_ROUNDS):
            for connection in (one, other):
                pid, locked[connection] = await connection.fetchrow(_TRY, class_, key)
                # Twice in a row: a pooler that hands out its backends in turn stays in step with two who alternate.
                seen[connection] |= {pid, await connection.fetchval(_PID)}
            if seen[one] & seen[other]:
                return f"two connections share a session of the server (backend {min(seen[one] & seen[other])})"
            if len(seen[one]) + len(seen[other]) > len(seen):
                return "a connection's session changed between statements"
            if not locked[one] or locked[other]:
                return "two connections got the same advisory lock"
    finally:
        for connection in (one, other):
            if not connection.is_closed():
                for _ in range(_ROUNDS):  # behind a pooler the backend stays, and so would its locks
                    await connection.fetchval(_UNLOCK, class_, key)
    return None
