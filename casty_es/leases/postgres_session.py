"""A lease session on Postgres: advisory locks of one dedicated connection, and the heartbeat that keeps it.

1. The connection belongs to no pool: asyncpg's pool releases advisory locks with the connection.
2. One statement at a time, each with a deadline of its own. Whatever ends another way than with an answer in time ends
   the session: there is no second look at a connection in doubt.
3. An answer counts from the moment its question was *sent*. A process that did not get to ask for longer than an answer
   may take has lost its session too, whatever the connection believes.
4. Advisory locks count up, so the session knows which it has and asks only for the others.
5. A lost session's connection is cut, not closed: the server then releases the locks at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, Final, TypeVar

from casty_es import runtime
from casty_es.addresses import network_host
from casty_es.background import looked_at
from casty_es.errors import JournalUnavailableError
from casty_es.forking import let_go_of_transport
from casty_es.journal.sessions import Connection, close_quietly, said
from casty_es.leases.lease_connection import node_key
from casty_es.leases.strangers import NODES, STRANGERS, keys_of, strangers_in

HEARTBEAT: Final = "SELECT pg_backend_pid(), pg_postmaster_start_time(), pg_is_in_recovery()"

_LOCK: Final = "SELECT w.slot, pg_try_advisory_lock($1::int, w.slot) FROM unnest($2::int[]) AS w (slot)"
_UNLOCK: Final = "SELECT bool_and(pg_advisory_unlock($1::int, w.slot)) FROM unnest($2::int[]) AS w (slot)"
_UNLOCK_ALL: Final = "SELECT pg_advisory_unlock_all()"

# Who holds locks with these keys, on this database: no clock is asked.
_LIVING: Final = """
    SELECT l.objid::int FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND l.classid::int = $1::int
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.objid::int = ANY ($2::int[])"""

_CLOSE_SECONDS: Final = 2.0

T = TypeVar("T")


class PostgresLeaseSession:
    """A node's presence and slots, as locks of one connection, which has that of the presence already.

    ``identity`` is what the heartbeat answered when it got it, ``lock_class`` the first half of every key.
    """

    lasts = False  # a living process may lose it, and opens another

    def __init__(
        self,
        connection: Connection,
        identity: tuple[Any, ...],
        lock_class: int,
        *,
        answer_seconds: float,
        heartbeat_seconds: float,
    ) -> None:
        self._connection = connection
        self.identity = identity
        self._class = lock_class
        self._answer_seconds = answer_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._held: set[int] = set()
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._answered = runtime.steady()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        connection.add_termination_listener(lambda _: self._lose("its connection was closed"))
        self._heart = asyncio.create_task(self._beat(), name="casty-lease-heartbeat")
        self._heart.add_done_callback(self._stood_still)

    @property
    def own_host(self) -> str | None:
        """The address of this host that its connection to the server shows, if others may reach it there."""
        return network_host(self._connection._transport.get_extra_info("sockname"))  # noqa: SLF001 - as below

    def stands(self) -> bool:
        """Return whether the server cannot have ended the session yet."""
        silent = runtime.steady() - self._answered
        if not self.lost.done() and silent > 2 * self._answer_seconds:
            self._lose(f"its process did not ask for {silent:.1f} s")
        return not self.lost.done()

    async def acquire(self, slots: Collection[int]) -> set[int]:
        """Lock the slots that nobody else has locked."""
        return await self._to_the_end(self._acquire(set(slots)))

    async def release(self, slots: Collection[int]) -> None:
        """Unlock slots."""
        await self._to_the_end(self._release(set(slots)))

    async def living(self, names: Collection[str]) -> set[str]:
        """Return whose presence is locked."""
        keys = {node_key(name): name for name in names}
        return await self._to_the_end(self._living(keys))

    async def strangers(self) -> dict[int, str]:
        """Return who holds locks of slots and is no node."""
        return await self._to_the_end(self._strangers())

    async def close(self) -> None:
        """Unlock everything and close the connection."""
        await self._to_the_end(self._close())

    def abandon_after_fork(self) -> None:
        """Let go of the parent's connection."""
        let_go_of_transport(self._connection._transport)  # noqa: SLF001 - asyncpg shows it nowhere else

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work that a cancelled caller does not cut in half: what was locked is known to be held."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(looked_at)
        return await asyncio.shield(task)

    async def _acquire(self, slots: set[int]) -> set[int]:
        async with self._one_at_a_time:
            missing = sorted(slots - self._held)
            if missing or self.lost.done():
                rows = await self._ask(_LOCK, self._class, missing)
                self._held |= {slot for slot, locked in rows if locked}
            return slots & self._held

    async def _release(self, slots: set[int]) -> None:
        async with self._one_at_a_time:
            given = sorted(slots & self._held)
            if not given or self.lost.done():
                return
            [[had_them_all]] = await self._ask(_UNLOCK, self._class, given)
            self._held.difference_update(given)
            if not had_them_all:
                self._lose("the server did not have the locks that it should have had")

    async def _living(self, keys: dict[int, str]) -> set[str]:
        async with self._one_at_a_time:
            rows = await self._ask(_LIVING, self._class, list(keys))
        return {keys[key] for (key,) in rows}

    async def _strangers(self) -> dict[int, str]:
        async with self._one_at_a_time:
            nodes = keys_of(await self._ask(NODES))
            rows = await self._ask(STRANGERS, self._class, nodes)
        return {slot: stranger.told for stranger in strangers_in(rows) for slot in stranger.slots}

    async def _close(self) -> None:
        async with self._one_at_a_time:
            if self.lost.done():
                return
            self.lost.cancel()
            self._held.clear()
            # Unlocked before the answer to the caller; a connection is gone some time after it was closed.
            question = asyncio.ensure_future(self._connection.fetch(_UNLOCK_ALL))
            question.add_done_callback(looked_at)
            await asyncio.wait({question}, timeout=_CLOSE_SECONDS)
            if question.done() and not question.cancelled() and question.exception() is None:
                await close_quietly(self._connection)
            else:
                self._connection.terminate()
        await asyncio.wait({self._heart})

    async def _ask(self, statement: str, *parameters: object) -> list[Any]:
        """Run a statement. Without an answer in time the session is lost."""
        if self.lost.done():
            raise self._gone()
        sent_at = runtime.steady()
        question = asyncio.ensure_future(self._connection.fetch(statement, *parameters))
        question.add_done_callback(looked_at)
        try:
            await asyncio.wait({question}, timeout=self._answer_seconds)
        except asyncio.CancelledError:
            self._lose("its event loop is being closed")
            raise
        if not question.done() or runtime.steady() - sent_at > self._answer_seconds:
            self._lose(f"its connection did not answer within {self._answer_seconds:g} s")
            raise self._gone()
        try:
            rows: list[Any] = question.result()
        except Exception as error:
            self._lose(f"its connection failed: {said(error)}")
            raise self._gone() from error
        if self.lost.done():  # ended while the answer was on its way
            raise self._gone()
        self._answered = sent_at
        return rows

    async def _beat(self) -> None:
        while not self.lost.done():
            await asyncio.wait({self.lost}, timeout=self._heartbeat_seconds)
            if self.lost.done():
                return
            silent = runtime.steady() - self._answered
            if silent > self._answer_seconds:
                self._lose(f"its process did not ask for {silent:.1f} s")
                return
            try:
                async with self._one_at_a_time:
                    [row] = await self._ask(HEARTBEAT)
            except JournalUnavailableError:
                return  # whoever serves under the session has heard
            if tuple(row) != self.identity:
                self._lose("another server or backend answers on its connection, or the server is a standby now")

    def _stood_still(self, heart: asyncio.Task[None]) -> None:
        """End the session with its heartbeat, whatever ended that: whoever serves under it is told."""
        self._lose(
            "its heartbeat was cancelled" if heart.cancelled() else f"its heartbeat failed: {heart.exception()!r}"
        )

    def _lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)
            self._held.clear()
            self._connection.terminate()

    def _gone(self) -> JournalUnavailableError:
        reason = "it was closed" if self.lost.cancelled() else self.lost.result()
        return JournalUnavailableError(
            f"The lease session has ended: {reason}. No slot is held any more. Open another session."
        )
