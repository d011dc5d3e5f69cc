"""What is generic asks the Kind, and never for a kind by its name."""

from __future__ import annotations

import re
from pathlib import Path

import casty_es
from casty_es.domain.catalog import BUILT_IN

# What belongs to one structure: its domain file, its handle, and the commands of the command line for locks or jobs.
OF_ONE = ("domain", "handles", "cli")


def test_no_generic_code_compares_with_the_name_of_a_kind() -> None:
    """Given the package, when it is searched for comparisons with a kind's name, then there are none."""
    root = Path(casty_es.__file__).parent
    name = "|".join(kind.name for kind in BUILT_IN)
    compared = re.compile(rf'(?:[=!]=|\bin) *[\[({{]?"(?:{name})"')
    generic = [path for path in root.rglob("*.py") if path.relative_to(root).parts[0] not in OF_ONE]
    assert len(generic) > 100
    found = [f"{path}: {line}" for path in generic for line in path.read_text().splitlines() if compared.search(line)]
    assert found == []
