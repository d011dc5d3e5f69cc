"""Every step: gateways ask, nodes take the slot and compare, the database goes back, processes freeze and die."""

from __future__ import annotations

from collections.abc import Iterator

from .memory import close, closed, given_up, heard, incarnation, misses, with_gateway, with_node, write
from .rules import Rule
from .state import Gateway, Memory, Model, Node, State

__all__ = ["Past"]


class Past(Model):
    """Two nodes, two gateways, and a database that may lose the end of its log."""

    def steps(self, s: State) -> Iterator[tuple[str, State]]:
        """Yield every step: those of gateways and nodes, and the faults."""
        for g in range(len(s.gateways)):
            for n, node in enumerate(s.nodes):
                if not node.frozen:
                    yield from _locates(self, s, g, n)
                    if s.left.asks:
                        yield from _asks(self, s, g, n)
        for n, node in enumerate(s.nodes):
            if not node.frozen and _unknown_server(self, s, n):
                yield from _compares(self, s, n)
        yield from _faults(self, s)

    def judged(self, s: State) -> str:
        """Return what is wrong. Contradictions are noticed where they are told."""
        if s.left.losses == self.left.losses and any(closed(self, s, n) for n in range(len(s.nodes))):
            return "closed, although nothing is lost"
        return s.bad


# Asking


def _locates(m: Model, s: State, g: int, n: int) -> Iterator[tuple[str, State]]:
    """Ask a node for the slot: it takes it if it is free."""
    gateway: Gateway = s.gateways[g]
    carried = gateway.told if m.keeps(Rule.LOCATE_CARRIES) else Memory()
    who = f"gateway {g + 1} asks node {n + 1} for the slot{_carrying(carried)}"
    node: Node = s.nodes[n]
    if node.known is None:
        if s.lock is not None or not s.left.takes or closed(m, s, n) or _unknown_server(m, s, n):
            return
        s = heard(m, s, gateway.told, node.told)
        if _short(m, s, _own(m, node)) or _short(m, s, carried):
            yield f"{who}, which finds it short and closes it", close(m, s, n)
            return
        if misses(m, s.log, node.told):
            s = s._replace(bad=f"told otherwise: node {n + 1} takes a slot that lacks what it told")
        s = write(s._replace(lock=n, left=s.left._replace(takes=s.left.takes - 1)), "lease")
        node = node._replace(known=s.log, epoch=len(s.log), told=_all(m, s), owned_on=s.server)
        s = with_node(s, n, node)
        who += f", which takes it: epoch {node.epoch}"
    elif misses(m, node.known, carried, by_hash=m.keeps(Rule.CARRIED_HASH)):
        # What it knows may be behind: only the log can tell.
        s = heard(m, s, gateway.told)
        yield f"{who}, which knows less and looks", _gives_up(m, s, n, carried)
        return
    route = (n, node.epoch)
    if route != gateway.route:
        yield who, with_gateway(s, g, gateway._replace(route=route))


def _asks(m: Model, s: State, g: int, n: int) -> Iterator[tuple[str, State]]:
    """Write or read through the owner, or read what the journal holds."""
    gateway, node = s.gateways[g], s.nodes[n]
    s = s._replace(left=s.left._replace(asks=s.left.asks - 1))
    if not closed(m, s, n) and not _unknown_server(m, s, n):
        carried = gateway.told if m.keeps(Rule.READS_CARRY) else Memory()
        who = f"gateway {g + 1} has node {n + 1} read the journal{_carrying(carried)}"
        s2 = heard(m, s, gateway.told, node.told)
        if _short(m, s, _own(m, node)) or _short(m, s, carried):
            yield f"{who}, which finds the slot short and closes it", close(m, s2, n)
        else:
            yield f"{who} and is told {_shown(s)}", _told(m, s2, g)
    if gateway.route == (n, node.epoch) and node.known is not None:
        yield from _asks_owner(m, s, g, n)


def _asks_owner(m: Model, s: State, g: int, n: int) -> Iterator[tuple[str, State]]:
    gateway, node = s.gateways[g], s.nodes[n]
    if node.owned_on != s.server and m.keeps(Rule.OWNED_ON_SERVER):
        yield f"node {n + 1} meets another server and gives the slot up", given_up(s, n)
        return
    told_here = gateway.teller == (n, node.process)
    carried = gateway.told if m.keeps(Rule.COMMANDS_CARRY) and not told_here else Memory()
    if s.log != node.known or _short(m, s, carried):
        why = f"node {n + 1} cannot serve gateway {g + 1}{_carrying(carried)}: the log is not what was known"
        yield why, _gives_up(m, s, n, carried)
        return
    s2 = write(s, "value")
    s2 = with_node(s2, n, node._replace(known=s2.log, told=_all(m, s2)))
    yield f"gateway {g + 1} writes through node {n + 1} and is told {_shown(s2)}", _told(m, s2, g, n)
    s3 = with_node(s, n, node._replace(told=_all(m, s)))
    yield f"gateway {g + 1} reads through node {n + 1} and is told {_shown(s3)}", _told(m, s3, g, n)


def _gives_up(m: Model, s: State, n: int, carried: Memory) -> State:
    node = s.nodes[n]
    s = heard(m, s, node.told)
    if m.keeps(Rule.FENCED_COMPARES) and (misses(m, s.log, node.told) or _short(m, s, carried)):
        return close(m, s, n)
    return given_up(s, n)


def _own(m: Model, node: Node) -> Memory:
    return node.told if m.keeps(Rule.OWN_MEMORY) else Memory()


def _all(m: Model, s: State) -> Memory:
    return Memory(incarnation(m, s.log), s.log)


def _told(m: Model, s: State, g: int, owner: int | None = None) -> State:
    """Tell a gateway what the log holds, which may not contradict what any living process was told."""
    gateway = s.gateways[g]
    bad = s.bad
    if misses(m, s.log, gateway.told):
        bad = f"told otherwise: gateway {g + 1} was told what is not in the log before"
    for other, process in enumerate(s.gateways):
        if s.spoken and misses(m, s.log, process.told):
            bad = bad or f"contradiction: gateway {other + 1} was told what is not in the log, and said so"
    for n, node in enumerate(s.nodes):
        if (s.spoken or m.visible) and misses(m, s.log, node.told):
            bad = bad or f"contradiction: node {n + 1} remembers what is not in the log"
    teller = None if owner is None else (owner, s.nodes[owner].process)
    return with_gateway(s, g, gateway._replace(told=_all(m, s), teller=teller))._replace(bad=bad)


def _short(m: Model, s: State, told: Memory) -> bool:
    return misses(m, s.log, told, by_hash=m.keeps(Rule.CARRIED_HASH))


def _carrying(told: Memory) -> str:
    return f", carrying position {len(told.log)}" if told.log else ""


def _shown(s: State) -> str:
    return " ".join(f"{record.kind}#{record.serial}" for record in s.log) or "an empty log"


# Another server


def _unknown_server(m: Model, s: State, n: int) -> bool:
    if not m.keeps(Rule.PEERS_COMPARED):
        return False
    return s.server != (s.recorded if m.keeps(Rule.SERVER_RECORDED) else s.nodes[n].compared)


def _compares(m: Model, s: State, n: int) -> Iterator[tuple[str, State]]:
    """Ask everybody what they remember, before anything is taken or told from a database that looks different."""
    peers = [node for i, node in enumerate(s.nodes) if i != n]
    if any(peer.frozen for peer in peers) and m.keeps(Rule.PEER_AWAITED):
        return
    answered = [s.nodes[n].told, *(peer.told for peer in peers if not peer.frozen)]
    s = heard(m, s, *answered)
    who = f"node {n + 1} compares the heads with its peers"
    s2 = s._replace(recorded=s.server)
    s2 = with_node(s2, n, s2.nodes[n]._replace(compared=s.server))
    if any(misses(m, s.log, told) for told in answered):
        yield f"{who} and closes the slot", close(m, s2, n)
    else:
        yield f"{who}, and nothing is missing", s2


# Faults, and the operator


def _faults(m: Model, s: State) -> Iterator[tuple[str, State]]:
    left = s.left
    for n, node in enumerate(s.nodes):
        unlocked = s._replace(lock=None if s.lock == n else s.lock)
        if node.frozen:
            yield f"node {n + 1} thaws", with_node(s, n, node._replace(frozen=False))
        elif left.freezes:
            after = unlocked._replace(left=left._replace(freezes=left.freezes - 1))
            yield f"node {n + 1} freezes", with_node(after, n, node._replace(frozen=True))
        if left.crashes:
            after = unlocked._replace(left=left._replace(crashes=left.crashes - 1))
            fresh = Node(process=node.process + 1, compared=s.server)
            yield f"node {n + 1} dies and starts anew", with_node(after, n, fresh)
    if left.losses:
        for kept in range(len(s.log)):
            after = s._replace(
                log=s.log[:kept],
                lock=None,
                server=s.server + m.visible,
                spoken=False,
                left=left._replace(losses=left.losses - 1),
            )
            yield f"the database goes back to position {kept}", after
    if left.accepts and closed(m, s, 0):
        after = write(s._replace(marked=False, spoken=False, left=left._replace(accepts=left.accepts - 1)), "accepted")
        yield "an operator accepts the loss", after
