"""The house rules that a tool can look at: sizes, names, the tree of errors, the tags of the wire, the reference."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

import casty_es
from casty_es import errors
from casty_es.bounds import TAGS
from casty_es.errors import CastyError

ROOT: Final = Path(__file__).parents[2]
FILES: Final = sorted((ROOT / "casty_es").rglob("*.py"))

LONGEST_FILE: Final = 400
LONGEST_FUNCTION: Final = 40

# Each with the reason why it is longer.
LONG_FILES: Final[dict[str, str]] = {}
LONG_FUNCTIONS: Final = {
    "casty_es/gateway/asking.py:ask": "every command passes here, and a call more would be felt",
    "casty_es/audit/verify/walk.py:go": "every record passes here, as decision 0050 says",
    "casty_es/journal/views.py:_claims": "one statement of SQL, of parts that are named where they stand",
}

# Names that stand in several rooms, because they are the same thing of each.
_STRUCTURE: Final = "a structure's file, in the domain, among the handles and on the command line"
_SUBJECT: Final = "a command, named after what it is about"
SAME_EVERYWHERE: Final = {
    "__init__.py": "what a package is",
    "port.py": "the protocol of a layer",
    "memory.py": "the journal and the leases of one process",
    "postgres.py": "the journal and the leases on Postgres",
    **dict.fromkeys(
        ("barrier.py", "counter.py", "flag.py", "lock.py", "queue.py", "semaphore.py", "set.py"), _STRUCTURE
    ),
    **dict.fromkeys(("anchor.py", "grants.py", "node.py", "upkeep.py"), _SUBJECT),
}

# A line of the tree in errors.py: what stands before the name tells how deep it is.
_BRANCH: Final = re.compile(r"^    (?P<depth>[│├└─ ]*)(?P<name>\w+Error)(?: +(?:\((?P<also>\w+)\) )?(?P<says>\S.*))?$")


def _functions(file: Path) -> list[tuple[str, int]]:
    """Return the functions of a file with the lines of their bodies, without the docstring and its signature."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            found.append((f"{file.relative_to(ROOT)}:{node.name}", lines))
    return found


def test_files_are_short() -> None:
    """No file is longer than a reader keeps in mind; an exception has its reason here, and is one."""
    longer = {str(file.relative_to(ROOT)) for file in FILES if len(file.read_text().splitlines()) > LONGEST_FILE}
    assert longer == LONG_FILES.keys()


def test_functions_are_short() -> None:
    """No function is longer than a page; an exception has its reason here, and is one."""
    longer = {name: lines for file in FILES for name, lines in _functions(file) if lines > LONGEST_FUNCTION}
    assert longer.keys() == LONG_FUNCTIONS.keys(), longer


def test_no_name_stands_twice() -> None:
    """Who hears the name of a module knows which one it is."""
    names = Counter(file.name for file in FILES)
    assert {name for name, number in names.items() if number > 1} == SAME_EVERYWHERE.keys()


def test_the_tree_of_errors_is_the_classes() -> None:
    """The tree that is drawn in errors.py has each class under its base, with what else it is and a word about it."""
    drawn: dict[str, tuple[str | None, str | None]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if (found := _BRANCH.match(line)) is None:
            continue
        depth = len(found["depth"]) // 4
        above[depth:] = [found["name"]]
        drawn[found["name"]] = (above[depth - 1] if depth else None, found["also"])
        assert depth == 0 or found["says"], line
    classes = {name: cls for name, cls in vars(errors).items() if inspect.isclass(cls) and issubclass(cls, CastyError)}
    assert drawn == {
        name: (
            None if cls is CastyError else cls.__bases__[0].__name__,
            next((base.__name__ for base in cls.__bases__[1:]), None),
        )
        for name, cls in classes.items()
    }
    assert set(errors.__all__) >= classes.keys()


def test_the_tags_of_the_wire_stand_in_one_table() -> None:
    """Each message has a tag of its own, and all of them come from the one table."""
    written = re.findall(r"class (\w+)\([^)]*array_like=True, tag=([^,)]+)", "".join(map(Path.read_text, FILES)))
    assert {tag for _, tag in written} == {"TAGS.__getitem__"}
    assert {name for name, _ in written} == TAGS.keys()
    assert len(set(TAGS.values())) == len(TAGS)


@pytest.mark.parametrize("name", casty_es.__all__)
def test_the_reference_has_every_public_name(name: str) -> None:
    """What can be imported from the package is explained in the reference."""
    reference = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    module = getattr(getattr(casty_es, name), "__module__", "")
    assert f"::: casty_es.{name}\n" in reference or f"::: {module}\n" in reference or f"`{name}`" in reference
