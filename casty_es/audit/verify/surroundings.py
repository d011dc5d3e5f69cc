"""What stands around the records, compared with what the migrations make: nothing may be gone, changed or added.

A trigger can drop or rewrite rows while they are written, a rule, a policy or an inherited table can hide some or show
others, a view can leave out a name, and a setting of a role can lead its sessions to another schema. None of them
touches a record, and the chain of what is left may hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from casty_es.audit.verify.findings import Finding, Wrong
from casty_es.audit.verify.surroundings_grants import check_grants
from casty_es.audit.verify.surroundings_postgres import (
    Path,
    changed_views,
    looking,
    quoted,
    schema_path,
    settings,
    there,
)
from casty_es.journal.expected_surroundings import SQLITE_OBJECTS, Thing, on_postgres, on_sqlite, plain
from casty_es.journal.schema import VERSION_TABLE
from casty_es.journal.sessions import Connection
from casty_es.journal.sql import SqlJournal

_SHOWN: Final = 300  # characters of a definition
_META: Final = "SELECT id, maintenance FROM casty_meta ORDER BY id"
_CREATED_AT: Final = "SELECT created_at FROM {schema}.casty_meta WHERE id = 1"
_MAY_READ: Final = """
    SELECT has_schema_privilege($1, 'USAGE') AND to_regclass($2 || '.casty_meta') IS NOT NULL
    AND has_table_privilege(to_regclass($2 || '.casty_meta')::oid, 'SELECT')"""
_HIDING: Final = """
    SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY ($1::text[]) AND starts_with(c.relname::text, 'casty_') AND c.relkind NOT IN ('i', 'I')"""

# The schema of the database's own, and who says what search_path is, in the words of pg_settings.
_CATALOG: Final = "pg_catalog"
_CLIENT: Final = "client"
_DEFAULT: Final = "default"


async def check_surroundings(journal: SqlJournal) -> tuple[list[Finding], list[str]]:
    """Return what around the records is gone, was changed or added, and what to know of it.

    It is compared with what the migrations make.
    """
    if journal.file is not None:
        wrong, notes = await _sqlite(journal)
    else:
        wrong, notes = await _postgres(journal.url)
    wrong += await _wrong_meta(journal)
    return [Finding(None, None, None, Wrong.GUARD, text) for text in wrong], notes


async def _sqlite(journal: SqlJournal) -> tuple[list[str], list[str]]:
    rows = await journal.query(SQLITE_OBJECTS)
    # Of alembic's own table it does not matter with which text its version made it.
    actual = {
        Thing(type_, name, of): "" if name == VERSION_TABLE else plain(text or "") for type_, name, of, text in rows
    }
    return _differences(on_sqlite(), actual), []


async def _postgres(url: str) -> tuple[list[str], list[str]]:
    async with looking(url) as connection:
        path = await schema_path(connection)
        if path.schema is None:
            return ["No schema that this role's search_path names has a table casty_events."], []
        wrong = await _wrong_path(connection, path)
        schema = await quoted(connection, path.schema)
        expected = {thing: text.replace('"', "") for thing, text in on_postgres().items()}
        actual = {thing: text.replace('"', "") for thing, text in (await there(connection, schema)).items()}
        wrong += _differences(expected, actual)
        wrong += [
            f"The setting {name} is given to sessions by the database or to a role: it turns the guards of records off."
            for name in await settings(connection)
        ]
        granted, notes = await check_grants(connection, schema)
        changed = await changed_views(connection, schema)
        if changed is None:
            notes.append(
                "What the views say was not compared: that takes temporary views, which this role may not make. Grant "
                "it TEMPORARY on the database, or verify as the owner of the tables."
            )
        wrong += [
            f"The view {name} was changed: it does not say what the migrations make it say."
            for name in changed or ()
            if Thing("view", name, name) in actual
        ]
        return wrong + granted, notes


def _differences(expected: Mapping[Thing, str], actual: Mapping[Thing, str]) -> list[str]:
    """Return what is gone, what was added and what was changed. What goes or comes with a whole table is not told."""
    gone, added = expected.keys() - actual.keys(), actual.keys() - expected.keys()
    whole = {thing.of for thing in gone | added if thing.of == thing.name}
    wrong = [f"The {one.text} is gone." for one in gone if one.of == one.name or one.of not in whole]
    wrong += [
        f"The {one.text} was added{_cut(actual[one], ': ')}."
        for one in added
        if one.of == one.name or one.of not in whole
    ]
    wrong += [
        f"The {one.text} was changed{_cut(actual[one], ', it is: ')}. The migrations make {_cut(text) or 'it plain'}."
        for one, text in expected.items()
        if actual.get(one, text) != text
    ]
    return sorted(wrong)


def _cut(text: str, before: str = "") -> str:
    """Return as much of a definition as fits into a finding, behind some words, or nothing."""
    return text and before + (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


async def _wrong_path(connection: Connection, path: Path) -> list[str]:
    """Return what is wrong with the way on which names lead to the journal.

    A schema that whoever verifies has named in the URL is the one that is meant. Anything else may have been set in the
    database by whom the verification is to find out.
    """
    wrong = []
    foreign = [schema for schema in path.schemas[: path.schemas.index(path.schema or "")] if schema != _CATALOG]
    if path.schemas[0] != _CATALOG and _CATALOG in path.schemas:
        wrong.append(f"search_path is {path.setting}: what stands before pg_catalog hides functions of the database.")
    for schema, name in await connection.fetch(_HIDING, foreign):
        wrong.append(f"{schema}.{name} hides the journal's own {name}, by the search_path {path.setting}.")
    others = [schema for schema in path.journals if schema != path.schema]
    if not others or path.source == _CLIENT:
        return wrong
    why = f"and the search_path {path.setting}, set by the {path.source}, chose between them"
    if path.source == _DEFAULT and path.schema == "public":
        if not await _copies(connection, path.schema, others):
            return wrong
        why = "and one of them is a copy"
    schemas = ", ".join([path.schema or "", *others])
    wrong.append(
        f"There is a journal in each of the schemas {schemas}, {why}: only {path.schema} was looked at. Name the "
        f"schema that is meant in the URL: ?options=-csearch_path%3DSCHEMA."
    )
    return wrong


async def _copies(connection: Connection, schema: str, others: list[str]) -> bool:
    """Return whether one of the other journals was made when this one was, as far as this role may see it."""
    [made] = await _created_at(connection, [schema])
    return made is not None and made in await _created_at(connection, others)


async def _created_at(connection: Connection, schemas: list[str]) -> list[int | None]:
    made: list[int | None] = []
    for schema in schemas:
        inside = await quoted(connection, schema)
        readable = await connection.fetchval(_MAY_READ, schema, inside)
        made.append(await connection.fetchval(_CREATED_AT.format(schema=inside)) if readable else None)
    return made


async def _wrong_meta(journal: SqlJournal) -> list[str]:
    rows = [tuple(row) for row in await journal.query(_META)]
    wrong = []
    if [id_ for id_, _ in rows] != [1]:
        wrong.append(f"The table casty_meta must have one row, of id 1, and has {len(rows)}.")
    if journal.file is not None:
        wrong += [
            "casty_meta.maintenance was left at 1, so anybody may change and delete records."
            if maintenance == 1
            else f"casty_meta.maintenance is {str(maintenance)[:40]!a}, and must be 0."
            for _, maintenance in rows
            if maintenance != 0
        ]
    return wrong
