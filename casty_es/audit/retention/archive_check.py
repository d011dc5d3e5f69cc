"""Whether an archive holds what was cut: its events give the hashes that the journal's seals have.

Who rewrites one asks first: afterwards nobody could see what was changed in it before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, TypeAlias

from casty_es.audit.archive import closed, read_archive
from casty_es.audit.links import fits, linked_events, salt_at, unexplained
from casty_es.audit.seals import decode_sealed
from casty_es.domain.upkeep import SEALED
from casty_es.errors import JournalCorruptError
from casty_es.format.redacted import UNPROVEN, redacted_digest
from casty_es.journal.maintenance import Maintenance
from casty_es.journal.port import DirectoryRow, EventRow, RecordedEvent, RetiredSalt, SealRow
from casty_es.journal.sql import SqlJournal

_Pair: TypeAlias = tuple[DirectoryRow, EventRow]

_MOST: Final = 25


async def check_archive(journal: SqlJournal, file: Path) -> list[str]:
    """Return what is wrong with an archive, in sentences; nothing if it holds what was cut under the journal's seals.

    Every event's hash is computed from the archive, the salts and names in the journal, and the hash before its run,
    which the seal has. So an archive is checked that was redacted since, too.

    Raises
    ------
    InvalidValueError
        The file cannot be read, or is no archive.
    JournalCorruptError
        A seal in the journal is not the one that was written, so nothing can be told by it.
    """
    wrong: list[str] = []
    groups = groupby(read_archive(file), key=lambda pair: pair[0])
    while len(wrong) < _MOST and (found := await asyncio.to_thread(_next, groups)) is not None:
        wrong += await _check_entity(journal, closed(file).name, *found)
    return wrong


async def refuse_changed_archive(journal: SqlJournal, file: Path, entities: Collection[int]) -> None:
    """Refuse an archive in which events of some entities are not those that were cut.

    An event whose salt a redaction has destroyed can be told by nobody, and is let pass if its hash is in its
    place. ``InvalidValueError`` for a file that is no archive, ``JournalCorruptError`` for one that holds something
    else.
    """
    name = closed(file).name
    groups = groupby(read_archive(file), key=lambda pair: pair[0])
    while (found := await asyncio.to_thread(_next, groups)) is not None:
        row, events = found
        for wrong in await _check_entity(journal, name, row, events, without_salts=True) if row.id in entities else []:
            raise JournalCorruptError(
                f"The archive {file} was changed: {wrong} Nothing was changed by this step. Put a copy of it in its "
                f"place, which `casty-es retention check` finds right; then run the same command again."
            )


def _next(groups: Iterator[tuple[DirectoryRow, Iterator[_Pair]]]) -> tuple[DirectoryRow, list[EventRow]] | None:
    """Return the next entity of an archive, and its events."""
    for row, group in groups:
        return row, [event for _, event in group]
    return None


async def _check_entity(
    journal: SqlJournal, archive: str, row: DirectoryRow, events: Sequence[EventRow], *, without_salts: bool = False
) -> list[str]:
    called = f"the {row.kind} {row.name!r}" + (f", key {row.key[2:]!r}" if row.key else "")
    rows = await journal.entity_rows([row.id])
    if not rows or rows[0].entity_name != row.entity_name:
        return [f"The journal has no entity {row.id} that is {called}."]
    salts = await journal.retired_salts([row.id])
    by_position = {event[1]: event for event in events}
    seals = [seal async for seal in Maintenance(journal).seals_of(row.id) if seal.first in by_position]
    wrong: list[str] = []
    covered = 0
    for seal in seals:
        last = min(seal.last, seal.first + len(events))  # a seal that speaks of more misses one of these already
        run = [by_position.get(position) for position in range(seal.first, last + 1)]
        covered += len(run)
        if text := _wrong_run(seal, run, rows[0], salts, without_salts=without_salts):
            wrong.append(f"Positions {seal.first} to {seal.last} of slot {row.slot}, {called}: {text}")
    if covered != len(events) and not wrong:
        wrong.append(f"{len(events) - covered} events of {called} stand in the archive, and no seal speaks of them.")
    if not wrong and (text := await _missing(journal, archive, row.id, [event[4] or 0 for event in events])):
        wrong.append(f"Of {called} {text}")
    return wrong


async def _missing(journal: SqlJournal, archive: str, entity: int, sequences: Sequence[int]) -> str | None:
    """Return how events are missing of which the others say nothing: each stood between records of others."""
    if list(sequences) != list(range(sequences[0], sequences[0] + len(sequences))):
        return "events are missing, or stand in another order."
    for sequence in await Maintenance(journal).seal_sequences(entity):
        async for event, _ in linked_events(journal, entity, after=sequence - 1, until=sequence):  # and is believed
            if event.type != SEALED or (sealed := decode_sealed(event.payload)).archive != archive:
                continue
            first = sealed.through - sealed.events + 1
            if (sequences[0], sequences[-1]) != (first, sealed.through):
                return f"events are missing: its seal says that {first} to {sealed.through} are in it."
    return None


def _wrong_run(
    seal: SealRow,
    run: Sequence[EventRow | None],
    row: DirectoryRow,
    salts: Sequence[RetiredSalt],
    *,
    without_salts: bool,
) -> str | None:
    previous = seal.previous_hash
    for event in run:
        if event is None:
            return "events are missing."
        record = RecordedEvent(*event)
        sequence = record.sequence or 0
        salt = salt_at(row, salts, sequence)
        let_pass = _unproven(record) or (without_salts and not salt and sequence <= row.salted_from)
        if not let_pass and not fits(previous, record, salt, row.entity_name):
            return f"event {record.sequence} is not the one that was cut."
        if unexplained(record, row.salted_from):
            return f"a value of event {record.sequence} was replaced, and no redaction says so."
        previous = record.hash
    return None if previous == seal.hash else "the last event is not the one that was sealed."


def _unproven(record: RecordedEvent) -> bool:
    """Return whether a value was taken out whose digest nothing could tell any more: the next record's hash tells."""
    return UNPROVEN in {redacted_digest(text) for text in (record.payload, record.metadata) if text is not None}
