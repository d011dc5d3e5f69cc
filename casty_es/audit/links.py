"""Whether an entity's events are those that were written, asked before they are cut or rewritten.

What ``verify`` would name must not vanish with a cut: each event has to follow from the record before it, and the
record behind it has to follow from it, by the hashes of the chain. So a changed record is either refused here, or stays
where ``verify`` finds it (docs/decisions/0038-upkeep-verifies-first.md).
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from casty_es.errors import JournalCorruptError
from casty_es.format.chain import GENESIS, UNSALTED
from casty_es.format.redacted import redacted_digest
from casty_es.journal.maintenance import Maintenance
from casty_es.journal.port import DirectoryRow, EntityName, RecordedEvent, RetiredSalt, SealRow, record_hash
from casty_es.journal.sql import SqlJournal
from casty_es.replay import events

_PAGE: Final = 200  # with the records beside them three times as many, which may be large

_REMEDY: Final = (
    "Nothing of its entity was changed by this step. Verify the journal with `casty-es verify`, and restore the record "
    "from a backup, an export or a copy; then run the same command again."
)


def fits(previous: bytes, record: RecordedEvent, salt: bytes, name: EntityName | None) -> bool:
    """Return whether a record's hash follows from the hash before it and from its own fields."""
    try:
        return record_hash(previous, record, salt, name) == record.hash
    except (struct.error, TypeError, ValueError, OverflowError):  # no owner ever wrote numbers like these
        return False


def unexplained(record: RecordedEvent, salted_from: int) -> bool:
    """Return whether a value was replaced by its digest and no redaction of its entity says so."""
    redacted = any(text is not None and redacted_digest(text) for text in (record.payload, record.metadata))
    return redacted and (record.type in UNSALTED or (record.sequence or 0) > salted_from)


def salt_at(row: DirectoryRow, retired: Iterable[RetiredSalt], sequence: int) -> bytes:
    """Return the salt under which an entity's event was digested; empty when it was destroyed."""
    if sequence > row.salted_from:
        return row.salt or b""
    return next((one.salt for one in retired if one.entity == row.id and sequence <= one.through), b"")


async def linked_events(
    journal: SqlJournal, entity: int, *, after: int = 0, until: int | None = None
) -> AsyncIterator[tuple[RecordedEvent, bytes | None]]:
    """Yield an entity's events after a sequence, each with the hash of the record before it.

    The hash is ``None`` where that record was cut in the middle of a run that is sealed as a whole. An event that
    is missing, or not the one that was written there, is a ``JournalCorruptError`` with its slot and position.
    """
    page: list[RecordedEvent] = []
    last: RecordedEvent | None = None
    async for event in events(journal, entity, after=after, until=until):
        page.append(event)
        if len(page) == _PAGE:
            for pair in await _linked(journal, page, last):
                yield pair
            page, last = [], event
    for pair in await _linked(journal, page, last):
        yield pair


async def _linked(
    journal: SqlJournal, page: Sequence[RecordedEvent], last: RecordedEvent | None
) -> list[tuple[RecordedEvent, bytes | None]]:
    beside = await _Beside.read(journal, page)
    own = {event.position for event in page}
    pairs = []
    for event in page:
        if last is not None and event.sequence != (last.sequence or 0) + 1:
            why = f"event {(last.sequence or 0) + 1} of its entity is missing between position {last.position} and it"
            raise _wrong(event.slot, event.position, why)
        last = event
        previous = beside.hash_before(event.position)
        beside.refuse(event, previous)
        behind = beside.records.get(event.position + 1)
        if behind is None:
            beside.refuse_gap_behind(event)
        elif behind.position not in own:
            beside.refuse(behind, event.hash)
        pairs.append((event, previous))
    return pairs


class _Beside:
    """A page of an entity's events with the records before and behind each, and what their hashes are made with."""

    def __init__(self, head: int, records: dict[int, RecordedEvent]) -> None:
        self._head = head
        self.records = records
        self._seals: list[SealRow] = []
        self._rows: dict[int, DirectoryRow] = {}
        self._retired: list[RetiredSalt] = []

    @classmethod
    async def read(cls, journal: SqlJournal, page: Sequence[RecordedEvent]) -> _Beside:
        """Read all of it at once: a page has up to a thousand runs."""
        if not page:
            return cls(0, {})
        slot, maintenance = page[0].slot, Maintenance(journal)
        head = (await journal.heads([slot]))[slot].position  # first: what comes later stands behind it
        records = {event.position: event for event in page}
        around = {position + step for position in records for step in (-1, 1)} - records.keys() - {0}
        records |= {record.position: record for record in await maintenance.records_at(slot, sorted(around))}
        found = cls(head, records)
        found._seals = await maintenance.seals_at(slot, sorted(around - records.keys()))
        entities = sorted({record.entity for record in records.values() if record.entity is not None})
        found._rows = {row.id: row for row in await journal.entity_rows(entities)}
        found._retired = await journal.retired_salts(entities)
        return found

    def hash_before(self, position: int) -> bytes | None:
        """Return the hash of the record before a position."""
        if position == 1:
            return GENESIS
        if (record := self.records.get(position - 1)) is not None:
            return record.hash
        seal = self._seal_at(position - 1)
        if seal is None:
            slot = self.records[position].slot
            raise _wrong(slot, position - 1, "it is missing, and no seal says what stood there")
        return seal.hash if seal.last == position - 1 else None

    def refuse(self, record: RecordedEvent, previous: bytes | None) -> None:
        """Refuse a record that is not the one that was written behind this hash."""
        row = None if record.entity is None else self._rows.get(record.entity)
        if record.entity is not None and row is None:
            raise _wrong(record.slot, record.position, "the directory does not have its entity")
        salt = b"" if row is None else salt_at(row, self._retired, record.sequence or 0)
        if previous is not None and not fits(previous, record, salt, row and row.entity_name):
            raise _wrong(record.slot, record.position, "it is not the record that was written there")
        if row is not None and unexplained(record, row.salted_from):
            raise _wrong(
                record.slot,
                record.position,
                "a value was replaced by its digest, and no redaction of its entity says so",
            )

    def refuse_gap_behind(self, event: RecordedEvent) -> None:
        """Refuse an event behind which records are missing, or were cut that do not follow from it."""
        if event.position >= self._head:
            return
        seal = self._seal_at(event.position + 1)
        if seal is None:
            raise _wrong(event.slot, event.position + 1, "it is missing, and no seal says what stood there")
        if seal.first == event.position + 1 and seal.previous_hash != event.hash:
            raise _wrong(
                event.slot, event.position, "it is not the record that stood before those that were cut behind it"
            )

    def _seal_at(self, position: int) -> SealRow | None:
        return next((seal for seal in self._seals if seal.first <= position <= seal.last), None)


def _wrong(slot: int, position: int, why: str) -> JournalCorruptError:
    return JournalCorruptError(f"Slot {slot}, position {position}: {why}. {_REMEDY}")
