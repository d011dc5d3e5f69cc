"""The audit: does the journal keep what callers were promised? It knows no actor, only the tables and the domain.

1. Slots: positions without a gap, every hash right, time not going back, every record under the epoch of the lease
   record before it.
2. Entities: sequences without a gap, each snapshot equal to the replay up to it, the directory equal to the last state.
3. Callers: what was acknowledged is there, once, and is what the domain decides at that place; the reply is the one
   that the domain gives; what "certainly did not happen" is not there; who asked later sees what was acknowledged
   earlier.

Every function gives its findings as sentences; no finding, no sentence.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import math
import sqlite3
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from casty_es import errors
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import WAITING, Command, Kind
from casty_es.format.chain import GENESIS
from casty_es.format.codec import decode_event, decode_state, encode_event, encode_state, upkeep_reply
from casty_es.hashes import KEYED_VERSION
from casty_es.journal.port import LEASE_ACQUIRED, EntityName, RecordedEvent, record_hash
from casty_es.journal.urls import is_sqlite, postgres_dsn, sqlite_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from casty_es.journal.memory import InMemoryJournal

    from .recording import Operation

_EVENTS = f"SELECT {', '.join(RecordedEvent.__struct_fields__)} FROM casty_events ORDER BY slot, position"
_ENTITIES = "SELECT id, slot, kind, name, key, alive, salt FROM casty_entities"
_SNAPSHOTS = "SELECT entity, sequence, state, version FROM casty_snapshots"

# After these a caller knows that nothing happened. NotDoneError stands for its subclasses too.
_NOTHING_HAPPENED = (
    errors.ConfigurationError,
    errors.InvalidArgumentError,
    errors.UsageError,
    errors.OverloadedError,
    errors.NotDoneError,
    errors.JournalUnavailableError,
    errors.AppendRejectedError,
    errors.LeaseLostError,
)
# A request that stands in line is recorded; these tell its caller that it was not granted.
_NOT_GRANTED = (errors.NotDoneError, errors.DestroyedError, errors.UsageError)


class Directory(msgspec.Struct, frozen=True):
    """A row of ``casty_entities``."""

    id: int
    slot: int
    name: EntityName
    alive: bool
    salt: bytes


class Log(msgspec.Struct, frozen=True):
    """Everything that a journal holds."""

    records: list[RecordedEvent]
    entities: dict[int, Directory]
    snapshots: list[tuple[int, int, str, int]]


def _log(events: Iterable[Sequence[Any]], entities: Iterable[Sequence[Any]], snapshots: Iterable[Sequence[Any]]) -> Log:
    rows = [Directory(row[0], row[1], EntityName(*row[2:5]), bool(row[5]), row[6]) for row in entities]
    return Log([RecordedEvent(*row) for row in events], {row.id: row for row in rows}, [(*row,) for row in snapshots])


async def read_sql(url: str) -> Log:
    """Read a database with plain SQL, all tables as of one moment."""
    if is_sqlite(url):
        with contextlib.closing(sqlite3.connect(sqlite_file(url), isolation_level=None)) as connection:
            connection.execute("BEGIN")
            return _log(*(connection.execute(query).fetchall() for query in (_EVENTS, _ENTITIES, _SNAPSHOTS)))
    session = await asyncpg.connect(postgres_dsn(url))
    try:
        async with session.transaction(isolation="repeatable_read", readonly=True):
            return _log(*[await session.fetch(query) for query in (_EVENTS, _ENTITIES, _SNAPSHOTS)])
    finally:
        await session.close()


def read_memory(journal: InMemoryJournal) -> Log:
    """Read a journal in memory."""
    events = [msgspec.structs.astuple(event) for slot in sorted(journal._records) for event in journal._records[slot]]
    snapshots = [
        (entity, kept.sequence, kept.state, kept.version)
        for entity, ladder in journal._snapshots.items()
        for kept in ladder
    ]
    return _log(events, journal._directory.values(), snapshots)


class Found(NamedTuple):
    """An event of some command: the entity that has it, and which of the entity's events it is, from 1."""

    name: EntityName
    place: int
    record: RecordedEvent


class Timeline:
    """One entity's life: its events, and the state before and after each."""

    def __init__(self, name: EntityName) -> None:
        self.name = name
        self.kind: Kind[Any, Any, Any] = CATALOG[name.kind]
        self.states: list[Any] = [self.kind.initial]
        self.records: list[RecordedEvent] = []
        self.settled: dict[str, list[object]] = defaultdict(list)

    def add(self, record: RecordedEvent) -> None:
        """Replay one more event."""
        event, before = decode_event(record.type, record.version, record.payload), self.states[-1]
        if self.kind.effects is not None:
            for request, reply in self.kind.effects(before, event).settled:
                self.settled[request].append(reply)
        self.states.append(self.kind.evolve(before, event))
        self.records.append(record)


def timelines(log: Log) -> dict[EntityName, Timeline]:
    """Replay every entity. What is in the wrong order is put in order: ``check_entities`` is who complains."""
    lives: dict[EntityName, Timeline] = {}
    for record in sorted((one for one in log.records if one.entity in log.entities), key=lambda one: one.sequence or 0):
        name = log.entities[record.entity or 0].name
        lives.setdefault(name, Timeline(name)).add(record)
    return lives


def audit(log: Log, operations: Sequence[Operation] = ()) -> list[str]:
    """Return everything that is wrong with a journal, and with what callers were told about it."""
    return [*check_slots(log), *check_entities(log), *check_callers(log, operations)]


def check_slots(log: Log) -> list[str]:
    """Check positions, hashes, epochs and times."""
    found: list[str] = []
    slot, previous, position, epoch, clock = -1, GENESIS, 0, 0, 0
    for record in log.records:
        if record.slot != slot:
            slot, previous, position, epoch, clock = record.slot, GENESIS, 0, 0, 0
        where = f"slot {slot}, position {record.position}"
        if record.position != position + 1:
            found.append(f"{where}: the record before it is at {position}")
        if record.type == LEASE_ACQUIRED:
            epoch = record.position
        if record.epoch != epoch:
            found.append(f"{where}: written under epoch {record.epoch} although {epoch} was granted last")
        if record.recorded_at < clock:
            found.append(f"{where}: its time is before that of the record before it")
        entity = log.entities.get(record.entity) if record.entity is not None else None
        salt, name = (b"", None) if entity is None else (entity.salt, entity.name)
        if record.hash != record_hash(previous, record, salt or b"", name):
            found.append(f"{where}: its hash is not that of its fields and of the record before it")
        previous, position, clock = record.hash, record.position, record.recorded_at
    return found


def check_entities(log: Log) -> list[str]:
    """Check sequences, the directory, and that snapshots are what replay gives."""
    found: list[str] = []
    sequences: dict[int, int] = defaultdict(int)
    for record in log.records:
        if record.entity is None:
            continue
        row = log.entities.get(record.entity)
        where = f"entity {record.entity}, sequence {record.sequence}"
        if row is None or row.slot != record.slot or row.id >> 32 != row.slot:
            found.append(f"{where}: the directory does not have the entity in slot {record.slot}")
        if record.sequence != sequences[record.entity] + 1:
            found.append(f"{where}: the event before it has {sequences[record.entity]}")
        sequences[record.entity] = record.sequence or 0
    lives = timelines(log)
    for row in log.entities.values():
        life = lives.get(row.name)
        if life is None:
            found.append(f"{tuple(row.name)}: it is in the directory without an event")
        elif life.kind.exists(life.states[-1]) != row.alive:
            found.append(f"{tuple(row.name)}: the directory says alive={row.alive}, its events say the opposite")
    for entity, sequence, state, version in log.snapshots:
        life = lives[log.entities[entity].name]
        stored = encode_state(life.kind, decode_state(life.kind, version, state))
        if sequence >= len(life.states) or stored != encode_state(life.kind, life.states[sequence]):
            found.append(f"{tuple(life.name)}: its snapshot at {sequence} is not what replay gives")
    return found


def _undoes(record: RecordedEvent, unanswered: set[str]) -> bool:
    """Return whether an event takes back what somebody asked for who went away: gateways do that by themselves."""
    if not record.type.endswith((".released", ".withdrawn", ".given_back")):
        return False
    fields = json.loads(record.payload)
    return fields.get("request", fields.get("taken")) in unanswered


def check_callers(log: Log, operations: Sequence[Operation]) -> list[str]:
    """Check what callers were told against the journal."""
    lives = timelines(log)
    by_command: dict[bytes, list[Found]] = defaultdict(list)
    for name, life in lives.items():
        for place, record in enumerate(life.records, start=1):
            by_command[record.command_id or b""].append(Found(name, place, record))
    found = [f"two operations have the id {operations[0].id.hex()}"] if _repeated(operations) else []
    # Also a caller that died while it was cancelled, and what it had asked for undone; and one of several under a key.
    unanswered = {
        str(UUID(bytes=operation.id))
        for operation in operations
        if operation.reply is None or operation.id[6] >> 4 == KEYED_VERSION
    }
    for id_ in by_command.keys() - {operation.id for operation in operations}:
        first = by_command[id_][0].record
        if operations and not first.type.endswith((".expired", ".unheard")) and not _undoes(first, unanswered):
            found.append(f"{first.type} at slot {first.slot}, {first.position}: nobody asked for it ({id_.hex()})")
    by_entity: dict[EntityName, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_entity[operation.name].append(operation)
    for name, mine in by_entity.items():
        life = lives.get(name) or Timeline(name)
        recorded = {operation.id: by_command.get(operation.id, []) for operation in mine}
        for operation in mine:
            complaints = _check_one(life, operation, recorded[operation.id])
            found += [f"{operation}: {complaint}" for complaint in complaints]
        found += _check_order(life, mine, recorded)
    return found


def _repeated(operations: Sequence[Operation]) -> bool:
    return len({operation.id for operation in operations}) != len(operations)


def _check_one(life: Timeline, operation: Operation, recorded: list[Found]) -> list[str]:
    """Check one operation without regard to the others: applied once, as the domain decides, told rightly."""
    found: list[str] = []
    records = [one.record for one in recorded]
    if records:
        if any(one.name != operation.name for one in recorded):
            return ["its events are in the log of another entity"]
        first = recorded[0].place
        if records[0].type == "command.concluded":
            return _check_concluded(life, operation, recorded)
        there = [(record.type, record.version, record.payload) for record in records]
        # Which process asked is not in the command as it is sent: the owner notes it, and says so in the first event.
        opening = decode_event(records[0].type, records[0].version, records[0].payload)
        due = _decided(life, first - 1, operation.command.made_by(getattr(opening, "process", "")))
        if there != due or [one.place for one in recorded] != list(range(first, first + len(records))):
            found.append(f"its events are {there}, at that place the domain decides {due}")
    if operation.reply is not None and records:
        events = tuple(decode_event(record.type, record.version, record.payload) for record in records)
        reply = life.kind.reply(operation.command, events)
        right = life.settled.get(_request(operation), []) if reply is WAITING else [reply]
        if operation.reply not in [_json(one) for one in right]:
            found.append(f"its events give the reply {right}")
    if operation.error is not None:
        found += _check_error(life, operation, records)
    return found


def _check_concluded(life: Timeline, operation: Operation, recorded: list[Found]) -> list[str]:
    """Check a command under a key that had no effect: what its caller is told, whenever it asks, is recorded."""
    event = decode_event(recorded[0].record.type, recorded[0].record.version, recorded[0].record.payload)
    state, told = life.states[recorded[0].place - 1], _json(upkeep_reply(event))
    found = [] if len(recorded) == 1 else [f"{len(recorded)} events say that it had no effect"]
    if life.kind.decide(state, operation.command) or _json(life.kind.answer(state, operation.command)) != told:
        found.append(f"it is recorded that it had no effect and was told {told!r}, which is not so at that place")
    if operation.reply is not None and operation.reply != told:
        found.append(f"its event gives the reply {told!r}")
    if operation.error is not None:
        found += _check_error(life, operation, [one.record for one in recorded])
    return found


def _decided(life: Timeline, place: int, command: Command) -> list[tuple[str, int, str]]:
    """Return what the domain decides after so many events of an entity; nothing where it refuses."""
    with contextlib.suppress(errors.CastyError):
        return [encode_event(event) for event in life.kind.decide(life.states[place], command)]
    return []


def _check_error(life: Timeline, operation: Operation, records: list[RecordedEvent]) -> list[str]:
    error = getattr(errors, operation.error or "", None)
    if operation.error in ("CancelledError", "OutcomeUnknownError"):
        return []
    if error is None or not issubclass(error, (*_NOTHING_HAPPENED, errors.DestroyedError)):
        return [f"{operation.error} tells its caller nothing that can be relied on"]
    if not records:
        return []
    events = tuple(decode_event(record.type, record.version, record.payload) for record in records)
    waits = records[0].type != "command.concluded" and life.kind.reply(operation.command, events) is WAITING
    if not waits or not issubclass(error, _NOT_GRANTED):
        return ["its caller was told that nothing happened, and the journal has it"]
    return []


def _check_order(life: Timeline, operations: list[Operation], recorded: dict[bytes, list[Found]]) -> list[str]:
    """Check real time: what was over before an operation was called comes before it; a query sees all of that.

    A reply without events must be right at some sequence within its window. The lowest possible one is taken, which
    leaves most room to those after it.
    """
    found: list[str] = []
    spans = {id_: (rows[0].place, rows[-1].place) for id_, rows in recorded.items() if rows}
    called = sorted((one.called, spans[one.id][0]) for one in operations if one.id in spans)
    lowest_after = [len(life.states)] * (len(called) + 1)
    for index in range(len(called) - 1, -1, -1):
        lowest_after[index] = min(called[index][1], lowest_after[index + 1])
    over: list[int] = []  # when operations returned, in order, and the highest sequence that was seen until then
    seen: list[int] = []
    told = [one for one in operations if one.returned is not None and one.reply is not None and not one.local]
    for operation in sorted(told, key=lambda one: one.returned or 0):
        index = bisect.bisect_left(over, operation.called)
        low = seen[index - 1] if index else 0
        if operation.id in spans:
            at = spans[operation.id][1]
            if spans[operation.id][0] <= low:
                found.append(f"{operation}: it stands at {at}, before {low}, which was told earlier than it was called")
        else:
            later = bisect.bisect_right(called, (operation.returned or 0, math.inf))
            high = lowest_after[later] - 1
            witness = _witness(life, operation, low, min(high, len(life.states) - 1))
            if witness is None:
                found.append(f"{operation}: no state between sequences {low} and {high} gives that reply")
                continue
            at = witness
        over.append(operation.returned or 0)
        seen.append(max(at, seen[-1] if seen else 0))
    return found


def _witness(life: Timeline, operation: Operation, low: int, high: int) -> int | None:
    for sequence in range(low, high + 1):
        state = life.states[sequence]
        with contextlib.suppress(errors.CastyError):
            silent = not life.kind.decide(state, operation.command)
            if silent and operation.reply == _json(life.kind.answer(state, operation.command)):
                return sequence
    return None


def _request(operation: Operation) -> str:
    return str(getattr(operation.command, "request", ""))


def _json(reply: object) -> bytes | None:
    return None if isinstance(reply, BaseException) else msgspec.json.encode(reply)
