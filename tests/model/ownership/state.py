"""What a state of the model consists of: plain, hashable values. Node and gateway numbers count from 0.

The log of one slot is a tuple of records, and a record's hash stands for all before it: two logs are equal exactly when
the hashes of their heads are. A lease record carries a serial number, as the real one carries its process's random id.
Epochs are terms as the library has them: the epoch behind its incarnation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from casty_es.owner.slot import term_of
from tests.model.check import Model as AnyModel

from .journeys import Kept
from .rules import Rule

__all__ = [
    "INCARNATION",
    "Append",
    "Entry",
    "Faults",
    "Frame",
    "Gateway",
    "Link",
    "Model",
    "Node",
    "Op",
    "Record",
    "Reply",
    "State",
]

# What an incarnation is worth in an epoch.
INCARNATION = term_of(1, 0)


class Record(NamedTuple):
    """One record: a lease, the effect of a command, or the kept reply of a keyed command without an effect."""

    kind: str  # "lease", "effect" or "concluded"
    command: str
    writer: int = 0
    serial: int = 0
    epoch: int = 0  # of a lease


Log = tuple[Record, ...]


class Frame(NamedTuple):
    """A command on its way to a node. ``after`` is the position a repeat carries, -1 in a first send."""

    command: str
    attempt: int
    epoch: int
    after: int


class Reply(NamedTuple):
    """An answer on its way to a gateway: "done", "nothing", "value", "in line", "withdrawn" or "refused".

    "concluded" is the recorded reply of an idempotency key whose command had no effect.
    """

    command: str
    attempt: int
    kind: str
    seen: tuple[str, ...] = ()  # the effects that the answer stands on


class Link(NamedTuple):
    """The connection of a gateway to a node: frames of the one before it, frames and replies of this one."""

    old: tuple[Frame, ...] = ()
    live: tuple[Frame, ...] = ()
    back: tuple[Reply, ...] = ()


class Entry(NamedTuple):
    """A command in a node's pending table."""

    command: str
    callers: tuple[tuple[int, str, int], ...]  # gateway, command and attempt of everybody who waits
    stage: str  # "held", "look", "batch", "flight" or "answer"
    after: int  # where the look begins, -1 for none
    answer: str = ""
    seen: tuple[str, ...] = ()
    basis: int = 0  # how many records must be committed before the answer may leave
    proof: str = ""  # "", "query" or "append" on its way, "proven"


class Append(NamedTuple):
    """An append at the database, with the predecessor it names: the whole log up to there."""

    names: Log
    records: Log
    status: str = "sent"  # "sent", "committed" or "not written"


class Node(NamedTuple):
    """A node as it sees itself. ``epoch`` is 0 when it does not believe that it holds the slot."""

    frozen: bool = False
    epoch: int = 0
    known: Log = ()
    entries: tuple[Entry, ...] = ()
    flight: Append | None = None
    proof: str = ""  # "mine" or "not mine": the answer of a head query that is on its way back


class Gateway(NamedTuple):
    """A gateway working at the operations of its script, one at a time."""

    step: int = 0
    journey: Kept = Kept()
    settled: int = 0  # once the caller was told that nobody knows: a lease record later than this epoch tells
    must: frozenset[str] = frozenset()  # effects acknowledged or shown before the operation began
    route: tuple[int, int] | None = None  # node and epoch of the last answer to Locate
    position: int = 0


class Faults(NamedTuple):
    """How often each fault, and taking the slot, may still happen."""

    cuts: int = 0
    freezes: int = 0
    crashes: int = 0
    unknowns: int = 0
    takes: int = 0
    losses: int = 0
    closes: int = 0


class State(NamedTuple):
    """Everything."""

    log: Log
    grants: int
    lock: int | None
    orphans: tuple[Append, ...]
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    gateways: tuple[Gateway, ...]
    told: frozenset[str]  # effects that somebody was told of
    denied: frozenset[str]  # commands that somebody was told have not happened and will not
    faults: Faults
    incarnation: int = 0  # raised when the loss of committed records was accepted
    excused: frozenset[str] = frozenset()  # effects that the database had committed and lost
    bad: str = ""


class Op(NamedTuple):
    """One operation of a gateway's script.

    ``kind`` is "put" (always an effect), "take" (an effect if something is there to take), "read", or "withdraw" (of
    the operation before it, whose caller has given up). ``sends`` is how often it may be sent.
    """

    kind: str
    command: str
    sends: int = 1
    key: str = ""
    of: str = ""


@dataclass(frozen=True)
class Model(AnyModel["State"]):
    """One configuration: what the gateways do, and what may go wrong."""

    off: frozenset[Rule] = field(default=frozenset(), kw_only=True)
    scripts: tuple[tuple[Op, ...], ...]
    faults: Faults
    before: tuple[str, ...] = ()  # effects that are in the log from the beginning
    ops: dict[str, Op] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        ops = {op.command: op for script in self.scripts for op in script}
        object.__setattr__(self, "ops", {**ops, **{command: Op("put", command) for command in self.before}})

    def key(self, command: str) -> str:
        """Return what a command is found by: its idempotency key, or its own id."""
        return self.ops[command].key or command

    def op(self, gateway: int, step: int) -> Op | None:
        """Return an operation of a gateway's script."""
        return self.scripts[gateway][step] if step < len(self.scripts[gateway]) else None

    def initial(self) -> State:
        """Node 0 owns the slot, and its entity is in memory."""
        log: Log = (Record("lease", "", 0, 1, 1), *(Record("effect", command) for command in self.before))
        return State(
            log=log,
            grants=1,
            lock=0,
            orphans=(),
            nodes=(Node(epoch=1, known=log), Node()),
            links=(Link(),) * (2 * len(self.scripts)),
            gateways=(Gateway(),) * len(self.scripts),
            told=frozenset(),
            denied=frozenset(),
            faults=self.faults,
        )
