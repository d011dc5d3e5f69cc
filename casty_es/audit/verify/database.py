"""What the database itself must have: its surroundings, nothing where nobody looks, and a file that is whole.

The chain shows what was done to records. That nobody could do it in passing, and that no idempotency key stands twice,
rests on triggers and indexes, and those can be dropped.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from casty_es.audit.verify.findings import FINDINGS_PER_SLOT, Finding, Wrong
from casty_es.audit.verify.surroundings import check_surroundings
from casty_es.journal.file_holders import strangers
from casty_es.journal.port import ENTITY_NUMBER_BITS
from casty_es.journal.sql import SqlJournal

# Where no slot is walked, nobody would look.
_STRAYS: Final = """
    SELECT 'records', slot FROM (SELECT slot FROM casty_events WHERE slot >= {slots} LIMIT 1) a
    UNION ALL SELECT 'entities', slot FROM (SELECT slot FROM casty_entities WHERE id >= {slots} * 4294967296 LIMIT 1) b
    UNION ALL SELECT 'records', slot FROM (SELECT slot FROM casty_events WHERE slot < 0 LIMIT 1) e
    UNION ALL SELECT 'entities', slot FROM (SELECT slot FROM casty_entities WHERE id < 0 LIMIT 1) d
    UNION ALL SELECT 'seals', slot FROM (SELECT slot FROM casty_seals WHERE slot >= {slots} LIMIT 1) c"""

_STRAY_SNAPSHOTS: Final = """
    SELECT s.entity, s.sequence, EXISTS (SELECT 1 FROM casty_entities e WHERE e.id = s.entity)
    FROM casty_snapshots s WHERE {behind}
    ORDER BY s.entity, s.sequence LIMIT 10000"""

_STRAY_SALTS: Final = """
    SELECT r.entity, r.through FROM casty_retired_salts r LEFT JOIN casty_entities e ON e.id = r.entity
    WHERE coalesce(e.salted_from < r.through OR r.through < 1, TRUE) ORDER BY r.entity, r.through LIMIT 25"""
_HASH: Final = "sha256"
_ALGORITHM: Final = "SELECT hash_algorithm FROM casty_meta WHERE id = 1"


async def check_database(journal: SqlJournal, slots: int) -> tuple[list[Finding], list[str]]:
    """Check what stands around the records: give what is wrong, and what to know."""
    findings, notes = await check_surroundings(journal)
    for what, slot in await journal.query(_STRAYS.format(slots=slots)):
        text = f"There are {what} in slot {slot}, and the journal has {slots} slots: no program ever reads them."
        findings.append(Finding(slot if type(slot) is int else None, None, None, Wrong.ALTERED, text))
    if [tuple(row) for row in await journal.query(_ALGORITHM)] != [(_HASH,)]:
        text = f"casty_meta.hash_algorithm is not {_HASH!r}, by which the chain is computed."
        findings.append(Finding(None, None, None, Wrong.GUARD, text))
    for entity, through in await journal.query(_STRAY_SALTS):
        text = f"A salt is set aside as if event {through!a} had redacted the entity, and it did not."
        findings.append(Finding(None, None, entity if type(entity) is int else None, Wrong.REDACTION, text))
    findings += await _stray_snapshots(journal)
    if journal.file is not None:
        findings += await _elsewhere(journal.file)
    return findings, notes


async def _stray_snapshots(journal: SqlJournal) -> list[Finding]:
    """Find snapshots of entities that are not there, and of events that cannot be."""
    findings: list[Finding] = []
    behind = "TRUE"
    while page := await journal.query(_STRAY_SNAPSHOTS.format(behind=behind)):
        for entity, sequence, known in page:
            if type(entity) is not int or type(sequence) is not int:
                text = "A row of casty_snapshots is none that any program writes: its entity or sequence is no number."
                return [*findings, Finding(None, None, None, Wrong.SNAPSHOT, text)]  # behind it stands nothing else
            if not known:
                text = f"There is a snapshot at event {sequence} of an entity that the directory does not have."
                findings.append(Finding(None, None, entity, Wrong.SNAPSHOT, text))
            elif sequence < 1:
                text = f"There is a snapshot at event {sequence}, and events begin at 1."
                findings.append(Finding(entity >> ENTITY_NUMBER_BITS, None, entity, Wrong.SNAPSHOT, text))
        if len(findings) >= FINDINGS_PER_SLOT:
            break
        behind = f"(s.entity, s.sequence) > ({entity}, {sequence})"
    return findings


async def _elsewhere(file: Path) -> list[Finding]:
    """Find processes that write another file of this name: what they acknowledge no record here can show."""
    found = await asyncio.to_thread(strangers, file)
    return [
        Finding(None, None, None, Wrong.FILE, f"Process {pid} {what}: what it acknowledged there may not be here.")
        for pid, what in found.items()
    ]
