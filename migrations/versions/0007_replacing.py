"""On SQLite, INSERT OR REPLACE over a record is refused like an UPDATE: what it deletes fires no trigger.

A revision is frozen once released: it names its tables itself and imports nothing of casty_es but the guard.
"""

from __future__ import annotations

from alembic import op

from casty_es.journal.revisions import refuse_elsewhere

revision = "casty_es_0007"
down_revision = "casty_es_0006"
branch_labels = None
depends_on = None

# The end of each message is SQLite's own for that key, by which callers know what stood in the way.
SQLITE_TRIGGERS = (
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


def upgrade() -> None:
    """Create the triggers. Postgres knows no REPLACE, and its triggers see every way to update."""
    refuse_elsewhere(op.get_context())
    if op.get_context().dialect.name == "sqlite":
        for statement in SQLITE_TRIGGERS:
            op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    refuse_elsewhere(op.get_context())
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TRIGGER casty_events_refuse_replace")
        op.execute("DROP TRIGGER casty_meta_refuse_replace")
