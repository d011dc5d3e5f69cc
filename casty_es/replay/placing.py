"""Where a structure's entities are, and which number of shards explains it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from casty_es.domain.catalog import CATALOG
from casty_es.errors import CastyError
from casty_es.hashes import shard_of, slot_of
from casty_es.journal.port import ENTITY_NUMBER_BITS, EventJournal
from casty_es.names import MAX_NAME_BYTES, check_name

__all__ = ["fitting_shards"]

# What handles have when their caller gives no number.
_USUAL_SHARDS: Final = 100
_USUAL_SHARDS_OF: Final = {"barrier": 10}

# A structure with more shards than this, or than fit its few entities, is not found.
_MOST_SHARDS: Final = 100_000


async def fitting_shards(journal: EventJournal, kind: str, name: str, slots: int) -> int | None:
    """Find the number of shards that puts every entity of a structure where it is.

    Few entities fit several numbers: the one that handles have by themselves comes first, then the smallest.

    Parameters
    ----------
    kind, name : str
        The structure. It has entities.
    slots : int
        The journal's number of slots.

    Returns
    -------
    int | None
        The number, or ``None`` if none explains where the entities are.
    """
    if kind not in CATALOG or not _named(name):
        return None
    usual = _USUAL_SHARDS_OF.get(kind, _USUAL_SHARDS)
    for candidates in (range(usual, usual + 1), range(1, _MOST_SHARDS + 1)):
        fitting: Sequence[int] = candidates
        after: str | None = None
        while fitting and (rows := await journal.directory(kind, name, after=after)):
            places = [(row.key, row.id >> ENTITY_NUMBER_BITS) for row in rows]
            if any(len(key) > MAX_NAME_BYTES + 2 for key, _ in places):
                return None  # no program gave it, and hashing it so often would take minutes
            fitting = await asyncio.to_thread(_fitting, kind, name, places, fitting, slots)
            after = rows[-1].key
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
    return [
        shards
        for shards in candidates
        if all(slot_of(kind, name, shard_of(kind, name, key, shards), slots) == slot for key, slot in places)
    ]
