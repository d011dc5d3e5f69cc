"""The views for auditors, as text for both databases: the same names and columns, readable by any SQL client.

A view shows what the journal holds and never refuses to: how it reads a payload that is redacted, unknown or no JSON is
in ``view_sql.py``. Names and entities are found by index: a view's rows for one name cost what that name has.

Only the kinds that are always there have views of their own: what a database has in it does not depend on which
programs open it. Of the others' events ``casty_history`` shows the payload.

This is the present shape; what creates it in a database is a migration, and a test compares the two. What each column
means stands in ``docs/reference/views.md``, which a test holds to the database.
"""

from __future__ import annotations

from typing import Final

from casty_es.domain.catalog import BUILT_IN, AnyKind
from casty_es.journal.view_sql import POSTGRES_FUNCTION, Dialect, Postgres, Sqlite

FUNCTION: Final = "casty_member(text, text, text)"
"""The one function that the views call on Postgres, as GRANT and DROP name it."""

_SHOWN: Final = [kind for kind in BUILT_IN if kind.columns]

VIEWS: Final = (
    "casty_history",
    *(f"casty_{kind.name}_history" for kind in _SHOWN),
    "casty_claims",
    "casty_holders",
    "casty_leases",
    "casty_redactions",
    "casty_cuts",
)
"""The views, each after those that it reads."""

_KEY: Final = """
    CASE substr(n.key, 1, 2) WHEN 's:' THEN 'str' WHEN 'i:' THEN 'int' WHEN 'u:' THEN 'uuid' END AS key_type,
    CASE WHEN substr(n.key, 1, 2) IN ('s:', 'i:', 'u:') THEN substr(n.key, 3) END AS key"""


def statements(dialect_name: str) -> tuple[str, ...]:
    """Return the statements that create the views in a database, in order, for ``sqlite`` or ``postgresql``.

    Examples
    --------
    >>> len(statements("sqlite")) == len(VIEWS)
    True
    """
    on_postgres = dialect_name == "postgresql"
    sql: Dialect = Postgres() if on_postgres else Sqlite()
    queries = {
        "casty_history": _history(sql),
        **{f"casty_{kind.name}_history": _kind_history(sql, kind) for kind in _SHOWN},
        "casty_claims": _claims(sql),
        "casty_holders": _HOLDERS,
        "casty_leases": _leases(sql),
        "casty_redactions": _redactions(sql),
        "casty_cuts": _cuts(sql),
    }
    views = tuple(f"CREATE VIEW {view} AS{queries[view]}" for view in VIEWS)
    return (POSTGRES_FUNCTION, *views) if on_postgres else views


def _circumstances(sql: Dialect) -> str:
    """Return the columns on who did it, when, and where the record stands, which every history ends in."""
    return f"""
    {sql.time("e.recorded_at")} AS recorded_at,
    {sql.text("e.metadata", "actor")} AS actor,
    {sql.text("e.metadata", "reason")} AS reason,
    {sql.text("e.metadata", "correlation_id")} AS correlation_id,
    {sql.text("e.metadata", "principal")} AS principal,
    {sql.text("l.payload", "node")} AS node,
    {sql.redacted("e.payload")} AS redacted,
    {sql.uuid("e.command_id")} AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us"""


# The record that granted the lease under which another was written stands at the position that is its epoch.
_LEASE: Final = """
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'"""


def _history(sql: Dialect) -> str:
    return f"""
SELECT n.kind, n.name,{_KEY},
    n.key AS stored_key, e.sequence, e.type,{_circumstances(sql)}
FROM casty_events e
LEFT JOIN casty_entities n ON n.id = e.entity{_LEASE}"""


def _kind_history(sql: Dialect, kind: AnyKind) -> str:
    key = f"{_KEY},\n    n.key AS stored_key," if kind.keyed else ""
    members = "".join(f"\n    {getattr(sql, form)('e.payload', name)} AS {name}," for name, form in kind.columns)
    return f"""
SELECT n.name,{key} e.sequence, e.type,{members}{_circumstances(sql)}
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id{_LEASE}
WHERE n.kind = '{kind.name}'"""


def _claims(sql: Dialect) -> str:
    """Return the query for one row per request: its events have the request's id, and ``destroy`` ends it too."""
    kinds = ", ".join(f"'{kind.name}'" for kind in BUILT_IN if kind.story and kind.story.granted)
    return f"""
SELECT c.kind, c.name, c.owner, c.request, c.token, c.permits,
    CASE WHEN c.granted IS NULL THEN CASE WHEN c.ended IS NULL THEN 'waits' ELSE 'left' END
        ELSE CASE WHEN c.ended IS NULL THEN 'holds' ELSE 'held' END END AS state,
    {sql.text("r.metadata", "actor")} AS actor,
    {sql.text("r.metadata", "principal")} AS principal,
    {sql.time("r.recorded_at")} AS requested_at,
    {sql.time("g.recorded_at")} AS granted_at,
    {sql.time("x.recorded_at")} AS ended_at,
    substr(x.type, length(c.kind) + 2) AS ended_by,
    g.recorded_at - r.recorded_at AS waited_us,
    x.recorded_at - g.recorded_at AS held_us,
    c.granted AS granted_sequence, c.ended AS ended_sequence, c.kept_from, c.entity
FROM (
    SELECT o.kind, o.name, o.owner, o.request, o.token, o.permits, o.granted, o.entity, o.kept_from,
        coalesce(o.requested, CASE WHEN o.kept_from = 1 THEN o.granted END) AS asked,
        coalesce(o.ended, (SELECT min(d.sequence) FROM casty_events d WHERE d.entity = o.entity
            AND d.sequence > coalesce(o.granted, o.requested) AND d.type = o.kind || '.destroyed')) AS ended
    FROM (
        SELECT q.kind, q.name, q.entity, q.request, max(q.owner) AS owner, max(q.token) AS token,
            max(q.permits) AS permits,
            min(CASE WHEN q.type = q.kind || '.requested' THEN q.sequence END) AS requested,
            min(CASE WHEN q.type = q.kind || '.granted' THEN q.sequence END) AS granted,
            min(CASE WHEN q.type NOT IN (q.kind || '.requested', q.kind || '.granted') THEN q.sequence END) AS ended,
            (SELECT min(f.sequence) FROM casty_events f WHERE f.entity = q.entity) AS kept_from
        FROM (
            SELECT n.kind, n.name, e.entity, e.sequence, e.type,
                {sql.text("e.payload", "request")} AS request,
                {sql.text("e.payload", "owner")} AS owner,
                {sql.number("e.payload", "token")} AS token,
                {sql.number("e.payload", "permits")} AS permits
            FROM casty_entities n
            JOIN casty_events e ON e.entity = n.id
            WHERE n.kind IN ({kinds}) AND e.type IN (
                n.kind || '.requested', n.kind || '.granted',
                n.kind || '.released', n.kind || '.withdrawn', n.kind || '.expired')
        ) q
        GROUP BY q.kind, q.name, q.entity, q.request
    ) o
    WHERE o.request IS NOT NULL AND (o.requested IS NOT NULL OR o.granted IS NOT NULL)
) c
LEFT JOIN casty_events r ON r.entity = c.entity AND r.sequence = c.asked
LEFT JOIN casty_events g ON g.entity = c.entity AND g.sequence = c.granted
LEFT JOIN casty_events x ON x.entity = c.entity AND x.sequence = c.ended"""


_HOLDERS: Final = """
SELECT kind, name, owner, request, token, permits, actor, principal, requested_at, granted_at, waited_us,
    granted_sequence, kept_from, entity
FROM casty_claims
WHERE state = 'holds'"""


def _leases(sql: Dialect) -> str:
    return f"""
SELECT e.slot, e.position AS epoch,
    {sql.text("e.payload", "node")} AS node,
    {sql.text("e.payload", "process")} AS process,
    {sql.time("e.recorded_at")} AS acquired_at,
    lead(e.position) OVER (PARTITION BY e.slot ORDER BY e.position) AS next_epoch,
    e.recorded_at AS acquired_at_us
FROM casty_events e
WHERE e.entity IS NULL AND e.type = 'lease.acquired'"""


# SQLite takes the tables of a CROSS JOIN in the order in which they stand: from the few entities to their events.
def _redactions(sql: Dialect) -> str:
    return f"""
SELECT n.kind, n.name,{_KEY},
    n.key AS stored_key, e.sequence,
    {sql.text("e.payload", "reason")} AS reason,
    {sql.text("e.metadata", "actor")} AS actor,
    {sql.text("e.metadata", "principal")} AS principal,
    {sql.time("e.recorded_at")} AS recorded_at,
    NOT EXISTS (SELECT 1 FROM casty_retired_salts r WHERE r.entity = e.entity AND r.through <= e.sequence) AS finished,
    e.slot, e.position, e.entity, e.recorded_at AS recorded_at_us
FROM casty_entities n
CROSS JOIN casty_events e
WHERE n.salted_from > 0 AND e.entity = n.id AND e.type = 'entity.redacted'"""


def _cuts(sql: Dialect) -> str:
    return f"""
SELECT n.kind, n.name,{_KEY},
    n.key AS stored_key, e.sequence,
    {sql.number("e.payload", "through")} AS through,
    {sql.number("e.payload", "events")} AS events,
    {sql.text("e.payload", "archive")} AS archive,
    {sql.text("e.payload", "archive_sha256")} AS archive_sha256,
    {sql.text("e.metadata", "actor")} AS actor,
    {sql.text("e.metadata", "principal")} AS principal,
    {sql.time("e.recorded_at")} AS recorded_at,
    e.slot, e.position, e.entity, e.recorded_at AS recorded_at_us
FROM (SELECT DISTINCT entity FROM casty_seals) s
CROSS JOIN casty_entities n
CROSS JOIN casty_events e
WHERE n.id = s.entity AND e.entity = s.entity AND e.type = 'entity.sealed'"""
