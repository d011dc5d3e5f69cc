"""The journal: its tables, the triggers that keep it append-only, its number of slots and its secret.

A revision is frozen once released: it names its tables itself and imports nothing of casty_es but the guard.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from casty_es.journal.revisions import refuse_elsewhere

revision = "casty_es_0001"
down_revision = None
branch_labels = None
depends_on = None

# STRICT knows neither BIGINT nor BOOLEAN. Its INTEGER has 64 bits.
BIG_INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FLAG = sa.Boolean().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

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

# The database draws the secret itself, so that a script made from this revision does not carry one. SQLite seeds
# randomblob() from the operating system; gen_random_uuid() is Postgres' strong generator (three hold over 256 bits).
SQLITE_RANDOM = "randomblob(32)"
POSTGRES_RANDOM = "sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))"

SQLITE_NOW = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"
POSTGRES_NOW = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"


def upgrade() -> None:
    """Create everything in an empty database."""
    refuse_elsewhere(op.get_context())
    create_journal()
    create_directory()
    create_meta()
    sqlite = op.get_context().dialect.name == "sqlite"
    for statement in SQLITE_TRIGGERS if sqlite else POSTGRES_TRIGGERS:
        op.execute(statement)
    slots = int(op.get_context().opts["slots"])
    now, random = (SQLITE_NOW, SQLITE_RANDOM) if sqlite else (POSTGRES_NOW, POSTGRES_RANDOM)
    op.execute(
        "INSERT INTO casty_meta (id, slots, hash_algorithm, created_at) "  # noqa: S608 - constants and one integer
        f"VALUES (1, {slots}, 'sha256', {now})"
    )
    op.execute(f"INSERT INTO casty_secrets (name, value) VALUES ('cluster', {random})")  # noqa: S608 - a constant
    if sqlite:
        op.execute(f"PRAGMA application_id = {int.from_bytes(b'cast', 'big')}")


def downgrade() -> None:
    """Drop everything, the journal included."""
    refuse_elsewhere(op.get_context())
    for table in ("secrets", "meta", "nodes", "slots", "structures", "entities", "snapshots", "events"):
        op.drop_table(f"casty_{table}")
    if op.get_context().dialect.name == "sqlite":
        op.execute("PRAGMA application_id = 0")
    else:
        op.execute("DROP FUNCTION casty_events_refuse_change()")
        op.execute("DROP FUNCTION casty_meta_refuse_slots()")


def create_journal() -> None:
    """Create the records, their snapshots and the names of what they are about."""
    op.create_table(
        "casty_events",
        sa.Column("slot", sa.Integer, nullable=False),
        sa.Column("position", BIG_INT, nullable=False),
        sa.Column("epoch", BIG_INT, nullable=False),
        sa.Column("entity", BIG_INT),
        sa.Column("sequence", BIG_INT),
        sa.Column("type", NAME, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text),
        sa.Column("command_id", sa.LargeBinary),
        sa.Column("idempotency_key", NAME),
        sa.Column("recorded_at", BIG_INT, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("slot", "position", name="pk_casty_events"),
        sa.UniqueConstraint("entity", "sequence", name="uq_casty_events_entity_sequence"),
        sa.CheckConstraint("slot >= 0", name="ck_casty_events_slot"),
        sa.CheckConstraint("position >= 1", name="ck_casty_events_position"),
        sa.CheckConstraint("epoch BETWEEN 1 AND position", name="ck_casty_events_epoch"),
        sa.CheckConstraint("(entity IS NULL) = (sequence IS NULL)", name="ck_casty_events_entity_sequence"),
        sa.CheckConstraint("sequence >= 1", name="ck_casty_events_sequence"),
        sa.CheckConstraint("length(command_id) = 16", name="ck_casty_events_command_id"),
        sa.CheckConstraint("length(hash) = 32", name="ck_casty_events_hash"),
        sqlite_strict=True,
    )
    op.create_index(
        "uq_casty_events_idempotency_key",
        "casty_events",
        ["entity", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_table(
        "casty_snapshots",
        sa.Column("entity", BIG_INT, nullable=False),
        sa.Column("sequence", BIG_INT, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("recorded_at", BIG_INT, nullable=False),
        sa.PrimaryKeyConstraint("entity", "sequence", name="pk_casty_snapshots"),
        sqlite_strict=True,
    )
    op.create_table(
        "casty_entities",
        sa.Column("id", BIG_INT, autoincrement=False, nullable=False),
        sa.Column("slot", sa.Integer, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("alive", FLAG, nullable=False),
        sa.Column("salt", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_casty_entities"),
        sa.UniqueConstraint("kind", "name", "key", name="uq_casty_entities_kind_name_key"),
        sa.CheckConstraint("slot >= 0", name="ck_casty_entities_slot"),
        sa.CheckConstraint("alive IN (0, 1)", name="ck_casty_entities_alive").ddl_if(dialect="sqlite"),
        sa.CheckConstraint("length(salt) = 16", name="ck_casty_entities_salt"),
        sqlite_strict=True,
    )
    op.create_table(
        "casty_structures",
        sa.Column("kind", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("shards", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_casty_structures"),
        sa.CheckConstraint("shards >= 1", name="ck_casty_structures_shards"),
        sqlite_strict=True,
    )


def create_directory() -> None:
    """Create the hints for routing: who owns which slot, and who is alive."""
    op.create_table(
        "casty_slots",
        sa.Column("slot", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("node_id", NAME, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("epoch", BIG_INT, nullable=False),
        sa.Column("since", BIG_INT, nullable=False),
        sa.PrimaryKeyConstraint("slot", name="pk_casty_slots"),
        sa.CheckConstraint("slot >= 0", name="ck_casty_slots_slot"),
        sqlite_strict=True,
    )
    op.create_table(
        "casty_nodes",
        sa.Column("node_id", NAME, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("started_at", BIG_INT, nullable=False),
        sa.Column("seen_at", BIG_INT, nullable=False),
        sa.PrimaryKeyConstraint("node_id", name="pk_casty_nodes"),
        sqlite_strict=True,
    )


def create_meta() -> None:
    """Create what is true of the journal as a whole."""
    op.create_table(
        "casty_meta",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("hash_algorithm", sa.Text, nullable=False),
        sa.Column("incarnation", BIG_INT, server_default=sa.text("1"), nullable=False),
        sa.Column("maintenance", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", BIG_INT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_casty_meta"),
        sa.CheckConstraint("id = 1", name="ck_casty_meta_one_row"),
        sa.CheckConstraint("slots BETWEEN 1 AND 8192", name="ck_casty_meta_slots"),
        sa.CheckConstraint("incarnation >= 1", name="ck_casty_meta_incarnation"),
        sa.CheckConstraint("maintenance IN (0, 1)", name="ck_casty_meta_maintenance"),
        sqlite_strict=True,
    )
    op.create_table(
        "casty_secrets",
        sa.Column("name", NAME, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_casty_secrets"),
        sqlite_strict=True,
    )
