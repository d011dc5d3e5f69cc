"""What stands around the records: every object that the migrations make in a database, in the words of that database.

``surroundings.json`` holds it, as the catalogs of both databases told it of a journal that was just upgraded. A test
compares it with what an upgrade makes, and says how to write it anew. What views say on Postgres is not in it: each
version of the server writes that in other words.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from casty_es.journal.views import statements

FILE: Final = Path(__file__).with_name("surroundings.json")

SQLITE_OBJECTS: Final = """
    SELECT type, name, tbl_name, sql FROM sqlite_master
    WHERE lower(tbl_name) GLOB 'casty_*' OR lower(name) GLOB 'casty_*'"""


class Thing(NamedTuple):
    """An object of a database."""

    # ``table``, ``column``, ``constraint``, ``index``, ``trigger``, ``view``, ``function``, and on Postgres also
    # ``rule``, ``policy`` and ``inheritance``, of which the migrations make none.
    kind: str
    name: str
    of: str  # the table or view that it belongs to, or its own name

    @property
    def text(self) -> str:
        """What to call it."""
        return f"{self.kind} {self.name}" if self.of == self.name else f"{self.kind} {self.name} of {self.of}"


def plain(text: str) -> str:
    """Return a definition in one line: where it breaks says nothing, and differs where a column was added later."""
    return re.sub(r"\s+", " ", text).strip()


@cache
def _all() -> dict[str, list[tuple[str, str, str, str]]]:
    return msgspec.json.decode(FILE.read_bytes(), type=dict[str, list[tuple[str, str, str, str]]])


def on_sqlite() -> dict[Thing, str]:
    """Return what the migrations make in an SQLite file, and how its catalog writes it."""
    return {Thing(kind, name, of): text for kind, name, of, text in _all()["sqlite"]}


def on_postgres() -> dict[Thing, str]:
    """Return what the migrations make in a Postgres database, and how its catalog writes it; views are left empty."""
    return {Thing(kind, name, of): text for kind, name, of, text in _all()["postgresql"]}


def view_queries() -> dict[str, str]:
    """Return the query of each view on Postgres."""
    queries = {}
    for statement in statements("postgresql"):
        if statement.startswith("CREATE VIEW "):
            name, _, query = statement.removeprefix("CREATE VIEW ").partition(" AS")
            queries[name] = query
    return queries
