"""The page of queries: each runs on both databases and gives the table that stands below it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from .incident import write_incident

Sql = Callable[..., list[tuple[Any, ...]]]

PAGE: Final = Path(__file__).parents[2] / "docs" / "howto" / "sql-for-auditors.md"
_BLOCK: Final = re.compile(r"^```sql\n(.*?)^```\n\n((?:\|[^\n]*\n)+)?", re.DOTALL | re.MULTILINE)


class Query(NamedTuple):
    """A query of the page, and the cells of the table below it, the names of the columns first."""

    line: int
    text: str
    table: list[list[str]]


def queries() -> list[Query]:
    """Return the page's queries."""
    text = PAGE.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        rows = [[cell.strip().strip("`") for cell in row.split("|")[1:-1]] for row in (match[2] or "").splitlines()]
        found.append(Query(text.count("\n", 0, match.start()) + 1, match[1], rows[:1] + rows[2:]))
    return found


def shown(value: object) -> str:
    """Return a value as the page writes it, whichever database it came from."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return "" if value is None else str(value)


def test_page_has_queries() -> None:
    """Given the page, then it has more than a dozen queries, each with a table that has rows."""
    assert len(queries()) > 12
    assert [query.line for query in queries() if len(query.table) < 2] == []


async def test_every_query(journal_url: str, sql: Sql) -> None:
    """Given the journal of the incident, when each query of the page is asked, then it gives the page's table."""
    await write_incident(journal_url)
    for query in queries():
        header, *expected = query.table
        found = [[shown(value) for value in row] for row in await asyncio.to_thread(sql, journal_url, query.text)]
        assert [len(header)] == list({len(row) for row in found}), f"{PAGE.name}:{query.line}"
        assert found == expected, f"{PAGE.name}:{query.line}"


@pytest.mark.parametrize("query", queries(), ids=lambda query: f"line-{query.line}")
def test_queries_only_read(query: Query) -> None:
    """Given a query of the page, then it is a single SELECT."""
    assert query.text.startswith("SELECT")
    assert ";" not in query.text
