"""Leases on Postgres: advisory locks, on a connection of each node's own.

1. A key has two halves. The first, the class, is the oid of ``casty_events``: such keys share no space with those of
   one half, and meet the application's own of two halves only if it uses that very number. Then ``lock_class`` sets
   another one, the same for all nodes.
2. The second half is a slot's number, or a negative number made from a node's name, or from the id of its process: its
   presence, under both.
3. Before the first session takes a lock, ``preflight.py`` refuses what would make its locks worthless.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final, cast

from casty_es.errors import ConfigurationError, JournalUnavailableError, NodeInUseError, SchemaError
from casty_es.journal.sessions import Connection, translated
from casty_es.journal.urls import shown
from casty_es.leases.checks import refuse
from casty_es.leases.lease_connection import (
    DEFAULT_SESSION_SECONDS,
    SESSION_SECONDS_FLOOR,
    connect_for_leases,
    failed_lease,
    node_key,
    unanswered,
)
from casty_es.leases.postgres_session import HEARTBEAT, PostgresLeaseSession
from casty_es.leases.preflight import look

_CLASS: Final = "SELECT to_regclass('casty_events')::oid::int"
# One that is locked again when it is asked for again is held twice, and released with its session all the same.
_LOCK: Final = "SELECT bool_and(pg_try_advisory_lock($1::int, w.key)) FROM unnest($2::int[]) AS w (key)"
_HOLDER: Final = """
    SELECT l.pid FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
    AND l.classid::int = $1::int AND l.objid::int = $2::int
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_NODE: Final = "SELECT host, pid FROM casty_nodes WHERE node_id = $1"
_TERMINATE: Final = "SELECT pg_terminate_backend($1)"

# A backend notices a moment later that its process was killed.
_PATIENCE_SECONDS: Final = 1.0
_ASK_AGAIN_SECONDS: Final = 0.02

_CLASSES: Final = range(-(2**31), 2**31)


class PostgresLeaseManager:
    """Opens lease sessions.

    ``url`` must reach the server itself, not a pooler in transaction mode; ``journal_url`` is where the journal is
    reached, if that is another way. ``lock_class`` is the first half of every lock's key, the same for all nodes:
    by default the oid of ``casty_events``. After ``session_seconds`` of silence Postgres ends a session; between
    two heartbeats lies a sixth of it at most.
    """

    def __init__(
        self,
        url: str,
        *,
        slots: int,
        journal_url: str | None = None,
        unsafe_durability: bool = False,
        lock_class: int | None = None,
        session_seconds: float = DEFAULT_SESSION_SECONDS,
        heartbeat_seconds: float = 1.0,
    ) -> None:
        if not session_seconds >= SESSION_SECONDS_FLOOR:
            raise ConfigurationError(
                f"session_seconds is {session_seconds:g}; below {SESSION_SECONDS_FLOOR:g} s a busy process would lose "
                f"its slots for nothing. Nothing was started. Set it to {SESSION_SECONDS_FLOOR:g} or more."
            )
        if lock_class is not None and lock_class not in _CLASSES:
            raise ConfigurationError(
                f"lock_class is {lock_class}, which does not fit into 32 bits with a sign. Nothing was started. Set it "
                f"to a number from -2**31 to 2**31 - 1, or leave it out."
            )
        self._url = url
        self._journal_url = url if journal_url is None else journal_url
        self._unsafe_durability = unsafe_durability
        self._slots = slots
        self._class = lock_class
        self._session_seconds = session_seconds
        self._answer_seconds = session_seconds / 2
        self._heartbeat_seconds = min(heartbeat_seconds, session_seconds / 6)
        self._last: PostgresLeaseSession | None = None
        self._checked = False

    async def open(self, node_id: str, process: str = "") -> PostgresLeaseSession:
        """Open a connection and lock the node's presence, and that of its process."""
        connection = await (self._connect() if self._checked else self._look())
        try:
            with translated(self._failed):
                async with asyncio.timeout(self._session_seconds):
                    return await self._open(connection, node_id, process)
        except BaseException:
            connection.terminate()
            raise

    async def _connect(self) -> Connection:
        return await connect_for_leases(self._url, self._session_seconds)

    async def _look(self) -> Connection:
        """Open the first connection, on a server that leases can be trusted to."""
        looked = await look(
            self._journal_url,
            self._url,
            slots=self._slots,
            lock_class=self._class,
            session_seconds=self._session_seconds,
            unsafe_durability=self._unsafe_durability,
        )
        try:
            refuse(looked.checks)
        except ConfigurationError:
            if looked.session is not None:
                looked.session.terminate()
            raise
        self._checked = True
        return cast("Connection", looked.session)  # there is one, or there was something to refuse

    async def _open(self, connection: Connection, node_id: str, process: str) -> PostgresLeaseSession:
        lock_class = self._class
        if lock_class is None:
            lock_class = await connection.fetchval(_CLASS)
        if lock_class is None:
            raise SchemaError(
                f"{shown(self._url)} has no table casty_events that this role sees. Nothing was taken. Use the "
                f"journal's database, and a role with the same search_path."
            )
        identity = tuple(await connection.fetchrow(HEARTBEAT))
        if identity[-1]:
            raise ConfigurationError(
                f"The database at {shown(self._url)} is a standby, whose locks the primary does not know. Nothing was "
                f"taken. Use the URL of the primary."
            )
        key = node_key(node_id)
        presence = sorted({key, node_key(process or node_id)})
        give_up_at = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while not await connection.fetchval(_LOCK, lock_class, presence):
            await self._end_own_ghost(connection, identity, lock_class, key)
            if asyncio.get_running_loop().time() >= give_up_at:
                raise await self._in_use(connection, node_id)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)  # no database tells when a lock becomes free
        self._last = PostgresLeaseSession(
            connection,
            identity,
            lock_class,
            answer_seconds=self._answer_seconds,
            heartbeat_seconds=self._heartbeat_seconds,
        )
        return self._last

    async def _end_own_ghost(self, connection: Connection, now: tuple[Any, ...], lock_class: int, key: int) -> None:
        """End this manager's earlier session, if the server has not noticed yet that it was cut."""
        ghost = self._last
        if ghost is not None and ghost.lost.done() and ghost.identity[1:] == now[1:]:
            holder = await connection.fetchval(_HOLDER, lock_class, key)
            if holder == ghost.identity[0]:
                await connection.fetchval(_TERMINATE, holder)

    async def _in_use(self, connection: Connection, node_id: str) -> NodeInUseError:
        who = "a process that did not say its name"
        with contextlib.suppress(Exception):  # it only makes the message better
            row = await connection.fetchrow(_NODE, node_id)
            who = who if row is None else f"process {row['pid']} on host {row['host']}"
        return NodeInUseError(
            f"Node {node_id!r} is {who}, which has a lease session. Nothing was started. Stop that process, or give "
            f"this one another node_id."
        )

    def _failed(self, error: Exception) -> JournalUnavailableError:
        return failed_lease(self._url, unanswered(error, self._session_seconds))
