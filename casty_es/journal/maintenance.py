"""What retention and redaction change in a journal: the only statements that update or delete an event.

1. Each step is one transaction with the guard of the append-only tables off for itself alone, short enough for live
   traffic to pass by, and complete in itself: whoever is killed between two steps leaves a journal that verifies.
2. What a step takes away was written down before: cut events have their seals, redacted values their digests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from casty_es.errors import JournalCorruptError
from casty_es.journal.damaged import damage_of, event_of, seal_of
from casty_es.journal.port import RecordedEvent, SealRow, StoredSnapshot
from casty_es.journal.sql import SqlJournal

Value = tuple[int, str, str | None]
"""An event's sequence, and what takes the place of its payload and of its metadata."""

_ROWS_AT_A_TIME: Final = 5_000
_NOBODY: Final = -1  # no entity has a negative number

_SEAL_COLUMNS: Final = "slot, first, last, entity, previous_hash, hash, sealed_by"
_SEALS_OF: Final = """
    SELECT first, last, entity, previous_hash, hash, sealed_by FROM casty_seals
    WHERE entity = {0}1 AND last > {0}2 ORDER BY last LIMIT {0}3"""
_RECORDS_AT: Final = f"""
    SELECT {", ".join(RecordedEvent.__struct_fields__)} FROM casty_events
    WHERE slot = {{0}}1 AND position {{1}}"""
# Of each position the seal that covers it, or the next one.
_SEALS_AT: Final = """
    SELECT DISTINCT s.first, s.last, s.entity, s.previous_hash, s.hash, s.sealed_by
    FROM (SELECT value FROM {1}) w JOIN casty_seals s ON s.slot = {0}1
        AND s.last = (SELECT min(n.last) FROM casty_seals n WHERE n.slot = {0}1 AND n.last >= w.value)"""
_INSERT_SEALS: Final = f"""
    INSERT INTO casty_seals ({_SEAL_COLUMNS})
    SELECT $1::int, r.*
    FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bigint[]) AS r"""
_REPLACE: Final = """
    UPDATE casty_events e SET payload = r.payload, metadata = r.metadata
    FROM unnest($2::bigint[], $3::text[], $4::text[]) AS r (sequence, payload, metadata)
    WHERE e.entity = $1 AND e.sequence = r.sequence"""
_CUT: Final = """
    DELETE FROM casty_events WHERE entity = {0}1 AND sequence IN (
        SELECT sequence FROM casty_events WHERE entity = {0}1 AND sequence <= {0}2 ORDER BY sequence LIMIT {0}3
    ) RETURNING sequence"""


class Maintenance:
    """The steps. The role of the journal must be allowed to change ``casty_events``; the program's own need not be."""

    def __init__(self, journal: SqlJournal) -> None:
        self._journal = journal
        self._postgres = journal.file is None
        self._sign = "$" if self._postgres else "?"

    async def seals_of(self, entity: int) -> AsyncIterator[SealRow]:
        """Yield the rows that stand for an entity's cut events, by position."""
        after = 0
        while rows := await self._journal.query(_SEALS_OF.format(self._sign), entity, after, _ROWS_AT_A_TIME):
            for row in rows:
                yield _seal(row)
            after = rows[-1][1]

    async def records_at(self, slot: int, positions: Sequence[int]) -> list[RecordedEvent]:
        """Return the records of a slot that stand at some positions."""
        among = "= ANY ($2::bigint[])" if self._postgres else "IN (SELECT value FROM json_each(?2))"
        rows = await self._journal.query(_RECORDS_AT.format(self._sign, among), slot, list(positions))
        return [event_of(row) for row in rows]

    async def seals_at(self, slot: int, positions: Sequence[int]) -> list[SealRow]:
        """Return the rows that stand for what was cut at some positions; the next one where none does."""
        each = "unnest($2::bigint[]) u (value)" if self._postgres else "json_each(?2)"
        rows = await self._journal.query(_SEALS_AT.format(self._sign, each), slot, list(positions))
        return [_seal(row) for row in rows]

    async def seal_sequences(self, entity: int) -> list[int]:
        """Return the sequences of the seals that those rows name."""
        s = self._sign
        statement = f"SELECT DISTINCT sealed_by FROM casty_seals WHERE entity = {s}1 ORDER BY sealed_by"
        return [
            _number(sequence, "casty_seals", entity) for (sequence,) in await self._journal.query(statement, entity)
        ]

    async def set_keep(self, kind: str, name: str, keep: str | None) -> bool:
        """Record how long a structure's events are kept; tell whether the structure is recorded."""
        s = self._sign
        statement = f"UPDATE casty_structures SET keep = {s}3 WHERE kind = {s}1 AND name = {s}2 RETURNING name"
        return bool((await self._do((statement, (kind, name, keep))))[0])

    async def replace_shards(self, kind: str, name: str, before: int, after: int) -> bool:
        """Replace a structure's recorded number of shards; tell whether it was what it should have been before."""
        s = self._sign
        update = f"UPDATE casty_structures SET shards = {s}4 WHERE kind = {s}1 AND name = {s}2 AND shards = {s}3"
        return bool((await self._do((f"{update} RETURNING name", (kind, name, before, after))))[0])

    async def seal(self, slot: int, rows: Sequence[SealRow], *, sealed_by: int | None = None) -> None:
        """Write down where events that are about to be cut stand.

        All older rows of the entity name the seal of the sequence ``sealed_by`` from now on.
        """
        steps: list[tuple[str, tuple[Any, ...]]] = []
        s = self._sign
        if sealed_by is not None:
            update = f"UPDATE casty_seals SET sealed_by = {s}2 WHERE entity = {s}1"
            steps.append((update, (rows[0].entity, sealed_by)))
        if self._postgres:
            steps.append((_INSERT_SEALS, (slot, *map(list, zip(*rows, strict=True)))))
        else:
            insert = f"INSERT INTO casty_seals ({_SEAL_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
            steps += [(insert, (slot, *row)) for row in rows]
        await self._do(*steps)

    async def cut(self, entity: int, through: int, *, limit: int) -> int:
        """Delete the first events of an entity, up to a sequence and a number; return how many there were."""
        return len((await self._do((_CUT.format(self._sign), (entity, through, limit))))[0])

    async def drop_snapshots(self, entity: int, before: int) -> None:
        """Delete the snapshots before a sequence."""
        s = self._sign
        await self._do((f"DELETE FROM casty_snapshots WHERE entity = {s}1 AND sequence < {s}2", (entity, before)))

    async def replace_states(self, entity: int, base: StoredSnapshot, recorded_at: int) -> None:
        """Let one snapshot take the place of all up to its sequence."""
        s = self._sign
        delete = f"DELETE FROM casty_snapshots WHERE entity = {s}1 AND sequence <= {s}2"
        insert = (
            "INSERT INTO casty_snapshots (entity, sequence, state, version, recorded_at) "
            f"VALUES ({s}1, {s}2, {s}3, {s}4, {s}5)"
        )
        await self._do(
            (delete, (entity, base.sequence)),
            (insert, (entity, base.sequence, base.state, base.version, recorded_at)),
        )

    async def replace_values(self, entity: int, values: Sequence[Value]) -> None:
        """Replace payloads and metadata of an entity's events."""
        if not values:
            return
        if self._postgres:
            await self._do((_REPLACE, (entity, *map(list, zip(*values, strict=True)))))
            return
        update = "UPDATE casty_events SET payload = ?3, metadata = ?4 WHERE entity = ?1 AND sequence = ?2"
        await self._do(*[(update, (entity, *value)) for value in values])

    async def destroy_salts(self, entity: int, through: int) -> None:
        """Destroy the salts that were set aside up to a redaction: what was digested with them cannot be guessed."""
        s = self._sign
        delete = f"DELETE FROM casty_retired_salts WHERE entity = {s}1 AND through <= {s}2"
        await self._do((delete, (entity, through)))

    async def rehearse(self) -> None:
        """Do to an entity that cannot exist what changes events: a role that may not do it is refused now."""
        await self.replace_values(_NOBODY, [(0, "", None)])
        await self.cut(_NOBODY, 0, limit=1)
        await self.drop_snapshots(_NOBODY, 0)
        await self.destroy_salts(_NOBODY, 0)
        await self._do(
            (f"UPDATE casty_seals SET sealed_by = 1 WHERE entity = {self._sign}1", (_NOBODY,)),
            (f"INSERT INTO casty_seals ({_SEAL_COLUMNS}) SELECT {_SEAL_COLUMNS} FROM casty_seals WHERE false", ()),
            ("INSERT INTO casty_snapshots SELECT * FROM casty_snapshots WHERE false", ()),
        )

    async def unfinished(self) -> list[int]:
        """Return the entities whose redaction is not done: a salt of theirs is still there."""
        rows = await self._journal.query("SELECT DISTINCT entity FROM casty_retired_salts ORDER BY entity")
        return [_number(entity, "casty_retired_salts", entity) for (entity,) in rows]

    async def _do(self, *steps: tuple[str, tuple[Any, ...]]) -> list[Sequence[Sequence[Any]]]:
        return await self._journal.maintain(steps)


def _seal(row: Sequence[Any]) -> SealRow:
    """Return a seal, which is about to be built on."""
    seal = seal_of(row)
    if (why := damage_of(seal)) is not None:
        raise _damaged("casty_seals", seal.entity, why)
    return seal


def _number(value: object, table: str, entity: object) -> int:
    if type(value) is not int:
        raise _damaged(table, entity, "a number of it is none")
    return value


def _damaged(table: str, entity: object, why: str) -> JournalCorruptError:
    return JournalCorruptError(
        f"A row of {table} for the entity {str(entity)[:40]!a} is damaged: {why}. Nothing of it was changed. Verify "
        f"the journal with `casty-es verify`, and restore that row from a backup."
    )
