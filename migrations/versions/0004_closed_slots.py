"""Slots that were closed because the database has lost records, so that no later process opens them unknowingly.

A revision is frozen once released: it names its tables itself and imports nothing of casty_es but the guard.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from casty_es.journal.revisions import refuse_elsewhere

revision = "casty_es_0004"
down_revision = "casty_es_0003"
branch_labels = None
depends_on = None

BIG_INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the table."""
    refuse_elsewhere(op.get_context())
    op.create_table(
        "casty_closed_slots",
        sa.Column("slot", sa.Integer, nullable=False),
        sa.Column("incarnation", BIG_INT, nullable=False),
        sa.Column("position", BIG_INT, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("found", BIG_INT, nullable=False),
        sa.Column("node_id", NAME, nullable=False),
        sa.Column("closed_at", BIG_INT, nullable=False),
        sa.PrimaryKeyConstraint("slot", "incarnation", "position", name="pk_casty_closed_slots"),
        sa.CheckConstraint("slot >= 0", name="ck_casty_closed_slots_slot"),
        sa.CheckConstraint("position >= 1", name="ck_casty_closed_slots_position"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Take it away. Slots that are closed open again for whoever remembers nothing of what was lost."""
    refuse_elsewhere(op.get_context())
    op.drop_table("casty_closed_slots")
