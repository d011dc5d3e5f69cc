"""What must be true in the end, of the journal and of what callers were told.

1. The audit of the fault tests: the log is whole; what was acknowledged is there once and is what the domain decides,
   in an order that fits the times; what certainly did not happen is not there.
2. Without the domain's rules: fencing tokens grow, items are conserved, sums are right.
3. A command under an idempotency key happened once, for all who used the key.
4. Who asked later what became of a command was told the truth.
5. Nothing is held by nobody, or waited for by nobody.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.faults.audit import audit, read_memory, timelines
from tests.faults.cluster.promises import check

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from casty_es.journal.memory import InMemoryJournal
    from casty_es.journal.port import EntityName
    from tests.faults.audit import Log
    from tests.faults.recording import Operation

__all__ = ["claims_of", "findings"]

_UNTOLD = (None, "OutcomeUnknownError", "CancelledError")


def findings(
    store: InMemoryJournal,
    operations: Sequence[Operation],
    settled: Sequence[tuple[bytes, str]],
    *,
    kept: Collection[bytes] = (),
) -> list[str]:
    """Return all that is wrong, as sentences.

    Parameters
    ----------
    settled : Sequence[tuple[bytes, str]]
        What those were told who asked what became of commands.
    kept : Collection[bytes]
        The ids of cancelled commands that could not be undone.
    """
    log = read_memory(store)
    found, once = _keyed(log, operations)
    found += audit(log, once)
    found += check(once, timelines(log), kept=kept)
    found += _settled(log, settled)
    return found


def _keyed(log: Log, operations: Sequence[Operation]) -> tuple[list[str], list[Operation]]:
    """Check what was asked for under one id more than once; return each once, and what is wrong."""
    found: list[str] = []
    groups: dict[bytes, list[Operation]] = defaultdict(list)
    for operation in operations:
        groups[operation.id].append(operation)
    keys = [record.idempotency_key for record in log.records if record.idempotency_key is not None]
    found += (
        [f"the idempotency key {key} was used for {keys.count(key)} commands" for key in set(keys)]
        if len(set(keys)) < len(keys)
        else []
    )
    once = []
    for mine in groups.values():
        replies = {one.reply for one in mine if one.reply is not None}
        if len(replies) > 1:
            found.append(f"{mine[0]}: its repeats were told {sorted(replies)}")
        once.append(_joined(mine))
    return found, once


def _joined(mine: list[Operation]) -> Operation:
    """Return one operation in place of several with one id."""
    best = min(mine, key=lambda one: (one.reply is None, one.error not in _UNTOLD, one.returned or 0))
    best.called = min(one.called for one in mine)
    return best


def _settled(log: Log, settled: Sequence[tuple[bytes, str]]) -> list[str]:
    there = {record.command_id for record in log.records}
    return [
        f"somebody was told that {id_.hex()} was {status}, and the journal says the opposite"
        for id_, status in settled
        if (status == "executed" and id_ not in there) or (status == "not executed" and id_ in there)
    ]


def claims_of(store: InMemoryJournal) -> dict[EntityName, Any]:
    """Return the requests that are held, or stand in a line, by entity."""
    lives = timelines(read_memory(store))
    claims = {name: life.kind.claims(life.states[-1]) for name, life in lives.items() if life.kind.claims is not None}
    return {name: list(of) for name, of in claims.items() if of}
