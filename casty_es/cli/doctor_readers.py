"""Who may read the cluster's secret and what is kept of tokens on Postgres, and does not need it."""

from __future__ import annotations

from typing import Final

from casty_es.errors import JournalUnavailableError
from casty_es.journal.sessions import close_quietly, connect, said, translated
from casty_es.leases.checks import Check

_NAMED: Final = 5  # of the roles that may read

# Whoever appends events is a program, which needs them. Who is a member of the owner may do everything as it is.
_READERS: Final = """
    WITH private AS (SELECT c.oid, c.relname::text AS name, c.relowner FROM pg_class c
        WHERE c.oid IN (to_regclass('casty_secrets'), to_regclass('casty_tokens')))
    SELECT 'everybody (PUBLIC)', name FROM private WHERE has_any_column_privilege('public', oid, 'SELECT')
    UNION ALL SELECT r.rolname::text, p.name FROM private p CROSS JOIN pg_roles r
    WHERE NOT has_any_column_privilege('public', p.oid, 'SELECT') AND has_any_column_privilege(r.oid, p.oid, 'SELECT')
    AND NOT r.rolsuper AND NOT starts_with(r.rolname::text, 'pg_') AND NOT pg_has_role(r.oid, p.relowner, 'MEMBER')
    AND NOT has_table_privilege(r.oid, to_regclass('casty_events'), 'INSERT')
    ORDER BY 1, 2"""


async def examined(url: str) -> Check:
    """Return whether anybody but the owner's members and those who append events may read them."""
    connection = await connect(url)
    try:
        with translated(lambda error: JournalUnavailableError(f"The database could not answer: {said(error)}.")):
            rows = await connection.fetch(_READERS)
    finally:
        await close_quietly(connection)
    tables: dict[str, list[str]] = {}
    for role, table in rows:
        tables.setdefault(role, []).append(table)
    named = "; ".join(f"{role} may read {' and '.join(tables[role])}" for role in list(tables)[:_NAMED])
    more = f"; and {len(tables) - _NAMED} more" if len(tables) > _NAMED else ""
    return Check(
        "secret is private",
        not tables,
        f"{named}{more}" if tables else "only roles of programs may read casty_secrets and casty_tokens",
        "REVOKE ALL ON casty_secrets, casty_tokens FROM each of them, and pg_read_all_data from roles that have it. "
        "Then replace the secret, which may be known: `casty-es secret rotate`.",
        required=False,
    )
