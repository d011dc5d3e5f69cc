"""The journal's tables and their columns, as the file of what the migrations make has them."""

from __future__ import annotations

from typing import Final, NamedTuple

from casty_es.journal.expected_surroundings import Thing, on_postgres
from casty_es.journal.revisions import VERSION_TABLE


class Column(NamedTuple):
    """A column, by Postgres's name for its type."""

    name: str
    type: str
    nullable: bool


class Table(NamedTuple):
    """A table."""

    name: str
    columns: dict[str, Column]
    keys: list[str]


def _column(name: str, text: str) -> Column:
    return Column(name, text.partition(" ")[0], "NOT NULL" not in text)


def _table(name: str, there: dict[Thing, str]) -> Table:
    texts = {one.name: text for one, text in there.items() if (one.kind, one.of) == ("column", name)}
    columns = {column: _column(column, text) for column, text in texts.items()}
    primary = there[Thing("constraint", f"pk_{name}", name)]
    return Table(name, columns, primary.removeprefix("PRIMARY KEY (").removesuffix(")").split(", "))


_NAMES: Final = [one.name for one in on_postgres() if one.kind == "table" and one.name != VERSION_TABLE]
TABLES: Final = {name: _table(name, on_postgres()) for name in _NAMES}
COLUMNS: Final = [(table.name, column) for table in TABLES.values() for column in table.columns]
