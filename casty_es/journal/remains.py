"""What is left of a journal when something else than its migrations dropped a part of it, or made one.

Such a database names no revision, so an upgrade would begin anew, and fail at the first name that is there already, for
ever. Whoever meets that is told what happened and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from casty_es.errors import SchemaError
from casty_es.journal.expected_surroundings import on_postgres, on_sqlite
from casty_es.journal.revisions import VERSION_TABLE
from casty_es.journal.urls import is_sqlite, shown

Part = Sequence[Any]
"""The kind and the name of something in a database, and whether it is a table that may hold rows."""

_RECORDS: Final = ("table", "casty_events")
_KINDS: Final = ("view", "table", "function")  # in the order in which they can be dropped; the rest goes with its table

POSTGRES_PARTS: Final = """
    SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, c.relname::text,
        c.relkind <> 'v' AND pg_relation_size(c.oid) > 0
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT 'function', p.proname || '(' || oidvectortypes(p.proargtypes) || ')', false
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = current_schema()"""


def sqlite_parts(query: Callable[[str], Iterable[Part]]) -> list[Part]:
    """Return what is in an SQLite file, given what runs a query in it."""
    rows = [tuple(row) for row in query("SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view')")]
    filled = _RECORDS in rows and any(True for _ in query("SELECT 1 FROM casty_events LIMIT 1"))
    return [(*row, filled and row == _RECORDS) for row in rows]


def told(url: str, parts: Iterable[Part]) -> SchemaError | None:
    """Return the error for a database that names no revision, if it has anything of a journal."""
    found = {(kind, name): filled for kind, name, filled in parts}
    ours = [(thing.kind, thing.name) for thing in (on_sqlite() if is_sqlite(url) else on_postgres())]
    ours = [(kind, name) for kind, name in ours if kind in _KINDS and name != VERSION_TABLE]
    left = [thing for thing in ours[::-1] if thing in found]  # views are listed after those that they read
    if not left:
        return None
    happened = (
        f"{shown(url)} has parts of a journal, and no revision in {VERSION_TABLE}: something else than casty_es "
        "dropped the rest, or made these, such as an alembic of your own with a revision that was generated without "
        "casty_es.alembic.include_name, or with ours among its versions. Nothing was changed. "
    )
    if found.get(_RECORDS):
        missing = ", ".join([VERSION_TABLE, *(name for kind, name in ours if (kind, name) not in found)])
        return SchemaError(
            f"{happened}casty_events holds records, so drop nothing. Not there: {missing}. Restore a backup, or, if "
            "only the revision is missing, write it back: docs/howto/migrate.md says how."
        )
    drops = sorted(left, key=lambda thing: _KINDS.index(thing[0]))
    statements = " ".join(f"DROP {kind.upper()} {name};" for kind, name in drops)
    return SchemaError(
        f"{happened}No record is left: casty_events is {'empty' if _RECORDS in found else 'gone'}. Restore a backup. "
        f"Or, for a new, empty journal, drop what is left and upgrade again: {statements}"
    )
