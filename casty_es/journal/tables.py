"""The journal's tables, as SQLAlchemy Core describes them for both databases.

This is the present shape, for building statements. What creates it in a database are the migrations; a test
compares the two, down to the last check and trigger.

On SQLite every table is STRICT, whole numbers are INTEGER, and ``alive`` is 0 or 1. On Postgres names are
``COLLATE "C"``: they are compared and sorted by their bytes, as SQLite does, whatever the locale of the database.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

metadata = MetaData()

# STRICT knows neither BIGINT nor BOOLEAN. Its INTEGER has 64 bits.
_BigInt = BigInteger().with_variant(Integer(), "sqlite")
_Flag = Boolean().with_variant(Integer(), "sqlite")
_Name = Text().with_variant(Text(collation="C"), "postgresql")

events = Table(
    "casty_events",
    metadata,
    Column("slot", Integer, nullable=False),
    Column("position", _BigInt, nullable=False),
    Column("epoch", _BigInt, nullable=False),
    Column("entity", _BigInt),  # NULL, like sequence, in lease records
    Column("sequence", _BigInt),
    Column("type", _Name, nullable=False),
    Column("version", Integer, nullable=False),  # schema version of the payload
    Column("payload", Text, nullable=False),  # JSON as text: jsonb would reorder keys and change the hash
    Column("metadata", Text),
    Column("command_id", LargeBinary),  # a UUID's 16 bytes
    Column("idempotency_key", _Name),
    Column("recorded_at", _BigInt, nullable=False),  # microseconds since 1970 UTC, by the owner's clock
    Column("hash", LargeBinary, nullable=False),  # SHA-256 over the slot's previous hash and this record
    PrimaryKeyConstraint("slot", "position", name="pk_casty_events"),
    UniqueConstraint("entity", "sequence", name="uq_casty_events_entity_sequence"),
    CheckConstraint("slot >= 0", name="ck_casty_events_slot"),
    CheckConstraint("position >= 1", name="ck_casty_events_position"),
    CheckConstraint("epoch BETWEEN 1 AND position", name="ck_casty_events_epoch"),
    CheckConstraint("(entity IS NULL) = (sequence IS NULL)", name="ck_casty_events_entity_sequence"),
    CheckConstraint("sequence >= 1", name="ck_casty_events_sequence"),
    CheckConstraint("length(command_id) = 16", name="ck_casty_events_command_id"),
    CheckConstraint("length(hash) = 32", name="ck_casty_events_hash"),
    sqlite_strict=True,
)
Index(
    "uq_casty_events_idempotency_key",
    events.c.entity,
    events.c.idempotency_key,
    unique=True,
    sqlite_where=text("idempotency_key IS NOT NULL"),
    postgresql_where=text("idempotency_key IS NOT NULL"),
)

snapshots = Table(
    "casty_snapshots",
    metadata,
    Column("entity", _BigInt, nullable=False),
    Column("sequence", _BigInt, nullable=False),
    Column("state", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("recorded_at", _BigInt, nullable=False),
    PrimaryKeyConstraint("entity", "sequence", name="pk_casty_snapshots"),
    sqlite_strict=True,
)

entities = Table(
    "casty_entities",
    metadata,
    Column("id", _BigInt, autoincrement=False, nullable=False),  # slot * 2**32 + a number its one writer counts up
    Column("slot", Integer, nullable=False),
    Column("kind", _Name, nullable=False),
    Column("name", _Name, nullable=False),
    Column("key", _Name, nullable=False),  # '' for a whole structure; a map's key with a tag for its type
    Column("alive", _Flag, nullable=False),
    Column("salt", LargeBinary),  # 16 bytes
    Column("salted_from", _BigInt, server_default=text("0"), nullable=False),  # the sequence of the last redaction
    PrimaryKeyConstraint("id", name="pk_casty_entities"),
    UniqueConstraint("kind", "name", "key", name="uq_casty_entities_kind_name_key"),
    CheckConstraint("slot >= 0", name="ck_casty_entities_slot"),
    CheckConstraint("alive IN (0, 1)", name="ck_casty_entities_alive").ddl_if(dialect="sqlite"),
    CheckConstraint("length(salt) = 16", name="ck_casty_entities_salt"),
    sqlite_strict=True,
)

retired_salts = Table(
    "casty_retired_salts",
    metadata,
    Column("entity", _BigInt, nullable=False),
    Column("through", _BigInt, nullable=False),  # the sequence of the redaction that set it aside
    Column("salt", LargeBinary, nullable=False),
    PrimaryKeyConstraint("entity", "through", name="pk_casty_retired_salts"),
    sqlite_strict=True,
)

seals = Table(
    "casty_seals",
    metadata,
    Column("slot", Integer, nullable=False),
    Column("first", _BigInt, nullable=False),
    Column("last", _BigInt, nullable=False),
    Column("entity", _BigInt, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),  # of the record before the first
    Column("hash", LargeBinary, nullable=False),  # of the last record
    Column("sealed_by", _BigInt, nullable=False),  # the sequence of the entity's seal
    PrimaryKeyConstraint("slot", "last", name="pk_casty_seals"),
    CheckConstraint("first BETWEEN 1 AND last", name="ck_casty_seals_first"),
    CheckConstraint("length(previous_hash) = 32", name="ck_casty_seals_previous_hash"),
    CheckConstraint("length(hash) = 32", name="ck_casty_seals_hash"),
    sqlite_strict=True,
)

Index("ix_casty_seals_entity", seals.c.entity, seals.c.last)

structures = Table(
    "casty_structures",
    metadata,
    Column("kind", _Name, nullable=False),
    Column("name", _Name, nullable=False),
    Column("shards", Integer, nullable=False),
    Column("keep", Text),  # how long events are kept; NULL is for ever
    PrimaryKeyConstraint("kind", "name", name="pk_casty_structures"),
    CheckConstraint("shards >= 1", name="ck_casty_structures_shards"),
    sqlite_strict=True,
)

slots = Table(
    "casty_slots",
    metadata,
    Column("slot", Integer, autoincrement=False, nullable=False),
    Column("node_id", _Name, nullable=False),
    Column("address", Text),  # NULL for a node that no other node can dial
    Column("epoch", _BigInt, nullable=False),
    Column("since", _BigInt, nullable=False),
    PrimaryKeyConstraint("slot", name="pk_casty_slots"),
    CheckConstraint("slot >= 0", name="ck_casty_slots_slot"),
    sqlite_strict=True,
)

# A mark of a slot whose log did not reach it: until it does, or the loss is accepted, nobody opens the slot.
closed_slots = Table(
    "casty_closed_slots",
    metadata,
    Column("slot", Integer, nullable=False),
    Column("incarnation", _BigInt, nullable=False),  # the journal's, which an accepted loss raises
    Column("position", _BigInt, nullable=False),
    Column("hash", LargeBinary, nullable=False),  # the first 8 bytes of the hash of the record there; empty if unknown
    Column("found", _BigInt, nullable=False),  # where the log ended
    Column("node_id", _Name, nullable=False),  # who found it
    Column("closed_at", _BigInt, nullable=False),
    PrimaryKeyConstraint("slot", "incarnation", "position", name="pk_casty_closed_slots"),
    CheckConstraint("slot >= 0", name="ck_casty_closed_slots_slot"),
    CheckConstraint("position >= 1", name="ck_casty_closed_slots_position"),
    sqlite_strict=True,
)

nodes = Table(
    "casty_nodes",
    metadata,
    Column("node_id", _Name, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("address", Text),
    Column("started_at", _BigInt, nullable=False),
    Column("seen_at", _BigInt, nullable=False),
    PrimaryKeyConstraint("node_id", name="pk_casty_nodes"),
    sqlite_strict=True,
)

meta = Table(
    "casty_meta",
    metadata,
    Column("id", Integer, autoincrement=False, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("hash_algorithm", Text, nullable=False),
    Column("incarnation", _BigInt, server_default=text("1"), nullable=False),
    # SQLite: 1, inside one transaction, lets retention and redaction through. Postgres has a setting for that,
    # casty_es.maintenance, and leaves this at 0; the column is there so that the table is the same on both.
    Column("maintenance", Integer, server_default=text("0"), nullable=False),
    Column("created_at", _BigInt, nullable=False),
    PrimaryKeyConstraint("id", name="pk_casty_meta"),
    CheckConstraint("id = 1", name="ck_casty_meta_one_row"),
    CheckConstraint("slots BETWEEN 1 AND 8192", name="ck_casty_meta_slots"),
    CheckConstraint("incarnation >= 1", name="ck_casty_meta_incarnation"),
    CheckConstraint("maintenance IN (0, 1)", name="ck_casty_meta_maintenance"),
    sqlite_strict=True,
)

# Apart from casty_meta, so that an auditor can be granted everything but this.
secrets = Table(
    "casty_secrets",
    metadata,
    Column("name", _Name, nullable=False),
    Column("value", LargeBinary, nullable=False),
    PrimaryKeyConstraint("name", name="pk_casty_secrets"),
    sqlite_strict=True,
)

# Apart from casty_secrets, so that reading who may do what does not need the cluster's secret. A row goes never.
tokens = Table(
    "casty_tokens",
    metadata,
    Column("id", _Name, nullable=False),  # what stands in the token's text
    Column("name", _Name, nullable=False),  # what the holder is called in the journal
    Column("scopes", Text, nullable=False),  # JSON: what it allows
    Column("stored_key", LargeBinary, nullable=False),  # a digest, by which a proof is checked
    Column("server_key", LargeBinary, nullable=False),  # a digest, by which a node proves itself
    Column("created_at", _BigInt, nullable=False),
    Column("ends_at", _BigInt),
    Column("revoked_at", _BigInt),
    PrimaryKeyConstraint("id", name="pk_casty_tokens"),
    CheckConstraint("length(stored_key) = 32", name="ck_casty_tokens_stored_key"),
    CheckConstraint("length(server_key) = 32", name="ck_casty_tokens_server_key"),
    sqlite_strict=True,
)

SQLITE_TRIGGERS = (
    """\
CREATE TRIGGER casty_events_refuse_update BEFORE UPDATE ON casty_events
WHEN (SELECT maintenance FROM casty_meta WHERE id = 1) IS NOT 1
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only: UPDATE on casty_events refused, nothing was changed');
END""",
    """\
CREATE TRIGGER casty_events_refuse_delete BEFORE DELETE ON casty_events
WHEN (SELECT maintenance FROM casty_meta WHERE id = 1) IS NOT 1
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only: DELETE on casty_events refused, nothing was changed');
END""",
    """\
CREATE TRIGGER casty_meta_refuse_slots BEFORE UPDATE OF slots ON casty_meta
WHEN NEW.slots IS NOT OLD.slots
BEGIN
    SELECT RAISE(ABORT, 'the number of slots is fixed by the first migration: nothing was changed');
END""",
    # What INSERT OR REPLACE deletes fires no trigger. The end of each message is SQLite's own for that key. Where no
    # rowid is given, NEW.rowid is -1.
    """\
CREATE TRIGGER casty_events_refuse_replace BEFORE INSERT ON casty_events
WHEN EXISTS (SELECT 1 FROM casty_events WHERE slot = NEW.slot AND position = NEW.position)
    OR EXISTS (SELECT 1 FROM casty_events WHERE entity = NEW.entity AND sequence = NEW.sequence)
    OR (NEW.idempotency_key IS NOT NULL AND EXISTS (
        SELECT 1 FROM casty_events WHERE entity = NEW.entity AND idempotency_key = NEW.idempotency_key))
    OR (NEW.rowid > 0 AND EXISTS (SELECT 1 FROM casty_events WHERE rowid = NEW.rowid))
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only: INSERT over a record refused, nothing was changed; \
UNIQUE constraint failed: casty_events.slot, casty_events.position')
    WHERE EXISTS (SELECT 1 FROM casty_events WHERE slot = NEW.slot AND position = NEW.position);
    SELECT RAISE(ABORT, 'the journal is append-only: INSERT over a record refused, nothing was changed; \
UNIQUE constraint failed: casty_events.entity, casty_events.sequence')
    WHERE EXISTS (SELECT 1 FROM casty_events WHERE entity = NEW.entity AND sequence = NEW.sequence);
    SELECT RAISE(ABORT, 'the journal is append-only: INSERT over a record refused, nothing was changed; \
UNIQUE constraint failed: casty_events.rowid')
    WHERE EXISTS (SELECT 1 FROM casty_events WHERE rowid = NEW.rowid);
    SELECT RAISE(ABORT, 'the journal is append-only: INSERT over a record refused, nothing was changed; \
UNIQUE constraint failed: casty_events.entity, casty_events.idempotency_key');
END""",
    """\
CREATE TRIGGER casty_meta_refuse_replace BEFORE INSERT ON casty_meta
WHEN EXISTS (SELECT 1 FROM casty_meta WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'the number of slots is fixed by the first migration: nothing was changed');
END""",
)

# One trigger per statement, not per row: it also sees TRUNCATE, and a retention run of a million rows pays once.
POSTGRES_TRIGGERS = (
    """\
CREATE FUNCTION casty_events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF current_setting('casty_es.maintenance', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION USING
        MESSAGE = 'the journal is append-only: ' || TG_OP || ' on casty_events refused, nothing was changed',
        ERRCODE = 'restrict_violation', TABLE = 'casty_events', CONSTRAINT = 'casty_events_append_only';
END
$body$""",
    """\
CREATE TRIGGER casty_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON casty_events
FOR EACH STATEMENT EXECUTE FUNCTION casty_events_refuse_change()""",
    """\
CREATE FUNCTION casty_meta_refuse_slots() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION USING
        MESSAGE = 'the number of slots is fixed by the first migration: nothing was changed',
        ERRCODE = 'restrict_violation', TABLE = 'casty_meta', CONSTRAINT = 'casty_meta_refuse_slots';
END
$body$""",
    """\
CREATE TRIGGER casty_meta_refuse_slots BEFORE UPDATE OF slots ON casty_meta
FOR EACH ROW WHEN (OLD.slots IS DISTINCT FROM NEW.slots) EXECUTE FUNCTION casty_meta_refuse_slots()""",
)

for _dialect, _statements in (("sqlite", SQLITE_TRIGGERS), ("postgresql", POSTGRES_TRIGGERS)):
    for _statement in _statements:
        _ddl = DDL(_statement)  # type: ignore[no-untyped-call]  # its context parameter has no annotation
        event.listen(metadata, "after_create", _ddl.execute_if(dialect=_dialect))
