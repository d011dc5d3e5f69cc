"""What a state consists of: an entity, its owner, and the processes that ask.

That only one owner can write and answer is the business of another model: here there is one, and deciding, committing
and answering are one step. Each process makes one request in each of its lives, so a request is named by both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tests.model.check import Model as AnyModel

__all__ = ["LEASE", "Budget", "Entity", "Frame", "Model", "Owner", "Process", "Request", "State"]

# For how many ticks a client may be silent.
LEASE = 2


class Request(NamedTuple):
    """The one request of a process's life."""

    process: int
    life: int

    def __str__(self) -> str:
        """Name the process, and which of its lives."""
        return f"process {self.process + 1}" + "'" * (self.life - 1)


class Frame(NamedTuple):
    """What a process sends to the owner: "ask", "renew" or "withdraw", the session it has, and how old it is."""

    kind: str
    request: Request
    session: int
    age: int = 0


class Process(NamedTuple):
    """A process under its name, with its newest life; a client never has a session.

    ``caller`` is "idle", "asks", "has", "withdraws", "over", "gave up" or "lost".
    """

    life: int = 1
    alive: bool = True
    session: int = 1
    sessions: int = 1
    caller: str = "idle"
    sends: int = 0
    under: int = 0  # the session under which it was last heard
    asked_under: int = 0
    age: int = LEASE  # ticks since the last thing that was answered was sent
    unheard: int = 0  # ticks since it was heard, or could have been
    line: tuple[Frame, ...] = ()  # on its way to the owner


class Entity(NamedTuple):
    """A lock (one holder and a line), a barrier of two (those who arrived stand in line), or a queue of two items."""

    holder: Request | None = None
    line: tuple[Request, ...] = ()
    known: frozenset[Request] = frozenset()  # every request that ever entered
    granted: frozenset[Request] = frozenset()  # every request that the lock was ever granted to
    items: tuple[int, ...] = (1, 2)
    taken: tuple[tuple[Request, int], ...] = ()


class Owner(NamedTuple):
    """The owner of the entity. ``look`` is the answer of the database that is on its way: processes without session."""

    frozen: bool = False
    looked: bool = False
    look: frozenset[Request] | None = None
    heard: frozenset[Request] = frozenset()  # since it began to look
    gone: frozenset[Request] = frozenset()  # what it was told of
    dead: frozenset[Request] = frozenset()  # who was dead when it began, or was seen dead: it has to know
    silence: tuple[int, ...] = (0, 0)


class Budget(NamedTuple):
    """How often each may still happen."""

    deaths: int = 0
    restarts: int = 0
    sessions: int = 0
    cancels: int = 0
    cuts: int = 0
    owners: int = 0
    freezes: int = 0
    ticks: int = 0


class State(NamedTuple):
    """Everything."""

    entity: Entity
    owner: Owner
    processes: tuple[Process, ...]
    left: Budget
    written: tuple[int, ...] = (0, 0)  # what the journal holds of each client's silence
    bad: str = ""


@dataclass(frozen=True)
class Model(AnyModel[State]):
    """One configuration: the structure, what may happen how often, and which processes are clients."""

    kind: str
    left: Budget
    clients: frozenset[int] = frozenset()

    def initial(self) -> State:
        """Nobody asked for anything yet."""
        processes = tuple(Process(session=0, sessions=0) if p in self.clients else Process() for p in range(2))
        return State(Entity(), Owner(looked=True), processes, self.left)
