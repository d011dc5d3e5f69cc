"""Who was granted what on the tables of a Postgres database, against what ``casty-es db grants`` gives anybody.

What a role may read is nobody's harm here. What it may change must be what an application may; more may only be had by
a role that has all that maintenance needs, and a note names each of those.
"""

from __future__ import annotations

import re
from typing import Final

from casty_es.journal.grants import PRIVILEGES
from casty_es.journal.sessions import Connection

Privilege = tuple[str, str | None]
"""What, and of which column; ``None`` is for all of them."""

_READ: Final = "SELECT"
_EVENTS: Final = "casty_events"

_GRANTED: Final = """
    SELECT coalesce(r.rolname::text, 'PUBLIC'), c.relname::text, a.privilege_type, t.attname::text, a.is_grantable
    FROM pg_class c LEFT JOIN pg_attribute t ON t.attrelid = c.oid AND t.attacl IS NOT NULL
    CROSS JOIN LATERAL (
        SELECT w.grantee, w.privilege_type, w.is_grantable FROM aclexplode(t.attacl) w
    ) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE {ours} AND a.grantee <> c.relowner
    UNION ALL SELECT coalesce(r.rolname::text, 'PUBLIC'), c.relname::text, a.privilege_type, NULL, a.is_grantable
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE {ours} AND a.grantee <> c.relowner
    ORDER BY 1, 2, 3, 4""".format(
    ours="c.relnamespace = to_regnamespace($1) AND starts_with(c.relname::text, 'casty_')"
)

_AS_OWNER: Final = """
    SELECT DISTINCT r.rolname::text FROM pg_roles r CROSS JOIN pg_class c
    WHERE c.relnamespace = to_regnamespace($1) AND c.relname = 'casty_events' AND r.oid <> c.relowner AND NOT r.rolsuper
    AND NOT starts_with(r.rolname::text, 'pg_')
    AND (pg_has_role(r.oid, c.relowner, 'USAGE') OR pg_has_role(r.oid, (
        SELECT w.oid FROM pg_roles w WHERE w.rolname = 'pg_write_all_data'), 'USAGE'))"""


def _parsed(list_: str) -> set[Privilege]:
    """Read privileges as GRANT writes them."""
    found: set[Privilege] = set()
    for what, columns in re.findall(r"(\w+)(?: \(([^)]*)\))?(?:, |$)", list_):
        found |= {(what, column) for column in columns.split(", ")} if columns else {(what, None)}
    return found


_APPLICATION: Final = {table: _parsed(list_) for table, list_ in PRIVILEGES["application"].items()}
_MAINTENANCE: Final = {table: _parsed(list_) for table, list_ in PRIVILEGES["maintenance"].items()}


async def check_grants(connection: Connection, schema: str) -> tuple[list[str], list[str]]:
    """Return what was granted beyond what is needed, and who may change what is written."""
    roles: dict[str, dict[str, set[Privilege]]] = {}
    wrong = []
    for role, table, what, column, passed_on in await connection.fetch(_GRANTED, schema):
        roles.setdefault(role, {}).setdefault(table, set()).add((what, column))
        if passed_on:
            wrong.append(f"{_called(role)} may grant {_told({(what, column)})} on {table} to others.")
    changing = [name for (name,) in await connection.fetch(_AS_OWNER, schema)]
    for role, tables in roles.items():
        maintains = tables.get(_EVENTS, set()) >= _MAINTENANCE[_EVENTS]
        allowed = _MAINTENANCE if maintains else _APPLICATION
        if maintains:
            changing.append(role)
        for table, granted in tables.items():
            more = {one for one in granted - allowed.get(table, set()) if one[0] != _READ}
            if more:
                wrong.append(
                    f"{_called(role)} was granted {_told(more)} on {table}, which `casty-es db grants` never does."
                )
    return wrong, _note(changing)


def _called(role: str) -> str:
    return "Everybody (PUBLIC)" if role == "PUBLIC" else f"The role {role}"


def _told(privileges: set[Privilege]) -> str:
    return ", ".join(what if column is None else f"{what} ({column})" for what, column in sorted(privileges, key=str))


def _note(changing: list[str]) -> list[str]:
    if not changing:
        return []
    roles = ", ".join(sorted(set(changing)))
    return [f"Besides the owner of the tables and superusers, these roles may change what is written: {roles}."]
