"""The walk of one slot: every record, in pages, up to the head that the slot had when the walk began.

What others append, cut or redact meanwhile is no finding: before a record is called wrong, it is read again, with its
entity and its seals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from casty_es.audit.readahead import ReadAhead
from casty_es.audit.verify.beside import Beside
from casty_es.audit.verify.byhand import ByHand
from casty_es.audit.verify.directory_rows import check_directory
from casty_es.audit.verify.entities import Entities
from casty_es.audit.verify.findings import Finding, SlotResult, Wrong
from casty_es.audit.verify.seal_rows import check_seals
from casty_es.audit.verify.snapshots import check_later_snapshots, check_snapshots
from casty_es.audit.verify.walk import Walk
from casty_es.audit.workers import Walked, Work
from casty_es.errors import JournalCorruptError, JournalUnavailableError
from casty_es.journal.damaged import BEHIND_ALL, damage_of, event_of
from casty_es.journal.port import EMPTY_SLOT, EventJournal, EventRow, Head

_PAGE: Final = 5_000


class Job(msgspec.Struct):
    """A slot to verify, behind a record: up to there an earlier walk found nothing wrong."""

    slot: int
    start: Head = EMPTY_SLOT


async def verify_slot(journal: EventJournal, job: Job, walked: Walked) -> SlotResult:
    """Verify a slot; ``walked`` is told how many records were looked at since it was told last."""
    slot = job.slot
    result = SlotResult(slot)
    entities = Entities(journal, slot, resumed_at=job.start.position)
    walk = Walk(slot, job.start, entities)
    by_hand = ByHand(journal, walk, entities, result.findings)
    try:
        await _walk(journal, walk, by_hand, result, walked)
        if not result.full:
            await _look_beside(journal, entities, by_hand, result)
    except (JournalUnavailableError, JournalCorruptError) as error:
        if not _is_damage(error):
            raise
        result.findings.append(
            Finding(slot, walk.position + 1, None, Wrong.FILE, f"The database cannot read this record: {error}")
        )
    result.position, result.hash = walk.position, walk.hash or bytes(32)
    result.epoch, result.recorded_at = walk.epoch, walk.recorded_at
    result.records = walk.records
    result.findings.sort(key=lambda finding: finding.position or 0)
    return result


WORK: Final = Work(__name__, verify_slot, Job, SlotResult)


async def _walk(journal: EventJournal, walk: Walk, by_hand: ByHand, result: SlotResult, walked: Walked) -> None:
    """Go over the records up to the head that the slot has now."""
    head = (await journal.heads([walk.slot]))[walk.slot]
    pages = _Pages(journal, walk.slot, head.position)
    try:
        await by_hand.begin()
        while walk.position < head.position and not result.full:
            rows = await pages.after(walk.position)
            if not rows:
                if head.position != BEHIND_ALL:
                    await by_hand.cross(head.position + 1)
                break
            await walk.entities.load(rows)
            before = walk.records
            index = 0
            while (index := walk.go(rows, index)) < len(rows) and not result.full:
                await by_hand.look(rows[index])
                walk.records += 1
                index += 1
            await check_snapshots(journal, walk, result)
            walked(walk.records - before)
    finally:
        await pages.close()


async def _look_beside(journal: EventJournal, entities: Entities, by_hand: ByHand, result: SlotResult) -> None:
    """Compare what stands beside the records with what they said."""
    await check_later_snapshots(journal, entities, result)
    beside, meta = Beside(), await journal.open()
    await check_seals(journal, result.slot, by_hand.sealed, result, beside)
    # Where what the journal says of itself is damaged, nobody knows in which slot an entity belongs.
    slots = None if damage_of(meta) is not None else meta.slots
    await check_directory(journal, result.slot, slots, entities, result, beside)
    result.beside = beside.digest


class _Pages:
    """The pages of a slot up to a position."""

    def __init__(self, journal: EventJournal, slot: int, last: int) -> None:
        self._journal = journal
        self._slot = slot
        self._last = last
        self._ahead = ReadAhead(journal, self._read)
        self.close = self._ahead.close

    async def after(self, position: int) -> Sequence[EventRow]:
        """Return the page after a position."""
        rows = await self._ahead.page(position)
        last = _position(rows[-1]) if rows else 0
        if last > self._last:
            rows = [row for row in rows if _position(row) <= self._last]
        elif rows and last < self._last:
            await self._ahead.prepare(last)
        return rows

    async def _read(self, position: int) -> Sequence[EventRow]:
        try:
            return await self._journal.rows(self._slot, after=position, limit=_PAGE)
        except (JournalUnavailableError, JournalCorruptError) as error:
            if not _is_damage(error):
                raise
            # One row of them cannot be read: up to it, row by row.
            rows: list[EventRow] = []
            while len(rows) < _PAGE:
                try:
                    one = await self._journal.rows(self._slot, after=position, limit=1)
                except (JournalUnavailableError, JournalCorruptError):
                    if not rows:
                        raise
                    return rows
                if not one:
                    return rows
                rows += one
                position = _position(one[0])
            return rows


def _position(row: EventRow) -> int:
    """Return a record's position; what is none stands where the database sorts it."""
    return row[1] if type(row[1]) is int else event_of(row).position


def _is_damage(error: Exception) -> bool:
    """Tell damage that is in the file, which is a finding, from a database that cannot be reached, which is none."""
    return isinstance(error, JournalCorruptError) or "decode" in str(error)
