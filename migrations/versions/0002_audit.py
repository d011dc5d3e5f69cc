"""What audits need: seals of what retention cut, salts that redaction set aside, and how long structures are kept.

A revision is frozen once released: it names its tables itself and imports nothing of casty_es but the guard.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from casty_es.journal.revisions import refuse_elsewhere

revision = "casty_es_0002"
down_revision = "casty_es_0001"
branch_labels = None
depends_on = None

BIG_INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns and tables."""
    refuse_elsewhere(op.get_context())
    op.add_column("casty_entities", sa.Column("salted_from", BIG_INT, server_default=sa.text("0"), nullable=False))
    op.add_column("casty_structures", sa.Column("keep", sa.Text))
    op.create_table(
        "casty_retired_salts",
        sa.Column("entity", BIG_INT, nullable=False),
        sa.Column("through", BIG_INT, nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("entity", "through", name="pk_casty_retired_salts"),
        sqlite_strict=True,
    )
    op.create_table(
        "casty_seals",
        sa.Column("slot", sa.Integer, nullable=False),
        sa.Column("first", BIG_INT, nullable=False),
        sa.Column("last", BIG_INT, nullable=False),
        sa.Column("entity", BIG_INT, nullable=False),
        sa.Column("previous_hash", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("sealed_by", BIG_INT, nullable=False),
        sa.PrimaryKeyConstraint("slot", "last", name="pk_casty_seals"),
        sa.CheckConstraint("first BETWEEN 1 AND last", name="ck_casty_seals_first"),
        sa.CheckConstraint("length(previous_hash) = 32", name="ck_casty_seals_previous_hash"),
        sa.CheckConstraint("length(hash) = 32", name="ck_casty_seals_hash"),
        sqlite_strict=True,
    )
    op.create_index("ix_casty_seals_entity", "casty_seals", ["entity", "last"])


def downgrade() -> None:
    """Take them away. Seals and retired salts are part of the proof: what was cut or redacted cannot be shown then."""
    refuse_elsewhere(op.get_context())
    op.drop_table("casty_seals")
    op.drop_table("casty_retired_salts")
    op.drop_column("casty_structures", "keep")
    op.drop_column("casty_entities", "salted_from")
