"""The ids of the journal's revisions.

They begin with the library's name, so that they are nobody else's. Databases that were made before they did carry four
digits; everybody reads those as the ids of today, and whoever migrates writes them anew.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

MARK: Final = "casty_es"
"""The option by which the journal's own ``env.py`` is known to its revisions."""

VERSION_TABLE: Final = "casty_es_alembic_version"
"""Where a database names its revision: a table of its own, because it may be another program's, with its alembic."""

PREFIX: Final = "casty_es_"
"""What the id of every revision begins with; a number with leading zeros follows, so that they sort as text."""

OLD_IDS: Final = tuple(f"{number:04}" for number in range(1, 8))
"""What the first seven revisions were called before. No later one ever was."""


def present_id(revision: str) -> str:
    """Return what a revision that a database names is called today; what is none of ours stays as it is."""
    return f"{PREFIX}{revision}" if revision in OLD_IDS else revision


def is_ours(revision: str) -> bool:
    """Return whether a revision of today's naming is one of this library, of this version of it or of a later one."""
    return re.fullmatch(rf"{PREFIX}[0-9]{{4}}", revision) is not None


def refuse_elsewhere(context: MigrationContext) -> None:
    """Refuse to run a revision from another ``env.py`` than ours, before it has changed anything.

    Another environment writes down what it runs in a version table of its own, where nobody looks for the journal's,
    and on SQLite it does not take back a revision that fails.
    """
    if context.opts.get(MARK):
        return
    from alembic.util import CommandError  # noqa: PLC0415 - slow to import, and whoever opens a journal reads this module

    raise CommandError(
        f"the journal's revisions run in the environment of casty_es only, and this one writes into "
        f"{context.version_table}. Nothing of the journal was changed. Take the folder of casty_es out of "
        "version_locations, and run: casty-es db upgrade."
    )
