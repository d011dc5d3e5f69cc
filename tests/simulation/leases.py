"""Lease sessions: the real ones of Postgres over a simulated connection, and those of lock files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from casty_es.errors import JournalUnavailableError, NodeInUseError
from casty_es.journal.sessions import ANSWER_SECONDS
from casty_es.leases import postgres, postgres_session
from casty_es.leases.postgres import PostgresLeaseManager
from casty_es.leases.strangers import NODES, STRANGERS

from .database import at_once
from .journal import FileJournal, ServerJournal, connected

if TYPE_CHECKING:
    from collections.abc import Collection

    from casty_es.config import Settings
    from casty_es.leases.port import LeaseManager

    from .database import Database, Session
    from .loop import Host

__all__ = ["connect_for_leases", "lease_manager_of"]

_URL: Final = "postgresql://simulated/casty"
_JOURNAL: ContextVar[ServerJournal] = ContextVar("_JOURNAL")


def lease_manager_of(journal: Any, settings: Settings, slots: int, **_: object) -> LeaseManager:
    """Return the leases of a simulated journal, in place of ``assembly.lease_manager``."""
    if isinstance(journal, FileJournal):
        return _FileLeaseManager(journal)
    return _ServerLeaseManager(journal, settings, slots)


class _ServerLeaseManager(PostgresLeaseManager):
    """The real manager, whose connection is simulated."""

    def __init__(self, journal: ServerJournal, settings: Settings, slots: int) -> None:
        super().__init__(
            _URL,
            slots=slots,
            lock_class=1,
            session_seconds=settings.session_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
        )
        self._checked = True
        self._journal = journal

    async def open(self, node_id: str, process: str = "") -> Any:
        """Open a session."""
        token = _JOURNAL.set(self._journal)
        try:
            return await super().open(node_id, process)
        finally:
            _JOURNAL.reset(token)


async def connect_for_leases(_url: str, session_seconds: float) -> Any:
    """Connect, in place of ``leases.lease_connection.connect_for_leases``."""
    journal = _JOURNAL.get()
    connection = _Connection(journal.database, journal.host)
    await connection.open(session_seconds)
    return connection


class _Connection:
    """What a lease session asks of a driver's connection."""

    def __init__(self, database: Database, host: Host) -> None:
        self._database = database
        self._host = host
        self._session: Session | None = None
        self._listeners: list[Callable[[Any], None]] = []
        self._open: list[asyncio.Future[Any]] = []

    async def open(self, session_seconds: float) -> None:
        """Connect."""
        self._session = await connected(self._database, self._host, self._lost, session_seconds)

    def add_termination_listener(self, listener: Callable[[Any], None]) -> None:
        """Say who is told of its end."""
        self._listeners.append(listener)

    def is_closed(self) -> bool:
        """Tell whether it is closed."""
        return self._session is None or self._session.closed

    def terminate(self) -> None:
        """Hang up."""
        if self._session is not None:
            self._session.hang_up()
        self._lost()

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - the driver's
        """Hang up in order."""
        self.terminate()

    def _lost(self) -> None:
        waiting, self._open = self._open, []
        for one in waiting:
            if not one.done():
                one.set_exception(ConnectionResetError("the connection was closed"))
                one.exception()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener(self)

    async def fetch(self, statement: str, *parameters: Any) -> list[Any]:
        """Run a statement."""
        session = self._session
        if session is None or session.closed:
            raise ConnectionResetError("the connection is closed")
        answer: asyncio.Future[Any] = self._database.loop.create_future()
        self._open.append(answer)
        session.ask(
            lambda told: told(_run(self._database, session, statement, parameters)),
            lambda rows: None if answer.done() else answer.set_result(rows),
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                rows: list[Any] = await answer
        finally:
            if answer in self._open:
                self._open.remove(answer)
        return rows

    async def fetchrow(self, statement: str, *parameters: Any) -> Any:
        """Run a statement for one row."""
        rows = await self.fetch(statement, *parameters)
        return rows[0] if rows else None

    async def fetchval(self, statement: str, *parameters: Any) -> Any:
        """Run a statement for one value."""
        row = await self.fetchrow(statement, *parameters)
        return None if row is None else row[0]


def _run(database: Database, session: Session, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
    """Do on the server what a statement says."""
    return _STATEMENTS[statement](database, session, *parameters)


def _lock_all(database: Database, session: Session, class_: int, keys: list[int]) -> list[Any]:
    locked = [_lock(database, session, (class_, key)) for key in keys]
    return [(all(locked),)]


def _unlock_all_of(database: Database, session: Session, class_: int, slots: list[int]) -> list[Any]:
    unlocked = [_unlock(database, session, (class_, slot)) for slot in slots]
    return [(all(unlocked),)]


def _unlock_all(database: Database, session: Session) -> list[Any]:
    for key in [key for key, holder in database.locks.items() if holder is session]:
        del database.locks[key]
    return [(None,)]


def _holder(database: Database, _session: Session, class_: int, key: int) -> list[Any]:
    holder = database.locks.get((class_, key))
    return [] if holder is None else [(holder.number,)]


def _terminate(database: Database, _session: Session, number: int) -> list[Any]:
    if number in database.sessions:
        database.end(database.sessions[number])
    return [(True,)]


def _lock(database: Database, session: Session, key: tuple[int, int]) -> bool:
    return database.locks.setdefault(key, session) is session


def _unlock(database: Database, session: Session, key: tuple[int, int]) -> bool:
    if database.locks.get(key) is not session:
        return False
    del database.locks[key]
    return True


_STATEMENTS: Final[dict[str, Callable[..., list[Any]]]] = {
    postgres_session.HEARTBEAT: lambda _, session: [(session.number, 0, False)],
    postgres_session._LOCK: lambda database, session, class_, slots: [
        (slot, _lock(database, session, (class_, slot))) for slot in slots
    ],
    postgres_session._UNLOCK: _unlock_all_of,
    postgres_session._UNLOCK_ALL: _unlock_all,
    postgres_session._LIVING: lambda database, _, class_, keys: [
        (key,) for key in keys if (class_, key) in database.locks
    ],
    postgres._LOCK: _lock_all,
    postgres._HOLDER: _holder,
    postgres._TERMINATE: _terminate,
    postgres._NODE: lambda *_: [],
    NODES: lambda database, _: [(row.node_id,) for row in at_once(database.store.nodes())],
    STRANGERS: lambda *_: [],
}
"""What the server does, by the text of the statement: one that changes in the library fails here by name."""


class _FileLeaseManager:
    """Lock files beside a file: they are locked as long as their process lives."""

    def __init__(self, journal: FileJournal) -> None:
        self._journal = journal

    async def open(self, node_id: str, process: str = "") -> _FileLeaseSession:
        """Lock the files of a node and its process."""
        await self._journal._hop()
        names = {node_id, process or node_id}
        if names & living(self._journal.database):
            raise NodeInUseError(f"A process has locked the file of {node_id}.")
        return _FileLeaseSession(self._journal, node_id, names)


def living(database: Database) -> set[str]:
    """Return whose files are locked."""
    return {name for name, host in database.files.items() if not host.dead}


class _FileLeaseSession:
    """As ``FileLeaseSession``: a locked file, and the rows that name its node."""

    lasts = True

    def __init__(self, journal: FileJournal, node_id: str, names: set[str]) -> None:
        self._journal = journal
        self._node_id = node_id
        self._names = names
        self._held: set[int] = set()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        journal.database.files.update(dict.fromkeys(names, journal.host))

    def stands(self) -> bool:
        """Tell whether it is not closed."""
        return not self.lost.done()

    async def acquire(self, slots: Collection[int]) -> set[int]:
        """Take the slots that name nobody, or a dead node."""
        if self.lost.done():
            raise JournalUnavailableError("The lease session is closed. No slot is held. Open another session.")
        wanted = set(slots)
        named = {row.node_id for row in await self._journal.slot_rows() if row.slot in wanted} - {self._node_id}
        dead = named - await self.living(named)
        self._held |= wanted
        held: set[int] = await self._journal.claim_slots(sorted(wanted), self._node_id, dead=sorted(dead))
        self._held -= wanted - held
        return held

    async def release(self, slots: Collection[int]) -> None:
        """Remove the node's name from slots."""
        given = self._held & set(slots)
        if given:
            await self._journal.forget_slots(sorted(given), self._node_id)
            self._held -= given

    async def living(self, names: Collection[str]) -> set[str]:
        """Tell whose lock files are locked."""
        await self._journal._hop()
        return set(names) & living(self._journal.database)

    async def strangers(self) -> dict[int, str]:
        """Tell who holds slots and is no node: nobody can."""
        return {}

    async def close(self) -> None:
        """Forget the slots and unlock the file."""
        self.lost.cancel()
        if self._held:
            await self._journal.forget_slots(sorted(self._held), self._node_id)
        self._held.clear()
        for name in self._names:
            self._journal.database.files.pop(name, None)

    def abandon_after_fork(self) -> None:
        """Nobody forks here."""
