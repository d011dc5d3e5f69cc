"""What the holder of a token may ask of a node: looked at where requests arrive, before anything is done.

1. Reading is a query, a history, or the past, of a structure that the token names. A query with an idempotency key is
   none: its reply is recorded.
2. Retention and redaction are no writing: they need a scope of their own, and no other scope covers them.
3. Where slots are, how far they are committed and how many shards a structure has tells nothing of what is in it. It is
   answered to every holder, because no command finds its owner without it.
"""

from __future__ import annotations

import msgspec

from casty_es import verdicts
from casty_es.access import Grant
from casty_es.commands import is_query, is_upkeep
from casty_es.errors import NotAllowedError
from casty_es.journal.port import EntityName
from casty_es.transport.wire import (
    Ask,
    FindOutcome,
    FindShards,
    GetTopology,
    Locate,
    ReadHistory,
    ReadPast,
    ReadPositions,
    Request,
    Topology,
)


def refusal(grant: Grant, request: Request) -> NotAllowedError | None:
    """Return the error for what a token does not allow, ``None`` for what it does."""
    scopes = grant.scopes
    match request:
        case Ask(kind=kind, name=name, command=command):
            if is_upkeep(kind, command):
                return None if scopes.maintain else _error(grant, command, kind, name)
            reads = is_query(kind, command) and request.idempotency_key is None
            allowed = scopes.may_read(kind, name) if reads else scopes.may_write(kind, name)
            return None if allowed else _error(grant, command, kind, name)
        case ReadHistory(kind=kind, name=name) | ReadPast(kind=kind, name=name):
            return None if scopes.may_read(kind, name) else _error(grant, "reading", kind, name)
        case FindOutcome(kind=kind):
            # Which structure it was is not said: ``check_outcome`` looks when the command is found.
            allowed = scopes.maintain or scopes.may_read(kind, None)
            return None if allowed else _error(grant, "asking for an outcome", kind, None)
        case Locate() | FindShards() | GetTopology() | ReadPositions():
            return None
        case _:
            return _error(grant, type(request).__name__, "node", None)


def check_outcome(grant: Grant, name: EntityName) -> None:
    """Refuse to tell a token's holder, who may not read the structure, what became of a command.

    Who guesses a key knows the command's id.
    """
    if not grant.scopes.maintain and not grant.scopes.may_read(name.kind, name.name):
        raise _error(grant, "asking for an outcome", name.kind, None)


def without_details(topology: Topology) -> Topology:
    """Return what a client needs of the cluster to find its way, without what only an operator is told."""
    nodes = tuple(msgspec.structs.replace(node, host="", pid=0, started_at=0) for node in topology.nodes)
    return msgspec.structs.replace(topology, nodes=nodes, unreached=())


def _error(grant: Grant, what: str, kind: str, name: str | None) -> NotAllowedError:
    of = f"a {kind[:80]!a}" if name is None else f"the {kind[:80]!a} {name[:80]!a}"
    return verdicts.not_allowed(grant.name, f"{what[:80]!a} of {of}", str(grant.scopes))
