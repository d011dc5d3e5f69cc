"""What stands beside the records of a slot, seals and directory, page by page, and a digest over all of it.

A slot whose last record and whose digest are those of an earlier verification that found nothing is as it was then. So
a verification that is taken up asks for as many pages as there are, and nothing of a single entity.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec

from casty_es.audit.verify.surroundings_postgres import looking
from casty_es.journal.port import ENTITY_NUMBER_BITS, DirectoryRow, EventJournal, SealRow
from casty_es.journal.sessions import Connection
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
_TABLES: Final = (
    "SELECT id, slot, kind, name, key, alive, salt, salted_from FROM casty_entities",
    "SELECT slot, first, last, entity, previous_hash, hash, sealed_by FROM casty_seals",
    "SELECT kind, name, shards, keep FROM casty_structures",
)
# One snapshot, as long as it takes, in which rows come as they lie in their table.
_AS_THEY_LIE: Final = """
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL synchronize_seqscans = off;
    SET LOCAL max_parallel_workers_per_gather = 0; SELECT set_config(name, '0', true) FROM pg_settings
    WHERE name IN ('transaction_timeout', 'idle_in_transaction_session_timeout')"""
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


class Stand(NamedTuple):
    """Digests of what stands beside the records at one moment."""

    slots: dict[int, bytes]
    structures: bytes  # their numbers of shards say in which slot each entity belongs
    tables: bytes = b""  # of all rows as they lie in Postgres's tables: while this is the same, so are the others


async def look(journal: EventJournal, slots: Collection[int], tables: bytes = b"") -> Stand:
    """Return what stands beside the records of some slots; ``tables`` alone if they are as an earlier look found them.

    Nothing needs to be sorted then, and nobody makes a row of what the server writes.
    """
    made, now = {slot: Beside() for slot in slots}, b""
    if not isinstance(journal, SqlJournal):
        for slot, one in made.items():
            async for seals in seal_pages(journal, slot):
                one.add(seals)
            async for page in directory_pages(journal, slot):
                one.add_directory(page)
        structures = _digest_of(await journal.structure_rows())
    elif journal.file is not None:
        await _add_all(journal.query, "?", made)
        structures = _digest_of(await journal.query(_STRUCTURES))
    else:
        async with looking(journal.url) as connection:
            await connection.execute(_AS_THEY_LIE)
            rows, now = await _copied(connection, *(_TABLES if made else ()))
            if now == tables:
                return Stand({}, b"", now)
            # Those below are found by an index: only if it has them all is it known what the tables hold.
            read = await _add_all(connection.fetch, "$", made)
            count, structures = await _copied(connection, _STRUCTURES)
            now = now if made and read + count == rows else b""
    return Stand({slot: one.digest for slot, one in made.items()}, structures, now)


def _digest_of(rows: Iterable[Any]) -> bytes:
    return sha256(_encoded([tuple(row) for row in rows])).digest()


async def _copied(connection: Connection, *queries: str) -> tuple[int, bytes]:
    """Return how many rows there are, and a digest over them."""
    count, digest = 0, sha256()

    async def take(written: bytes) -> None:
        digest.update(written)

    for query in queries:
        count += int((await connection.copy_from_query(query, output=take)).split()[1])
        await take(b"\\.\n")  # no line that is written is this one
    return count, digest.digest()


async def _add_all(query: Callable[..., Awaitable[Sequence[Any]]], sign: str, made: Mapping[int, Beside]) -> int:
    """Read the slots together, which may have a few rows each, and be thousands; return how many rows there were."""
    count = 0
    if not made:
        return count
    lowest, highest = min(made), max(made)
    slot, last = lowest, 0
    while found := await query(_SEALS.format(sign), slot, last, highest, _MANY):
        for slot, row in ((row[0], SealRow(*row[1:])) for row in found):
            if slot in made:
                made[slot].add([row])
        count += len(found)
        slot, last = found[-1][0], found[-1][2]
        if type(last) is not int:  # what is none stands behind all numbers of its slot
            slot, last = slot + 1, 0
    after, until = (lowest << ENTITY_NUMBER_BITS) - 1, (highest + 1) << ENTITY_NUMBER_BITS
    statement = _DIRECTORY.format(sign, "alive::int" if sign == "$" else "alive")
    page = await query(statement, after, until, _MANY)
    while page:
        following = asyncio.ensure_future(query(statement, page[-1][0], until, _MANY))
        try:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            count += len(page)
            for slot, of in groupby(map(tuple, page), key=_slot_of):
                if slot in made:
                    made[slot].add(of)
            page = await following
        finally:
            following.cancel()
    return count


def _slot_of(row: tuple[Any, ...]) -> int:
    # By its number, as a walk finds it: what the row says of its slot is a part of the digest.
    return row[0] >> ENTITY_NUMBER_BITS if type(row[0]) is int else -1
