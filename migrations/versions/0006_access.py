"""Tokens, and views that show who was proven to have caused an event.

A revision is frozen once released: its SQL stands in files beside it, one for each database, and it imports nothing of
casty_es but the guard.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from alembic import op

from casty_es.journal.revisions import refuse_elsewhere

revision = "casty_es_0006"
down_revision = "casty_es_0005"
branch_labels = None
depends_on = None

BIG_INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

CHANGED = (
    "casty_history",
    "casty_counter_history",
    "casty_map_history",
    "casty_set_history",
    "casty_queue_history",
    "casty_lock_history",
    "casty_semaphore_history",
    "casty_barrier_history",
    "casty_claims",
    "casty_holders",
    "casty_redactions",
    "casty_cuts",
)
OF_REQUESTS = ("casty_queue_history", "casty_lock_history", "casty_semaphore_history", "casty_barrier_history")


def upgrade() -> None:
    """Add the table. On Postgres what was granted on the views goes with the old ones: grant it again."""
    refuse_elsewhere(op.get_context())
    op.create_table(
        "casty_tokens",
        sa.Column("id", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("stored_key", sa.LargeBinary, nullable=False),
        sa.Column("server_key", sa.LargeBinary, nullable=False),
        sa.Column("created_at", BIG_INT, nullable=False),
        sa.Column("ends_at", BIG_INT),
        sa.Column("revoked_at", BIG_INT),
        sa.PrimaryKeyConstraint("id", name="pk_casty_tokens"),
        sa.CheckConstraint("length(stored_key) = 32", name="ck_casty_tokens_stored_key"),
        sa.CheckConstraint("length(server_key) = 32", name="ck_casty_tokens_server_key"),
        sqlite_strict=True,
    )
    drop()
    create("0006", CHANGED)


def downgrade() -> None:
    """Take it away: no token lets anybody in any more. What events say of their principal stays in them."""
    refuse_elsewhere(op.get_context())
    op.drop_table("casty_tokens")
    drop()
    create("0005", OF_REQUESTS)
    create("0003", tuple(view for view in CHANGED if view not in OF_REQUESTS))


def drop() -> None:
    """Drop the views, each before those that it reads."""
    for view in reversed(CHANGED):
        op.execute(f"DROP VIEW {view}")


def create(file: str, views: tuple[str, ...]) -> None:
    """Create some of the views of a file."""
    for statement in statements(file):
        if statement.startswith(tuple(f"CREATE VIEW {view} " for view in views)):
            op.execute(statement)


def statements(file: str) -> Iterator[str]:
    """Read the statements of a file."""
    path = Path(__file__).parents[1] / "sql" / f"{file}_views.{op.get_context().dialect.name}.sql"
    for statement in path.read_text(encoding="utf-8").split(";\n\n"):
        yield statement.rstrip().removesuffix(";")
