"""Views for auditors: who did what to which structure, as rows and columns of any SQL client.

A revision is frozen once released: its SQL stands in files beside it, one for each database, and it imports nothing of
casty_es but the guard.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

from casty_es.journal.revisions import refuse_elsewhere

revision = "casty_es_0003"
down_revision = "casty_es_0002"
branch_labels = None
depends_on = None

VIEWS = (
    "history",
    "counter_history",
    "map_history",
    "set_history",
    "queue_history",
    "lock_history",
    "semaphore_history",
    "barrier_history",
    "claims",
    "holders",
    "leases",
    "redactions",
    "cuts",
)


def upgrade() -> None:
    """Create the views, and on Postgres the function that they call."""
    refuse_elsewhere(op.get_context())
    file = Path(__file__).parents[1] / "sql" / f"0003_views.{op.get_context().dialect.name}.sql"
    for statement in file.read_text(encoding="utf-8").split(";\n\n"):
        op.execute(statement.rstrip().removesuffix(";"))


def downgrade() -> None:
    """Drop them. They hold nothing of their own."""
    refuse_elsewhere(op.get_context())
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW casty_{view}")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION casty_member(text, text, text)")
