"""${message}.

Revision ${up_revision}, after ${down_revision | comma,n}, ${create_date}. A revision is frozen once released: it
names its tables itself and imports nothing of casty_es but the guard.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from casty_es.journal.revisions import refuse_elsewhere
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """TODO: say what this changes."""
    refuse_elsewhere(op.get_context())
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Take it back."""
    refuse_elsewhere(op.get_context())
    ${downgrades if downgrades else "pass"}
