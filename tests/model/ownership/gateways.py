"""What a gateway does: it locates the owner, sends, takes replies, gives up at the deadline, asks for the outcome.

When it does so is the model's; what it sends, takes and tells then is said by the journey, which is the library's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from casty_es.gateway.routing import Route

from .deciding import effects, replaced
from .journeys import closed, expired, replied, sent
from .rules import Rule
from .state import INCARNATION, Frame, Gateway, Model, Op, Reply, State

__all__ = ["gateway_steps"]


def gateway_steps(m: Model, s: State) -> Iterator[tuple[str, State]]:
    """Yield every step that a gateway can take."""
    for g, gateway in enumerate(s.gateways):
        op = m.op(g, gateway.step)
        if op is None:
            continue
        who = f"gateway {g + 1}"
        journey = gateway.journey
        if journey.attempt < op.sends:
            yield from _sends(m, s, g, op, who)
        for n in range(2):
            if s.links[2 * g + n].back:
                yield from _takes(m, s, g, n, op, who)
        if journey.attempt and not journey.over:
            yield _deadline(m, s, g, op, who)
            if s.faults.closes:
                yield _closes(m, s, g, op, who)
        if journey.over:
            yield from _asks(m, s, g, op, who)


def _sends(m: Model, s: State, g: int, op: Op, who: str) -> Iterator[tuple[str, State]]:
    """Send to the owner known from before, or to whoever says on ``Locate`` that it owns the slot."""
    gateway = s.gateways[g]
    routes = {} if gateway.route is None else {gateway.route: (gateway.position, "")}
    for n, node in enumerate(s.nodes):
        if node.epoch and not node.frozen:
            position = len(node.known)
            located = f"locates node {n + 1}, epoch {node.epoch % INCARNATION}, position {position}, and "
            if gateway.route is not None and gateway.route[1] // INCARNATION == node.epoch // INCARNATION:
                position = max(position, gateway.position)
            routes[n, node.epoch] = (position, located)
    for (n, epoch), (position, located) in routes.items():
        said = sent(m.off, op.kind, gateway.journey, Route(0, epoch, position))
        if said is None:
            continue  # its caller was told
        send, journey = said
        frame = Frame(op.command, send.attempt, epoch, -1 if send.after is None else send.after)
        link = s.links[2 * g + n]
        first = send.attempt == 1
        after = gateway._replace(
            journey=journey, must=s.told if first else gateway.must, route=(n, epoch), position=position
        )
        again = "" if first else " again"
        where = f"node {n + 1} (attempt {frame.attempt}, epoch {epoch % INCARNATION})"
        yield (
            f"{who} {located}sends {op.command}{again} to {where}",
            s._replace(
                links=replaced(s.links, 2 * g + n, link._replace(live=(*link.live, frame))),
                gateways=replaced(s.gateways, g, after),
            ),
        )


def _takes(m: Model, s: State, g: int, n: int, op: Op, who: str) -> Iterator[tuple[str, State]]:
    """Take the next reply of a connection, or drop it."""
    gateway, link = s.gateways[g], s.links[2 * g + n]
    reply = link.back[0]
    s = s._replace(links=replaced(s.links, 2 * g + n, link._replace(back=link.back[1:])))
    heard = None
    if reply.command == op.command:
        heard = replied(m.off, op.kind, gateway.journey, reply.attempt, reply.kind)
    if heard is None or not heard.heard:
        yield f"{who} drops a late reply to {reply.command}", s
    elif reply.kind == "refused":
        label = f"{who} hears that attempt {reply.attempt} of {reply.command} was refused"
        yield label, s._replace(gateways=replaced(s.gateways, g, gateway._replace(journey=heard.kept)))
    else:
        yield f"{who} hears {reply.kind!r}{_shown(reply)} for {reply.command}", _conclude(m, s, g, op, reply)


def _shown(reply: Reply) -> str:
    return f" of {', '.join(reply.seen) or 'an empty log'}" if reply.kind == "value" else ""


def _conclude(m: Model, s: State, g: int, op: Op, reply: Reply) -> State:
    """Tell the caller what a final reply says."""
    gateway = s.gateways[g]
    told, denied = s.told, s.denied
    missing = (
        sorted(gateway.must - set(reply.seen) - s.excused) if reply.kind in {"nothing", "value", "withdrawn"} else []
    )
    bad = f"stale read: {op.command} was answered without {', '.join(missing)}" if missing else s.bad
    match reply.kind:
        case "done":
            told |= {m.key(op.command)}
        case "in line":
            told |= {op.of}
        case "value":
            told |= set(reply.seen)
        case "nothing" | "concluded":
            denied |= {m.key(op.command)}
        case "withdrawn":
            denied |= {op.of}
        case _:
            raise AssertionError(reply)
    # A withdrawal is needed only when its request was given up.
    following = m.op(g, gateway.step + 1)
    steps = 2 if following is not None and following.kind == "withdraw" else 1
    return s._replace(told=told, denied=denied, bad=bad, gateways=replaced(s.gateways, g, _next(gateway, steps)))


def _next(gateway: Gateway, steps: int) -> Gateway:
    return Gateway(step=gateway.step + steps, route=gateway.route, position=gateway.position)


def _deadline(m: Model, s: State, g: int, op: Op, who: str) -> tuple[str, State]:
    gateway = s.gateways[g]
    told = expired(m.off, op.kind, gateway.journey)
    if op.kind == "read":
        after = s._replace(gateways=replaced(s.gateways, g, _next(gateway, 1)))
        return f"{who} gives up {op.command}", after
    following = m.op(g, gateway.step + 1)
    if told.denies:
        steps = 2 if following is not None and following.kind == "withdraw" else 1
        after = s._replace(denied=s.denied | {op.command}, gateways=replaced(s.gateways, g, _next(gateway, steps)))
        return f"{who} tells its caller that {op.command} certainly did not happen", after
    if following is not None and following.kind == "withdraw":
        after = s._replace(gateways=replaced(s.gateways, g, _next(gateway, 1)))
        return f"{who} reaches the deadline of {op.command}", after
    after = s._replace(gateways=replaced(s.gateways, g, gateway._replace(journey=told.kept, settled=told.settled)))
    return f"{who} tells its caller that the outcome of {op.command} is unknown", after


def _closes(m: Model, s: State, g: int, op: Op, who: str) -> tuple[str, State]:
    """Close, which ends everything that its callers wait for."""
    gateway = s.gateways[g]
    told = closed(m.off, op.kind, gateway.journey)
    s = s._replace(
        gateways=replaced(s.gateways, g, _next(gateway, len(m.scripts[g]) - gateway.step)),
        faults=s.faults._replace(closes=s.faults.closes - 1),
    )
    if told.denies:
        after = s._replace(denied=s.denied | {op.command})
        return f"{who} is closed, and tells its caller that {op.command} did not happen", after
    return f"{who} is closed, and tells its caller that the outcome of {op.command} is unknown", s


def _asks(m: Model, s: State, g: int, op: Op, who: str) -> Iterator[tuple[str, State]]:
    """Ask the journal for the outcome; while it is still unknown nothing changes."""
    gateway = s.gateways[g]
    if op.kind not in {"put", "take"}:
        return
    if m.key(op.command) in map(m.key, effects(s.log)):
        after = s._replace(told=s.told | {m.key(op.command)}, gateways=replaced(s.gateways, g, _next(gateway, 1)))
        yield f"{who} asks for the outcome: {op.command} was executed", after
        return
    newest = s.grants if not m.keeps(Rule.LEASE_RECORD) else _newest_lease(s)
    if newest > gateway.settled or not m.keeps(Rule.OUTCOME_LATER_LEASE):
        after = s._replace(denied=s.denied | {op.command}, gateways=replaced(s.gateways, g, _next(gateway, 1)))
        yield f"{who} asks for the outcome: {op.command} was not executed", after


def _newest_lease(s: State) -> int:
    return max((record.epoch for record in s.log if record.kind == "lease"), default=0)
