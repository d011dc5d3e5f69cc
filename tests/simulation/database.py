"""A database beside the hosts: what is committed, what is on its way to be, and the sessions that ask for it.

1. What is committed is an ``InMemoryJournal``, which keeps the rules of every journal. A statement works on it at one
   moment. Only appends take longer: from their beginning until their commit they are in the air, and who kills their
   session then takes them back.
2. As Postgres does, an append whose key another one in the air has waits for that one: it is refused if that one is
   committed, and goes on if not. Whoever asked may have hung up long ago; a statement that was begun is finished.
3. As SQLite does, a file has one writer at a time, and a frozen one keeps the others waiting.
4. A standby takes over with what it had by then: then the head of a slot goes back.
"""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

from casty_es.errors import AppendRejectedError, ConflictError
from casty_es.journal.memory import InMemoryJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random

    from casty_es.journal.port import Append

    from .loop import Host
    from .network import Network

__all__ = ["DATABASE", "Database", "Session", "at_once"]

DATABASE = "database"


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine gives that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


class _InTheAir:
    """An append between its beginning and its commit."""

    def __init__(self, session: Session | None, append: Append, told: Callable[[Any], None]) -> None:
        self.session = session
        self.append = append
        self.told = told
        self.keys = _keys(append)
        self.begun = False
        self.over = False
        self.behind: list[_InTheAir] = []


def _keys(append: Append) -> set[Any]:
    keys: set[Any] = {(row[0], row[1]) for row in append.events}
    keys |= {("entity", row[3], row[4]) for row in append.events if row[3] is not None}
    keys |= {("key", row[3], row[10]) for row in append.events if row[10] is not None}
    return keys | {("name", *row[2:5]) for row in append.entities} | {("id", row[0]) for row in append.entities}


class Database:
    """The server.

    Attributes
    ----------
    store : InMemoryJournal
        What is committed.
    up : bool
        Whether anybody can connect.
    stalled : bool
        Whether commits wait.
    refusing : float
        How likely an append is refused with an error.
    answers : float
        How long a statement takes at most, in seconds.
    """

    def __init__(self, network: Network, dice: Random, slots: int, store: type[InMemoryJournal]) -> None:
        self.network = network
        self.loop = network.loop
        self.dice = dice
        self.store = store(slots=slots)
        self.up = True
        self.stalled = False
        self.refusing = 0.0
        self.commits = 0.001
        self.writer: Host | None = None  # of a file
        self.files: dict[str, Host] = {}  # whose lock files are locked
        self.sessions: dict[int, Session] = {}
        self.locks: dict[tuple[int, int], Session] = {}
        self._numbers = itertools.count(1)
        self._air: list[_InTheAir] = []
        self._standby: InMemoryJournal | None = None

    # Appends

    def append(self, session: Session | None, append: Append, told: Callable[[Any], None]) -> None:
        """Begin an append; ``told`` gets ``None`` after its commit, or the error."""
        if self.refusing and self.dice.random() < self.refusing:
            told(AppendRejectedError("The disk is full. Nothing was written."))
            return
        self._go_on(_InTheAir(session, append, told))

    def _go_on(self, one: _InTheAir) -> None:
        if one.over:
            return
        try:
            self.store._check(one.append)
        except ConflictError as error:
            self._end(one, error)
            return
        before = next((other for other in self._air if other.begun and other.keys & one.keys), None)
        if before is not None:
            before.behind.append(one)
            return
        one.begun = True
        self._air.append(one)
        self._commit_later(one)

    def _commit_later(self, one: _InTheAir) -> None:
        self.loop.call_later(self.commits * (0.5 + self.dice.random()), self._commit, one)

    def _commit(self, one: _InTheAir) -> None:
        if one.over:
            return
        if self.stalled:
            self.loop.call_later(0.1, self._commit, one)
            return
        try:
            at_once(self.store.append(one.append))
        except ConflictError as error:
            self._end(one, error)
        else:
            self.network.note(f"commit {one.append.predecessors} {len(one.append.events)}")
            self._end(one, None)

    def _end(self, one: _InTheAir, outcome: Any) -> None:
        one.over = True
        if one in self._air:
            self._air.remove(one)
        one.told(outcome)
        for other in one.behind:
            self._go_on(other)

    # Sessions

    def open(self, host: Host, lost: Callable[[], None], idle_seconds: float | None = None) -> Session:
        """Begin a session."""
        session = Session(self, next(self._numbers), host, lost, idle_seconds)
        self.sessions[session.number] = session
        return session

    def end(self, session: Session) -> None:
        """End a session on the server: what it has in the air is taken back, its locks are free."""
        if self.sessions.pop(session.number, None) is None:
            return
        for key in [key for key, holder in self.locks.items() if holder is session]:
            del self.locks[key]
        for one in [one for one in self._air if one.session is session]:
            one.over = True
            self._air.remove(one)
            for other in one.behind:
                self._go_on(other)
        session.ended()

    def part(self, session: Session) -> None:
        """Notice that a client has hung up: what it has in the air is committed first."""
        if any(one.session is session for one in self._air):
            self.loop.call_later(0.05, self.part, session)
        else:
            self.end(session)

    # Disasters

    def died(self, host: Host) -> None:
        """Notice that a host is dead, a moment later."""
        for session in [session for session in self.sessions.values() if session.host is host]:
            self.loop.call_later(0.02 * self.dice.random(), self.part, session)

    def heal(self) -> None:
        """End every fault."""
        self.stalled, self.refusing, self.commits = False, 0.0, 0.001

    def restart(self, seconds: float) -> None:
        """End every session, and be down for a while."""
        self.up = False
        for session in list(self.sessions.values()):
            self.end(session)
        self.loop.call_later(seconds, setattr, self, "up", True)

    def follow(self) -> None:
        """Let a standby have everything up to now, and nothing more."""
        self._standby = copied(self.store)

    def fail_over(self) -> set[bytes]:
        """Let the standby take over; return the ids of the commands whose records are lost."""
        assert self._standby is not None
        lost = _commands(self.store) - _commands(self._standby)
        self.store, self._standby = self._standby, None
        self.restart(0.2)
        return lost


def _commands(store: InMemoryJournal) -> set[bytes]:
    return {one.command_id for records in store._records.values() for one in records if one.command_id is not None}


def copied(store: InMemoryJournal) -> InMemoryJournal:
    """Return a journal with the same rows."""
    other = copy.copy(store)
    for name, value in vars(store).items():
        if isinstance(value, dict):
            setattr(other, name, {key: list(one) if isinstance(one, list) else one for key, one in value.items()})
        elif isinstance(value, list | set):
            setattr(other, name, copy.copy(value))
    return other


class Session:
    """A connection to the server, and the process behind it.

    Parameters
    ----------
    lost : Callable[[], None]
        Told, on the client's host, when the server has ended it.
    idle_seconds : float | None
        After how long a silence the server ends it.
    """

    def __init__(
        self, database: Database, number: int, host: Host, lost: Callable[[], None], idle_seconds: float | None
    ) -> None:
        self.database = database
        self.number = number
        self.host = host
        self.closed = False  # at the client
        self.held: set[tuple[int, int]] = set()
        self._lost = lost
        self._context = host.context()
        self._idle_seconds = idle_seconds
        self._heard = database.loop.time()
        self._sent = self._came = 0.0
        if idle_seconds is not None:
            self._look()

    @property
    def holds(self) -> bool:
        """Whether it is a lease session."""
        return self._idle_seconds is not None

    @property
    def living(self) -> bool:
        """Whether the server has it."""
        return self.number in self.database.sessions

    def _look(self) -> None:
        assert self._idle_seconds is not None
        loop = self.database.loop
        if self.living:
            left = self._heard + self._idle_seconds - loop.time()
            if left <= 0:
                self.database.end(self)
            else:
                loop.call_later(left + 0.001, self._look)

    def ask(self, work: Callable[[Callable[[Any], None]], None], answer: Callable[[Any], None]) -> None:
        """Send a statement; ``answer`` gets what comes back, if anything does."""
        loop, network = self.database.loop, self.database.network

        def answered(outcome: Any) -> None:
            self._came = max(self._came, loop.time() + network.latency(DATABASE, self.host.name))
            network.send(DATABASE, self.host.name, self._came, come, outcome)

        def come(outcome: Any) -> None:
            if not self.closed:
                loop.call_soon(answer, outcome, context=self._context)

        def asked() -> None:
            if self.living:
                self._heard = loop.time()
                work(answered)

        self._sent = max(self._sent, loop.time() + network.latency(self.host.name, DATABASE))
        network.send(self.host.name, DATABASE, self._sent, asked)

    def hang_up(self) -> None:
        """End it, from the client."""
        if not self.closed:
            self.closed = True
            network = self.database.network
            at = max(self._sent, self.database.loop.time() + network.latency(self.host.name, DATABASE))
            network.send(self.host.name, DATABASE, at, self.database.part, self)

    def cut(self) -> None:
        """Lose the connection: the client is told at once, and the server goes on with what it has begun."""
        self._tell()
        self.database.loop.call_later(0.02, self.database.part, self)

    def ended(self) -> None:
        """Tell the client that the server has ended it."""
        network, loop = self.database.network, self.database.loop
        at = max(self._came, loop.time() + network.latency(DATABASE, self.host.name))
        network.send(DATABASE, self.host.name, at, self._tell)

    def _tell(self) -> None:
        if not self.closed:
            self.closed = True
            self.database.loop.call_soon(self._lost, context=self._context)
