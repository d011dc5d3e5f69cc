"""Comparing snapshots with the states that the walk came to."""

from __future__ import annotations

from hashlib import sha256

from casty_es.audit.verify.entities import Entities
from casty_es.audit.verify.findings import Finding, SlotResult, Wrong
from casty_es.audit.verify.walk import Walk
from casty_es.journal.port import EventJournal

__all__ = ["check_later_snapshots", "check_snapshots"]


async def check_snapshots(journal: EventJournal, walk: Walk, result: SlotResult) -> None:
    """Compare the snapshots that the walk passed. One that is gone by now was thinned out, and is nobody's loss."""
    for due in walk.due:
        stored = await journal.snapshot_before(due.entity, due.sequence)
        if stored is None or stored.sequence != due.sequence:
            continue
        if stored.version != due.version:
            result.unread_snapshots += 1
            continue
        result.snapshots += 1
        if sha256(stored.state.encode()).digest() != due.digest:
            text = f"The snapshot at event {due.sequence} is not the state that the events up to there give."
            result.findings.append(Finding(walk.slot, due.position, due.entity, Wrong.SNAPSHOT, text))
    walk.due.clear()


async def check_later_snapshots(journal: EventJournal, entities: Entities, result: SlotResult) -> None:
    """Look for snapshots of events that are not there."""
    for id_, known in entities.known.items():
        if id_ is None or known.folding is None or known.folding.next <= known.sequence:
            continue
        _, last = await journal.bounds(id_)
        if known.folding.next > last:
            text = f"There is a snapshot at event {known.folding.next}, and the entity has {last} events."
            result.findings.append(Finding(result.slot, None, id_, Wrong.SNAPSHOT, text))
