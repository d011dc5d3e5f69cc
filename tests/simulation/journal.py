"""A host's way to the journal: over sessions of a server, or into a file on the same machine."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from casty_es.errors import AppendUnknownError, CastyError, JournalUnavailableError
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.sessions import ANSWER_SECONDS

from .database import DATABASE, Database, Session, at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from casty_es.journal.port import Append, Meta

    from .loop import Host

__all__ = ["FileJournal", "ServerJournal", "connected"]

_WRITES: Final = {
    "claim_slots",
    "close_slot",
    "forget_node",
    "forget_slots",
    "raise_incarnation",
    "record_structures",
    "register_node",
    "save_slots",
    "save_snapshot",
}
_NOT_STATEMENTS: Final = {"open", "close", "append", "abandon_after_fork"}
_DIAL_SECONDS: Final = 5.0
_BUSY_SECONDS: Final = 5.0


async def connected(
    database: Database, host: Host, lost: Callable[[], None], idle_seconds: float | None = None
) -> Session:
    """Open a session.

    Raises
    ------
    JournalUnavailableError
        The server is down, or not reached in time.
    """
    loop, network = database.loop, database.network
    opened: asyncio.Future[Session | None] = loop.create_future()

    def asked() -> None:
        session = database.open(host, lost, idle_seconds) if database.up else None
        network.send(DATABASE, host.name, loop.time() + network.latency(DATABASE, host.name), come, session)

    def come(session: Session | None) -> None:
        if not opened.done():
            loop.call_soon(_give, opened, session, context=context)
        elif session is not None:
            session.hang_up()

    context = host.context()
    network.send(host.name, DATABASE, loop.time() + network.latency(host.name, DATABASE), asked)
    try:
        async with asyncio.timeout(_DIAL_SECONDS):
            session = await opened
    except TimeoutError as error:
        raise JournalUnavailableError("The database does not answer. Nothing was written.") from error
    if session is None:
        raise JournalUnavailableError("The database refuses connections. Nothing was written.")
    return session


def _give(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


class _GoneError(Exception):
    """The session ended before there was an answer."""


class _Line:
    """One connection that is opened anew when it is gone, for one task at a time."""

    def __init__(self, database: Database, host: Host) -> None:
        self._database = database
        self._host = host
        self._session: Session | None = None
        self._open: asyncio.Future[Any] | None = None
        self.free = asyncio.Lock()

    async def ready(self) -> Session:
        if self._session is None:
            self._session = await connected(self._database, self._host, self._lost)
        return self._session

    def _lost(self) -> None:
        self._session = None
        if self._open is not None:
            _give(self._open, _GoneError())

    async def ask(self, session: Session, work: Callable[[Callable[[Any], None]], None]) -> Any:
        answer = self._open = self._database.loop.create_future()
        session.ask(work, partial(_give, answer))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except (TimeoutError, asyncio.CancelledError):
            self.hang_up()
            raise
        finally:
            self._open = None

    def hang_up(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.hang_up()


class _Journal:
    """What both have in common: every statement of an ``InMemoryJournal``, by name."""

    volatile = False

    def __init__(self, database: Database, host: Host) -> None:
        self.database = database
        self.host = host

    async def open(self) -> Meta:
        """Return the journal's settings."""
        meta: Meta = self.database.store._meta
        return meta

    async def _ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def abandon_after_fork(self) -> None:
        """Nobody forks here."""


def _statement(name: str) -> Any:
    async def ask(self: _Journal, *args: Any, **kwargs: Any) -> Any:
        return await self._ask(name, *args, **kwargs)

    return ask


for _name in dir(InMemoryJournal):
    if not _name.startswith("_") and _name != "volatile" and _name not in _NOT_STATEMENTS:
        setattr(_Journal, _name, _statement(_name))


class ServerJournal(_Journal):
    """Over two connections to a server, one for what is read and one for what is written, as on Postgres."""

    def __init__(self, database: Database, host: Host) -> None:
        super().__init__(database, host)
        self._reader = _Line(database, host)
        self._writer = _Line(database, host)

    async def close(self) -> None:
        """Hang up."""
        for line in (self._reader, self._writer):
            line.hang_up()

    async def append(self, append: Append) -> None:
        """Write an append."""
        async with self._writer.free:
            session = await self._writer.ready()
            try:
                await self._writer.ask(session, lambda told: self.database.append(session, append, told))
            except (_GoneError, TimeoutError) as error:
                raise AppendUnknownError(f"The connection failed during an append: {error!r}.") from error

    async def _ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        def work(told: Callable[[Any], None]) -> None:
            try:
                told(at_once(getattr(self.database.store, name)(*args, **kwargs)))
            except CastyError as error:
                told(error)

        line = self._writer if name in _WRITES else self._reader
        async with line.free:
            try:
                try:
                    return await line.ask(await line.ready(), work)
                except _GoneError:
                    if name in _WRITES:
                        raise
                    return await line.ask(await line.ready(), work)
            except (_GoneError, TimeoutError) as error:
                raise JournalUnavailableError(f"The database could not answer: {error!r}.") from error


class FileJournal(_Journal):
    """Into a file of the same machine, as SQLite: one writer at a time, and whoever finds it busy waits a while."""

    def __init__(self, database: Database, host: Host) -> None:
        super().__init__(database, host)
        self._one = asyncio.Lock()

    async def close(self) -> None:
        """Close the file."""

    async def _hop(self) -> None:
        await asyncio.sleep(0.0001 + 0.0004 * self.database.dice.random())

    async def append(self, append: Append) -> None:
        """Write an append."""
        database = self.database
        async with self._one:
            await self._begin()
            try:
                if database.refusing and database.dice.random() < database.refusing:
                    landed = database.dice.random() < 0.5
                    if landed:
                        at_once(database.store.append(append))
                    raise AppendUnknownError("The file failed during an append: SQLITE_IOERR.")
                await asyncio.sleep(database.commits * (0.5 + database.dice.random()))
                at_once(database.store.append(append))
                database.network.note(f"commit {append.predecessors} {len(append.events)}")
            finally:
                if database.writer is self.host:
                    database.writer = None
            await self._hop()

    async def _begin(self) -> None:
        """Be the one writer."""
        database, give_up_at = self.database, self.database.loop.time() + _BUSY_SECONDS
        while database.writer is not None and not database.writer.dead:
            if database.loop.time() >= give_up_at:
                raise JournalUnavailableError("The file is locked. Nothing was written.")
            await asyncio.sleep(0.005)
        database.writer = self.host

    async def _ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        await self._hop()
        if name in _WRITES:
            async with self._one:
                await self._begin()
                try:
                    return at_once(getattr(self.database.store, name)(*args, **kwargs))
                finally:
                    self.database.writer = None
        return at_once(getattr(self.database.store, name)(*args, **kwargs))
