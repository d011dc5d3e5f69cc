"""What retention cut: whether each row of ``casty_seals`` is one that its entity's seal, in the chain, speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import msgspec

from casty_es.audit.seals import packed, state_digest
from casty_es.audit.verify.beside import Beside, seal_pages
from casty_es.audit.verify.findings import FINDINGS_PER_SLOT, Finding, SlotResult, Wrong
from casty_es.domain.upkeep import Sealed
from casty_es.journal.damaged import damage_of
from casty_es.journal.port import EventJournal, SealRow

_SEALED: Final = msgspec.json.Decoder(Sealed).decode


class _Group:
    """The rows that name one seal."""

    __slots__ = ("digest", "first", "records")

    def __init__(self, first: int) -> None:
        self.first = first
        self.records = 0
        self.digest = sha256()  # as rows_digest makes it, without keeping the rows

    def add(self, row: SealRow) -> None:
        self.records += row.last - row.first + 1
        self.digest.update(packed(row))


async def check_seals(
    journal: EventJournal,
    slot: int,
    met: Mapping[tuple[int, int], tuple[Sealed, int]],
    result: SlotResult,
    beside: Beside,
) -> None:
    """Check all seal rows of a slot against the seals that the walk met."""
    findings, cut = await _checked(journal, slot, met, beside)
    if findings:  # rows may have been given another seal while they were read; what is wrong stays so
        before = set(findings)
        again, cut = await _checked(journal, slot, met, beside)
        findings = [finding for finding in again if finding in before]
    result.findings += findings
    result.cut += cut


async def _checked(
    journal: EventJournal, slot: int, met: Mapping[tuple[int, int], tuple[Sealed, int]], beside: Beside
) -> tuple[list[Finding], int]:
    """Return what is wrong with the seal rows of a slot, and how many records they stand for."""
    groups, findings = await _groups(journal, slot, beside)
    cut = 0
    newest: dict[int, tuple[Sealed, int]] = {}
    for number, ((entity, sequence), group) in enumerate(groups.items()):
        if len(findings) >= FINDINGS_PER_SLOT:
            # Each would cost a query; who forged so many rows is found by the first of them.
            text = f"So much is wrong with cut records that {len(groups) - number} more groups were not looked at."
            findings.append(Finding(slot, group.first, entity, Wrong.SEAL, text))
            break
        seal = met.get((entity, sequence)) or await _seal(journal, entity, sequence)
        wrong = _wrong(seal and seal[0], group, sequence)
        if wrong is not None:
            findings.append(Finding(slot, group.first, entity, Wrong.SEAL, wrong))
        elif seal is not None:
            cut += group.records
            if entity not in newest or newest[entity][0].through < seal[0].through:
                newest[entity] = seal
    for entity, (sealed, position) in newest.items():
        wrong = await _wrong_base(journal, entity, sealed)
        if wrong is not None:
            findings.append(Finding(slot, position, entity, Wrong.SNAPSHOT, wrong))
    return findings, cut


async def _groups(
    journal: EventJournal, slot: int, beside: Beside
) -> tuple[dict[tuple[int, int], _Group], list[Finding]]:
    """Return the seal rows of a slot by the seal that they name, and what is wrong with single rows."""
    groups: dict[tuple[int, int], _Group] = {}
    findings: list[Finding] = []
    async for page in seal_pages(journal, slot):
        beside.add(page)
        for row in page:
            damage = damage_of(row)
            if damage is not None and len(findings) < FINDINGS_PER_SLOT:
                text = f"This row of casty_seals is none that any program writes: {damage}."
                findings.append(Finding(slot, row.first, row.entity, Wrong.SEAL, text))
            groups.setdefault((row.entity, row.sealed_by), _Group(row.first)).add(row)
    return groups, findings


async def _seal(journal: EventJournal, entity: int, sequence: int) -> tuple[Sealed, int] | None:
    """Return a seal that was recorded while the walk was under way."""
    if sequence < 1:  # and a database may not hold the number before it
        return None
    for event in await journal.history(entity, after=sequence - 1, limit=1):
        if event.sequence == sequence and event.type == "entity.sealed":
            try:
                return _SEALED(event.payload), event.position
            except (msgspec.MsgspecError, RecursionError):
                return None
    return None


def _wrong(seal: Sealed | None, group: _Group, sequence: int) -> str | None:
    if seal is None:
        return f"Records were cut here under the seal at event {sequence} of their entity, and there is no such seal."
    if group.digest.hexdigest() != seal.rows or group.records not in {seal.through, seal.events}:
        return f"What is said of the records that were cut here is not what event {sequence} of their entity sealed."
    return None


async def _wrong_base(journal: EventJournal, entity: int, sealed: Sealed) -> str | None:
    """Return what is wrong with the snapshot that took the place of the cut events."""
    rows = await journal.entity_rows([entity])
    if not rows or rows[0].salted_from > sealed.through:
        return None  # redacted since: another snapshot took its place
    if (await journal.bounds(entity))[0] != sealed.through + 1:
        return None  # not cut yet, or cut again meanwhile
    base = await journal.snapshot_before(entity, sealed.through)
    if base is None or base.sequence != sealed.through:
        return f"The events up to {sealed.through} were cut, and no snapshot stands in their place."
    if state_digest(rows[0].salt or b"", base.state) != sealed.state:
        return f"The snapshot at event {sealed.through}, behind which events were cut, is not the one that was sealed."
    older = min((number for _, number in await journal.snapshot_sequences([entity])), default=sealed.through)
    if older < sealed.through:
        # Retention takes them together with the events; nobody could tell whether it is what they gave.
        return f"There is a snapshot at event {older}, and the events up to {sealed.through} were cut."
    return None
