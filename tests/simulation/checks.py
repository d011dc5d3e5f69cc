"""What must be true in the end, of the journal and of what callers were told.

1. The audit of the fault tests: the log is whole; what was acknowledged is there once and is what the domain decides,
   in an order that fits the times; what certainly did not happen is not there.
2. Without the domain's rules: fencing tokens grow, items are conserved, sums are right.
3. A command under an idempotency key happened once, for all who used the key.
4. Who asked later what became of a command was told the truth.
5. Nothing is held by nobody, or waited for by nobody.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from casty_es.hashes import KEYED_VERSION
from tests.faults.audit import audit, check_callers, check_entities, check_slots, read_memory, timelines
from tests.faults.cluster.promises import check, check_grants

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from casty_es.journal.memory import InMemoryJournal
    from casty_es.journal.port import EntityName
    from tests.faults.audit import Log
    from tests.faults.recording import Operation

    from .load import Settled
    from .world import Loss

__all__ = ["claims_of", "findings", "findings_after_loss", "tokens"]

_UNTOLD = (None, "OutcomeUnknownError", "CancelledError")


def findings(
    store: InMemoryJournal,
    operations: Sequence[Operation],
    settled: Sequence[Settled],
    *,
    kept: Collection[bytes] = (),
) -> list[str]:
    """Return all that is wrong, as sentences.

    Parameters
    ----------
    settled : Sequence[Settled]
        What those were told who asked what became of commands.
    kept : Collection[bytes]
        The ids of cancelled commands that could not be undone.
    """
    log = read_memory(store)
    found, once = _keyed(log, operations)
    found += audit(log, once)
    # What was taken under a key is not put back for a caller that is cancelled: it is told when it asks again.
    named = {one.id for one in once if one.id[6] >> 4 == KEYED_VERSION}
    found += check(once, timelines(log), kept={*kept, *named})
    found += _settled(log, operations, settled)
    return found


def findings_after_loss(store: InMemoryJournal, operations: Sequence[Operation], loss: Loss) -> list[str]:
    """Return what is wrong where the database has lost records, and an operator has accepted it.

    In between nobody gets an answer from a slot that lost what somebody had been told. Afterwards everything is right
    again, from where the log goes on.
    """
    log = read_memory(store)
    _, once = _keyed(log, operations)
    found = [*check_slots(log), *check_entities(log)]
    told = {one.name for one in once if one.id in loss.commands and one.reply is not None and one.returned < loss.at}
    for one in once:
        answered = one.reply is not None and loss.at < one.called and one.returned < (loss.accepted or math.inf)
        if answered and one.name in told:
            found.append(f"{one}: what its entity had been told was lost, and it was answered before that was accepted")
    after = [one for one in once if loss.accepted and one.called > loss.accepted]
    return found + [one for one in check_callers(log, after) if "nobody asked for it" not in one]


def tokens(grants: Sequence[tuple[str, int, int, int]]) -> list[str]:
    """Check that fencing tokens only grow."""
    return [
        f"{name!r}: {complaint}"
        for name in sorted({one[0] for one in grants})
        for complaint in check_grants([one[1:] for one in grants if one[0] == name])
    ]


def _keyed(log: Log, operations: Sequence[Operation]) -> tuple[list[str], list[Operation]]:
    """Check what was asked for under one id more than once; return each once, and what is wrong."""
    found: list[str] = []
    groups: dict[bytes, list[Operation]] = defaultdict(list)
    for operation in operations:
        groups[operation.id].append(operation)
    keys = [(one.entity, one.idempotency_key) for one in log.records if one.idempotency_key is not None]
    found += (
        [f"the idempotency key {key} was used for {keys.count(key)} commands" for key in set(keys)]
        if len(set(keys)) < len(keys)
        else []
    )
    askers = {
        one.command_id or b"": msgspec.json.decode(one.payload).get("owner")
        for one in reversed(log.records)
        if one.idempotency_key is not None
    }
    once = []
    for mine in groups.values():
        replies = {one.reply for one in mine if one.reply is not None}
        if len(replies) > 1:
            found.append(f"{mine[0]}: its repeats were told {sorted(replies)}")
        once.append(_joined(mine, askers.get(mine[0].id)))
    return found, once


def _joined(mine: list[Operation], asker: str | None) -> Operation:
    """Return one operation in place of several with one id; that of the owner whom the journal names."""
    owners = [getattr(one.command, "owner", None) for one in mine]
    asked = [one for one, owner in zip(mine, owners, strict=True) if owner == asker] if asker in owners else mine
    best = min(mine, key=lambda one: (one.reply is None, one not in asked, one.error not in _UNTOLD, one.returned or 0))
    best.called = min(one.called for one in mine)
    best.command = asked[0].command if asked is not mine else best.command
    return best


def _settled(log: Log, operations: Sequence[Operation], settled: Sequence[Settled]) -> list[str]:
    there = {record.command_id for record in log.records}
    calls: dict[bytes, list[Operation]] = defaultdict(list)
    for operation in operations:
        calls[operation.id].append(operation)
    found = []
    for id_, status, asked in settled:
        # Under an idempotency key others may do later what this caller did not.
        again = any(one.returned is None or one.returned > asked for one in calls[id_])
        if (status == "executed" and id_ not in there) or (status == "not executed" and id_ in there and not again):
            found.append(f"somebody was told that {id_.hex()} was {status}, and the journal says the opposite")
    return found


def claims_of(store: InMemoryJournal) -> dict[EntityName, Any]:
    """Return the requests that are held, or stand in a line, by entity."""
    lives = timelines(read_memory(store))
    claims = {name: life.kind.claims(life.states[-1]) for name, life in lives.items() if life.kind.claims is not None}
    return {name: list(of) for name, of in claims.items() if of}
