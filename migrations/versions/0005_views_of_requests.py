"""Views of who made a request, why it expired, and whose item was given back.

A revision is frozen once released: its SQL stands in files beside it, one for each database, and it imports nothing of
casty_es but the guard.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alembic import op

from casty_es.journal.revisions import refuse_elsewhere

revision = "casty_es_0005"
down_revision = "casty_es_0004"
branch_labels = None
depends_on = None

CHANGED = ("casty_queue_history", "casty_lock_history", "casty_semaphore_history", "casty_barrier_history")


def upgrade() -> None:
    """Create the views anew. On Postgres that takes what was granted on them with the old ones: grant it again."""
    refuse_elsewhere(op.get_context())
    create("0005")


def downgrade() -> None:
    """Create them as they were."""
    refuse_elsewhere(op.get_context())
    create("0003")


def create(file: str) -> None:
    """Put the views of a file into the place of those that are there."""
    for view in CHANGED:
        op.execute(f"DROP VIEW {view}")
    for statement in statements(file):
        if statement.startswith(tuple(f"CREATE VIEW {view} " for view in CHANGED)):
            op.execute(statement)


def statements(file: str) -> Iterator[str]:
    """Read the statements of a file."""
    path = Path(__file__).parents[1] / "sql" / f"{file}_views.{op.get_context().dialect.name}.sql"
    for statement in path.read_text(encoding="utf-8").split(";\n\n"):
        yield statement.rstrip().removesuffix(";")
