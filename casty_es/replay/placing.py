"""Where a structure's entities are, and which number of shards explains it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from casty_es.domain.catalog import CATALOG
from casty_es.errors import CastyError
from casty_es.hashes import shard_of, slot_of
from casty_es.journal.damaged import damage_of
from casty_es.journal.port import ENTITY_NUMBER_BITS, DirectoryRow, EventJournal
from casty_es.names import MAX_NAME_BYTES, check_name

# A structure with more shards than this, or than fit its few entities, is not found.
_MOST_SHARDS: Final = 100_000

_HASHES: Final = 2**64  # with so many shards, an entity's is its whole hash


async def entities_of(journal: EventJournal, kind: str, name: str) -> AsyncIterator[list[DirectoryRow]]:
    """Yield the entities of a structure, page by page, each once.

    A key that cannot be read says nothing of where it stands: the next page begins behind one that can be.
    """
    after: str | None = None
    unreadable: set[int] = set()
    while page := await journal.directory(kind, name, after=after):
        yield [row for row in page if row.id not in unreadable]
        unreadable.update(row.id for row in page if damage_of(row) is not None)
        reached = next((row.key for row in reversed(page) if row.id not in unreadable), after)
        if reached == after:
            return
        after = reached


async def fitting_shards(journal: EventJournal, kind: str, name: str, slots: int) -> int | None:
    """Find the number of shards that puts every entity of a structure where it is; ``None`` if none does.

    Few entities fit several numbers: the one that handles have by themselves comes first, then the smallest.
    """
    if kind not in CATALOG or not _named(name):
        return None
    usual = CATALOG[kind].usual_shards
    for candidates in (range(usual, usual + 1), range(1, _MOST_SHARDS + 1)):
        fitting: Sequence[int] = candidates
        async for rows in entities_of(journal, kind, name):
            if any(damage_of(row) is not None or len(row.key) > MAX_NAME_BYTES + 2 for row in rows):
                return None  # no program wrote it, so it says nothing; hashing a long key so often would take minutes
            places = [(row.key, row.id >> ENTITY_NUMBER_BITS) for row in rows]
            fitting = await asyncio.to_thread(_fitting, kind, name, places, fitting, slots)
            if not fitting:
                break
        if fitting:
            return fitting[0]
    return None


def _named(name: str) -> bool:
    """Return whether a program could have given this name: a search by any other would be long, and find nothing."""
    try:
        check_name(name)
    except CastyError:
        return False
    return True


def _fitting(
    kind: str, name: str, places: Sequence[tuple[str, int]], candidates: Sequence[int], slots: int
) -> list[int]:
    hashed = [(shard_of(kind, name, key, _HASHES), slot) for key, slot in places]
    return [
        shards
        for shards in candidates
        if all(slot_of(kind, name, hash_ % shards, slots) == slot for hash_, slot in hashed)
    ]
