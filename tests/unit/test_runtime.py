"""What is outside is asked through ``casty_es/runtime.py``, so that a simulation can replace it there."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import casty_es

_ROOMS: Final = (
    "cluster",
    "domain",
    "format",
    "gateway",
    "handles",
    "journal",
    "leases",
    "owner",
    "replay",
    "transport",
)
_OUTSIDE: Final = {
    *("random", "secrets", "uuid.uuid1", "uuid.uuid4", "os.urandom"),
    *(
        "time.time",
        "time.time_ns",
        "time.monotonic",
        "time.monotonic_ns",
        "time.clock_gettime",
        "time.clock_gettime_ns",
    ),
}
_MAY: Final = {
    "journal/access_tables.py": "makes the cluster's secret",
    "journal/postgres_warnings.py": "says a warning of a real server once a minute",
    "journal/sqlite_connection.py": "looks at real files once in a while",
    "journal/sqlite_log.py": "likewise",
    "leases/preflight.py": "compares this host's clock with a real server's",
    "replay/ahead.py": "says in a message how far ahead a time is",
}


def asked(tree: ast.AST) -> set[str]:
    """Return what a module asks of the clock and of generators by itself."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(module), names=names):
                found |= {module, *(f"{module}.{alias.name}" for alias in names)}
            case ast.Attribute(value=ast.Name(id=module), attr=attribute):
                found.add(f"{module}.{attribute}")
    return found & _OUTSIDE


def test_nothing_else_asks_the_world() -> None:
    """Given a room that the simulation runs, then no module of it has a clock or a generator of its own."""
    root = Path(casty_es.__file__).parent
    files = [file for room in _ROOMS for file in (root / room).rglob("*.py")]
    found = {
        str(file.relative_to(root)): asked(ast.parse(file.read_text()))
        for file in [*files, root / "node.py", root / "client.py", root / "assembly.py", root / "background.py"]
    }
    assert {name: what for name, what in found.items() if what and name not in _MAY} == {}
    assert {name for name in _MAY if not found[name]} == set()


def test_who_asks_is_seen() -> None:
    """Given a module that draws numbers or reads a clock, then it is seen, however it imports them."""
    for text in (
        "import random",
        "from secrets import token_bytes",
        "from uuid import uuid4",
        "import time\ntime.time()",
    ):
        assert asked(ast.parse(text))
    assert not asked(ast.parse("import time\nfrom uuid import UUID\nfrom casty_es import runtime\nruntime.steady()"))
