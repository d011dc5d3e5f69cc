"""How a node decides what came in: in order, on a speculative state, replying after the commit or the proof.

The speculative state is the log that the node knows, then what is in its append, then what waits for the next one.
"""

from __future__ import annotations

from typing import TypeVar

from .rules import Rule
from .state import Append, Entry, Link, Log, Model, Node, Record, Reply, State

__all__ = ["effects", "found_in", "go_on", "look", "proven", "replaced", "reply_to", "with_node"]

T = TypeVar("T")

# Answers that must show every effect that somebody was told of before.
_STANDS_ON_STATE = {"nothing", "value", "withdrawn"}


def replaced(items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    """Return the tuple with one item replaced."""
    return (*items[:index], item, *items[index + 1 :])


def effects(log: Log) -> tuple[str, ...]:
    """Return the commands whose effects are in a log, in order: the state of the entity."""
    return tuple(record.command for record in log if record.kind == "effect")


def with_node(s: State, n: int, node: Node) -> State:
    """Return the state with one node replaced."""
    return s._replace(nodes=replaced(s.nodes, n, node))


def go_on(m: Model, s: State, n: int) -> State:
    """Decide what is held back, in order, as far as nobody looks; then send what can be sent."""
    while True:
        node: Node = s.nodes[n]
        if m.keeps(Rule.LOOK_HOLDS) and any(entry.stage == "look" for entry in node.entries):
            break
        held = next((i for i, entry in enumerate(node.entries) if entry.stage == "held"), None)
        if held is None:
            break
        entry = node.entries[held]
        if entry.after >= 0:
            s = with_node(s, n, node._replace(entries=replaced(node.entries, held, entry._replace(stage="look"))))
        else:
            s = _decide(m, s, n, entry)
    return _send(_serve(m, s, n), n)


def look(m: Model, s: State, n: int, entry: Entry) -> State:
    """Look for a command in the journal: reply what is found, or decide it."""
    node = s.nodes[n]
    found = found_in(m, s.log[entry.after :], entry.command)
    if not found:
        return go_on(m, _decide(m, s, n, entry), n)
    rest = without(node.entries, entry)
    return go_on(m, reply_to(m, with_node(s, n, node._replace(entries=rest)), n, [(entry, found)]), n)


def found_in(m: Model, log: Log, command: str) -> str:
    """Return the reply that a log has for a command, or nothing."""
    for record in log:
        if record.command and m.key(record.command) == m.key(command):
            return "done" if record.kind == "effect" else "concluded"
    return ""


def without(entries: tuple[Entry, ...], entry: Entry) -> tuple[Entry, ...]:
    """Return the entries without one of them."""
    at = entries.index(entry)
    return entries[:at] + entries[at + 1 :]


def _decide(m: Model, s: State, n: int, entry: Entry) -> State:
    """Decide a command on the speculative state: an event for the next append, or an answer that needs a proof."""
    node = s.nodes[n]
    flying = node.flight.records if node.flight is not None else ()
    batch = tuple(_event(e) for e in node.entries if e.stage == "batch")
    state = effects(node.known + flying + batch)
    rest = without(node.entries, entry)
    op, answer = m.ops[entry.command], ""
    match op.kind:
        case "take":
            taken = sum(m.ops[command].kind == "take" for command in state)
            answer = "nothing" if taken * 2 >= len(state) else ""
        case "withdraw":
            answer = "in line" if op.of in state else "withdrawn"
        case "read":
            answer = "value"
        case _:
            pass  # a put always has an effect
    if answer and op.key and m.keeps(Rule.KEY_CONCLUDED):
        answer = "concluded"
    entry = entry._replace(stage="batch", answer=answer, seen=state)
    if answer and answer != "concluded":
        basis = len(node.known) + len(flying) + len(batch) if m.keeps(Rule.COMMITTED_STATE) else 0
        proof = "" if m.keeps(Rule.PROOF_FROM_LOG) else "proven"
        return with_node(s, n, node._replace(entries=(*rest, entry._replace(stage="answer", basis=basis, proof=proof))))
    s = with_node(s, n, node._replace(entries=(*rest, entry)))
    return s if m.keeps(Rule.REPLY_AFTER_COMMIT) else reply_to(m, s, n, [(entry, answer or "done")])


def _event(entry: Entry) -> Record:
    return Record("concluded" if entry.answer else "effect", entry.command)


def _send(s: State, n: int) -> State:
    """Send everything decided as one append, unless one is on its way. It proves the answers that waited before it."""
    node = s.nodes[n]
    records = tuple(_event(entry) for entry in node.entries if entry.stage == "batch")
    if node.flight is not None or not records:
        return s
    entries = tuple(
        entry._replace(stage="flight")
        if entry.stage == "batch"
        else entry._replace(proof="append")
        if entry.stage == "answer" and not entry.proof
        else entry
        for entry in node.entries
    )
    return with_node(s, n, node._replace(entries=entries, flight=Append(node.known, records)))


def proven(m: Model, node: Node, by: str) -> Node:
    """Return the node with the answers proven for which this proof was sent after they arrived."""
    good = {by} if m.keeps(Rule.PROOF_AFTER_ARRIVAL) else {by, ""}
    entries = tuple(
        entry._replace(proof="proven") if entry.stage == "answer" and entry.proof in good else entry
        for entry in node.entries
    )
    return node._replace(entries=entries)


def _serve(m: Model, s: State, n: int) -> State:
    """Let the answers go that are proven and stand on committed state."""
    node = s.nodes[n]
    ready = [
        entry
        for entry in node.entries
        if entry.stage == "answer" and entry.proof == "proven" and entry.basis <= len(node.known)
    ]
    if not ready:
        return s
    rest = tuple(entry for entry in node.entries if entry not in ready)
    return reply_to(m, with_node(s, n, node._replace(entries=rest)), n, [(entry, entry.answer) for entry in ready])


def reply_to(m: Model, s: State, n: int, replies: list[tuple[Entry, str]]) -> State:
    """Put answers on their way, except those that nobody can take any more."""
    links = s.links
    for entry, kind in replies:
        for g, command, attempt in entry.callers:
            gateway = s.gateways[g]
            op = m.op(g, gateway.step)
            if op is None or op.command != command:
                continue
            if attempt != gateway.journey.attempt and m.keeps(Rule.NEWEST_ATTEMPT):
                continue
            link: Link = links[2 * g + n]
            reply = Reply(command, attempt, kind, entry.seen if kind in _STANDS_ON_STATE else ())
            links = replaced(links, 2 * g + n, link._replace(back=(*link.back, reply)))
    return s._replace(links=links)
