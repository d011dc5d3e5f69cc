"""Whether an archive holds what was cut: its events give the hashes that the journal's seals have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, TypeAlias

from casty_es.audit.archive import read_archive
from casty_es.audit.links import salt_at
from casty_es.journal.maintenance import Maintenance
from casty_es.journal.port import DirectoryRow, EventRow, RecordedEvent, RetiredSalt, SealRow, record_hash
from casty_es.journal.sql import SqlJournal
from casty_es.redacted import UNPROVEN, redacted_digest

__all__ = ["check_archive"]

_Pair: TypeAlias = tuple[DirectoryRow, EventRow]

_MOST: Final = 25


async def check_archive(journal: SqlJournal, file: Path) -> list[str]:
    """Give what is wrong with an archive, in sentences; nothing if it holds what was cut under the journal's seals.

    Every event's hash is computed from the archive, the salts and names in the journal, and the hash before its run,
    which the seal has. So an archive is checked that was redacted since, too.

    Raises
    ------
    InvalidValueError
        The file cannot be read, or is no archive.
    """
    wrong: list[str] = []
    groups = groupby(read_archive(file), key=lambda pair: pair[0])
    while len(wrong) < _MOST and (found := await asyncio.to_thread(_next, groups)) is not None:
        wrong += await _check_entity(journal, *found)
    return wrong


def _next(groups: Iterator[tuple[DirectoryRow, Iterator[_Pair]]]) -> tuple[DirectoryRow, list[EventRow]] | None:
    """Give the next entity of an archive, and its events."""
    for row, group in groups:
        return row, [event for _, event in group]
    return None


async def _check_entity(journal: SqlJournal, row: DirectoryRow, events: Sequence[EventRow]) -> list[str]:
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
        run = [by_position.get(position) for position in range(seal.first, seal.last + 1)]
        covered += len(run)
        if text := _wrong_run(seal, run, rows[0], salts):
            wrong.append(f"Positions {seal.first} to {seal.last} of slot {row.slot}, {called}: {text}")
    if covered != len(events) and not wrong:
        wrong.append(f"{len(events) - covered} events of {called} stand in the archive, and no seal speaks of them.")
    return wrong


def _wrong_run(
    seal: SealRow, run: Sequence[EventRow | None], row: DirectoryRow, salts: Sequence[RetiredSalt]
) -> str | None:
    previous = seal.previous_hash
    for event in run:
        if event is None:
            return "events are missing."
        record = RecordedEvent(*event)
        salt = salt_at(row, salts, record.sequence or 0)
        computed = record_hash(previous, record, salt, row.entity_name)
        previous = record.hash
        if computed != record.hash and not _unproven(record):
            return f"event {record.sequence} is not the one that was cut."
    return None if previous == seal.hash else "the last event is not the one that was sealed."


def _unproven(record: RecordedEvent) -> bool:
    """Tell whether a value was taken out when nothing could tell its digest any more: the next record's hash tells."""
    return UNPROVEN in {redacted_digest(text) for text in (record.payload, record.metadata) if text is not None}
