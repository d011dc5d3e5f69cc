"""The walk of one slot: every record, in pages, up to the head that the slot had when the walk began.

What others append, cut or redact meanwhile is no finding: before a record is called wrong, it is read again, with its
entity and its seals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from casty_es.audit.verify.beside import Beside
from casty_es.audit.verify.byhand import ByHand
from casty_es.audit.verify.directory import check_directory
from casty_es.audit.verify.entities import Entities
from casty_es.audit.verify.findings import FINDINGS_PER_SLOT, Finding, SlotResult, Wrong
from casty_es.audit.verify.seals import check_seals
from casty_es.audit.verify.snapshots import check_later_snapshots, check_snapshots
from casty_es.audit.verify.walk import Walk
from casty_es.errors import JournalCorruptError, JournalUnavailableError
from casty_es.journal.damaged import BEHIND_ALL, damage_of, event_of
from casty_es.journal.port import EMPTY_SLOT, EventJournal, EventRow, Head, Meta

__all__ = ["verify_slot"]

_PAGE: Final = 5_000


async def verify_slot(
    journal: EventJournal,
    slot: int,
    meta: Meta,
    *,
    start: Head = EMPTY_SLOT,
    read_ahead: bool = False,
    progress: Callable[[int], None] | None = None,
) -> SlotResult:
    """Verify a slot behind a record.

    Parameters
    ----------
    meta : Meta
        What the journal says of itself. If it is damaged, nobody knows in which slot an entity belongs.
    start : Head
        The record behind which the walk begins: up to there an earlier one found nothing wrong.
    read_ahead : bool
        Ask for the next page while this one is looked at: for databases that answer from a process of their own.
    progress : Callable[[int], None] | None
        Is told how many records were looked at since it was told last.
    """
    result = SlotResult(slot)
    entities = Entities(journal, slot, resumed_at=start.position)
    walk = Walk(slot, start, entities)
    by_hand = ByHand(journal, walk, entities, result.findings)
    pages = _Pages(journal, slot, read_ahead=read_ahead)
    try:
        head = (await journal.heads([slot]))[slot]
        pages.last = head.position
        await by_hand.begin()
        while walk.position < head.position and len(result.findings) < FINDINGS_PER_SLOT:
            rows = await pages.after(walk.position)
            if not rows:
                if head.position != BEHIND_ALL:
                    await by_hand.cross(head.position + 1)
                break
            await entities.load(rows)
            before = walk.records
            index = 0
            while (index := walk.go(rows, index)) < len(rows) and len(result.findings) < FINDINGS_PER_SLOT:
                await by_hand.look(rows[index])
                walk.records += 1
                index += 1
            await check_snapshots(journal, walk, result)
            if progress is not None:
                progress(walk.records - before)
        if len(result.findings) < FINDINGS_PER_SLOT:
            await check_later_snapshots(journal, entities, result)
            beside = Beside()
            await check_seals(journal, slot, by_hand.sealed, result, beside)
            slots = None if damage_of(meta) is not None else meta.slots
            await check_directory(journal, slot, slots, entities, result, beside)
            result.beside = beside.digest
    except (JournalUnavailableError, JournalCorruptError) as error:
        if not _is_damage(error):
            raise
        result.findings.append(
            Finding(slot, walk.position + 1, None, Wrong.FILE, f"The database cannot read this record: {error}")
        )
    finally:
        await pages.close()
    result.position, result.hash = walk.position, walk.hash or bytes(32)
    result.epoch, result.recorded_at = walk.epoch, walk.recorded_at
    result.records = walk.records
    result.findings.sort(key=lambda finding: finding.position or 0)
    return result


class _Pages:
    """The pages of a slot up to a position."""

    def __init__(self, journal: EventJournal, slot: int, *, read_ahead: bool) -> None:
        self._journal = journal
        self._slot = slot
        self.last = 0
        self._read_ahead = read_ahead
        self._next: tuple[int, asyncio.Task[Sequence[EventRow]]] | None = None

    async def after(self, position: int) -> Sequence[EventRow]:
        """Return the page after a position."""
        ahead, self._next = self._next, None
        if ahead is not None and ahead[0] == position:
            rows = await ahead[1]
        else:
            if ahead is not None:
                await asyncio.gather(ahead[1], return_exceptions=True)
            rows = await self._read(position)
        last = _position(rows[-1]) if rows else 0
        if last > self.last:
            rows = [row for row in rows if _position(row) <= self.last]
        elif self._read_ahead and rows and last < self.last:
            self._next = last, asyncio.create_task(self._read(last))
            await asyncio.sleep(0)  # so that the question is on its way before the page is walked over
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

    async def close(self) -> None:
        """Let go of the page that was asked for."""
        if self._next is not None:
            await asyncio.gather(self._next[1], return_exceptions=True)


def _position(row: EventRow) -> int:
    """Return a record's position; what is none stands where the database sorts it."""
    return row[1] if type(row[1]) is int else event_of(row).position


def _is_damage(error: Exception) -> bool:
    """Tell damage that is in the file, which is a finding, from a database that cannot be reached, which is none."""
    return isinstance(error, JournalCorruptError) or "decode" in str(error)
