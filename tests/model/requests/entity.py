"""What becomes of the entity, and when it is wrong: nobody may hold what a living process holds, or hold for nobody."""

from __future__ import annotations

from .rules import Rule
from .state import LEASE, Entity, Model, Request, State

__all__ = ["arrive", "dead", "end", "forsaken", "holds", "requests"]


def requests(entity: Entity) -> tuple[Request, ...]:
    """Return all who hold, stand in line or arrived."""
    return entity.line if entity.holder is None else (entity.holder, *entity.line)


def dead(s: State, request: Request) -> bool:
    """Return whether the process that made a request is dead."""
    process = s.processes[request.process]
    return process.life != request.life or not process.alive


def holds(m: Model, s: State, request: Request) -> bool:
    """Return whether the process that made this request may believe that it holds what it was granted."""
    process = s.processes[request.process]
    if dead(s, request) or process.caller not in {"asks", "has"}:
        return False
    if request.process in m.clients:
        return process.age < LEASE
    if not m.keeps(Rule.RENEWED_AFTER_REOPENING):
        return process.session > 0
    return 0 < process.session == process.under


def forsaken(m: Model, s: State, request: Request) -> str:
    """Return why nobody wants a request any more, as far as the owner has to know it, or nothing."""
    process = s.processes[request.process]
    if dead(s, request):
        if request in s.owner.dead:
            return "is dead"
        silent = request.process in m.clients and process.unheard >= LEASE
        return f"is dead and was not heard for {LEASE} ticks" if silent else ""
    return "has withdrawn" if process.caller in {"over", "gave up"} else ""


def arrive(m: Model, s: State, request: Request) -> State:
    """Let a request in, unless it is known."""
    entity = s.entity
    if request in entity.known:
        return s
    entity = entity._replace(known=entity.known | {request})
    match m.kind:
        case "lock":
            return _granted(m, s._replace(entity=entity._replace(line=(*entity.line, request))))
        case "barrier":
            return _tripped(m, s._replace(entity=entity._replace(line=(*entity.line, request))))
        case _:
            return _taken(s._replace(entity=entity), request)


def end(m: Model, s: State, gone: frozenset[Request]) -> State:
    """End requests, all of them before anything is granted."""
    entity = s.entity
    if entity.holder in gone:
        entity = entity._replace(holder=None)
    entity = entity._replace(line=tuple(request for request in entity.line if request not in gone))
    back = tuple(item for request, item in entity.taken if request in gone)
    if back and m.keeps(Rule.ITEM_BACK):
        items = (*back, *entity.items) if m.keeps(Rule.BACK_IN_FRONT) else (*entity.items, *back)
        taken = tuple(pair for pair in entity.taken if pair[0] not in gone)
        entity = entity._replace(items=items, taken=taken)
    s = s._replace(entity=entity)
    return _granted(m, s) if m.kind == "lock" else s


def _granted(m: Model, s: State) -> State:
    """Grant a free lock to the front of the line; whoever held it may not believe any more that it does."""
    entity = s.entity
    if entity.holder is not None or not entity.line:
        return s
    holder = entity.line[0]
    granted = entity.granted | {holder}
    s = s._replace(entity=entity._replace(holder=holder, line=entity.line[1:], granted=granted))
    for other in sorted(entity.granted):
        if holds(m, s, other):
            return s._replace(bad=f"two hold: {holder} is granted what {other} holds")
    return s


def _tripped(m: Model, s: State) -> State:
    """Release everybody when two have arrived, who should both be there."""
    line = s.entity.line
    if len(line) < 2:
        return s
    bad = next((f"tripped alone: {request} {why}" for request in line if (why := forsaken(m, s, request))), s.bad)
    return s._replace(entity=s.entity._replace(line=()), bad=bad)


def _taken(s: State, request: Request) -> State:
    """Return the front item."""
    entity = s.entity
    if not entity.items:
        return s
    item, *rest = entity.items
    bad = f"out of order: {request} is given item {item} before {min(rest)}" if rest and min(rest) < item else s.bad
    taken = (*entity.taken, (request, item))
    return s._replace(entity=entity._replace(items=tuple(rest), taken=taken), bad=bad)
