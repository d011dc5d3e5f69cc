"""Every step of the protocol: those of gateways and nodes, those of the database, and the faults."""

from __future__ import annotations

from collections.abc import Iterator

from .deciding import effects, replaced
from .gateways import gateway_steps
from .nodes import lose, node_steps, settle_unknown
from .rules import Rule
from .state import Append, Link, Log, Model, Node, State

__all__ = ["Ownership"]


class Ownership(Model):
    """Nodes that own a slot, gateways that send commands, and the database."""

    def steps(self, s: State) -> Iterator[tuple[str, State]]:
        """Yield every step: those of gateways, nodes and the database, and the faults."""
        yield from gateway_steps(self, s)
        yield from node_steps(self, s)
        yield from _database(self, s)
        yield from _faults(self, s)

    def tidied(self, s: State) -> State:
        """Forget appends that can never be committed."""
        if s.orphans and self.keeps(Rule.PREDECESSOR) and self.keeps(Rule.PREDECESSOR_HASH):
            orphans = tuple(append for append in s.orphans if append.names == s.log)
            if len(orphans) != len(s.orphans):
                s = s._replace(orphans=orphans)
        return s

    def judged(self, s: State) -> str:
        """Return what is wrong with a state, or nothing.

        No effect twice; nothing told "done", or shown by a read, that is not in the log and cannot come there any more;
        nothing in the log that somebody was told had not happened. Stale reads are noticed where they are answered.
        """
        if s.bad:
            return s.bad
        done = [self.key(command) for command in effects(s.log)]
        if len(set(done)) != len(done):
            return f"doubled effect: {', '.join(sorted({key for key in done if done.count(key) > 1}))}"
        by_id = {*done, *effects(s.log)}
        if s.denied & by_id:
            return f"false 'not executed': {', '.join(sorted(s.denied & by_id))} is in the log"
        lost = s.told.difference(done, s.excused)
        if lost and not all(_possible(self, s, key) for key in lost):
            return f"lost acknowledgement: {', '.join(sorted(lost))} is not in the log"
        return ""


# The database


def _fits(m: Model, log: Log, append: Append) -> bool:
    if not m.keeps(Rule.PREDECESSOR):
        return True
    return log == append.names if m.keeps(Rule.PREDECESSOR_HASH) else len(log) == len(append.names)


def _database(m: Model, s: State) -> Iterator[tuple[str, State]]:
    """An append is committed some time after it was sent, whatever has become of its sender, or never."""
    for i, append in enumerate(s.orphans):
        rest = s.orphans[:i] + s.orphans[i + 1 :]
        if _fits(m, s.log, append):
            label = f"the database commits a given-up append: {_named(append)}"
            yield label, s._replace(log=s.log + append.records, orphans=rest)
    for n, node in enumerate(s.nodes):
        if node.flight is None or node.flight.status != "sent":
            continue
        fits = _fits(m, s.log, node.flight)
        flight = node.flight._replace(status="committed" if fits else "not written")
        log = s.log + flight.records if fits else s.log
        label = f"the database {'commits' if fits else 'refuses'} node {n + 1}'s append: {_named(flight)}"
        yield label, s._replace(log=log, nodes=replaced(s.nodes, n, node._replace(flight=flight)))
    if s.faults.losses:
        for left in range(len(s.log)):
            less = s.faults._replace(losses=s.faults.losses - 1)
            lost = frozenset(m.key(command) for command in effects(s.log[left:]))
            after = s._replace(
                log=s.log[:left],
                incarnation=s.incarnation + m.keeps(Rule.INCARNATION),
                denied=frozenset(),  # what was told before rested on what is lost
                excused=s.excused | lost,
                faults=less,
            )
            yield f"the database loses everything after position {left}", after


def _named(append: Append) -> str:
    return ", ".join(record.command for record in append.records)


# Faults


def _faults(m: Model, s: State) -> Iterator[tuple[str, State]]:
    left = s.faults
    for n, node in enumerate(s.nodes):
        if node.frozen:
            yield f"node {n + 1} thaws", s._replace(nodes=replaced(s.nodes, n, node._replace(frozen=False)))
        elif left.freezes and s.lock == n:
            after = s._replace(
                lock=None,
                nodes=replaced(s.nodes, n, node._replace(frozen=True)),
                faults=left._replace(freezes=left.freezes - 1),
            )
            yield f"node {n + 1} freezes, and the database gives its lock away", after
        if left.crashes and (node.epoch or s.lock == n):
            yield f"node {n + 1} crashes and starts anew", _crashed(m, s, n)
        if left.unknowns and node.flight is not None and not node.frozen:
            s2 = s._replace(faults=left._replace(unknowns=left.unknowns - 1))
            label = f"node {n + 1} loses the answer to its append and settles it"
            yield label, settle_unknown(m, s2, n)
    if left.cuts:
        for i, link in enumerate(s.links):
            if link.live or link.back or _waits(s, i):
                yield from _cut(s, i)


def _crashed(m: Model, s: State, n: int) -> State:
    s = lose(m, s, n, "")
    links = tuple(Link() if i % 2 == n else link for i, link in enumerate(s.links))
    return s._replace(
        lock=None if s.lock == n else s.lock,
        nodes=replaced(s.nodes, n, Node()),
        links=links,
        faults=s.faults._replace(crashes=s.faults.crashes - 1),
    )


def _waits(s: State, i: int) -> bool:
    return any(caller[0] == i // 2 for entry in s.nodes[i % 2].entries for caller in entry.callers)


def _cut(s: State, i: int) -> Iterator[tuple[str, State]]:
    """Cut a connection: replies are lost, and frames are lost or stay in the node's buffer."""
    g, n = divmod(i, 2)
    node, link = s.nodes[n], s.links[i]
    entries = tuple(
        entry._replace(callers=tuple(caller for caller in entry.callers if caller[0] != g)) for entry in node.entries
    )
    s = s._replace(
        nodes=replaced(s.nodes, n, node._replace(entries=entries)),
        faults=s.faults._replace(cuts=s.faults.cuts - 1),
    )
    where = f"the connection of gateway {g + 1} to node {n + 1} breaks"
    yield f"{where}, with what was on it", s._replace(links=replaced(s.links, i, Link(old=link.old)))
    if link.live:
        kept = Link(old=link.old + link.live)
        yield f"{where}, with its frames in the node's buffer", s._replace(links=replaced(s.links, i, kept))


# What is wrong


def _possible(m: Model, s: State, key: str) -> bool:
    """Return whether an effect that is not in the log may still come there."""
    appends = [*s.orphans, *(node.flight for node in s.nodes if node.flight is not None)]
    return (
        any(m.key(record.command) == key for a in appends if _fits(m, s.log, a) for record in a.records)
        or any(m.key(entry.command) == key for node in s.nodes for entry in node.entries if entry.stage != "flight")
        or any(m.key(frame.command) == key for link in s.links for frame in link.old + link.live)
    )
