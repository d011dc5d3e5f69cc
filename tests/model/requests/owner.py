"""What an owner does: it looks whose process lives, reads what was sent, counts silence, and is followed by another."""

from __future__ import annotations

from collections.abc import Iterator

from .entity import arrive, dead, end, forsaken, requests
from .rules import Rule
from .state import LEASE, Frame, Model, Owner, Process, Request, State

__all__ = ["follow", "owner_steps", "tick", "with_process"]


def with_process(s: State, p: int, process: Process) -> State:
    """Return the state with one process replaced."""
    return s._replace(processes=(*s.processes[:p], process, *s.processes[p + 1 :]))


def owner_steps(m: Model, s: State) -> Iterator[tuple[str, State]]:
    """Yield every step that the owner can take."""
    owner = s.owner
    if owner.frozen:
        return
    seen = frozenset(request for request in _lives(s) if _without_session(m, s, request))
    news = not owner.looked or not seen <= owner.gone or not seen.isdisjoint(requests(s.entity))
    if owner.look is None and news:
        looking = owner._replace(look=seen, heard=frozenset())
        yield "the owner looks at the sessions, and the database answers", s._replace(owner=looking)
    if owner.look is not None:
        yield _seen(m, s, owner.look)
    if owner.looked or not m.keeps(Rule.DEAD_END_FIRST):
        for p, process in enumerate(s.processes):
            if process.line:
                yield _reads(m, with_process(s, p, process._replace(line=process.line[1:])), process.line[0])


def _lives(s: State) -> Iterator[Request]:
    for p, process in enumerate(s.processes):
        for life in range(1, process.life + 1):
            yield Request(p, life)


def _without_session(m: Model, s: State, request: Request) -> bool:
    """Return whether the database says that the process of a request has no session."""
    process = s.processes[request.process]
    if request.process in m.clients:
        return False
    if not m.keeps(Rule.REOPENED_LIVES) and process.asked_under != process.session:
        return True
    if process.life != request.life and m.keeps(Rule.PROCESS_ID):
        return True
    return not process.session


def _seen(m: Model, s: State, look: frozenset[Request]) -> tuple[str, State]:
    owner = s.owner
    gone = look - owner.heard if m.keeps(Rule.HEARD_SINCE) else look
    known = frozenset(request for request in gone if dead(s, request))
    # A late frame of the dead is no sign of life: who was seen dead stays so until a look sees a session.
    still = gone | (look & owner.gone)
    s = s._replace(owner=owner._replace(looked=True, look=None, gone=still, dead=owner.dead | known))
    ends = " and ".join(str(request) for request in sorted(gone) if request in requests(s.entity))
    return f"the owner hears who has no session{', and ends the request of ' + ends if ends else ''}", end(m, s, gone)


def _reads(m: Model, s: State, frame: Frame) -> tuple[str, State]:
    """Take a frame in."""
    request, p = frame.request, frame.request.process
    who = f"the owner reads {request}'s {frame.kind}"
    if frame.kind == "ask" and request in s.owner.gone and m.keeps(Rule.LATE_REQUEST):
        if _without_session(m, s, request):
            return f"{who}, and looks: it has no session", s
        s = s._replace(owner=s.owner._replace(gone=s.owner.gone - {request}))
    s = _heard(m, s, frame)
    match frame.kind:
        case "ask":
            s = _asked(m, arrive(m, s, request))
        case "withdraw":
            s = end(m, s, frozenset({request}))
            process = s.processes[p]
            if process.life == request.life and process.caller == "withdraws":
                s = with_process(s, p, process._replace(caller="over"))
            return who, s
        case _:
            pass
    process = s.processes[p]
    waits = process.life == request.life and process.caller == "asks"
    if m.kind == "lock" and waits and request not in requests(s.entity):
        return f"{who}: it has lost its place", with_process(s, p, process._replace(caller="lost"))
    return who, s


def _heard(m: Model, s: State, frame: Frame) -> State:
    request, p = frame.request, frame.request.process
    owner, process = s.owner, s.processes[p]
    if process.life == request.life:
        process = process._replace(under=frame.session, age=min(process.age, frame.age), unheard=0)
    silence = _set(owner.silence, p, 0)
    written = _set(s.written, p, 0) if m.keeps(Rule.COUNT_UNMADE) else s.written
    s = s._replace(owner=owner._replace(heard=owner.heard | {request}, silence=silence), written=written)
    return with_process(s, p, process)


def _asked(m: Model, s: State) -> State:
    """Judge an answer: all that stands there then must belong to somebody."""
    for request in requests(s.entity):
        if why := forsaken(m, s, request):
            return s._replace(bad=s.bad or f"held by nobody: {request} {why}")
    return s


def tick(m: Model, s: State) -> State:
    """Let a tick pass: an owner counts those from whom nothing lies there to be read."""
    owner, bad = s.owner, s.bad
    silent: set[Request] = set()
    for p in sorted(m.clients):
        process = s.processes[p]
        unread = bool(process.line)
        asked = frozenset(request for request in requests(s.entity) if request.process == p)
        counts = bool(asked) and (not (unread or owner.frozen) or not m.keeps(Rule.STALLED_IS_NOT_SILENT))
        process = process._replace(
            line=tuple(frame._replace(age=frame.age + 1) for frame in process.line),
            age=min(process.age + 1, LEASE),
            unheard=min(process.unheard + (not (unread or owner.frozen)), LEASE),
        )
        s = with_process(s, p, process)
        count = owner.silence[p] + counts
        if counts and count >= LEASE:
            silent |= asked
            if process.alive and unread:
                bad = bad or f"called silent: {min(asked)} has spoken, and nobody listened"
        owner = owner._replace(silence=_set(owner.silence, p, min(count, LEASE)))
    return end(m, s._replace(owner=owner, written=owner.silence, bad=bad), frozenset(silent))


def follow(m: Model, s: State) -> State:
    """Put another owner in the place of this one; it refuses what was addressed to the one before."""
    silence = s.written if m.keeps(Rule.COUNT_KEPT) else (0, 0)
    known = frozenset(request for request in _lives(s) if request.process not in m.clients and dead(s, request))
    processes = tuple(process._replace(line=()) for process in s.processes)
    return s._replace(owner=Owner(silence=silence, dead=known), processes=processes)


def _set(counts: tuple[int, ...], p: int, count: int) -> tuple[int, ...]:
    return (*counts[:p], count, *counts[p + 1 :])
