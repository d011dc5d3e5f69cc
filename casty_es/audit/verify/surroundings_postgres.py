"""What stands around the records in a Postgres database, as its catalog tells it.

It is read over one connection and in one transaction that is taken back, with ``search_path`` set to the catalog's own
schema: whatever a role's settings make of names, here a name is the catalog's.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Final, NamedTuple

import asyncpg

from casty_es.errors import JournalUnavailableError
from casty_es.journal.expected_surroundings import Thing, plain, view_queries
from casty_es.journal.sessions import Connection, close_quietly, connect, said, translated

# Asked before names mean the catalog's own: each name and operator has its schema. (The driver asks the server what an
# array of names is, and knows one of texts.)
_PATH: Final = """
    SELECT setting, source, pg_catalog.current_schemas(true)::pg_catalog.text[] FROM pg_catalog.pg_settings
    WHERE name OPERATOR(pg_catalog.=) 'search_path'::pg_catalog.text"""
_PIN: Final = "SET LOCAL search_path = pg_catalog"
_JOURNALS: Final = """
    SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = 'casty_events' ORDER BY 1"""

_OURS: Final = "c.relnamespace = to_regnamespace($1) AND starts_with(c.relname::text, 'casty_')"

# Indexes come with their tables below; a table's type and its parts out of line are the table.
_RELATIONS: Final = f"""
    SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' WHEN 'm' THEN
        'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' ELSE 'type' END,
        c.relname, c.relname, concat_ws(' ',
        CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' WHEN 't' THEN 'TEMPORARY' END,
        CASE WHEN c.relrowsecurity THEN 'ROW LEVEL SECURITY' END,
        CASE WHEN c.relforcerowsecurity THEN 'FORCE ROW LEVEL SECURITY' END,
        CASE WHEN c.relkind = 'v' THEN array_to_string(c.reloptions, ', ') END)
    FROM pg_class c WHERE {_OURS} AND c.relkind NOT IN ('i', 'I', 't')"""
_COLUMNS: Final = f"""
    SELECT 'column', a.attname, c.relname, concat_ws(' ', format_type(a.atttypid, a.atttypmod),
        'COLLATE ' || CASE WHEN a.attcollation <> t.typcollation THEN o.collname END,
        CASE a.attgenerated WHEN '' THEN 'DEFAULT ' ELSE 'GENERATED ' END || pg_get_expr(d.adbin, d.adrelid),
        CASE WHEN a.attidentity <> '' THEN 'IDENTITY' END, CASE WHEN a.attnotnull THEN 'NOT NULL' END)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    LEFT JOIN pg_collation o ON o.oid = a.attcollation
    WHERE {_OURS} AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped"""
# What is not null stands with the columns; since its version 18 the server counts it among the constraints.
_CONSTRAINTS: Final = f"""
    SELECT 'constraint', k.conname, c.relname, concat_ws(' ', pg_get_constraintdef(k.oid),
        CASE WHEN NOT (x.indisvalid AND x.indisready AND x.indimmediate) THEN 'INVALID' END)
    FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid
    LEFT JOIN pg_index x ON x.indexrelid = k.conindid AND k.contype IN ('p', 'u', 'x')
    WHERE {_OURS} AND k.contype NOT IN ('n', 't')"""
_INDEXES: Final = f"""
    SELECT 'index', i.relname, c.relname, concat_ws(' ', pg_get_indexdef(i.oid),
        CASE WHEN NOT (x.indisvalid AND x.indisready) THEN 'INVALID' END)
    FROM pg_class c JOIN pg_index x ON x.indrelid = c.oid JOIN pg_class i ON i.oid = x.indexrelid
    WHERE {_OURS} AND NOT EXISTS (
        SELECT FROM pg_constraint k WHERE k.conindid = i.oid AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x'))"""
# One that fires always, also for replication, is a stricter guard and as good.
_TRIGGERS: Final = f"""
    SELECT 'trigger', t.tgname, c.relname, concat_ws(' ', pg_get_triggerdef(t.oid),
        CASE t.tgenabled WHEN 'D' THEN 'DISABLED' WHEN 'R' THEN 'ENABLED FOR REPLICA ONLY' END)
    FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE {_OURS} AND NOT t.tgisinternal"""
_RULES: Final = f"""
    SELECT 'rule', r.rulename, c.relname, pg_get_ruledef(r.oid)
    FROM pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE {_OURS} AND r.rulename <> '_RETURN'"""
_POLICIES: Final = f"""
    SELECT 'policy', p.polname, c.relname, concat_ws(' ', pg_get_expr(p.polqual, p.polrelid),
        pg_get_expr(p.polwithcheck, p.polrelid))
    FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid WHERE {_OURS}"""
_INHERITANCE: Final = f"""
    SELECT 'inheritance', format('%s from %s', h.inhrelid::regclass, h.inhparent::regclass), c.relname, ''
    FROM pg_class c JOIN pg_inherits h ON c.oid IN (h.inhrelid, h.inhparent)
    WHERE {_OURS} AND c.relkind NOT IN ('i', 'I')"""
_FUNCTIONS: Final = """
    SELECT 'function', format('%s(%s)', p.proname, oidvectortypes(p.proargtypes)),
        format('%s(%s)', p.proname, oidvectortypes(p.proargtypes)), concat_ws(' ',
        CASE WHEN p.proretset THEN 'SETOF' END, format_type(p.prorettype, NULL), l.lanname,
        CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
        CASE WHEN p.proisstrict THEN 'strict' END, CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' END,
        'SET ' || array_to_string(p.proconfig, ', '), p.prosrc)
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.pronamespace = to_regnamespace($1) AND starts_with(p.proname::text, 'casty_')"""
_EVERYTHING: Final = (
    f"({_RELATIONS}) UNION ALL ({_COLUMNS}) UNION ALL ({_CONSTRAINTS}) UNION ALL ({_INDEXES}) UNION ALL ({_TRIGGERS}) "
    f"UNION ALL ({_RULES}) UNION ALL ({_POLICIES}) UNION ALL ({_INHERITANCE}) UNION ALL ({_FUNCTIONS})"
)

# What turns the triggers off for everybody, or for a role, without touching them.
_SETTINGS: Final = """
    SELECT DISTINCT split_part(s.setting, '=', 1) FROM pg_db_role_setting r, unnest(r.setconfig) s (setting)
    WHERE r.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    AND (s.setting = 'casty_es.maintenance=on' OR s.setting = 'session_replication_role=replica')
    UNION SELECT name
    FROM (VALUES ('casty_es.maintenance', 'on'), ('session_replication_role', 'replica')) w (name, bad)
    WHERE current_setting(name, true) = bad"""

# What the server writes of a view it may write otherwise once that was read again, as by a dump and its restoring.
_RESTORED: Final = 3
_MAY_MAKE_VIEWS: Final = "SELECT has_database_privilege(current_database(), 'TEMPORARY')"
# Asked while names mean the catalog's own: a function or an operator elsewhere, whose parameters fit better than the
# catalog's, would answer for it.
_VIEW: Final = "SELECT pg_get_viewdef(c.oid) FROM pg_class c WHERE c.oid = to_regclass($1)::oid AND c.relkind = 'v'"
_ALIKE: Final = """
    SELECT v.name FROM unnest($1::text[], $2::text[], $3::text[]) v (name, actual, expected)
    WHERE pg_get_viewdef(to_regclass(v.actual)::oid) = pg_get_viewdef(to_regclass(v.expected)::oid)"""


class Path(NamedTuple):
    """Where the names of the journal lead."""

    setting: str  # what ``search_path`` is, and who says so, in the words of ``pg_settings``
    source: str
    schemas: list[str]  # the schemas that it comes to, in order
    journals: list[str]  # the schemas of this database that have a ``casty_events``

    @property
    def schema(self) -> str | None:
        """The schema of the journal that a session sees."""
        return next((schema for schema in self.schemas if schema in self.journals), None)


@contextlib.asynccontextmanager
async def looking(url: str) -> AsyncIterator[Connection]:
    """Open a connection for a look, in a transaction that is taken back."""
    connection = await connect(url)
    try:
        with translated(_unanswered):
            await connection.execute("BEGIN")
            yield connection
            await connection.execute("ROLLBACK")
    finally:
        await close_quietly(connection)


def _unanswered(error: Exception) -> JournalUnavailableError:
    return JournalUnavailableError(
        f"The database could not say what stands around the records: {said(error)}. Nothing was changed. Try again."
    )


async def schema_path(connection: Connection) -> Path:
    """Find out where the names of the journal lead, and let names mean the catalog's own from now on."""
    setting, source, schemas = await connection.fetchrow(_PATH)
    await connection.execute(_PIN)
    journals = [name for (name,) in await connection.fetch(_JOURNALS)]
    return Path(setting, source, list(schemas), journals)


async def quoted(connection: Connection, name: str) -> str:
    """Return a name as statements write it."""
    written: str = await connection.fetchval("SELECT quote_ident($1)", name)
    return written


async def there(connection: Connection, schema: str) -> dict[Thing, str]:
    """Return what is in the schema of the journal, whose name is quoted, but not what views say."""
    things: dict[Thing, str] = {}
    for kind, name, of, text in await connection.fetch(_EVERYTHING, schema):
        own = text if kind == "function" else re.sub(rf"(?<![\w$\"]){re.escape(schema)}\.", "", text)
        things[Thing(kind, name, of)] = plain(own)
    return things


async def settings(connection: Connection) -> list[str]:
    """Return the settings that turn the guards of records off for somebody."""
    return [name for (name,) in await connection.fetch(_SETTINGS)]


async def changed_views(connection: Connection, schema: str) -> list[str] | None:
    """Return the views that say something else than the migrations' do; ``None`` if this role may not find out.

    How a server writes a view differs between its versions. So it is asked to write both: the one that is there, and a
    temporary one of the query as it should be, which is gone with the transaction.
    """
    if not await connection.fetchval(_MAY_MAKE_VIEWS):
        return None
    queries = view_queries()
    alike = await _alike(connection, schema, queries)
    return [view for view in queries if view not in alike and await _differs(connection, schema, view, queries[view])]


async def _alike(connection: Connection, schema: str, queries: Mapping[str, str]) -> set[str]:
    """Return views that say what they should, asked in one go; none of them where that fails for one."""
    expected = [f"expected_{number}" for number in range(len(queries))]
    made = "; ".join(
        f"CREATE TEMPORARY VIEW {name} AS {query}" for name, query in zip(expected, queries.values(), strict=True)
    )
    names = [list(queries), [f"{schema}.{name}" for name in queries], [f"pg_temp.{name}" for name in expected]]
    await connection.execute("SAVEPOINT views")
    try:
        await connection.execute(f"SET LOCAL search_path = pg_catalog, {schema}; {made}; {_PIN}")
        return {name for (name,) in await connection.fetch(_ALIKE, *names)}
    except asyncpg.PostgresError as error:
        if error.severity_en != "ERROR":
            raise
        return set()
    finally:
        await connection.execute("ROLLBACK TO SAVEPOINT views")


async def _differs(connection: Connection, schema: str, view: str, query: str) -> bool:
    await connection.execute("SAVEPOINT view")
    try:
        actual = await connection.fetchval(_VIEW, f"{schema}.{view}")
        for number in range(_RESTORED):
            made = f"CREATE TEMPORARY VIEW expected_{number} AS {query}"
            await connection.execute(f"SET LOCAL search_path = pg_catalog, {schema}; {made}; {_PIN}")
            query = await connection.fetchval(_VIEW, f"pg_temp.expected_{number}")
            if actual is not None and query == actual:
                return False
    except asyncpg.PostgresError as error:
        if error.severity_en != "ERROR":
            raise
        # What the view should read is not there, and that is named as well.
    finally:
        await connection.execute("ROLLBACK TO SAVEPOINT view")
    return True
