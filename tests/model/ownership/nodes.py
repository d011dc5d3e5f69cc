"""What a node does: it takes the slot and loses it, reads frames, and hears how its appends and proofs ended."""

from __future__ import annotations

from collections.abc import Iterator

from .deciding import found_in, go_on, look, proven, replaced, reply_to, with_node
from .rules import Rule
from .state import INCARNATION, Entry, Frame, Link, Model, Node, Record, State

__all__ = ["lose", "node_steps", "settle_unknown"]


def node_steps(m: Model, s: State) -> Iterator[tuple[str, State]]:
    """Yield every step that a node can take."""
    for n, node in enumerate(s.nodes):
        if node.frozen:
            continue
        who = f"node {n + 1}"
        yield from _frames(m, s, n, who)
        for entry in node.entries:
            if entry.stage == "look":
                label = f"{who} looks for {entry.command} in the journal after position {entry.after}"
                s2 = look(m, s, n, entry)
                found = len(s2.nodes[n].entries) < len(node.entries)
                yield f"{label} and {'finds it' if found else 'acts, having found nothing'}", s2
        if node.flight is not None and node.flight.status != "sent":
            yield f"{who} hears that its append was {node.flight.status}", _heard(m, s, n)
        if not node.proof and any(entry.stage == "answer" and not entry.proof for entry in node.entries):
            yield f"{who} sends a head query, and the database answers it", _query(m, s, n)
        if node.proof:
            yield f"{who} hears that the head is {node.proof}", _proof(m, s, n)
        if node.epoch and s.lock != n:
            yield f"{who} notices that it has lost the slot", lose(m, s, n, "")
        if not node.epoch and s.lock is None and s.faults.takes:
            s2 = _take(m, s, n)
            yield f"{who} is asked to Locate and takes the slot: epoch {s2.nodes[n].epoch % INCARNATION}", s2


# Ownership


def _take(m: Model, s: State, n: int) -> State:
    """Take the free slot: append a lease record at the head of the log, and replay up to it."""
    s = s._replace(lock=n, faults=s.faults._replace(takes=s.faults.takes - 1))
    return _granted(m, s, n, ())


def _granted(m: Model, s: State, n: int, entries: tuple[Entry, ...]) -> State:
    grants = s.grants + 1
    if m.keeps(Rule.LEASE_RECORD):
        epoch = INCARNATION * s.incarnation + len(s.log) + 1
        log = (*s.log, Record("lease", "", n, grants, epoch))
    else:
        epoch, log = grants, s.log
    node = Node(epoch=epoch, known=log, entries=entries)
    return s._replace(log=log, grants=grants, nodes=replaced(s.nodes, n, node))


def lose(m: Model, s: State, n: int, flight: str) -> State:
    """Stop owning. What is not on its way to the journal is refused; ``flight`` says what became of what is."""
    node = s.nodes[n]
    replies = [(entry, "refused") for entry in node.entries if entry.stage != "flight" or flight == "not written"]
    orphans = s.orphans
    if node.flight is not None and node.flight.status == "sent":
        orphans = tuple(sorted((*orphans, node.flight)))
    s = s._replace(orphans=orphans, nodes=replaced(s.nodes, n, Node(frozen=node.frozen)))
    return reply_to(m, s, n, replies)


# Frames


def _frames(m: Model, s: State, n: int, who: str) -> Iterator[tuple[str, State]]:
    for g in range(len(s.gateways)):
        link: Link = s.links[2 * g + n]
        if link.old:
            frame = link.old[0]
            rest = link._replace(old=link.old[1:])
            does, s2 = _dispatch(m, s._replace(links=replaced(s.links, 2 * g + n, rest)), n, frame, ())
            yield f"{who} reads {_named(frame)} off gateway {g + 1}'s old connection and {does}", s2
        if link.live:
            frame = link.live[0]
            old = () if m.keeps(Rule.OLD_FRAMES_DISCARDED) else link.old
            gone = ", having discarded what the old connection had left," if link.old and not old else ""
            rest = link._replace(old=old, live=link.live[1:])
            caller = ((g, frame.command, frame.attempt),)
            does, s2 = _dispatch(m, s._replace(links=replaced(s.links, 2 * g + n, rest)), n, frame, caller)
            yield f"{who}{gone} reads {_named(frame)} from gateway {g + 1} and {does}", s2


def _named(frame: Frame) -> str:
    return f"{frame.command} (attempt {frame.attempt}, epoch {frame.epoch % INCARNATION})"


Callers = tuple[tuple[int, str, int], ...]


def _dispatch(m: Model, s: State, n: int, frame: Frame, callers: Callers) -> tuple[str, State]:
    epoch, took = s.nodes[n].epoch, ""
    if not epoch and not m.keeps(Rule.ONLY_LOCATE_TAKES) and s.lock is None and s.faults.takes:
        s, took = _take(m, s, n), "takes the slot for it and "
    elif not epoch or (epoch != frame.epoch and m.keeps(Rule.EPOCH_REFUSED)):
        return "refuses it", reply_to(m, s, n, [(Entry(frame.command, callers, "held", -1), "refused")])
    node: Node = s.nodes[n]
    for i, entry in enumerate(node.entries):
        in_table = m.keeps(Rule.PENDING_AT_ONCE) or entry.stage not in {"held", "look"}
        if m.keeps(Rule.PENDING_JOINED) and in_table and m.key(entry.command) == m.key(frame.command):
            others = tuple(c for c in entry.callers if not callers or c[:2] != callers[0][:2])
            joined = replaced(node.entries, i, entry._replace(callers=others + callers))
            return f"{took}joins it to its pending entry", with_node(s, n, node._replace(entries=joined))
    after = frame.after if m.keeps(Rule.REPEATS_LOOK) else -1
    if m.ops[frame.command].key:
        after = 0 if m.keeps(Rule.KEY_LOOKED_UP) else -1
    entry = Entry(frame.command, callers, "held", after)
    s = go_on(m, with_node(s, n, node._replace(entries=(*node.entries, entry))), n)
    now = [e for e in s.nodes[n].entries if e.command == frame.command and e.callers == callers]
    words = {
        "held": "holds it back",
        "look": "must look first",
        "answer": "decides its answer, which waits",
        "batch": "decides on an event for its next append",
        "flight": "appends its event",
    }
    return took + (words[now[-1].stage] if now else "answers it at once"), s


# The ends of appends and proofs


def _heard(m: Model, s: State, n: int) -> State:
    node = s.nodes[n]
    assert node.flight is not None
    if node.flight.status == "not written":
        return lose(m, s, n, "not written")
    written = [(entry, entry.answer or "done") for entry in node.entries if entry.stage == "flight"]
    entries = tuple(entry for entry in node.entries if entry.stage != "flight")
    node = node._replace(known=node.known + node.flight.records, entries=entries, flight=None)
    s = reply_to(m, with_node(s, n, proven(m, node, "append")), n, written)
    return go_on(m, s, n)


def _query(m: Model, s: State, n: int) -> State:
    node = s.nodes[n]
    mine = [node.known] if node.flight is None else [node.known, node.known + node.flight.records]
    if m.keeps(Rule.PROOF_HASH):
        proof = "mine" if s.log in mine else "not mine"
    else:
        proof = "mine" if len(s.log) in map(len, mine) else "not mine"
    entries = tuple(
        entry._replace(proof="query") if entry.stage == "answer" and not entry.proof else entry
        for entry in node.entries
    )
    return with_node(s, n, node._replace(entries=entries, proof=proof))


def _proof(m: Model, s: State, n: int) -> State:
    node = s.nodes[n]
    if node.proof != "mine":
        return lose(m, s, n, "")
    return go_on(m, with_node(s, n, proven(m, node._replace(proof=""), "query")), n)


def settle_unknown(m: Model, s: State, n: int) -> State:
    """Find out what became of an append whose outcome the node was not told, and tell its callers."""
    node = s.nodes[n]
    assert node.flight is not None
    holder = next((record.writer for record in reversed(s.log) if record.kind == "lease"), None)
    if s.lock != n or (not m.keeps(Rule.UNKNOWN_FENCES) and holder != n):
        return lose(m, s, n, "")
    if node.flight.status == "sent":
        s = s._replace(orphans=tuple(sorted((*s.orphans, node.flight))))
    flying = [entry for entry in node.entries if entry.stage == "flight"]
    others = tuple(entry for entry in node.entries if entry.stage != "flight")
    again = tuple(entry._replace(stage="held", answer="", proof="") for entry in others)
    replies = [(entry, found_in(m, s.log, entry.command) or "refused") for entry in flying]
    if not m.keeps(Rule.UNKNOWN_FENCES):
        s = with_node(s, n, node._replace(known=s.log, entries=again, flight=None, proof=""))
    elif m.keeps(Rule.NEW_EPOCH_REFUSES_OLD):
        s = _granted(m, s, n, ())
        replies += [(entry, "refused") for entry in others]
    else:
        s = _granted(m, s, n, again)
    return go_on(m, reply_to(m, s, n, replies), n)
