"""The directory of entities: whether each belongs where it is, has events, and is what its events say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from casty_es.audit.verify.beside import Beside, directory_pages
from casty_es.audit.verify.entities import ALIVE, ASK, DEAD, UNTOLD, Entities
from casty_es.audit.verify.findings import Finding, SlotResult, Wrong
from casty_es.domain.catalog import CATALOG
from casty_es.errors import CastyError
from casty_es.format.redacted import redacted_digest
from casty_es.hashes import shard_of, slot_of
from casty_es.journal.damaged import damage_of
from casty_es.journal.port import ENTITY_NUMBER_BITS, DirectoryRow, EventJournal
from casty_es.journal.sql import SqlJournal
from casty_es.replay import events, state_at

_REDACTED: Final = "entity.redacted"


# A page is every entity of its slot from the first to the last number.
_EMPTY: Final = """
    SELECT e.id FROM casty_entities e WHERE e.id BETWEEN {0}1 AND {0}2
    AND NOT EXISTS (SELECT 1 FROM casty_events v WHERE v.entity = e.id)"""


async def check_directory(
    journal: EventJournal, slot: int, slots: int | None, entities: Entities, result: SlotResult, beside: Beside
) -> None:
    """Check the directory of a slot that was walked through."""
    async for page in directory_pages(journal, slot):
        beside.add_directory(page)
        result.entities += len(page)
        places = [slot] * len(page) if slots is None else await _places(journal, page, slots)
        empty = await _empty(journal, page, entities)
        for row, place in zip(page, places, strict=True):
            text = (
                _wrong_row(row) or _wrong_place(row, slot, place) or await _wrong_events(journal, row, entities, empty)
            )
            if text is not None:
                result.findings.append(Finding(slot, None, row.id, Wrong.DIRECTORY, text))
            elif row.salted_from:
                await _check_redaction(journal, row, result)
            if result.full:
                return


async def _empty(journal: EventJournal, page: Sequence[DirectoryRow], entities: Entities) -> set[int]:
    """Return which entities of a page have no events, of those of which the walk met none."""
    unmet = [row.id for row in page if entities.sequence(row.id) == 0]
    if not unmet:
        return set()
    if not isinstance(journal, SqlJournal):
        return {id_ for id_ in unmet if await journal.bounds(id_) == (0, 0)}
    statement = _EMPTY.format("$" if journal.file is None else "?")
    return {id_ for (id_,) in await journal.query(statement, unmet[0], unmet[-1])} & set(unmet)


async def _places(journal: EventJournal, page: Sequence[DirectoryRow], slots: int) -> list[int | None]:
    """Return the slot where each entity belongs; ``None`` where its structure is not recorded."""
    names = sorted({(row.kind, row.name) for row in page})
    shards = dict(zip(names, await journal.structures(names), strict=True))
    places: list[int | None] = []
    for row in page:
        count = shards[row.kind, row.name]
        place = None if count is None else shard_of(row.kind, row.name, row.key, count)
        places.append(None if place is None else slot_of(row.kind, row.name, place, slots))
    return places


def _wrong_row(row: DirectoryRow) -> str | None:
    damage = damage_of(row)
    if damage is None and row.salted_from < 0:
        damage = f"its salted_from is {row.salted_from}"
    return None if damage is None else f"This row of the directory is none that any program writes: {damage}."


def _wrong_place(row: DirectoryRow, slot: int, place: int | None) -> str | None:
    if row.kind not in CATALOG:
        return f"The directory has an entity of a kind {row.kind!r}, which is not known to the installed code."
    if row.slot != row.id >> ENTITY_NUMBER_BITS:
        return f"The directory says slot {row.slot} of an entity whose number is of slot {slot}."
    if place is None:
        return (
            f"The structure {row.kind} {row.name!r} is not recorded, although it has entities: see `casty-es doctor`."
        )
    if place != slot:
        return f"By its name and the recorded shards, {row.kind} {row.name!r} {row.key!r} belongs to slot {place}."
    return None


async def _wrong_events(journal: EventJournal, row: DirectoryRow, entities: Entities, empty: set[int]) -> str | None:
    sequence, alive = entities.sequence(row.id), entities.alive(row.id)
    if sequence and alive in {UNTOLD, ASK}:
        alive = await _alive(journal, row, sequence)
    if sequence == 0:
        if row.id in empty:
            return f"The directory has {row.kind} {row.name!r} {row.key!r}, which has no events."
    elif alive != UNTOLD and row.alive != (alive == ALIVE) and (await journal.bounds(row.id))[1] == sequence:
        again = await journal.entity_rows([row.id])
        # What was appended meanwhile may have changed both.
        if again and again[0].alive == row.alive and (await journal.bounds(row.id))[1] == sequence:
            says, told = ("exists", "does not") if row.alive else ("does not exist", "does")
            return f"The directory says that {row.kind} {row.name!r} {row.key!r} {says}; by its last event it {told}."
    return None


async def _alive(journal: EventJournal, row: DirectoryRow, sequence: int) -> int:
    """Tell from its state whether an entity exists of which no single event says so."""
    kind = CATALOG[row.kind]
    try:
        return ALIVE if kind.exists(await state_at(journal, row.id, kind, sequence)) else DEAD
    except CastyError:  # it was cut or redacted meanwhile, or something is wrong with it that the walk has named
        return UNTOLD


async def _check_redaction(journal: EventJournal, row: DirectoryRow, result: SlotResult) -> None:
    """Check that an entity was redacted when the directory says so, and that nothing is left of it."""
    first, _ = await journal.bounds(row.id)
    if first > row.salted_from:
        return  # cut since
    event = next(iter(await journal.history(row.id, after=row.salted_from - 1, limit=1)), None)
    if event is None or event.sequence != row.salted_from or event.type != _REDACTED:
        text = f"The directory says that event {row.salted_from} of this entity redacted it, and it did not."
        position = await _first_redacted(journal, row)
        result.findings.append(Finding(row.slot, position, row.id, Wrong.REDACTION, text))
        return
    if retired := await journal.retired_salts([row.id]):
        result.unfinished_redactions += 1
        for damage in filter(None, map(damage_of, retired)):
            text = f"A salt that a redaction set aside is none that any program writes: {damage}."
            result.findings.append(Finding(row.slot, event.position, row.id, Wrong.REDACTION, text))
        return
    sequences = [sequence for _, sequence in await journal.snapshot_sequences([row.id])]
    if await journal.entity_rows([row.id]) != [row] or await journal.last_cut(row.id) >= event.position:
        return  # redacted again meanwhile, or its snapshots go with a cut that is under way
    if sequences and sequences[0] < row.salted_from:
        text = f"There is a snapshot at event {sequences[0]}, from before the entity was redacted."
        result.findings.append(Finding(row.slot, event.position, row.id, Wrong.SNAPSHOT, text))
    elif row.salted_from not in sequences:
        text = f"The entity was redacted at event {row.salted_from}, and no snapshot stands there."
        result.findings.append(Finding(row.slot, event.position, row.id, Wrong.SNAPSHOT, text))


async def _first_redacted(journal: EventJournal, row: DirectoryRow) -> int | None:
    async for event in events(journal, row.id, until=row.salted_from):
        if redacted_digest(event.payload) is not None:
            return event.position
    return None
