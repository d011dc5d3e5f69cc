"""What a memory says of a log, and how a slot is closed whose log is short."""

from __future__ import annotations

from .rules import Rule
from .state import Gateway, Log, Memory, Model, Node, Record, State

__all__ = ["close", "closed", "given_up", "heard", "incarnation", "misses", "with_gateway", "with_node", "write"]


def incarnation(m: Model, log: Log) -> int:
    """Return how often a loss was accepted."""
    return sum(record.kind == "accepted" for record in log) if m.keeps(Rule.INCARNATION) else 0


def misses(m: Model, log: Log, told: Memory, *, by_hash: bool = True) -> bool:
    """Return whether a log lacks something that somebody was told, without its loss having been accepted."""
    now = incarnation(m, log)
    if told.incarnation != now:
        return told.incarnation > now
    return log[: len(told.log)] != told.log if by_hash else len(log) < len(told.log)


def closed(m: Model, s: State, n: int) -> bool:
    """Return whether a node finds the slot closed."""
    if not m.keeps(Rule.CLOSED_WRITTEN):
        return s.nodes[n].closed
    if not m.keeps(Rule.CLOSED_FENCES):
        return s.marked
    ends = [record.kind for record in s.log if record.kind in {"closed", "accepted"}]
    return bool(ends) and ends[-1] == "closed"


def close(m: Model, s: State, n: int) -> State:
    """Close the slot, which a node found short, and return it up."""
    node: Node = s.nodes[n]
    if not m.keeps(Rule.CLOSED_WRITTEN):
        node = node._replace(closed=True)
    elif not m.keeps(Rule.CLOSED_FENCES):
        s = s._replace(marked=True)
    elif not closed(m, s, n):
        s = write(s, "closed")
    return given_up(with_node(s, n, node), n)


def given_up(s: State, n: int) -> State:
    """Let go of the slot."""
    node = s.nodes[n]._replace(known=None, epoch=0)
    return with_node(s._replace(lock=None if s.lock == n else s.lock), n, node)


def heard(m: Model, s: State, *memories: Memory) -> State:
    """Remember that somebody was heard who remembers what the log lacks: from now on nobody may be told otherwise."""
    return s._replace(spoken=s.spoken or any(misses(m, s.log, told) for told in memories))


def write(s: State, kind: str) -> State:
    """Append a record."""
    return s._replace(log=(*s.log, Record(kind, s.written + 1)), written=s.written + 1)


def with_node(s: State, n: int, node: Node) -> State:
    """Return the state with one node replaced."""
    return s._replace(nodes=(*s.nodes[:n], node, *s.nodes[n + 1 :]))


def with_gateway(s: State, g: int, gateway: Gateway) -> State:
    """Return the state with one gateway replaced."""
    return s._replace(gateways=(*s.gateways[:g], gateway, *s.gateways[g + 1 :]))
