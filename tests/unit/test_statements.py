"""The table of statements: both databases have the same ones, and what is written once is said to each in its words."""

from __future__ import annotations

import re
import sqlite3

import pytest

from casty_es.journal.expected_surroundings import on_sqlite
from casty_es.journal.statements import POSTGRES, SQLITE, for_sqlite


def test_both_databases_have_the_same_statements() -> None:
    """Given the two tables, then neither lacks a statement, and each takes as many parameters."""
    assert POSTGRES.keys() == SQLITE.keys()
    for name in POSTGRES:
        marks = [set(re.findall(r"[$?](\d+)", table[name])) for table in (POSTGRES, SQLITE)]
        assert marks[0] == marks[1], name


@pytest.mark.parametrize("name", SQLITE)
def test_sqlite_understands_its_statements(name: str) -> None:
    """Given the journal's tables, when SQLite is to plan a statement, then it can, and no word of Postgres is left."""
    # given the tables
    with sqlite3.connect(":memory:") as connection:
        for thing, text in sorted(on_sqlite().items(), reverse=True):
            if text and thing.kind in {"table", "index"}:
                connection.execute(text)
        # when it is planned, then that works
        wanted = max((int(number) for number in re.findall(r"\?(\d+)", SQLITE[name])), default=0)
        connection.execute(f"EXPLAIN {SQLITE[name]}", ["[1]"] * wanted)
    assert "::" not in SQLITE[name]
    assert "$1" not in SQLITE[name]


def test_lists_are_read_from_json() -> None:
    """A list is an array on Postgres, and JSON on SQLite."""
    assert for_sqlite("WHERE id = ANY ($1::bigint[]) AND n = $2::int FOR SHARE") == (
        "WHERE id IN (SELECT value FROM json_each(?1)) AND n = ?2"
    )
