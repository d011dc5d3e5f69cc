"""What each role may do on Postgres, and the SQL that lets it do that and nothing else.

1. The *application* role is what programs log in as. It reads and appends, and routes; it can change or delete no
   event, no seal and no number of slots. The append-only trigger has a switch, and the switch is of no use without the
   privilege.
2. The *auditor* role reads everything but the secrets and tokens. It reads salts: without them payloads cannot be
   verified. Secrets are replaced, and tokens made and revoked, by the owner of the tables alone.
3. The *maintenance* role is the application's and what retention, redaction and ``accept-loss`` need. It can turn the
   trigger off, and is for those commands alone. Not even it can change an event's place, time, name or hash.

Tables, views, functions and triggers stay with the role that migrates, which nobody else is a member of.
"""

from __future__ import annotations

from typing import Final

import msgspec

from casty_es.errors import ConfigurationError, InvalidArgumentError
from casty_es.journal.schema import VERSION_TABLE
from casty_es.journal.urls import is_sqlite, shown
from casty_es.journal.views import FUNCTION, VIEWS
from casty_es.printing import visible

__all__ = ["PRIVILEGES", "Roles", "grants", "refuse_sqlite"]

_MAX_NAME_BYTES: Final = 63  # a longer name is cut by Postgres, and would be another role's
_READ_ONLY: Final = "SELECT"
_SECRETS: Final = "casty_secrets"
_TOKENS: Final = "casty_tokens"

# FOR SHARE, under which a snapshot is saved, needs the right to update one column at least.
_APPLICATION: Final = {
    "casty_events": "SELECT, INSERT",
    "casty_snapshots": "SELECT, INSERT",
    "casty_entities": "SELECT, INSERT, UPDATE (alive, salt, salted_from)",
    "casty_retired_salts": "SELECT, INSERT",
    "casty_seals": _READ_ONLY,
    "casty_structures": "SELECT, INSERT",
    "casty_slots": "SELECT, INSERT, UPDATE, DELETE",
    "casty_nodes": "SELECT, INSERT, UPDATE, DELETE",
    "casty_closed_slots": "SELECT, INSERT",
    "casty_meta": _READ_ONLY,
    _SECRETS: _READ_ONLY,
    _TOKENS: _READ_ONLY,
    VERSION_TABLE: _READ_ONLY,
}

PRIVILEGES: Final[dict[str, dict[str, str]]] = {
    "application": _APPLICATION,
    "auditor": dict.fromkeys(
        [*(table for table in _APPLICATION if table not in {_SECRETS, _TOKENS}), *VIEWS], _READ_ONLY
    ),
    "maintenance": _APPLICATION
    | {
        "casty_events": "SELECT, INSERT, UPDATE (payload, metadata), DELETE",
        "casty_snapshots": "SELECT, INSERT, DELETE",
        "casty_retired_salts": "SELECT, INSERT, DELETE",
        "casty_seals": "SELECT, INSERT, UPDATE, DELETE",
        "casty_structures": "SELECT, INSERT, UPDATE (keep, shards)",
        "casty_closed_slots": "SELECT, INSERT, DELETE",
        "casty_meta": "SELECT, UPDATE (incarnation)",
    }
    | dict.fromkeys(VIEWS, _READ_ONLY),
}
"""What each role may do, table by table; on what is not named it may do nothing."""


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """The names of the roles to grant to.

    Attributes
    ----------
    application, auditor, maintenance : str | None
        The name of the role of Postgres, 1 to 63 bytes; ``None`` leaves it out.
    secret : bool
        Whether the application, and maintenance, may read the cluster's secret. They must, unless they are started with
        ``secret=``.
    """

    application: str | None = None
    auditor: str | None = None
    maintenance: str | None = None
    secret: bool = True

    def named(self) -> dict[str, str]:
        """Return the names by what they are for.

        Raises
        ------
        InvalidArgumentError
            There is none, two are the same, or one cannot be the name of a role.
        """
        named = {what: name for what in PRIVILEGES if (name := getattr(self, what)) is not None}
        if not named:
            raise InvalidArgumentError("No role was named, so there is nothing to grant. Name one of them at least.")
        for what, name in named.items():
            _check_name(name, f"the {what} role")
            if name.startswith("pg_") or name in {"public", "none"}:
                raise InvalidArgumentError(f"{name!r} is a name that Postgres keeps for itself. Nothing was printed.")
        if len(set(named.values())) < len(named):
            raise InvalidArgumentError("Two of the roles have one name. Nothing was printed. Give each its own.")
        return named


def refuse_sqlite(url: str) -> None:
    """Refuse a database that knows no roles.

    Raises
    ------
    ConfigurationError
        The URL is that of an SQLite file. The message says what to do instead.
    """
    if is_sqlite(url):
        raise ConfigurationError(
            f"{shown(url)} is an SQLite file, and SQLite knows no roles: who may write the file may write all of it. "
            f"Nothing was printed. Let the program run as a user of its own, give the file and its folder to that "
            f"user alone (chmod 600 and 700), and give auditors a copy (sqlite3 FILE '.backup COPY')."
        )


def grants(roles: Roles, *, schema: str = "public") -> str:
    """Return the SQL that makes the roles where they are missing, and gives each what it needs and nothing else.

    It is run by the owner of the tables, in the journal's database, once and again after each migration. What a role
    had on these tables before is taken away first. A role that does not exist yet is created with LOGIN and without a
    password; the owner needs CREATEROLE for that.

    Parameters
    ----------
    roles : Roles
        Their names.
    schema : str
        The schema that the tables are in. Of another one than ``public`` the roles get the ``search_path``.

    Returns
    -------
    str
        One transaction.

    Raises
    ------
    InvalidArgumentError
        A name cannot be the name of a role or a schema.

    Examples
    --------
    >>> print(grants(Roles(application="shop")).splitlines()[-2])
    GRANT SELECT, INSERT, UPDATE, DELETE ON "public".casty_slots, "public".casty_nodes TO "shop";
    """
    _check_name(schema, "the schema")
    lines = ["BEGIN;", "SET LOCAL standard_conforming_strings = on;"]
    for what, name in roles.named().items():
        lines += ["", f"-- {what}", *_role(what, name, schema, secret=roles.secret)]
    return "\n".join([*lines, "COMMIT;"])


def _role(what: str, name: str, schema: str, *, secret: bool) -> list[str]:
    """Return the statements for one role."""
    role, inside = _identifier(name), _identifier(schema)
    privileges = {table: list_ for table, list_ in PRIVILEGES[what].items() if secret or table != _SECRETS}
    everything = [*_APPLICATION, *VIEWS]
    missing = f"NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {_literal(name)})"
    statements = [
        _block(f"IF {missing} THEN CREATE ROLE {role} LOGIN; END IF;"),
        f"REVOKE ALL ON {', '.join(f'{inside}.{table}' for table in everything)} FROM {role};",
        f"GRANT USAGE ON SCHEMA {inside} TO {role};",
    ]
    if schema != "public":
        path = f"format('ALTER ROLE %I IN DATABASE %I SET search_path = %I', {_literal(name)}, current_database(), "
        statements.append(_block(f"EXECUTE {path}{_literal(schema)});"))
    if VIEWS[0] in privileges:
        statements.append(f"GRANT EXECUTE ON FUNCTION {inside}.{FUNCTION} TO {role};")
    for list_ in dict.fromkeys(privileges.values()):
        tables = ", ".join(f"{inside}.{table}" for table in privileges if privileges[table] == list_)
        statements.append(f"GRANT {list_} ON {tables} TO {role};")
    return statements


def _check_name(name: str, what: str) -> None:
    if not 1 <= len(name.encode(errors="surrogatepass")) <= _MAX_NAME_BYTES or visible(name) != name:
        raise InvalidArgumentError(
            f"{what} must have a name of 1 to {_MAX_NAME_BYTES} bytes in which all characters can be seen, and not "
            f"{name[:80]!a}. Nothing was printed."
        )


def _block(statement: str) -> str:
    return f"DO {_literal(f'BEGIN {statement} END')};"


def _identifier(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _literal(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
