"""What a state consists of: the log of one slot, what each process was told of it, and who believes that it owns it.

A record's serial number stands for its hash: no two records have the same. What a process was told is kept as all of
the log that the answer stood on, and its incarnation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tests.model.check import Model as AnyModel

__all__ = ["Budget", "Gateway", "Log", "Memory", "Model", "Node", "Record", "State"]


class Record(NamedTuple):
    """One record: "lease", "value", "closed" or "accepted"."""

    kind: str
    serial: int


Log = tuple[Record, ...]


class Memory(NamedTuple):
    """The highest position that a process was told, with everything before it, and its incarnation."""

    incarnation: int = 0
    log: Log = ()


class Node(NamedTuple):
    """A node as it sees itself: ``known`` is the log of the slot that it believes to own."""

    process: int = 0  # fresh at every start
    frozen: bool = False
    known: Log | None = None
    epoch: int = 0
    told: Memory = Memory()
    owned_on: int = 0  # the server that it took the slot on
    compared: int = 0  # the server that this process has compared, if that is not written down
    closed: bool = False  # the slot, if that is not written down


class Gateway(NamedTuple):
    """A gateway with what it was told, by which process as an owner, and its last answer to ``Locate``."""

    told: Memory = Memory()
    teller: tuple[int, int] | None = None  # node and process
    route: tuple[int, int] | None = None  # node and epoch


class Budget(NamedTuple):
    """How often each may still happen."""

    asks: int = 0
    takes: int = 0
    losses: int = 0
    crashes: int = 0
    freezes: int = 0
    accepts: int = 0


class State(NamedTuple):
    """Everything."""

    log: Log
    nodes: tuple[Node, ...]
    gateways: tuple[Gateway, ...]
    left: Budget
    written: int = 1
    lock: int | None = 0
    server: int = 0  # which server, timeline or file it is
    recorded: int = 0  # the one that was compared last
    marked: bool = False  # closed by a mark that stands beside the log
    spoken: bool = False  # since the loss somebody who remembers more was heard
    bad: str = ""


@dataclass(frozen=True)
class Model(AnyModel[State]):
    """One configuration: what may happen how often, and whether a database that goes back can be told by its looks."""

    left: Budget
    visible: bool = True

    def initial(self) -> State:
        """Node 1 owns the slot; nobody was told anything."""
        log = (Record("lease", 1),)
        first = Node(known=log, epoch=1, told=Memory(0, log))
        return State(log, (first, Node()), (Gateway(), Gateway()), self.left)
