"""Comparing snapshots with the states that the walk came to."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from casty_es.audit.verify.entities import Entities
from casty_es.audit.verify.findings import Finding, SlotResult, Wrong
from casty_es.audit.verify.walk import Due, Walk
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Kind
from casty_es.errors import EntityQuarantinedError
from casty_es.format.codec import decode_state, encode_state
from casty_es.format.upcasting import state_readable
from casty_es.journal.damaged import damage_of
from casty_es.journal.port import EventJournal, StoredSnapshot
from casty_es.replay import is_bound


async def check_snapshots(journal: EventJournal, walk: Walk, result: SlotResult) -> None:
    """Compare the snapshots that the walk passed. One that is gone by now was thinned out, and is nobody's loss."""
    for due in walk.due:
        stored = await journal.snapshot_before(due.entity, due.sequence)
        if stored is None or stored.sequence != due.sequence:
            continue
        wrong = await _wrong(journal, due, stored, result)
        if wrong is not None:
            result.findings.append(Finding(walk.slot, due.position, due.entity, Wrong.SNAPSHOT, wrong))
    walk.due.clear()


async def _wrong(journal: EventJournal, due: Due, stored: StoredSnapshot, result: SlotResult) -> str | None:
    """Return what is wrong with a snapshot, and count it."""
    kind = CATALOG[due.kind]
    damage = damage_of(stored)
    if damage is not None:
        return f"The snapshot at event {due.sequence} is none that any program writes: {damage}."
    if not 1 <= stored.version <= kind.state_version:
        return f"The snapshot at event {due.sequence} has version {stored.version}, which no code before has written."
    if not state_readable(kind, stored.version):
        result.unread_snapshots += 1
        return None
    result.snapshots += 1
    rows = await journal.entity_rows([due.entity])
    bound = bool(rows) and await is_bound(journal, rows[0], kind, stored, due.hash)
    if sha256(as_of_now(kind, stored).encode()).digest() != due.digest:
        believed = (
            "The log speaks of it all the same" if bound else "The log does not speak of it, so no node believes it"
        )
        return f"The snapshot at event {due.sequence} is not the state that the events up to there give. {believed}."
    # A redaction that is not finished has left it; then its salt is another one.
    if not bound and rows and rows[0].salted_from <= due.sequence:
        result.unbound_snapshots += 1
    return None


def as_of_now(kind: Kind[Any, Any, Any], stored: StoredSnapshot) -> str:
    """Return a snapshot's text as the installed code writes it; one that cannot be lifted is no state."""
    if stored.version == kind.state_version:
        return stored.state
    try:
        return encode_state(kind, decode_state(kind, stored.version, stored.state))
    except EntityQuarantinedError:
        return ""


async def check_later_snapshots(journal: EventJournal, entities: Entities, result: SlotResult) -> None:
    """Look for snapshots of events that are not there."""
    for id_, known in entities.known.items():
        if id_ is None or known.folding is None or known.folding.next <= known.sequence:
            continue
        _, last = await journal.bounds(id_)
        if result.full:
            return
        if known.folding.next > last:
            text = f"There is a snapshot at event {known.folding.next}, and the entity has {last} events."
            result.findings.append(Finding(result.slot, None, id_, Wrong.SNAPSHOT, text))
