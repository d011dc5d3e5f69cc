"""The views for auditors: their columns are those of the reference, and names and entities are found by index."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Upkeep
from casty_es.domain.upkeep import Redacted
from casty_es.journal.urls import is_sqlite
from casty_es.journal.views import VIEWS

from .incident import write_incident

Sql = Callable[..., list[tuple[Any, ...]]]

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "views.md"

# Whoever asks for one of these must not read the whole journal for it.
NARROW: Final = [
    "casty_history WHERE kind = 'counter' AND name = 'refunds'",
    *(f"casty_{kind}_history WHERE name = 'refunds'" for kind in CATALOG),
    "casty_map_history WHERE name = 'users' AND stored_key = 's:alice'",
    "casty_claims WHERE kind = 'lock' AND name = 'deploy'",
    "casty_holders WHERE kind = 'lock' AND name = 'deploy'",
    "casty_leases WHERE slot = 7",
    "casty_redactions",
    "casty_cuts",
]


def documented() -> dict[str, list[str]]:
    """Return the columns of each view as the reference lists them."""
    found: dict[str, list[str]] = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        found[heading.strip("` ")] = re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE)
    return found


def columns(url: str, sql: Sql, view: str) -> list[str]:
    """Return a view's columns as its database has them."""
    if is_sqlite(url):
        rows = sql(url, f"SELECT name FROM pragma_table_info('{view}') ORDER BY cid")
    else:
        rows = sql(
            url,
            "SELECT column_name::text FROM information_schema.columns "
            f"WHERE table_name = '{view}' ORDER BY ordinal_position",
        )
    return [name for (name,) in rows]


def test_reference_lists_every_column(journal_url: str, sql: Sql) -> None:
    """Given the reference, then it has the views of the database, and each has the columns that it lists, in order."""
    views = documented()
    assert list(views) == list(VIEWS)
    assert {view: columns(journal_url, sql, view) for view in VIEWS} == views


@pytest.mark.parametrize("kind", CATALOG)
def test_every_field_of_every_event_is_a_column(kind: str) -> None:
    """Given the events of a kind, then each of their fields is a column of its view."""
    events = [event for event in CATALOG[kind].events.values() if not issubclass(event, Upkeep | Redacted)]
    fields = {field.name for event in events for field in msgspec.structs.fields(event)}
    assert fields
    assert fields <= set(documented()[f"casty_{kind}_history"])


async def test_nothing_narrow_reads_the_whole_journal(journal_url: str, sql: Sql) -> None:
    """Given a question about one name, when the database plans it, then it finds the events by an index."""
    await write_incident(journal_url)
    for wanted in NARROW:
        plan = await asyncio.to_thread(planned, journal_url, sql, f"SELECT * FROM {wanted}")
        events = [line for line in plan if re.search(r"casty_events|\b[elrgxfd] USING", line)]
        assert events, f"{wanted}: {plan}"
        assert not [line for line in plan if re.search(r"SCAN [elrgxfd]\b|Seq Scan on casty_events", line)], wanted


def planned(url: str, sql: Sql, query: str) -> list[str]:
    """Return the lines of a query's plan; on Postgres as if the journal were too large to be read."""
    if is_sqlite(url):
        return [row[3] for row in sql(url, f"EXPLAIN QUERY PLAN {query}")]
    statements = ("SET enable_seqscan = off", "SET enable_bitmapscan = off", f"EXPLAIN {query}")
    return [line for (line,) in sql(url, *statements)]


async def test_history_has_every_record(journal_url: str, sql: Sql) -> None:
    """Given the journal of the incident, then the history has each record once, and each kind its own events."""
    await write_incident(journal_url)
    total = await asyncio.to_thread(sql, journal_url, "SELECT count(*) FROM casty_events")
    assert await asyncio.to_thread(sql, journal_url, "SELECT count(*) FROM casty_history") == total
    for kind in CATALOG:
        one = f"SELECT sequence, payload FROM casty_{kind}_history ORDER BY slot, position"
        other = f"SELECT sequence, payload FROM casty_history WHERE kind = '{kind}' ORDER BY slot, position"
        rows = await asyncio.to_thread(sql, journal_url, one)
        assert rows
        assert rows == await asyncio.to_thread(sql, journal_url, other)
