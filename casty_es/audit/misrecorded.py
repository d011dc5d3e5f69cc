"""Structures whose record does not say where their entities are: finding them, and recording what does.

An entity's slot is in its number, and never changes. So the entities tell how many shards their structure has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from casty_es.audit.links import linked_events
from casty_es.errors import JournalCorruptError
from casty_es.hashes import shard_of, slot_of
from casty_es.journal.damaged import number_of, text_of
from casty_es.journal.maintenance import Maintenance
from casty_es.journal.port import ENTITY_NUMBER_BITS
from casty_es.journal.sql import SqlJournal
from casty_es.journal.sql_rows import shards_of
from casty_es.replay import entities_of, fitting_shards

_UNRECORDED: Final = """
    SELECT DISTINCT e.kind, e.name FROM casty_entities e
    WHERE NOT EXISTS (SELECT 1 FROM casty_structures s WHERE s.kind = e.kind AND s.name = e.name)
    ORDER BY e.kind, e.name"""

# The first and the last key of each: one index lookup each, where all keys of a large map would be a walk through it.
_OUTERMOST: Final = "(SELECT {0} FROM casty_entities WHERE kind = s.kind AND name = s.name ORDER BY key {1} LIMIT 1)"
_RECORDED: Final = f"""
    SELECT s.kind, s.name, s.shards,
        {", ".join(_OUTERMOST.format(what, order) for order in ("ASC", "DESC") for what in ("key", "id"))}
    FROM casty_structures s ORDER BY s.kind, s.name"""  # noqa: S608 - put together from this file's constants


class Misrecorded(msgspec.Struct, frozen=True):
    """A structure whose entities are not where its record says."""

    kind: str  # the structure
    name: str
    recorded: int | None  # the recorded number of shards; ``None`` if the structure is not recorded
    fitting: int | None  # the number that explains where all of its entities are; ``None`` if none does


async def find_misrecorded(journal: SqlJournal, slots: int) -> list[Misrecorded]:
    """Find structures that have entities and no record, or one that leads their entities elsewhere.

    Of each recorded structure the first and the last entity are looked at; ``verify`` looks at all of them.
    """
    found: list[tuple[str, str, int | None]] = [
        (text_of(kind), text_of(name), None) for kind, name in await journal.query(_UNRECORDED)
    ]
    rows = [(text_of(row[0]), text_of(row[1]), *row[2:]) for row in await journal.query(_RECORDED)]
    found += [(row[0], row[1], number_of(row[2])) for row in rows if _leads_elsewhere(row, slots)]
    return [
        Misrecorded(kind, name, recorded, await fitting_shards(journal, kind, name, slots))
        for kind, name, recorded in found
    ]


def _leads_elsewhere(row: Sequence[object], slots: int) -> bool:
    kind, name, shards, *outermost = row
    if shards_of(shards) is None:
        return True
    for key, id_ in (outermost[:2], outermost[2:]):
        if isinstance(id_, int):  # else it has no entities
            shard = shard_of(str(kind), str(name), text_of(key), int(str(shards)))
            if slot_of(str(kind), str(name), shard, slots) != id_ >> ENTITY_NUMBER_BITS:
                return True
    return False


async def record_fitting(journal: SqlJournal, structure: Misrecorded) -> None:
    """Record the number of shards that explains where a structure's entities are, and change nothing else.

    A node remembers what is recorded: where a record is to be changed, none may run. ``JournalCorruptError`` if no
    number explains it, an entity's row is not the one that its events were written for, or another number was
    recorded meanwhile; ``ConfigurationError`` if the role may not do it. Then nothing was changed.
    """
    kind, name, recorded, fitting = structure.kind, structure.name, structure.recorded, structure.fitting
    if fitting is None:
        raise JournalCorruptError(
            f"No number of shards explains where the entities of the {kind} {name!r} are. Nothing of it was changed. "
            f"Restore its row of casty_structures, or the journal, from a backup."
        )
    await _refuse_altered(journal, kind, name)
    if recorded is None:
        [now] = await journal.record_structures([(kind, name, fitting)], populated=True)
        done = now == fitting
    else:
        done = await Maintenance(journal).replace_shards(kind, name, recorded, fitting)
    if not done:
        raise JournalCorruptError(
            f"Another number of shards was recorded for the {kind} {name!r} meanwhile. Nothing of it was changed. Look "
            f"again."
        )


async def _refuse_altered(journal: SqlJournal, kind: str, name: str) -> None:
    """Refuse where a name in the directory was changed: it, and not the record, is what leads elsewhere."""
    async for page in entities_of(journal, kind, name):
        for row in page:
            lowest, _ = await journal.bounds(row.id)
            async for _ in linked_events(journal, row.id, after=lowest - 1, until=lowest):
                break
