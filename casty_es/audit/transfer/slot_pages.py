"""One slot of a journal as pages of lines, as it was at a position, while the program goes on writing.

The order is: each entity by its id, with the salts that a redaction set aside; seals; events; snapshots. So whoever
reads it can check every event with what came before.

1. What was appended after the position is looked at behind every page of entities or snapshots. An entity that was born
   after it is left out; of one that had later events, whether it exists is computed, and later snapshots are left out.
2. A redaction or a cut changes what stands before the position. If one happened since the slot was begun, ``moved``
   says so: the slot has to be read again, up to the record that says it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from hashlib import sha256
from typing import Final, cast

import msgspec

from casty_es.audit.lines import (
    DamagedLine,
    EntityLine,
    Line,
    SaltLine,
    SealLine,
    SnapshotLine,
    decode_line,
    encode_line,
    event_line,
)
from casty_es.audit.seals import packed
from casty_es.audit.transfer.places import Filter, Page, Place, Section
from casty_es.domain.catalog import CATALOG
from casty_es.errors import CastyError, InvalidValueError
from casty_es.format.chain import UNSALTED
from casty_es.journal.damaged import damage_of
from casty_es.journal.port import DirectoryRow, EventJournal, EventRow, RecordedEvent, RetiredSalt
from casty_es.replay import state_at

_PAGE: Final = 2_000
_PAGE_CHARACTERS: Final = 4 * 1024 * 1024
_GROWTH: Final = 4
_UPKEEP: Final = UNSALTED - {"lease.acquired"}


class SlotReader:
    """Reads a slot up to a position.

    Where only some events are wanted there are no seals, salts and snapshots. ``moved`` says whether the slot has
    to be read again.
    """

    def __init__(self, journal: EventJournal, slot: int, position: int, wanted: Filter | None = None) -> None:
        self._journal = journal
        self._slot = slot
        self._position = position
        self._wanted = wanted
        self._scanned = position
        self._later: dict[int, int] = {}  # of each entity the first sequence after the position
        self._chosen: set[int] | None = None
        self.moved = False

    async def pages(self, start: Place) -> AsyncGenerator[Page, None]:
        """Yield the pages behind a place; their digests are left to the caller."""
        place = start
        if place.section <= Section.HEAD:
            place = _next(place, Section.ENTITIES)
            place = msgspec.structs.replace(place, upkeep=await self._upkeep(), retired=())
        parts = {Section.ENTITIES: self._entities, Section.EVENTS: self._events}
        if self._wanted is None:
            parts |= {Section.SEALS: self._seals, Section.SNAPSHOTS: self._snapshots}
        elif place.section > Section.ENTITIES:
            await self._choose()
        for section in sorted(parts):
            if section < place.section:
                continue
            if section > place.section:
                place = _next(place, section)
            async for page in parts[section](place):
                yield page
                place = page.place
        await self._scan()
        if self._wanted is None and await self._changed(place):
            self.moved = True

    async def _changed(self, place: Place) -> bool:
        retired = {salt.entity for salt in await self._journal.retired_salts(place.retired)} if place.retired else set()
        return await self._upkeep() != place.upkeep or retired != set(place.retired)

    async def _upkeep(self) -> str:
        """Return a digest of what was cut."""
        whole, after = sha256(), 0
        while page := await self._journal.seals(self._slot, after=after, limit=_PAGE):
            for row in page:
                whole.update(packed(row) + row.sealed_by.to_bytes(8, "big", signed=True))
            after = page[-1].last
        return whole.hexdigest()

    async def _scan(self) -> None:
        """Look at what was appended after the position."""
        while rows := await self._journal.records(self._slot, after=self._scanned, limit=_PAGE):
            for row in rows:
                if row.entity is not None and row.sequence is not None:
                    self._later.setdefault(row.entity, row.sequence)
                if row.type in _UPKEEP and self._wanted is None:
                    self.moved = True
            self._scanned = rows[-1].position

    async def _entities(self, place: Place) -> AsyncGenerator[Page, None]:
        while rows := await self._journal.slot_directory(self._slot, after=place.after[0], limit=_PAGE):
            await self._scan()
            lines: list[Line] = []
            salts = await self._salts([row.id for row in rows if row.salted_from])
            for row in rows:
                then = await self._then(row)
                if then is None or not self._is_wanted(row):
                    continue
                lines.append(_checked(EntityLine.of(then), then, "entity", then.slot, then.id))
                kept = salts.get(row.id, ())
                lines += [_checked(SaltLine.of(salt), salt, "salt", self._slot, salt.entity) for salt in kept]
            place = msgspec.structs.replace(
                place,
                after=(rows[-1].id, 0),
                retired=(*place.retired, *salts),
                entities=place.entities + sum(isinstance(line, EntityLine) for line in lines),
                damaged=place.damaged + _damaged(lines),
            )
            yield Page(lines, place)

    async def _salts(self, entities: list[int]) -> dict[int, list[RetiredSalt]]:
        salts: dict[int, list[RetiredSalt]] = {}
        if entities and self._wanted is None:
            for salt in await self._journal.retired_salts(entities):
                salts.setdefault(salt.entity, []).append(salt)
        return salts

    async def _then(self, row: DirectoryRow) -> DirectoryRow | None:
        """Return an entity's row as of the position; ``None`` if it was not there."""
        later = self._later.get(row.id)
        if self._wanted is not None:
            row = row._replace(salt=None)  # whoever has it could guess at what was redacted
        if later is None or later == 1:
            return row if later is None else None
        kind = CATALOG.get(row.kind)
        if kind is None:
            return row
        try:
            return row._replace(alive=kind.exists(await state_at(self._journal, row.id, kind, later - 1)))
        except CastyError:  # check-replay is there to say what is wrong with it
            return row

    def _is_wanted(self, row: DirectoryRow) -> bool:
        wanted = self._wanted
        if wanted is None or (wanted.kind is None and wanted.name is None):
            return True
        if self._chosen is None:
            self._chosen = set()
        if wanted.kind in {None, row.kind} and wanted.name in {None, row.name}:
            self._chosen.add(row.id)
            return True
        return False

    async def _choose(self) -> None:
        """Find the entities that are wanted once more, to go on behind them."""
        after = 0
        while rows := await self._journal.slot_directory(self._slot, after=after, limit=_PAGE):
            for row in rows:
                self._is_wanted(row)
            after = rows[-1].id

    async def _seals(self, place: Place) -> AsyncGenerator[Page, None]:
        while rows := await self._journal.seals(self._slot, after=place.after[0], limit=_PAGE):
            lines = [_checked(SealLine.of(self._slot, row), row, "seal", self._slot, row.last) for row in rows]
            damaged = _damaged(lines)
            place = msgspec.structs.replace(
                place,
                after=(rows[-1].last, 0),
                seals=place.seals + len(rows) - damaged,
                damaged=place.damaged + damaged,
            )
            yield Page(lines, place)

    async def _events(self, place: Place) -> AsyncGenerator[Page, None]:
        while place.after[0] < self._position:
            limit = min(place.events, self._position - place.after[0])
            rows = await self._journal.records(self._slot, after=place.after[0], limit=limit)
            if rows and rows[-1].position > self._position:  # some before were cut
                rows = [row for row in rows if row.position <= self._position]
            if not rows:
                return
            lines = [_event_line(row) for row in rows if self._wanted is None or self._event_wanted(row)]
            damaged = _damaged(lines)
            place = msgspec.structs.replace(
                place,
                after=(rows[-1].position, 0),
                records=place.records + len(lines) - damaged,
                damaged=place.damaged + damaged,
                events=_next_page(place.events, rows),
            )
            yield Page(lines, place)

    def _event_wanted(self, row: RecordedEvent) -> bool:
        wanted = self._wanted
        assert wanted is not None  # noqa: S101 - asked before
        if damage_of(row) is not None:
            return True  # nobody can tell
        if self._chosen is not None and row.entity not in self._chosen:
            return False
        if (wanted.kind is not None or wanted.name is not None) and self._chosen is None:
            return False
        time = row.recorded_at
        return (wanted.after is None or time > wanted.after) and (wanted.until is None or time <= wanted.until)

    async def _snapshots(self, place: Place) -> AsyncGenerator[Page, None]:
        # One by one: a state is as large as all that it is of.
        while rows := await self._journal.slot_snapshots(self._slot, after=place.after, limit=1):
            await self._scan()
            lines = [
                _checked(SnapshotLine.of(entity, row), row, "snapshot", self._slot, entity)
                for entity, row in rows
                if entity not in self._later or row.sequence < self._later[entity]
            ]
            after, damaged = (rows[-1][0], rows[-1][1].sequence), _damaged(lines)
            snapshots = place.snapshots + len(lines) - damaged
            place = msgspec.structs.replace(place, after=after, snapshots=snapshots, damaged=place.damaged + damaged)
            yield Page(lines, place)


def _next_page(events: int, rows: Sequence[RecordedEvent]) -> int:
    """Return how many events to ask for next: as many as have a page's characters, if they are like the last ones."""
    found = sum(len(row.payload) + len(row.metadata or "") for row in rows)
    return max(1, min(_PAGE, events * _GROWTH, len(rows) * _PAGE_CHARACTERS // max(found, 1)))


def _next(place: Place, section: int) -> Place:
    return msgspec.structs.replace(place, section=section, after=(0, 0))


# A row that cannot be written down has a line in its place that says so. Numbers that no program writes can be
# written, and not be read again: so they stand in such a line too.


def _event_line(row: RecordedEvent) -> Line:
    damage = damage_of(row)
    if damage is not None:
        return DamagedLine("event", row.slot, row.position, damage)
    return event_line(cast("EventRow", msgspec.structs.astuple(row)))


def _checked(line: Line, row: object, of: str, slot: int, number: int) -> Line:
    damage = damage_of(row)
    if damage is None:
        try:
            decode_line(encode_line(line))
        except InvalidValueError as error:
            damage = str(error.__cause__)
    return line if damage is None else DamagedLine(of, slot, number, damage)


def _damaged(lines: Iterable[Line]) -> int:
    return sum(isinstance(line, DamagedLine) for line in lines)
