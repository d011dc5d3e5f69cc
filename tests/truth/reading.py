"""What the journal holds of some entities, read without the structures."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Event, Upkeep
from casty_es.format.codec import decode_event
from tests.conftest import run_sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casty_es.journal.memory import InMemoryJournal

__all__ = ["Life", "Record", "read_memory", "read_url"]

_RECORDS = """
    SELECT n.kind, n.name, e.sequence, e.type, e.version, e.payload, e.command_id, e.idempotency_key
    FROM casty_entities n JOIN casty_events e ON e.entity = n.id
    WHERE n.kind IN ({kinds}) AND n.name >= '{prefix}' AND n.name < '{prefix}~' ORDER BY e.entity, e.sequence
"""


class Record(NamedTuple):
    """One event of an entity."""

    sequence: int
    event: Event
    command_id: bytes | None
    key: str | None

    @property
    def changes(self) -> bool:
        """Whether it is more than a note in the log."""
        return not isinstance(self.event, Upkeep)


class Life:
    """One entity: its events, and the state that they lead to."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = CATALOG[kind]
        self.name = name
        self.records: list[Record] = []
        self.state: Any = self.kind.initial

    def add(self, record: Record) -> None:
        """Take in the next event."""
        self.records.append(record)
        self.state = self.kind.evolve(self.state, record.event)

    def of(self, command_id: bytes) -> list[Record]:
        """Return the events of a command."""
        return [record for record in self.records if record.command_id == command_id]

    def keyed(self, key: str) -> bytes | None:
        """Return the command that was recorded under an idempotency key."""
        return next((record.command_id for record in self.records if record.key == key), None)

    def claims(self) -> set[str]:
        """Return the requests that are held or in line."""
        return set() if self.kind.claims is None else set(self.kind.claims(self.state))


def _lives(rows: Iterable[tuple[Any, ...]]) -> dict[tuple[str, str], Life]:
    lives: dict[tuple[str, str], Life] = {}
    for kind, name, sequence, type_, version, payload, command_id, key in rows:
        life = lives.get((kind, name))
        if life is None:
            life = lives[kind, name] = Life(kind, name)
        life.add(Record(sequence, decode_event(type_, version, payload), command_id, key))
    return lives


async def read_url(url: str, prefix: str) -> dict[tuple[str, str], Life]:
    """Read the structures whose names begin with a prefix."""
    kinds = ", ".join(f"'{kind}'" for kind in CATALOG)
    return _lives(await asyncio.to_thread(run_sql, url, _RECORDS.format(kinds=kinds, prefix=prefix)))


def read_memory(journal: InMemoryJournal, prefix: str) -> dict[tuple[str, str], Life]:
    """Read the same from a journal in memory."""
    wanted = {row[0]: row for row in journal._directory.values() if row[3].startswith(prefix)}
    found: dict[int, list[Any]] = defaultdict(list)
    for slot in {row[1] for row in wanted.values()}:
        for record in journal._records[slot]:
            if record.entity in wanted:
                found[record.entity].append(record)
    return _lives(
        (
            *(wanted[entity][2], wanted[entity][3], one.sequence, one.type, one.version, one.payload),
            *(one.command_id, one.idempotency_key),
        )
        for entity, records in found.items()
        for one in records
    )
