"""Every SQL statement of the journal, per database. Lists travel as one parameter: arrays on Postgres, JSON on SQLite.

They are text and not SQLAlchemy expressions, because each of them is one round trip on a path that people wait for, and
the two databases take lists in ways of their own. What the tables are is in ``surroundings.json``.

Two of them lean on the order in which a nested loop delivers rows (``tails``): the replay demands contiguous sequences,
so another order could not pass unseen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeAlias

from casty_es.journal import binding_sql
from casty_es.journal.port import RecordedEvent
from casty_es.journal.schema import MAX_SLOTS

_COLUMNS: Final = RecordedEvent.__struct_fields__
_EVENT: Final = ", ".join(f"e.{column}" for column in _COLUMNS)
_EVENTS: Final = f"SELECT {_EVENT} FROM casty_events e"


Statements: TypeAlias = Mapping[str, str]
"""The statements of one database by name. Their parameters stand in them, in the order of their marks."""

_ROW: Final = "e.id, e.slot, e.kind, e.name, e.key, e.alive, e.salt, e.salted_from"

# Whoever takes a slot from another node does not listen where that one did.
_TAKE_OVER: Final = """
    ON CONFLICT (slot) DO UPDATE SET node_id = excluded.node_id,
        address = CASE WHEN s.node_id = excluded.node_id THEN s.address END,
        since = CASE WHEN s.node_id = excluded.node_id THEN s.since ELSE 0 END"""

_SAVE_SLOTS: Final = """
    ON CONFLICT (slot) DO UPDATE SET node_id = excluded.node_id, address = excluded.address, epoch = excluded.epoch,
        since = excluded.since WHERE excluded.epoch > casty_slots.epoch"""

_BOTH: Final = {
    "meta": "SELECT slots, incarnation, created_at FROM casty_meta WHERE id = 1",
    "last_slot": f"SELECT max(slot) FROM casty_events WHERE slot BETWEEN 0 AND {MAX_SLOTS - 1}",
    "raise_incarnation": "UPDATE casty_meta SET incarnation = incarnation + 1 WHERE id = 1 RETURNING incarnation",
    "entity_rows": f"SELECT {_ROW} FROM casty_entities e WHERE e.id = ANY ($1::bigint[]) ORDER BY e.id",
    "directory": f"""
        SELECT {_ROW} FROM casty_entities e
        WHERE e.kind = $1 AND e.name = $2 AND e.key >= $3 ORDER BY e.key LIMIT $4""",
    "slot_directory": f"""
        SELECT {_ROW} FROM casty_entities e
        WHERE e.id > $2 AND e.id >= ($1::bigint << 32) AND e.id < (($1::bigint + 1) << 32) ORDER BY e.id LIMIT $3""",
    "structure_rows": "SELECT kind, name, shards, keep FROM casty_structures ORDER BY kind, name",
    # One aggregate a query: with both in one, SQLite would walk all of the entity's events.
    "bounds": """
        SELECT (SELECT min(sequence) FROM casty_events WHERE entity = $1),
            (SELECT max(sequence) FROM casty_events WHERE entity = $1)""",
    # Of sequences that are numbers only: SQLite sorts everything else behind them.
    "bounds_of_numbers": """
        SELECT min(sequence), max(sequence) FROM casty_events
        WHERE entity = $1 AND sequence BETWEEN 1 AND 9223372036854775806""",
    "snapshot_before": """
        SELECT sequence, state, version FROM casty_snapshots
        WHERE entity = $1 AND sequence <= $2 ORDER BY sequence DESC LIMIT 1""",
    "slot_snapshots": """
        SELECT entity, sequence, state, version, recorded_at FROM casty_snapshots
        WHERE (entity, sequence) > ($2, $3) AND entity >= ($1::bigint << 32) AND entity < (($1::bigint + 1) << 32)
        ORDER BY entity, sequence LIMIT $4""",
    "snapshot_sequences": """
        SELECT entity, sequence FROM casty_snapshots WHERE entity = ANY ($1::bigint[]) ORDER BY entity, sequence""",
    "seals": """
        SELECT first, last, entity, previous_hash, hash, sealed_by FROM casty_seals
        WHERE slot = $1 AND last > $2 ORDER BY last LIMIT $3""",
    "last_cut": "SELECT max(last) FROM casty_seals WHERE entity = $1",
    "retired_salts": """
        SELECT entity, through, salt FROM casty_retired_salts WHERE entity = ANY ($1::bigint[])
        ORDER BY entity, through""",
    "records": f"{_EVENTS} WHERE e.slot = $1 AND e.position > $2 ORDER BY e.position LIMIT $3",
    "history": f"{_EVENTS} WHERE e.entity = $1 AND e.sequence > $2 ORDER BY e.sequence LIMIT $3",
    "save_snapshot": """
        INSERT INTO casty_snapshots (entity, sequence, state, version, recorded_at)
        SELECT e.entity, e.sequence, $3::text, $4::int, $5::bigint FROM casty_events e
        WHERE e.entity = $1 AND e.sequence = $2 AND e.hash = $6
        AND NOT EXISTS (SELECT 1 FROM casty_snapshots s WHERE s.entity = $1 AND s.sequence = $2)
        AND EXISTS (SELECT 1 FROM casty_entities t WHERE t.id = $1 AND t.salted_from < $2 FOR SHARE)
        RETURNING sequence""",
    "keys": """
        SELECT key FROM casty_entities WHERE kind = $1 AND name = $2 AND key > CAST($3 AS TEXT) AND alive
        ORDER BY key LIMIT $4""",
    # A node's name is used again by a new process, so all of the row is the new process's.
    "register_node": """
        INSERT INTO casty_nodes (node_id, host, pid, address, started_at, seen_at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (node_id) DO UPDATE SET host = excluded.host, pid = excluded.pid, address = excluded.address,
            started_at = excluded.started_at, seen_at = excluded.seen_at""",
    "forget_node": "DELETE FROM casty_nodes WHERE node_id = $1",
    "nodes": "SELECT node_id, host, pid, address, started_at, seen_at FROM casty_nodes ORDER BY started_at DESC",
    "slot_rows": "SELECT slot, node_id, address, epoch, since FROM casty_slots ORDER BY slot",
    "forget_slots": "DELETE FROM casty_slots WHERE slot = ANY ($1::int[]) AND node_id = $2",
    # A command's events stand side by side, and only the first has the key: step by step, because no index has the id.
    "find_key": f"""
        WITH RECURSIVE run (slot, position, command_id) AS (
            SELECT slot, position, command_id FROM casty_events
            WHERE entity = $1 AND idempotency_key = $2
            UNION ALL
            SELECT e.slot, e.position, e.command_id FROM run r
            JOIN casty_events e ON e.slot = r.slot AND e.position = r.position + 1 AND e.command_id = r.command_id
        )
        SELECT {_EVENT} FROM run r JOIN casty_events e ON e.slot = r.slot AND e.position = r.position
        ORDER BY e.position""",
    "secret": "SELECT value FROM casty_secrets WHERE name = 'cluster'",
    # The incarnation stands beside them, in the same snapshot: a mark of an earlier one has been given up.
    "closed_slots": """
        SELECT m.incarnation, c.slot, c.incarnation, c.position, c.hash, c.found, c.node_id, c.closed_at
        FROM casty_meta m LEFT JOIN casty_closed_slots c ON c.incarnation >= m.incarnation
        WHERE m.id = 1 ORDER BY c.slot, c.position""",
    "close_slot": """
        INSERT INTO casty_closed_slots (slot, incarnation, position, hash, found, node_id, closed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING""",
    "forget_closed_slots": """
        DELETE FROM casty_closed_slots WHERE incarnation < (SELECT incarnation FROM casty_meta WHERE id = 1)""",
}


def for_sqlite(statement: str) -> str:
    """Return a statement as SQLite takes it: with its own marks, without types, without locks of rows."""
    untyped = re.sub(r"::\w+(\[\])?", "", statement).replace(" FOR SHARE", "")
    listed = re.sub(r"= ANY \(\$(\d+)\)", r"IN (SELECT value FROM json_each(?\1))", untyped)
    return re.sub(r"\$(\d+)", r"?\1", listed)


# An entity's events up to a number of bytes. On Postgres a page is looked through up to its limit: what is long stands
# out of line there, and its length is known without reading it. SQLite goes from event to event, so that what does not
# fit is not read either. Neither goes on behind an event that is not there.
_HISTORY_POSTGRES: Final = f"""
    SELECT {_EVENT} FROM (
        SELECT w.*, row_number() OVER entity AS number, first_value(sequence) OVER entity AS first,
            sum(size) OVER entity - size AS before
        FROM (
            SELECT *, coalesce(octet_length(payload), 0) AS size FROM casty_events
            WHERE entity = $1 AND sequence > $2 ORDER BY sequence LIMIT $3::int
        ) w
        WINDOW entity AS (ORDER BY sequence ROWS UNBOUNDED PRECEDING)
    ) e WHERE before < $4::int AND sequence = first + number - 1 ORDER BY sequence"""
_HISTORY_SQLITE: Final = f"""
    WITH RECURSIVE page (sequence, bytes, number) AS (
        SELECT * FROM (
            SELECT e.sequence, length(CAST(e.payload AS BLOB)), 1 FROM casty_events e
            WHERE e.entity = ?1 AND e.sequence > ?2 ORDER BY e.sequence LIMIT 1
        ) AS oldest
        UNION ALL
        SELECT e.sequence, p.bytes + length(CAST(e.payload AS BLOB)), p.number + 1 FROM page p
        JOIN casty_events e ON e.entity = ?1 AND e.sequence = p.sequence + 1
        WHERE p.bytes < ?4 AND p.number < ?3
    )
    SELECT {_EVENT} FROM page p JOIN casty_events e ON e.entity = ?1 AND e.sequence = p.sequence
    ORDER BY p.sequence"""

POSTGRES: Final[Statements] = {
    **_BOTH,
    "heads": """
        SELECT w.slot, h.position, h.hash, h.epoch, h.recorded_at
        FROM unnest($1::int[]) AS w (slot)
        CROSS JOIN LATERAL (
            SELECT e.position, e.hash, e.epoch, e.recorded_at FROM casty_events e WHERE e.slot = w.slot
            ORDER BY e.position DESC LIMIT 1
        ) h""",
    "entity_numbers": """
        SELECT w.slot, h.id - (w.slot::bigint << 32)
        FROM unnest($1::int[]) AS w (slot)
        CROSS JOIN LATERAL (
            SELECT id FROM casty_entities
            WHERE id >= (w.slot::bigint << 32) AND id < ((w.slot + 1)::bigint << 32)
            ORDER BY id DESC LIMIT 1
        ) h""",
    "entities": f"""
        SELECT w.number - 1, e.id, e.alive, e.salt, s.sequence, s.state, s.version, e.salted_from, n.*
        FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS w (kind, name, key, number)
        JOIN casty_entities e ON e.kind = w.kind AND e.name = w.name AND e.key = w.key
        LEFT JOIN LATERAL (
            SELECT sequence, state, version FROM casty_snapshots
            WHERE entity = e.id ORDER BY sequence DESC LIMIT 1
        ) s ON true
        LEFT JOIN LATERAL ({binding_sql.binding_of(binding_sql.POSTGRES, "e.id", "s.sequence")}) n ON true""",
    "binding": binding_sql.binding_of(binding_sql.POSTGRES, "$1", "$2::bigint"),
    "tails": """
        SELECT e.entity, e.sequence, e.type, e.version, e.payload
        FROM unnest($1::bigint[], $2::bigint[]) AS w (entity, sequence)
        CROSS JOIN LATERAL (
            SELECT entity, sequence, type, version, payload FROM casty_events
            WHERE entity = w.entity AND sequence > w.sequence ORDER BY sequence LIMIT $3
        ) e
        LIMIT $3""",
    "find": f"""
        {_EVENTS} WHERE e.slot = $1 AND e.position > $2 AND e.command_id = ANY ($3::bytea[]) ORDER BY e.position""",
    "history_within": _HISTORY_POSTGRES,
    "record_structures": """
        INSERT INTO casty_structures (kind, name, shards)
        SELECT w.* FROM unnest($1::text[], $2::text[], $3::int[]) AS w (kind, name, shards)
        WHERE $4::bool OR NOT EXISTS (SELECT FROM casty_entities e WHERE e.kind = w.kind AND e.name = w.name)
        ON CONFLICT (kind, name) DO NOTHING""",
    "structures": """
        SELECT w.number - 1, s.shards FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (kind, name, number)
        JOIN casty_structures s ON s.kind = w.kind AND s.name = w.name""",
    "claim_slots": f"""
        INSERT INTO casty_slots AS s (slot, node_id, address, epoch, since)
        SELECT w.slot, $2::text, NULL, 0, 0 FROM unnest($1::int[]) AS w (slot) ORDER BY w.slot
        {_TAKE_OVER} WHERE s.node_id = $2::text OR s.node_id = ANY ($3::text[])
        RETURNING slot""",
    "save_slots": f"""
        INSERT INTO casty_slots (slot, node_id, address, epoch, since)
        SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
        {_SAVE_SLOTS}""",
    "hashes": """
        SELECT e.slot, e.position, e.hash FROM unnest($1::int[], $2::bigint[]) AS w (slot, position)
        JOIN casty_events e ON e.slot = w.slot AND e.position = w.position""",
}

SQLITE: Final[Statements] = {
    **{name: for_sqlite(statement) for name, statement in _BOTH.items()},
    "heads": """
        SELECT w.value, e.position, e.hash, e.epoch, e.recorded_at FROM json_each(?1) w
        CROSS JOIN casty_events e
        ON e.slot = w.value AND e.position = (SELECT max(position) FROM casty_events WHERE slot = w.value)""",
    "entity_numbers": """
        SELECT w.value, (
            SELECT max(id) FROM casty_entities WHERE id >= (w.value << 32) AND id < ((w.value + 1) << 32)
        ) - (w.value << 32) FROM json_each(?1) w""",
    "entities": f"""
        SELECT w.key, e.id, e.alive, e.salt, s.sequence, s.state, s.version, e.salted_from, n.type, n.payload,
            n.metadata
        FROM json_each(?1) w
        CROSS JOIN casty_entities e ON e.kind = w.value
            AND e.name = json_extract(?2, '$[' || w.key || ']') AND e.key = json_extract(?3, '$[' || w.key || ']')
        LEFT JOIN casty_snapshots s ON s.entity = e.id
            AND s.sequence = (SELECT max(sequence) FROM casty_snapshots WHERE entity = e.id)
        LEFT JOIN casty_events n ON n.entity = e.id
            AND n.sequence = ({binding_sql.binding_of(binding_sql.SQLITE, "e.id", "s.sequence", "b.sequence")})""",
    "binding": binding_sql.binding_of(binding_sql.SQLITE, "?1", "?2"),
    "tails": """
        SELECT e.entity, e.sequence, e.type, e.version, e.payload
        FROM json_each(?1) w
        CROSS JOIN casty_events e
            ON e.entity = w.value AND e.sequence > json_extract(?2, '$[' || w.key || ']')
        LIMIT ?3""",
    "find": f"""
        {_EVENTS} WHERE e.slot = ?1 AND e.position > ?2
        AND lower(hex(e.command_id)) IN (SELECT value FROM json_each(?3)) ORDER BY e.position""",
    "history_within": _HISTORY_SQLITE,
    "record_structures": """
        INSERT INTO casty_structures (kind, name, shards)
        SELECT w.value, json_extract(?2, '$[' || w.key || ']'), json_extract(?3, '$[' || w.key || ']')
        FROM json_each(?1) w WHERE ?4 OR NOT EXISTS (
            SELECT 1 FROM casty_entities e
            WHERE e.kind = w.value AND e.name = json_extract(?2, '$[' || w.key || ']')
        ) ON CONFLICT (kind, name) DO NOTHING""",
    "structures": """
        SELECT w.key, s.shards FROM json_each(?1) w
        CROSS JOIN casty_structures s ON s.kind = w.value AND s.name = json_extract(?2, '$[' || w.key || ']')""",
    "claim_slots": f"""
        INSERT INTO casty_slots AS s (slot, node_id, address, epoch, since)
        SELECT w.value, ?2, NULL, 0, 0 FROM json_each(?1) w WHERE true
        {_TAKE_OVER} WHERE s.node_id = ?2 OR s.node_id IN (SELECT value FROM json_each(?3))
        RETURNING slot""",
    "save_slots": f"""
        INSERT INTO casty_slots (slot, node_id, address, epoch, since)
        SELECT w.value, json_extract(?2, '$[' || w.key || ']'), json_extract(?3, '$[' || w.key || ']'),
            json_extract(?4, '$[' || w.key || ']'), json_extract(?5, '$[' || w.key || ']')
        FROM json_each(?1) w WHERE true
        {_SAVE_SLOTS}""",
    "hashes": """
        SELECT e.slot, e.position, e.hash FROM json_each(?1) w
        CROSS JOIN casty_events e ON e.slot = w.value AND e.position = json_extract(?2, '$[' || w.key || ']')""",
}

_FITS_POSTGRES: Final = """
    WITH fits AS (
        SELECT count(*) = cardinality($1::int[]) AS ok
        FROM unnest($1::int[], $2::bigint[], $3::bytea[]) AS p (slot, position, hash)
        CROSS JOIN LATERAL (
            SELECT FROM casty_events e WHERE e.slot = p.slot AND e.position = p.position AND e.hash = p.hash LIMIT 1
        ) e
    )"""

_DIRECTORY_POSTGRES: Final = """
    , born AS (
        INSERT INTO casty_entities (id, slot, kind, name, key, alive, salt)
        SELECT n.* FROM unnest($17::bigint[], $18::int[], $19::text[], $20::text[], $21::text[], $22::bool[],
            $23::bytea[]) AS n WHERE (SELECT ok FROM fits)
    ), retired AS (
        INSERT INTO casty_retired_salts (entity, through, salt)
        SELECT n.* FROM unnest($26::bigint[], $27::bigint[], $28::bytea[]) AS n WHERE (SELECT ok FROM fits)
    ), salted AS (
        SELECT DISTINCT ON (entity) entity, through, salt
        FROM unnest($26::bigint[], $27::bigint[], $29::bytea[]) AS n (entity, through, salt)
        ORDER BY entity, through DESC
    ), changed AS (
        UPDATE casty_entities t SET alive = coalesce(c.alive, t.alive), salt = coalesce(c.salt, t.salt),
            salted_from = coalesce(c.through, t.salted_from)
        FROM (
            SELECT coalesce(a.id, s.entity) AS id, a.alive, s.salt, s.through
            FROM unnest($24::bigint[], $25::bool[]) AS a (id, alive) FULL JOIN salted s ON s.entity = a.id
        ) c
        WHERE t.id = c.id AND (SELECT ok FROM fits)
    )"""

_EVENTS_POSTGRES: Final = f"""
    INSERT INTO casty_events ({", ".join(_COLUMNS)})
    SELECT n.* FROM unnest($4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::text[], $10::int[],
        $11::text[], $12::text[], $13::bytea[], $14::text[], $15::bigint[], $16::bytea[]) AS n
    WHERE (SELECT ok FROM fits)"""

POSTGRES_APPEND: Final = _FITS_POSTGRES + _EVENTS_POSTGRES
"""The hot statement: predecessors ($1 to $3) and events ($4 to $16), as arrays."""

POSTGRES_APPEND_ONE: Final = f"""
    INSERT INTO casty_events ({", ".join(_COLUMNS)})
    SELECT $4::int, $5::bigint, $6::bigint, $7::bigint, $8::bigint, $9::text, $10::int, $11::text, $12::text,
        $13::bytea, $14::text, $15::bigint, $16::bytea
    WHERE EXISTS (SELECT FROM casty_events e WHERE e.slot = $1 AND e.position = $2 AND e.hash = $3)"""
"""The same for a single event, without arrays: what a lone caller waits for."""

POSTGRES_APPEND_WITH_DIRECTORY: Final = _FITS_POSTGRES + _DIRECTORY_POSTGRES + _EVENTS_POSTGRES
"""The same with new entities ($17 to $23) entities that came to life or died ($24, $25), and
salts that are set aside for new ones ($26 to $29)."""


# SQLite takes at most this many parameters a statement, unless it was built with more.
_SQLITE_PARAMETERS: Final = 32_766


@lru_cache(maxsize=256)
def sqlite_rows_beside(predecessors: int) -> int:
    """Return how many rows fit into one statement beside the names of some predecessors (at most 8,192, the slots)."""
    return (_SQLITE_PARAMETERS - 3 * predecessors) // len(_COLUMNS)


_ENTITY_COLUMNS: Final = ("id", "slot", "kind", "name", "key", "alive", "salt")


@lru_cache(maxsize=256)
def sqlite_insert_entities(entities: int) -> str:
    """Return the INSERT of some new entities."""
    row = f"({', '.join('?' * len(_ENTITY_COLUMNS))})"
    return f"INSERT INTO casty_entities ({', '.join(_ENTITY_COLUMNS)}) VALUES {', '.join([row] * entities)}"


@lru_cache(maxsize=256)
def sqlite_append(events: int, predecessors: int) -> str:
    """Return the INSERT of some events, which inserts none unless every predecessor is there.

    One statement and one step, so that the writer thread asks for the interpreter's lock once and not once a row.
    """
    row = f"({', '.join('?' * len(_COLUMNS))})"
    rows = ", ".join([row] * events)
    insert = f"INSERT INTO casty_events ({', '.join(_COLUMNS)})"
    if not predecessors:
        return f"{insert} VALUES {rows}"
    if events == predecessors == 1:  # what a lone caller waits for
        return (
            f"{insert} SELECT {', '.join('?' * len(_COLUMNS))} "
            f"WHERE EXISTS (SELECT 1 FROM casty_events e WHERE e.slot = ? AND e.position = ? AND e.hash = ?)"
        )
    named = ", ".join(["(?, ?, ?)"] * predecessors)
    return (
        f"{insert} SELECT * FROM (VALUES {rows}) WHERE (SELECT count(*) FROM (VALUES {named}) p "
        f"CROSS JOIN casty_events e ON e.slot = p.column1 AND e.position = p.column2 AND e.hash = p.column3) "
        f"= {predecessors}"
    )
