"""Every way to damage one field of a journal, generated from the description of its tables."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final, NamedTuple

import asyncpg

from casty_es.journal.urls import postgres_dsn, sqlite_file
from tests.tables import TABLES, Column, Table

__all__ = ["Damage", "all_damages", "do_damage"]

# What stands in the field instead, by what the column holds. None: this database cannot be made to hold it.
_DEEP: Final = 20_000
_DIGITS: Final = 10_000
_SQLITE: Final[dict[str, dict[str, str | None]]] = {
    "text": {
        "nul": "'a' || char(0) || 'b'",
        "not json": "'not json'",
        "deep": f"replace(hex(zeroblob({_DEEP // 2})), '0', '[') || replace(hex(zeroblob({_DEEP // 2})), '0', ']')",
        "huge": f"replace(hex(zeroblob({_DIGITS // 2})), '0', '9')",
        "negative": "'-1'",
        "wrong type": "CAST(7 AS INTEGER)",
        "not utf-8": "CAST(X'FFFE41' AS TEXT)",
        "missing": "NULL",
        "other shape": """'{"actor":5}'""",
    },
    "number": {
        "nul": "0",
        "not json": "'not json'",
        "deep": "X'00'",
        "huge": str(2**62),
        "negative": "-1",
        "wrong type": "1.5",
        "not utf-8": "CAST(X'FFFE41' AS TEXT)",
        "missing": "NULL",
        "other shape": str(-(2**63)),
    },
    "bytes": {
        "nul": "zeroblob(32)",
        "not json": "CAST('not json' AS BLOB)",
        "deep": f"zeroblob({_DEEP})",
        "huge": "zeroblob(1000000)",
        "negative": "X''",
        "wrong type": "'text'",
        "not utf-8": "CAST(X'FFFE41' AS TEXT)",
        "missing": "NULL",
        "other shape": "X'0102'",
    },
}
_POSTGRES: Final[dict[str, dict[str, str | None]]] = {
    "text": {
        "nul": """'{"a":"\\u0000"}'""",
        "not json": "'not json'",
        "deep": f"repeat('[', {_DEEP}) || repeat(']', {_DEEP})",
        "huge": f"repeat('9', {_DIGITS})",
        "negative": "'-1'",
        "wrong type": "TYPE bytea USING convert_to({column}, 'UTF8')",
        "not utf-8": """'{"a":"\\udcff"}'""",
        "missing": "NULL",
        "other shape": """'{"actor":5}'""",
    },
    "number": {
        "nul": "0",
        "not json": "TYPE text USING {column}::text",
        "deep": "TYPE numeric USING {column}::numeric",
        "huge": "{largest}",
        "negative": "-1",
        "wrong type": "TYPE float8 USING {column}::float8",
        "not utf-8": "TYPE bytea USING convert_to({column}::text, 'UTF8')",
        "missing": "NULL",
        "other shape": "{least}",
    },
    "flag": {"missing": "NULL", "wrong type": "TYPE text USING {column}::text", "huge": "TYPE int USING {column}::int"},
    "bytes": {
        "nul": "decode(repeat('00', 32), 'hex')",
        "not json": "'not json'::bytea",
        "deep": f"decode(repeat('00', {_DEEP}), 'hex')",
        "huge": "decode(repeat('00', 1000000), 'hex')",
        "negative": "''::bytea",
        "wrong type": "TYPE text USING encode({column}, 'hex')",
        "not utf-8": "'\\xfffe41'::bytea",
        "missing": "NULL",
        "other shape": "'\\x0102'::bytea",
    },
}
# Of these tables the damaged row is this one: in the middle of what is read.
_WHICH: Final = {
    "casty_events": "entity = (SELECT id FROM casty_entities WHERE kind = 'map' AND key = 's:alice') AND sequence = 2",
    "casty_entities": "kind = 'map' AND key = 's:alice'",
    "casty_structures": "kind = 'map'",
}


class Damage(NamedTuple):
    """One damaged field: its table and column, what is wrong with it, and what it takes to do so."""

    database: str
    table: str
    column: str
    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.database} {self.table.removeprefix('casty_')}.{self.column} {self.kind}"


def all_damages(database: str) -> Iterator[Damage]:
    """Yield every damage that can be done in one of the databases: ``sqlite`` or ``postgres``."""
    values = _SQLITE if database == "sqlite" else _POSTGRES
    for table in TABLES.values():
        for column in table.columns.values():
            for kind, value in values[_holds(column, database)].items():
                # SQLite's name for the number of a row holds nothing else than a number.
                number_only = _is_row_number(table, column, database)
                if value is not None and (value.lstrip("-").isdecimal() or not number_only):
                    yield Damage(database, table.name, column.name, kind, value)


def _is_row_number(table: Table, column: Column, database: str) -> bool:
    return database == "sqlite" and table.keys == [column.name] and _holds(column, database) == "number"


def _holds(column: Column, database: str) -> str:
    if column.type == "bytea":
        return "bytes"
    if column.type == "text":
        return "text"
    return "flag" if database == "postgres" and column.name == "alive" else "number"


def do_damage(url: str, damage: Damage) -> None:
    """Damage a journal."""
    if damage.database == "sqlite":
        _sqlite(url, damage)
    else:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(_postgres(url, damage))


def _row(damage: Damage) -> str:
    if damage.table in _WHICH:
        return _WHICH[damage.table]
    keys = ", ".join(TABLES[damage.table].keys)
    return f"({keys}) = (SELECT {keys} FROM {damage.table} ORDER BY {keys} LIMIT 1)"


def _column(damage: Damage) -> Column:
    return TABLES[damage.table].columns[damage.column]


def _sqlite(url: str, damage: Damage) -> None:
    """Take what the schema refuses out of it, change the field, and put the schema back."""
    file = sqlite_file(url)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (damage.table,)
        ).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        [(schema,)] = connection.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (damage.table,)
        ).fetchall()
        loose = schema.replace(" NOT NULL", "").replace("STRICT", "")
        if not _is_row_number(TABLES[damage.table], _column(damage), "sqlite"):
            loose = re.sub(rf"\b{damage.column} (INTEGER|TEXT)", f"{damage.column} BLOB", loose)
        _rewrite(connection, damage.table, loose)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        changed = connection.execute(f"UPDATE {damage.table} SET {damage.column} = {damage.value} WHERE {_row(damage)}")
        assert changed.rowcount == 1, damage
        _rewrite(connection, damage.table, schema)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for _, sql in triggers:
            connection.execute(sql)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _rewrite(connection: sqlite3.Connection, table: str, sql: str) -> None:
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = ?", (sql, table))
    connection.execute("PRAGMA writable_schema = RESET")


async def _postgres(url: str, damage: Damage) -> None:
    table, column = damage.table, damage.column
    connection = await asyncpg.connect(postgres_dsn(url))
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute("SET LOCAL casty_es.maintenance = 'on'")
            for name, definition in await connection.fetch(
                "SELECT conname, contype FROM pg_constraint WHERE conrelid = $1::regclass ORDER BY contype = 'p' DESC",
                table,
            ):
                if definition == b"c" or damage.kind == "missing":
                    await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
            if damage.value.startswith("TYPE"):
                await _other_type(connection, damage)
                return
            if damage.kind == "missing":
                await connection.execute(f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL")
            bits = 31 if _column(damage).type == "integer" else 62
            value = (
                damage.value if "{l" not in damage.value else damage.value.format(largest=2**bits - 1, least=-(2**bits))
            )
            status = await connection.execute(f"UPDATE {table} SET {column} = {value} WHERE {_row(damage)}")
            assert status == "UPDATE 1", damage
    finally:
        await connection.close()


async def _other_type(connection: Any, damage: Damage) -> None:
    views = await connection.fetch("SELECT viewname FROM pg_views WHERE viewname LIKE 'casty_%'")
    for (view,) in views:
        await connection.execute(f"DROP VIEW IF EXISTS {view} CASCADE")
    for (name,) in await connection.fetch(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = $1::regclass AND NOT tgisinternal",
        damage.table,
    ):
        await connection.execute(f"DROP TRIGGER {name} ON {damage.table}")
    for (index,) in await connection.fetch(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = $1::regclass AND indpred IS NOT NULL",
        damage.table,
    ):
        await connection.execute(f"DROP INDEX {index}")
    await connection.execute(f"ALTER TABLE {damage.table} ALTER COLUMN {damage.column} DROP DEFAULT")
    change = damage.value.format(column=damage.column)
    await connection.execute(f"ALTER TABLE {damage.table} ALTER COLUMN {damage.column} {change}")
