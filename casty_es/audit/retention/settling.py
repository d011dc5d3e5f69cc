"""Putting right the archives that an interrupted run left open: they keep what was cut of them, and nothing else.

What was archived and not cut is archived again by the next cut. If it stayed in the first archive too, a redaction
would not know of it, because no seal names that archive.
"""

from __future__ import annotations

import asyncio
from itertools import groupby
from pathlib import Path

from casty_es.audit.archive import Changeable, closed, opened, read_archive, rewrite_archive
from casty_es.audit.lines import EntityLine
from casty_es.audit.retention.archive_check import refuse_changed_archive
from casty_es.audit.seals import decode_sealed
from casty_es.domain.upkeep import SEALED
from casty_es.journal.maintenance import Maintenance
from casty_es.journal.sql import SqlJournal


async def settle_archives(journal: SqlJournal, folder: Path) -> None:
    """Take out of each open archive what no seal says was cut, and give it its name; one that is left empty goes."""
    for file in await asyncio.to_thread(_open_ones, folder):
        entities = await asyncio.to_thread(_entities_in, file)
        kept = {entity for entity in entities if await _was_cut(journal, entity, closed(file).name)}
        if not kept:
            await asyncio.to_thread(file.unlink)
            continue

        def change(line: Changeable, kept: set[int] = kept) -> Changeable | None:
            return line if (line.id if isinstance(line, EntityLine) else line.entity) in kept else None

        await refuse_changed_archive(journal, file, kept)
        if kept != entities:
            await asyncio.to_thread(rewrite_archive, file, change)
        await asyncio.to_thread(file.rename, closed(file))


def _open_ones(folder: Path) -> list[Path]:
    return sorted(folder.glob(opened(Path("casty-*.jsonl.gz")).name))


def _entities_in(file: Path) -> set[int]:
    return {row.id for row, _ in groupby(read_archive(file), key=lambda pair: pair[0])}


async def _was_cut(journal: SqlJournal, entity: int, archive: str) -> bool:
    """Return whether rows of an entity name a seal that names this archive."""
    for sequence in await Maintenance(journal).seal_sequences(entity):
        for event in await journal.history(entity, after=sequence - 1, limit=1):
            if event.type == SEALED and decode_sealed(event.payload).archive == archive:
                return True
    return False
