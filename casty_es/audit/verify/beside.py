"""What stands beside the records of a slot, seals and directory, page by page, and a digest over all of it.

A slot whose last record and whose digest are those of an earlier verification that found nothing is as it was then. So
a verification that is taken up asks for as many pages as there are, and nothing of a single entity.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import msgspec

from casty_es.audit.verify.surroundings_postgres import looking
from casty_es.journal.port import ENTITY_NUMBER_BITS, DirectoryRow, EventJournal, SealRow
from casty_es.journal.sql import SqlJournal

_PAGE: Final = 1_000
_MANY: Final = 5_000
_SEALS: Final = """
    SELECT slot, first, last, entity, previous_hash, hash, sealed_by FROM casty_seals
    WHERE (slot, last) > ({0}1, {0}2) AND slot <= {0}3 ORDER BY slot, last LIMIT {0}4"""
_DIRECTORY: Final = """
    SELECT id, slot, kind, name, key, {1}, salt, salted_from FROM casty_entities
    WHERE id > {0}1 AND id < {0}2 ORDER BY id LIMIT {0}3"""
_STRUCTURES: Final = "SELECT kind, name, shards, keep FROM casty_structures ORDER BY kind, name"
# Postgres puts them together, with how long each text is: to make a row of each of 100,000 takes four times as long.
_STRUCTURES_POSTGRES: Final = """
    SELECT count(*), string_agg(kind::text, ' '::text), string_agg(length(name::text)::text, ' '::text),
        string_agg(name::text, ' '::text), string_agg(shards::text, ' '::text),
        string_agg(coalesce(length(keep::text)::text || keep::text, '-'::text), ' '::text)
    FROM (SELECT * FROM casty_structures ORDER BY kind, name LIMIT {limit} OFFSET {after}) s"""
_MANY_STRUCTURES: Final = 500_000
_TURNS: Final = 10  # of the loop, until a query is on its way: the server is at the next page while one is looked at
_encode: Final = msgspec.msgpack.Encoder().encode


class Beside:
    """The digest, while pages are read."""

    def __init__(self) -> None:
        self._digest = sha256()

    def add_directory(self, rows: Iterable[DirectoryRow]) -> None:
        """Take entities into it, as the databases write them."""
        self.add((*row[:5], int(row.alive), *row[6:]) for row in rows)

    def add(self, rows: Iterable[Any]) -> None:
        """Take rows into it; how they are paged makes no difference."""
        self._digest.update(_encoded_rows(list(rows)))

    @property
    def digest(self) -> bytes:
        """What it is by now."""
        return self._digest.digest()


def _encoded_rows(rows: list[Any]) -> bytes:
    """Return the rows as if each was encoded by itself: they are in one call, less what says how many there are."""
    try:
        encoded = _encode(rows)
    except (TypeError, ValueError, OverflowError):
        return b"".join(map(_encoded, rows))
    head = 1 if len(rows) < 16 else 3 if len(rows) < 65_536 else 5  # noqa: PLR2004 - as msgpack has it
    return encoded[head:]


def _encoded(row: Any) -> bytes:
    try:
        return _encode(row)
    except (TypeError, ValueError, OverflowError):  # no program wrote it, so no earlier digest is to be met again
        return ascii(row).encode()


async def seal_pages(journal: EventJournal, slot: int) -> AsyncIterator[list[SealRow]]:
    """Yield the seals of a slot."""
    after = 0
    while page := await journal.seals(slot, after=after, limit=_PAGE):
        yield page
        after = page[-1].last


async def directory_pages(journal: EventJournal, slot: int) -> AsyncIterator[list[DirectoryRow]]:
    """Yield the directory of a slot."""
    after = 0
    while page := await journal.slot_directory(slot, after=after, limit=_PAGE):
        yield page
        after = page[-1].id


async def digests(journal: EventJournal, slots: Collection[int]) -> dict[int, bytes]:
    """Return the digest over what stands beside the records of each of some slots now."""
    made = {slot: Beside() for slot in slots}
    if isinstance(journal, SqlJournal):
        await _add_all(journal, made)
    else:
        for slot, one in made.items():
            async for seals in seal_pages(journal, slot):
                one.add(seals)
            async for rows in directory_pages(journal, slot):
                one.add_directory(rows)
    return {slot: one.digest for slot, one in made.items()}


async def structures_digest(journal: EventJournal) -> bytes:
    """Return a digest over the structures, whose numbers of shards say in which slot each entity belongs."""
    if not isinstance(journal, SqlJournal) or journal.file is not None:
        rows = await (journal.query(_STRUCTURES) if isinstance(journal, SqlJournal) else journal.structure_rows())
        return sha256(_encoded([tuple(row) for row in rows])).digest()
    digest, after, count = sha256(), 0, _MANY_STRUCTURES
    async with looking(journal.url) as connection:  # a connection of its own, beside what else is read
        while count == _MANY_STRUCTURES:
            page = await connection.fetchrow(_STRUCTURES_POSTGRES.format(limit=_MANY_STRUCTURES, after=after))
            digest.update(_encoded(tuple(page)))
            count = page[0]
            after += count
    return digest.digest()


async def _add_all(journal: SqlJournal, made: Mapping[int, Beside]) -> None:
    """Read the slots together: they may have a few rows each, and there are thousands of them."""
    if not made:
        return
    sign, lowest, highest = "$" if journal.file is None else "?", min(made), max(made)
    slot, last = lowest, 0
    while found := await journal.query(_SEALS.format(sign), slot, last, highest, _MANY):
        for slot, row in ((row[0], SealRow(*row[1:])) for row in found):
            if slot in made:
                made[slot].add([row])
        slot, last = found[-1][0], found[-1][2]
        if type(last) is not int:  # what is none stands behind all numbers of its slot
            slot, last = slot + 1, 0
    after, until = (lowest << ENTITY_NUMBER_BITS) - 1, (highest + 1) << ENTITY_NUMBER_BITS
    statement = _DIRECTORY.format(sign, "alive::int" if journal.file is None else "alive")
    page = await journal.query(statement, after, until, _MANY)
    while page:
        following = asyncio.create_task(journal.query(statement, page[-1][0], until, _MANY))
        try:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            for slot, of in groupby(map(tuple, page), key=itemgetter(1)):
                if slot in made:
                    made[slot].add(of)
            page = await following
        finally:
            following.cancel()
