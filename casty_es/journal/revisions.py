"""The ids of the journal's revisions.

They begin with the library's name, so that they are nobody else's. Databases that were made before they did carry four
digits; everybody reads those as the ids of today, and whoever migrates writes them anew.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["OLD_IDS", "PREFIX", "is_ours", "present_id"]

PREFIX: Final = "casty_es_"
"""What the id of every revision begins with; a number with leading zeros follows, so that they sort as text."""

OLD_IDS: Final = tuple(f"{number:04}" for number in range(1, 8))
"""What the first seven revisions were called before. No later one ever was."""


def present_id(revision: str) -> str:
    """Return what a revision that a database names is called today; what is none of ours stays as it is."""
    return f"{PREFIX}{revision}" if revision in OLD_IDS else revision


def is_ours(revision: str) -> bool:
    """Tell whether a revision of today's naming is one of this library, of this version of it or of a later one."""
    return re.fullmatch(rf"{PREFIX}[0-9]{{4}}", revision) is not None
