"""What the database itself must have around the records: guards, unique keys, and a file that is whole.

The chain shows what was done to records. That nobody could do it in passing, and that no idempotency key stands twice,
rests on triggers and indexes, and those can be dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import threading
from pathlib import Path
from typing import Final

from casty_es.audit.verify.findings import FINDINGS_PER_SLOT, Finding, Wrong
from casty_es.journal.port import ENTITY_NUMBER_BITS
from casty_es.journal.processes import strangers
from casty_es.journal.sql import SqlJournal
from casty_es.journal.tables import POSTGRES_TRIGGERS, SQLITE_TRIGGERS

__all__ = ["check_database"]

_KEYED: Final = "(idempotency_key IS NOT NULL)"
_INDEXES: Final = {
    "pk_casty_events": ("slot,position", ""),
    "uq_casty_events_entity_sequence": ("entity,sequence", ""),
    "uq_casty_events_idempotency_key": ("entity,idempotency_key", _KEYED),
    "pk_casty_entities": ("id", ""),
    "uq_casty_entities_kind_name_key": ("kind,name,key", ""),
    "pk_casty_snapshots": ("entity,sequence", ""),
}

# Where no slot is walked, nobody would look.
_STRAYS: Final = """
    SELECT 'records', slot FROM (SELECT slot FROM casty_events WHERE slot >= {slots} LIMIT 1) a
    UNION ALL SELECT 'entities', slot FROM (SELECT slot FROM casty_entities WHERE id >= {slots} * 4294967296 LIMIT 1) b
    UNION ALL SELECT 'records', slot FROM (SELECT slot FROM casty_events WHERE slot < 0 LIMIT 1) e
    UNION ALL SELECT 'entities', slot FROM (SELECT slot FROM casty_entities WHERE id < 0 LIMIT 1) d
    UNION ALL SELECT 'seals', slot FROM (SELECT slot FROM casty_seals WHERE slot >= {slots} LIMIT 1) c"""

_STRAY_SNAPSHOTS: Final = """
    SELECT s.entity, s.sequence, EXISTS (SELECT 1 FROM casty_entities e WHERE e.id = s.entity)
    FROM casty_snapshots s WHERE (s.entity, s.sequence) > ({entity}, {sequence})
    ORDER BY s.entity, s.sequence LIMIT 10000"""
_LEAST: Final = -(2**63) + 1

_STRAY_SALTS: Final = """
    SELECT r.entity, r.through FROM casty_retired_salts r LEFT JOIN casty_entities e ON e.id = r.entity
    WHERE e.id IS NULL OR e.salted_from < r.through ORDER BY r.entity, r.through LIMIT 25"""
_HASH: Final = "sha256"
_ALGORITHM: Final = "SELECT hash_algorithm FROM casty_meta WHERE id = 1"

_SQLITE_OBJECTS: Final = "SELECT name, sql FROM sqlite_master WHERE tbl_name LIKE 'casty_%'"
_SQLITE_MAINTENANCE: Final = "SELECT maintenance FROM casty_meta WHERE id = 1"
_SQLITE_CHECK: Final = "SELECT * FROM pragma_integrity_check('{table}')"
_SQLITE_TABLES: Final = ("casty_events", "casty_entities", "casty_snapshots", "casty_seals", "casty_structures")

_BUSY_SECONDS: Final = 30.0
_STEPS: Final = 100_000  # of SQLite's machine, a few milliseconds: how often it looks whether it is to stop
_SAID: Final = 5  # one damaged page makes a hundred lines

# The columns of each, and for what rows it holds: an index may have the name and be of something else.
_POSTGRES_INDEXES: Final = """
    SELECT c.relname, (SELECT string_agg(a.attname, ',' ORDER BY k.place) FROM unnest(i.indkey) WITH ORDINALITY
            k (number, place) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number),
        coalesce(pg_get_expr(i.indpred, i.indrelid), '')
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate
    AND i.indrelid IN ('casty_events'::regclass, 'casty_entities'::regclass, 'casty_snapshots'::regclass)"""
# The type holds when and for what it fires: see pg_trigger.h. A trigger of one's own replica role is not "O" or "A".
# Of its function the text, because another schema may have one of the same name, and no settings of its own.
_POSTGRES_TRIGGERS: Final = """
    SELECT t.tgname, t.tgtype, cardinality(t.tgattr::int2[]), t.tgqual IS NOT NULL, p.proname, p.prosrc
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND p.proconfig IS NULL
    AND t.tgrelid IN ('casty_events'::regclass, 'casty_meta'::regclass)"""
_POSTGRES_EXPECTED: Final = (
    # before delete, update, truncate; of all columns, always
    ("casty_events_append_only", 2 | 8 | 16 | 32, 0, False, "casty_events_refuse_change"),
    # each row, before update; of the number of slots, when it changes
    ("casty_meta_refuse_slots", 1 | 2 | 16, 1, True, "casty_meta_refuse_slots"),
)
# What turns the triggers off for everybody, or for a role, without touching them.
_POSTGRES_SETTINGS: Final = """
    SELECT DISTINCT split_part(s.setting, '=', 1) FROM pg_db_role_setting r, unnest(r.setconfig) s (setting)
    WHERE r.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    AND (s.setting = 'casty_es.maintenance=on' OR s.setting = 'session_replication_role=replica')
    UNION SELECT name
    FROM (VALUES ('casty_es.maintenance', 'on'), ('session_replication_role', 'replica')) w (name, bad)
    WHERE current_setting(name, true) = bad"""


async def check_database(journal: SqlJournal, slots: int) -> list[Finding]:
    """Check what stands around the records."""
    guards = await (_sqlite_guards(journal) if journal.file is not None else _postgres_guards(journal))
    findings = [Finding(None, None, None, Wrong.GUARD, text) for text in guards]
    for what, slot in await journal.query(_STRAYS.format(slots=slots)):
        text = f"There are {what} in slot {slot}, and the journal has {slots} slots: no program ever reads them."
        findings.append(Finding(slot if type(slot) is int else None, None, None, Wrong.ALTERED, text))
    if [tuple(row) for row in await journal.query(_ALGORITHM)] != [(_HASH,)]:
        text = f"casty_meta.hash_algorithm is not {_HASH!r}, by which the chain is computed."
        findings.append(Finding(None, None, None, Wrong.GUARD, text))
    for entity, through in await journal.query(_STRAY_SALTS):
        text = f"A salt is set aside as if event {through} had redacted the entity, and it did not."
        findings.append(Finding(None, None, entity, Wrong.REDACTION, text))
    findings += await _stray_snapshots(journal)
    if journal.file is not None:
        findings += await _elsewhere(journal.file)
        findings += await _damage(journal.file)
    return findings


async def _stray_snapshots(journal: SqlJournal) -> list[Finding]:
    """Find snapshots of entities that are not there, and of events that cannot be."""
    findings: list[Finding] = []
    entity = sequence = _LEAST
    while page := await journal.query(_STRAY_SNAPSHOTS.format(entity=entity, sequence=sequence)):
        for entity, sequence, known in page:
            if type(entity) is not int or type(sequence) is not int:
                text = "A row of casty_snapshots is none that any program writes: its entity or sequence is no number."
                return [*findings, Finding(None, None, None, Wrong.SNAPSHOT, text)]  # behind it stands nothing else
            if not known:
                text = f"There is a snapshot at event {sequence} of an entity that the directory does not have."
                findings.append(Finding(None, None, entity, Wrong.SNAPSHOT, text))
            elif sequence < 1:
                text = f"There is a snapshot at event {sequence}, and events begin at 1."
                findings.append(Finding(entity >> ENTITY_NUMBER_BITS, None, entity, Wrong.SNAPSHOT, text))
        if len(findings) >= FINDINGS_PER_SLOT:
            break
    return findings


async def _sqlite_guards(journal: SqlJournal) -> list[str]:
    objects = {name: sql or "" for name, sql in await journal.query(_SQLITE_OBJECTS)}
    wrong = []
    for statement in SQLITE_TRIGGERS:
        name = _name(statement)
        if name not in objects:
            wrong.append(f"The trigger {name} is gone: it keeps the journal append-only.")
        elif objects[name] != statement:
            wrong.append(f"The trigger {name} was changed: it keeps the journal append-only.")
    tables = " ".join(objects.values()).replace('"', "")
    for name, (columns, of) in _INDEXES.items():
        written = columns.replace(",", ", ")
        expected = f"CONSTRAINT {name} PRIMARY KEY ({written})", f"CONSTRAINT {name} UNIQUE ({written})"
        index = f"CREATE UNIQUE INDEX {name} ON casty_events ({written}) WHERE {of.strip('()')}"
        if not any(one in tables for one in expected) and objects.get(name) != index:
            wrong.append(f"The unique key {name} is gone, or was changed.")
    [(maintenance,)] = await journal.query(_SQLITE_MAINTENANCE) or [(0,)]
    if maintenance:
        wrong.append("casty_meta.maintenance was left at 1, so anybody may change and delete records.")
    return wrong


async def _postgres_guards(journal: SqlJournal) -> list[str]:
    indexes = {name: (columns, of) for name, columns, of in await journal.query(_POSTGRES_INDEXES)}
    wrong = [
        f"The unique key {name} is gone, not valid, or was changed."
        for name, expected in _INDEXES.items()
        if indexes.get(name) != expected
    ]
    bodies = {_name(one): one.split("$body$")[1] for one in POSTGRES_TRIGGERS if one.startswith("CREATE FUNCTION")}
    triggers = {tuple(row) for row in await journal.query(_POSTGRES_TRIGGERS)}
    wrong += [
        f"The trigger {expected[0]} or its function is gone, off, or was changed: it keeps the journal append-only."
        for expected in _POSTGRES_EXPECTED
        if (*expected, bodies[expected[-1]]) not in triggers
    ]
    wrong += [
        f"The setting {name} is given to sessions by the database or to a role: it turns the guards of records off."
        for (name,) in await journal.query(_POSTGRES_SETTINGS)
    ]
    return wrong


async def _elsewhere(file: Path) -> list[Finding]:
    """Find processes that write another file of this name: what they acknowledge no record here can show."""
    found = await asyncio.to_thread(strangers, file)
    return [
        Finding(None, None, None, Wrong.FILE, f"Process {pid} {what}: what it acknowledged there may not be here.")
        for pid, what in found.items()
    ]


async def _damage(file: Path) -> list[Finding]:
    """Let SQLite compare its tables with their indexes: a row that only an index has would be found by nobody else."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(_damage_in_thread, file, stop)
    finally:
        stop.set()


def _damage_in_thread(file: Path, stop: threading.Event) -> list[Finding]:
    findings: list[Finding] = []
    uri = f"{file.absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as connection:
        connection.set_progress_handler(stop.is_set, _STEPS)
        for table in _SQLITE_TABLES:
            try:
                said = connection.execute(_SQLITE_CHECK.format(table=table)).fetchall()
            except sqlite3.DatabaseError as error:
                said = [(str(error),)]
            findings += [
                Finding(None, None, None, Wrong.FILE, f"SQLite says of {table}: {text}")
                for (text,) in said[:_SAID]
                if text != "ok"
            ]
    return findings


def _name(statement: str) -> str:
    match = re.match(r"CREATE (?:TRIGGER|FUNCTION) (\w+)", statement)
    assert match is not None  # noqa: S101 - they are constants of ours
    return match[1]
