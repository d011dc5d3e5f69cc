"""Every step: processes ask, renew, withdraw, die and come back; owners look, stand still and follow each other."""

from __future__ import annotations

from collections.abc import Iterator

from .owner import follow, owner_steps, tick, with_process
from .rules import Rule
from .state import Frame, Model, Process, Request, State

__all__ = ["Requests"]

_SENDS = 2


class Requests(Model):
    """Two processes that ask one entity for something."""

    def steps(self, s: State) -> Iterator[tuple[str, State]]:
        """Yield every step: those of processes and of the owner, and the faults."""
        for p, process in enumerate(s.processes):
            if process.alive:
                yield from _caller_steps(self, s, p, process)
        yield from owner_steps(self, s)
        for p, process in enumerate(s.processes):
            yield from _process_faults(self, s, p, process)
        yield from _owner_faults(self, s)

    def judged(self, s: State) -> str:
        """Return what is wrong: a lost item here, everything else where it is decided."""
        for request, item in s.entity.taken:
            process = s.processes[request.process]
            if process.life == request.life and process.alive and process.caller in {"over", "gave up"}:
                return f"item lost: {item} was given to {request}, which was cancelled"
        return s.bad


def _caller_steps(m: Model, s: State, p: int, process: Process) -> Iterator[tuple[str, State]]:
    me = Request(p, process.life)
    waiting = [frame.kind for frame in process.line]
    may_ask = process.caller in ({"idle", "asks"} if m.keeps(Rule.WITHDRAWAL_LAST) else {"idle", "asks", "over"})
    if may_ask and process.sends < _SENDS and "ask" not in waiting:
        asking = process._replace(sends=process.sends + 1, asked_under=process.asked_under or process.session)
        if process.caller == "idle":
            asking = asking._replace(caller="asks")
        yield f"{me} asks{' again' if process.sends else ''}", _sent(s, p, asking, "ask")
    if process.caller == "asks":
        taken = tuple(pair for pair in s.entity.taken if pair[0] == me)
        if taken:
            rest = tuple(pair for pair in s.entity.taken if pair[0] != me)
            s2 = with_process(s, p, process._replace(caller="has"))
            yield f"{me} is told of its item", s2._replace(entity=s.entity._replace(taken=rest))
        if (process.session != process.under or p in m.clients) and "renew" not in waiting:
            yield f"{me} sends a renewal", _sent(s, p, process, "renew")
        if s.left.cancels:
            s2 = s._replace(left=s.left._replace(cancels=s.left.cancels - 1))
            yield f"{me} is cancelled and withdraws", _sent(s2, p, process._replace(caller="withdraws"), "withdraw")
    if process.caller == "withdraws" and "withdraw" not in waiting:
        yield f"{me} withdraws again", _sent(s, p, process, "withdraw")
        if not m.keeps(Rule.WITHDRAWN_UNTIL_ANSWERED):
            yield f"{me} gives the withdrawal up", with_process(s, p, process._replace(caller="gave up"))


def _sent(s: State, p: int, process: Process, kind: str) -> State:
    frame = Frame(kind, Request(p, process.life), process.session)
    return with_process(s, p, process._replace(line=(*process.line, frame)))


def _process_faults(m: Model, s: State, p: int, process: Process) -> Iterator[tuple[str, State]]:
    left, me = s.left, Request(p, process.life)
    if process.alive and left.deaths and (p in m.clients or not m.clients):
        gone = process._replace(alive=False, session=0)
        yield f"{me} dies", with_process(s._replace(left=left._replace(deaths=left.deaths - 1)), p, gone)
    if not process.alive and left.restarts:
        new = process.sessions + (p not in m.clients)
        fresh = Process(life=process.life + 1, session=new, sessions=new, line=process.line)
        after = s._replace(left=left._replace(restarts=left.restarts - 1))
        yield f"{me} is started again under its name", with_process(after, p, fresh)
    if process.alive and process.session and left.sessions:
        after = s._replace(left=left._replace(sessions=left.sessions - 1))
        yield f"{me} loses its session", with_process(after, p, process._replace(session=0))
    if process.alive and not process.session and p not in m.clients:
        opened = process._replace(session=process.sessions + 1, sessions=process.sessions + 1)
        yield f"{me} opens another session", with_process(s, p, opened)
    if process.line and left.cuts:
        after = s._replace(left=left._replace(cuts=left.cuts - 1))
        yield f"{me}'s connection breaks, with what was on it", with_process(after, p, process._replace(line=()))


def _owner_faults(m: Model, s: State) -> Iterator[tuple[str, State]]:
    left, owner = s.left, s.owner
    if left.owners:
        yield "another owner activates the entity", follow(m, s._replace(left=left._replace(owners=left.owners - 1)))
    if owner.frozen:
        yield "the owner goes on", s._replace(owner=owner._replace(frozen=False))
    elif left.freezes:
        after = s._replace(left=left._replace(freezes=left.freezes - 1))
        yield "the owner stands still", after._replace(owner=owner._replace(frozen=True))
    if left.ticks:
        yield "a tick passes", tick(m, s._replace(left=left._replace(ticks=left.ticks - 1)))
