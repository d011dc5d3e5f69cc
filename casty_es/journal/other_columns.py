"""Columns that somebody made of another type, as only Postgres lets one: then no row of them can be read as it was.

What is damaged in one row is told of that row. Here it is all of them, and what a statement compares with such a
column, a time or a name, it may not find: so whoever shows what is in the journal says this first.
"""

from __future__ import annotations

from typing import Final

from casty_es.journal.expected_surroundings import on_postgres
from casty_es.journal.sql import SqlJournal

_TYPES: Final = """
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.oid = to_regclass(c.relname::text) AND starts_with(c.relname::text, 'casty_') AND c.relkind = 'r'
        AND a.attnum > 0 AND NOT a.attisdropped"""


async def other_columns(journal: SqlJournal) -> list[str]:
    """Return what is said of columns whose type is not the one that the migrations make."""
    if journal.file is not None:
        return []
    made = {(thing.of, thing.name): text for thing, text in on_postgres().items() if thing.kind == "column"}
    return [
        f"The column {column} of {table} has the type {type_}, and must be {made[table, column]}: what is read of it "
        "is not what was written, and what is looked for by it may not be found. Give it that type again, or restore "
        "the database from a backup."
        for table, column, type_ in await journal.query(_TYPES)
        if not f"{made.get((table, column), type_)} ".startswith(f"{type_} ")
    ]
