"""Filling a database with lines: their order, their chain and their digests are checked before anything is written.

Lines come one after the other and are written in batches. What a batch finds in the database must be what it would have
written: so a run that was interrupted is gone on with by beginning with the first line again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from casty_es.audit.lines import (
    DamagedLine,
    EndLine,
    EntityLine,
    EventLine,
    JournalLine,
    Line,
    SaltLine,
    SealLine,
    SlotLine,
    SnapshotLine,
    StructureLine,
    after_line,
    size_of,
)
from casty_es.audit.transfer.places import EVENTS_FORMAT, FORMAT
from casty_es.audit.transfer.report import TransferReport
from casty_es.audit.transfer.slot_chain import SlotChain, refused
from casty_es.errors import ConfigurationError, InvalidValueError, JournalCorruptError
from casty_es.journal.port import EMPTY_SLOT, ENTITY_NUMBER_BITS, EventRow, Head, Meta
from casty_es.journal.restoring import Restored, Restoring
from casty_es.names import MAX_IDEMPOTENCY_KEY_BYTES, MAX_NAME_BYTES

_EVENTS: Final = 5_000
_OTHERS: Final = 2_000
_BYTES: Final = 16 * 1024 * 1024
_ENTITIES: Final = 20_000  # in memory; of the others the database is asked
_LONGEST_KEY: Final = MAX_NAME_BYTES + 2  # with its tag
_SEALS: Final = 1_000
_SALTS: Final = 1_000  # of one entity; each is what a redaction left that was never finished

_Row: TypeAlias = EntityLine | SaltLine | SealLine | SnapshotLine
_OtherLine: TypeAlias = JournalLine | StructureLine | SlotLine | EndLine | DamagedLine | _Row

# In which order kinds of lines stand in a slot; a salt stands behind its entity.
_RANK: Final[dict[type[Any], int]] = {
    SlotLine: 0,
    EntityLine: 1,
    SaltLine: 1,
    SealLine: 2,
    EventLine: 3,
    SnapshotLine: 4,
}


def first_line(line: Line | None) -> Meta:
    """Return the journal that a file is of; ``InvalidValueError`` if it is no export, or one of some events only."""
    if not isinstance(line, JournalLine) or line.format not in {FORMAT, EVENTS_FORMAT}:
        raise InvalidValueError("This is not an export that this version can read. Nothing was written.")
    if line.format == EVENTS_FORMAT:
        raise InvalidValueError(
            "This export holds some of a journal's events only, so no journal can be made of it. Nothing was written. "
            "Export again without a filter."
        )
    return Meta(line.slots, line.incarnation, line.created_at)


class Filling:
    """Fills one database."""

    def __init__(self, database: Restoring, meta: Meta) -> None:
        self._database = database
        self._meta = meta
        self._digest = bytes(32)
        self._chain: SlotChain | None = None
        self._until: SlotLine | None = None
        self._there = EMPTY_SLOT  # what the slot has in the database
        self._order: tuple[int, ...] = ()
        self._salts = 0
        self._structure: tuple[str, str] | None = None
        self._restored = Restored()
        self._events: list[tuple[int, EventLine]] = []
        self._waiting = self._bytes = 0
        self._ended = False
        self.report = TransferReport()

    async def take(self, number: int, line: Line) -> None:
        """Take the next line.

        Raises ``InvalidValueError`` if it does not belong here, ``ConfigurationError`` if the database has
        something else. What was written before stays.
        """
        if isinstance(line, EventLine):
            if not self._events:
                self._enter(number, line)
            _check_bounds(number, "type", line.type, MAX_NAME_BYTES)
            _check_bounds(number, "idempotency key", line.idempotency_key, MAX_IDEMPOTENCY_KEY_BYTES)
            self._events.append((number, line))
            self._bytes += size_of(line)
            if len(self._events) >= _EVENTS or self._bytes >= _BYTES:
                await self._write_events()
            return
        if self._events:
            await self._write_events()
        self._bytes += size_of(line)
        await self._take_other(number, line)
        if self._waiting >= _OTHERS or self._bytes >= _BYTES:
            await self._write()

    async def _take_other(self, number: int, line: _OtherLine) -> None:
        if isinstance(line, SlotLine | EndLine) and line.digest != self._digest.hex():
            raise refused(number, "the lines before it are not those that were exported")
        self._digest = after_line(self._digest, line)
        match line:
            case JournalLine():
                if number != 1:
                    raise refused(number, "it is the first line of another export")
            case StructureLine():
                self._take_structure(number, line)
            case SlotLine():
                await self._take_slot(number, line)
            case EndLine():
                await self._take_end(number, line)
            case DamagedLine():
                raise JournalCorruptError(
                    f"Line {number}: the journal that was read is damaged, so no journal can be made of it: "
                    f"{line.of}, slot {line.slot}, {line.number}: {line.why}. It and what comes behind it was not "
                    f"written. Restore that row, or the journal, from a backup."
                )
            case _:
                self._take_row(number, line)

    async def end(self) -> None:
        """Make the database a journal, behind the last line; ``InvalidValueError`` if that never came."""
        if not self._ended:
            raise InvalidValueError(
                "The export is not whole: its last line is missing. What was written is right, and not complete: "
                "nothing opens that database until an import into it is."
            )
        await self._database.finish(self._meta)

    def _take_structure(self, number: int, line: StructureLine) -> None:
        if self._chain is not None or (self._structure or ("", "")) >= (line.kind, line.name):
            raise refused(number, "it does not stand in its order")
        _check_bounds(number, "kind", line.kind, MAX_NAME_BYTES)
        _check_bounds(number, "name", line.name, MAX_NAME_BYTES)
        _check_bounds(number, "retention", line.keep, MAX_NAME_BYTES)
        self._structure = line.kind, line.name
        self._restored.structures.append(line.to_row())
        self._waiting += 1

    async def _take_slot(self, number: int, line: SlotLine) -> None:
        self._close_slot(number)
        if line.slot >= self._meta.slots or (self._until is not None and line.slot <= self._until.slot):
            raise refused(number, f"slot {line.slot} does not stand in its order")
        await self._write()
        self._chain, self._until, self._order = SlotChain(line.slot), line, (0,)
        self._there = await self._database.head(line.slot)
        if self._there.position > line.position:
            raise _other(line.slot, line.position + 1)
        self.report.slots += 1

    async def _take_end(self, number: int, line: EndLine) -> None:
        self._close_slot(number)
        if line.slots != self.report.slots:
            raise refused(number, f"it tells of {line.slots} slots, and there were {self.report.slots}")
        await self._write()
        self._ended = True

    def _close_slot(self, number: int) -> None:
        if self._ended:
            raise refused(number, "it stands behind the last line")
        until, chain = self._until, self._chain
        if until is None or chain is None:
            return
        if (chain.head.position, chain.head.hash.hex()) != (until.position, until.hash):
            raise refused(
                number, f"slot {until.slot} ends before it at {chain.head.position}, and it goes up to {until.position}"
            )

    def _take_row(self, number: int, line: _Row) -> None:
        self._enter(number, line)
        chain, restored = self._chain, self._restored
        assert chain is not None  # noqa: S101 - entered
        match line:
            case EntityLine():
                _check_bounds(number, "kind", line.kind, MAX_NAME_BYTES)
                _check_bounds(number, "name", line.name, MAX_NAME_BYTES)
                _check_bounds(number, "key", line.key or None, _LONGEST_KEY)
                row = line.to_row()
                restored.entities.append(row)
                if len(chain.entities) < _ENTITIES:
                    chain.entities[row.id] = row
                self._salts = 0
                self.report.entities += 1
            case SaltLine():
                restored.salts.append(line.to_row())
                self._salts += 1
                if self._salts > _SALTS:
                    raise refused(number, f"its entity has more than {_SALTS:,} salts that were set aside")
            case SealLine():
                restored.seals.append((line.slot, line.to_row()))
                self.report.seals += 1
            case SnapshotLine():
                restored.snapshots.append((line.entity, line.to_row()))
                self.report.snapshots += 1
        self._waiting += 1

    def _enter(self, number: int, line: EventLine | _Row) -> None:
        """Check that a line stands in its place."""
        if self._chain is None:
            raise refused(number, "it stands before the first slot")
        if self._ended:
            raise refused(number, "it stands behind the last line")
        slot = line.entity >> ENTITY_NUMBER_BITS if isinstance(line, SaltLine | SnapshotLine) else line.slot
        if isinstance(line, EntityLine) and line.id >> ENTITY_NUMBER_BITS != slot:
            slot = -1
        if slot != self._chain.slot:
            raise refused(number, f"it is not of slot {self._chain.slot}")
        if isinstance(line, EventLine):
            order: tuple[int, ...] = (_RANK[EventLine],)
            wrong = order < self._order[:1]
        else:
            order = (_RANK[type(line)], *_key(line))
            wrong = order <= self._order
        if wrong:
            raise refused(number, "it does not stand in its order, or it stands there twice")
        self._order = order

    async def _write_events(self) -> None:
        """Check the events that wait, and write those that are not there yet."""
        chain, events = self._chain, self._events
        assert chain is not None  # noqa: S101 - events wait in a slot only
        await self._write()
        self._events, self._bytes = [], 0
        await self._get_to_know({line.entity for _, line in events if line.entity is not None})
        before, behind = chain.head, chain.head
        new: list[EventRow] = []
        there = 0
        for number, line in events:
            while chain.needs_seals(number, line):
                chain.add_seals(number, await self._database.seals(chain.slot, chain.seals_until, _SEALS))
            row = chain.check(number, line)
            if row[1] <= self._there.position:
                there, before = there + 1, chain.head
            else:
                new.append(row)
        if there:
            await self._compare(chain.slot, behind, [line.to_row() for _, line in events[:there]])
        if new:
            if self._there.position > before.position:
                raise _other(chain.slot, before.position + 1)
            await self._database.write(Restored(chain.slot, before, events=new))
            self._there = chain.head
        self.report.records += len(events)

    async def _get_to_know(self, wanted: set[int]) -> None:
        chain = self._chain
        assert chain is not None  # noqa: S101 - as above
        unknown = sorted(wanted - chain.entities.keys())
        if unknown:
            if len(chain.entities) + len(unknown) > _ENTITIES:
                chain.entities.clear()
                unknown = sorted(wanted)
            for row in await self._database.entity_rows(unknown):
                chain.entities[row.id] = row
        redacted = sorted(id_ for id_ in wanted if id_ in chain.entities and chain.entities[id_].salted_from)
        chain.retired = {}
        for salt in await self._database.retired_salts(redacted) if redacted else []:
            chain.retired.setdefault(salt.entity, []).append(salt)

    async def _compare(self, slot: int, behind: Head, rows: Sequence[EventRow]) -> None:
        """Check that an interrupted run wrote what this one would."""
        there = await self._database.rows(slot, behind.position, len(rows))
        for ours, theirs in zip(rows, there, strict=False):
            if ours != theirs:
                raise _other(slot, theirs[1])
        if len(there) != len(rows):
            raise _other(slot, behind.position + 1)

    async def _write(self) -> None:
        """Write what waits besides events."""
        if self._waiting:
            restored, self._restored, self._waiting, self._bytes = self._restored, Restored(), 0, 0
            await self._database.write(restored)


def _key(line: _Row) -> tuple[int, ...]:
    match line:
        case EntityLine():
            return line.id, -1
        case SaltLine():
            return line.entity, line.through
        case SealLine():
            return line.last, 0
        case SnapshotLine():
            return line.entity, line.sequence


def _check_bounds(number: int, what: str, text: str | None, longest: int) -> None:
    """Refuse what no program could have named, and what another database could not hold."""
    if text is not None and (not 0 < len(text) <= longest or len(text.encode()) > longest or "\0" in text):
        raise refused(number, f"its {what} is not of 1 to {longest} bytes without NUL")


def _other(slot: int, position: int) -> ConfigurationError:
    return ConfigurationError(
        f"The database has other records in slot {slot} from position {position} on than the journal that is written "
        f"into it: what stood there was redacted or cut since, or another program wrote them. Nothing more was "
        f"written. Begin with a new database."
    )
