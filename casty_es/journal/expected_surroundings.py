"""What stands around the records: every object that the migrations make in a database, in the words of that database.

It is taken from ``tables.py`` and ``views.py``, which a test holds to the migrations. On SQLite a database in memory is
made of them. On Postgres nothing is made: this module writes each definition as the catalog of the server does, and a
test holds that to what a fresh upgrade makes.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final, NamedTuple

from sqlalchemy import CheckConstraint, Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from casty_es.journal.revisions import VERSION_TABLE
from casty_es.journal.tables import POSTGRES_TRIGGERS, SQLITE_TRIGGERS, metadata
from casty_es.journal.view_sql import POSTGRES_FUNCTION
from casty_es.journal.views import FUNCTION, VIEWS, statements

_SQLITE: Final = sqlite.dialect()
_POSTGRES: Final = postgresql.dialect()  # type: ignore[no-untyped-call]  # it has no annotations


class Thing(NamedTuple):
    """An object of a database."""

    # ``table``, ``column``, ``constraint``, ``index``, ``trigger``, ``view``, ``function``, and on Postgres also
    # ``rule``, ``policy`` and ``inheritance``, of which the migrations make none.
    kind: str
    name: str
    of: str  # the table or view that it belongs to, or its own name

    @property
    def text(self) -> str:
        """What to call it."""
        return f"{self.kind} {self.name}" if self.of == self.name else f"{self.kind} {self.name} of {self.of}"


def plain(text: str) -> str:
    """Return a definition in one line: where it breaks says nothing, and differs where a column was added later."""
    return re.sub(r"\s+", " ", text).strip()


# --- SQLite: its catalog keeps the statements themselves. ---

SQLITE_OBJECTS: Final = """
    SELECT type, name, tbl_name, sql FROM sqlite_master
    WHERE lower(tbl_name) GLOB 'casty_*' OR lower(name) GLOB 'casty_*'"""


def on_sqlite() -> dict[Thing, str]:
    """Return what the migrations make in an SQLite file, and how its catalog writes it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for table in metadata.sorted_tables:
            connection.execute(str(CreateTable(table).compile(dialect=_SQLITE)))
            for index in table.indexes:
                connection.execute(str(CreateIndex(index).compile(dialect=_SQLITE)))
        for statement in (*SQLITE_TRIGGERS, *statements("sqlite")):
            connection.execute(statement)
        rows = connection.execute(SQLITE_OBJECTS).fetchall()
    things = {Thing(type_, name, of): plain(text or "") for type_, name, of, text in rows}
    # Alembic writes its own table, and not every version of it with the same text.
    version = {Thing("table", VERSION_TABLE, VERSION_TABLE): ""}
    return things | version | {Thing("index", f"sqlite_autoindex_{VERSION_TABLE}_1", VERSION_TABLE): ""}


# --- Postgres: its catalog keeps what it understood, and writes that out. ---

# What the server makes of a check that it does not write as it was given.
_CHECKS: Final = {
    "epoch BETWEEN 1 AND position": "(epoch >= 1) AND (epoch <= position)",
    "(entity IS NULL) = (sequence IS NULL)": "(entity IS NULL) = (sequence IS NULL)",
    "first BETWEEN 1 AND last": "(first >= 1) AND (first <= last)",
    "slots BETWEEN 1 AND 8192": "(slots >= 1) AND (slots <= 8192)",
    "maintenance IN (0, 1)": "maintenance = ANY (ARRAY[0, 1])",
}

_TRIGGERS: Final = {
    Thing("trigger", "casty_events_append_only", "casty_events"): (
        "CREATE TRIGGER casty_events_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON casty_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION casty_events_refuse_change()"
    ),
    Thing("trigger", "casty_meta_refuse_slots", "casty_meta"): (
        "CREATE TRIGGER casty_meta_refuse_slots BEFORE UPDATE OF slots ON casty_meta "
        "FOR EACH ROW WHEN ((old.slots IS DISTINCT FROM new.slots)) EXECUTE FUNCTION casty_meta_refuse_slots()"
    ),
}

_TRIGGER_FUNCTION: Final = "trigger plpgsql volatile"
_FUNCTIONS: Final = {
    "casty_events_refuse_change()": _TRIGGER_FUNCTION,
    "casty_meta_refuse_slots()": _TRIGGER_FUNCTION,
    FUNCTION: "text plpgsql immutable strict SET search_path=pg_catalog",
}


def on_postgres() -> dict[Thing, str]:
    """Return what the migrations make in a Postgres database, and how its catalog writes it; views are left empty."""
    things = {Thing("view", view, view): "" for view in VIEWS} | _TRIGGERS | dict(_functions())
    for table in metadata.sorted_tables:
        things[Thing("table", table.name, table.name)] = ""
        things |= {Thing("column", one.name, table.name): _column(one) for one in table.columns}
        for constraint in table.constraints:
            if isinstance(constraint, CheckConstraint) and constraint._ddl_if is not None:  # noqa: SLF001 - nothing else tells
                continue  # it is SQLite's alone
            definition = _constraint(constraint)
            if definition is not None:
                things[Thing("constraint", str(constraint.name), table.name)] = definition
        things |= {Thing("index", str(index.name), table.name): _index(index, table) for index in table.indexes}
    return things | {
        Thing("table", VERSION_TABLE, VERSION_TABLE): "",
        Thing("column", "version_num", VERSION_TABLE): "character varying(32) NOT NULL",
        Thing("constraint", f"{VERSION_TABLE}_pkc", VERSION_TABLE): "PRIMARY KEY (version_num)",
    }


def view_queries() -> dict[str, str]:
    """Return the query of each view on Postgres."""
    queries = {}
    for statement in statements("postgresql"):
        if statement.startswith("CREATE VIEW "):
            name, _, query = statement.removeprefix("CREATE VIEW ").partition(" AS")
            queries[name] = query
    return queries


def _column(column: Column[object]) -> str:
    type_, collate, collation = column.type.compile(dialect=_POSTGRES).partition(" COLLATE ")
    text = type_.lower() + (f" COLLATE {collation}" if collate else "")
    if column.server_default is not None:
        text += f" DEFAULT {column.server_default.arg}"  # type: ignore[attr-defined]  # it is text in all of them
    return plain(text.replace('"', "") + ("" if column.nullable else " NOT NULL"))


def _constraint(constraint: object) -> str | None:
    if isinstance(constraint, CheckConstraint):
        text = str(constraint.sqltext)
        return f"CHECK (({_CHECKS.get(text, text)}))"
    if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
        what = "PRIMARY KEY" if isinstance(constraint, PrimaryKeyConstraint) else "UNIQUE"
        return f"{what} ({', '.join(column.name for column in constraint.columns)})"
    return None


def _index(index: Index, table: Table) -> str:
    where = index.dialect_options["postgresql"]["where"]
    what = f"CREATE {'UNIQUE ' if index.unique else ''}INDEX {index.name} ON {table.name} USING btree "
    return (
        what + f"({', '.join(one.name for one in index.columns)})" + (f" WHERE ({where})" if where is not None else "")
    )


def _functions() -> Iterator[tuple[Thing, str]]:
    for statement in (*POSTGRES_TRIGGERS, POSTGRES_FUNCTION):
        if statement.startswith("CREATE FUNCTION"):
            name = next(one for one in _FUNCTIONS if one.startswith(_function_name(statement) + "("))
            yield Thing("function", name, name), plain(f"{_FUNCTIONS[name]} {statement.split('$body$')[1]}")


def _function_name(statement: str) -> str:
    return statement.removeprefix("CREATE FUNCTION ").partition("(")[0]
