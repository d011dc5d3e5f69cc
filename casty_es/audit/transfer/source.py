"""A whole journal as pages of lines: what a file, a folder of Parquet, and another database are made from."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec

from casty_es.audit.lines import DamagedLine, EndLine, JournalLine, Line, SlotLine, StructureLine, after_line
from casty_es.audit.transfer.places import EVENTS_FORMAT, FORMAT, Cut, Filter, Page, Place, Section
from casty_es.audit.transfer.slot_pages import SlotReader
from casty_es.journal.damaged import damage_of
from casty_es.journal.port import EventJournal, StructureRow


class MovedError(Exception):
    """Something was cut or redacted in a slot while it was read, so that what was read does not fit together."""

    def __init__(self, slot: int) -> None:
        super().__init__(slot)
        self.slot = slot


async def take_cut(journal: EventJournal, wanted: Filter | None = None) -> Cut:
    """Return the journal's heads as of now: every operation that was acknowledged before is in it."""
    meta = await journal.open()
    heads = await journal.heads(range(meta.slots))
    line = JournalLine(
        FORMAT if wanted is None else EVENTS_FORMAT, meta.slots, await journal.incarnation(), meta.created_at
    )
    there = {slot: (head.position, head.hash.hex()) for slot, head in sorted(heads.items()) if head.position}
    return Cut(line, there, wanted)


class Source:
    """Reads a journal, each slot as far as ``cut`` says; ``extend`` moves that."""

    def __init__(self, journal: EventJournal, cut: Cut) -> None:
        self._journal = journal
        self.cut = cut

    async def extend(self, slot: int) -> None:
        """Read a slot up to the head that it has now."""
        head = (await self._journal.heads([slot]))[slot]
        self.cut = msgspec.structs.replace(self.cut, heads={**self.cut.heads, slot: (head.position, head.hash.hex())})

    async def pages(self, start: Place) -> AsyncGenerator[Page, None]:
        """Yield the pages behind a place.

        The pages of a slot may prove worthless when it ends: ``MovedError`` if it has to be read again.
        """
        place, wanted = start, self.cut.filter
        if place.slot < 0:
            lines: list[Line] = [self.cut.journal]
            lines += [
                _structure_line(row)
                for row in await self._journal.structure_rows()
                if wanted is None or (wanted.kind in {None, row.kind} and wanted.name in {None, row.name})
            ]
            damaged = sum(isinstance(line, DamagedLine) for line in lines)
            place = Place(slot=0, digest=_digested(place.digest, lines), damaged=damaged)
            yield Page(lines, place)
        for slot in self.cut.heads:
            if slot < place.slot:
                continue
            if slot > place.slot:
                place = msgspec.structs.replace(place, slot=slot, section=Section.HEAD, after=(0, 0))
            async for page in self._slot(place):
                place = page.place
                yield page
        if wanted is None:
            yield Page([EndLine(place.slots, place.digest.hex())], place)

    async def _slot(self, place: Place) -> AsyncGenerator[Page, None]:
        """Yield a slot's pages, with its line before them and the digests that they make."""
        slot, digest = place.slot, place.digest
        position, hash_ = self.cut.heads[slot]
        reader = SlotReader(self._journal, slot, position, self.cut.filter)
        first: list[Line] = []
        if place.section == Section.HEAD:
            place = msgspec.structs.replace(place, slots=place.slots + 1)
            if self.cut.filter is None:
                first = [SlotLine(slot, position, hash_, digest.hex())]
        async for page in reader.pages(place):
            page.lines[:0] = first
            first = []
            digest = _digested(digest, page.lines)
            page.place = msgspec.structs.replace(page.place, digest=digest)
            yield page
        if reader.moved:
            raise MovedError(slot)


def _structure_line(row: StructureRow) -> Line:
    if (damage := damage_of(row)) is not None:
        return DamagedLine("structure", 0, 0, damage)
    if row.shards:
        return StructureLine(*row)
    return DamagedLine("structure", 0, 0, f"the {row.kind} {row.name!a} is not recorded with a number of shards")


def _digested(digest: bytes, lines: list[Line]) -> bytes:
    for line in lines:
        digest = after_line(digest, line)
    return digest
