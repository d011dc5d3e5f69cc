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
from casty_es.journal.sql import SqlJournal
from casty_es.journal.tables import POSTGRES_TRIGGERS, SQLITE_TRIGGERS

__all__ = ["check_database"]

_INDEXES: Final = (
    "pk_casty_events",
    "uq_casty_events_entity_sequence",
    "uq_casty_events_idempotency_key",
    "pk_casty_entities",
    "uq_casty_entities_kind_name_key",
    "pk_casty_snapshots",
)

# Where no slot is walked, nobody would look.
_STRAYS: Final = """
    SELECT 'records', slot FROM (SELECT slot FROM casty_events WHERE slot >= {slots} LIMIT 1) a
    UNION ALL SELECT 'entities', slot FROM (SELECT slot FROM casty_entities WHERE id >= {slots} * 4294967296 LIMIT 1) b
    UNION ALL SELECT 'seals', slot FROM (SELECT slot FROM casty_seals WHERE slot >= {slots} LIMIT 1) c"""

_STRAY_SNAPSHOTS: Final = """
    SELECT s.entity, s.sequence, EXISTS (SELECT 1 FROM casty_entities e WHERE e.id = s.entity)
    FROM casty_snapshots s WHERE (s.entity, s.sequence) > ({entity}, {sequence})
    ORDER BY s.entity, s.sequence LIMIT 10000"""

_SQLITE_OBJECTS: Final = "SELECT name, sql FROM sqlite_master WHERE tbl_name LIKE 'casty_%'"
_SQLITE_MAINTENANCE: Final = "SELECT maintenance FROM casty_meta WHERE id = 1"
_SQLITE_CHECK: Final = "SELECT * FROM pragma_integrity_check('{table}')"
_SQLITE_TABLES: Final = ("casty_events", "casty_entities", "casty_snapshots", "casty_seals", "casty_structures")

_BUSY_SECONDS: Final = 30.0
_STEPS: Final = 100_000  # of SQLite's machine, a few milliseconds: how often it looks whether it is to stop
_SAID: Final = 5  # one damaged page makes a hundred lines

_POSTGRES_INDEXES: Final = """
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indisunique AND i.indisvalid AND i.indisready
    AND i.indrelid IN ('casty_events'::regclass, 'casty_entities'::regclass, 'casty_snapshots'::regclass)"""
_POSTGRES_FUNCTIONS: Final = """
    SELECT proname, prosrc FROM pg_proc
    WHERE proname IN ('casty_events_refuse_change', 'casty_meta_refuse_slots') AND pg_function_is_visible(oid)"""
# The type holds when and for what it fires: see pg_trigger.h. A trigger of one's own replica role is not "O" or "A".
_POSTGRES_TRIGGERS: Final = """
    SELECT t.tgname, t.tgtype, p.proname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
    AND t.tgrelid IN ('casty_events'::regclass, 'casty_meta'::regclass)"""
_POSTGRES_EXPECTED: Final = (
    ("casty_events_append_only", 2 | 8 | 16 | 32, "casty_events_refuse_change"),  # before delete, update, truncate
    ("casty_meta_refuse_slots", 1 | 2 | 16, "casty_meta_refuse_slots"),  # each row, before update
)


async def check_database(journal: SqlJournal, slots: int) -> list[Finding]:
    """Check what stands around the records."""
    guards = await (_sqlite_guards(journal) if journal.file is not None else _postgres_guards(journal))
    findings = [Finding(None, None, None, Wrong.GUARD, text) for text in guards]
    for what, slot in await journal.query(_STRAYS.format(slots=slots)):
        text = f"There are {what} in slot {slot}, and the journal has {slots} slots: no program ever reads them."
        findings.append(Finding(slot, None, None, Wrong.ALTERED, text))
    entity = sequence = 0
    while page := await journal.query(_STRAY_SNAPSHOTS.format(entity=entity, sequence=sequence)):
        for entity, sequence, known in page:
            if not known:
                text = f"There is a snapshot at event {sequence} of an entity that the directory does not have."
                findings.append(Finding(None, None, entity, Wrong.SNAPSHOT, text))
        if len(findings) >= FINDINGS_PER_SLOT:
            break
    if journal.file is not None:
        findings += await _damage(journal.file)
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
    tables = " ".join(objects.values())
    wrong += [f"The unique key {name} is gone." for name in _INDEXES if name not in objects and name not in tables]
    [(maintenance,)] = await journal.query(_SQLITE_MAINTENANCE) or [(0,)]
    if maintenance:
        wrong.append("casty_meta.maintenance was left at 1, so anybody may change and delete records.")
    return wrong


async def _postgres_guards(journal: SqlJournal) -> list[str]:
    indexes = {name for (name,) in await journal.query(_POSTGRES_INDEXES)}
    wrong = [f"The unique key {name} is gone, or not valid." for name in _INDEXES if name not in indexes]
    triggers = {tuple(row) for row in await journal.query(_POSTGRES_TRIGGERS)}
    wrong += [
        f"The trigger {expected[0]} is gone, off, or was changed: it keeps the journal append-only."
        for expected in _POSTGRES_EXPECTED
        if expected not in triggers
    ]
    bodies = dict(tuple(row) for row in await journal.query(_POSTGRES_FUNCTIONS))
    for statement in POSTGRES_TRIGGERS:
        if statement.startswith("CREATE FUNCTION"):
            name, body = _name(statement), statement.split("$body$")[1]
            if bodies.get(name) != body:
                wrong.append(f"The function {name} is gone or was changed: its trigger keeps the journal append-only.")
    return wrong


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
