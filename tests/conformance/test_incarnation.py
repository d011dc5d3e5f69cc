"""Raising the incarnation: with the closed slots of the one before, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from casty_es.errors import JournalError
from casty_es.journal.port import EventJournal
from casty_es.journal.remembered import ClosedSlot, Mark
from casty_es.journal.sql import SqlJournal

CLOSED = ClosedSlot(3, Mark(1, 5, b"\1" * 8), 2, "n", 1)

REFUSE = {
    "sqlite": [
        "CREATE TRIGGER keep BEFORE DELETE ON casty_closed_slots BEGIN SELECT RAISE(ABORT, 'kept'); END",
    ],
    "postgres": [
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''kept''; END'",
        "CREATE TRIGGER keep BEFORE DELETE ON casty_closed_slots FOR EACH ROW EXECUTE FUNCTION keep()",
    ],
}


async def test_it_is_raised_with_what_it_ends(journal_url: str) -> None:
    """Given a slot that was closed, when the incarnation is raised, then it is forgotten."""
    journal = SqlJournal(journal_url)
    await journal.open()
    await journal.close_slot(CLOSED)
    assert await journal.closed_slots() == (1, [CLOSED])

    assert await journal.raise_incarnation() == 2

    assert await journal.closed_slots() == (2, [])
    assert await journal.query("SELECT slot FROM casty_closed_slots") == []
    await journal.close()


async def test_a_slot_is_closed_by_several(journal: EventJournal) -> None:
    """Given nodes that remember different marks of a slot, when each closes it, then all are told, in their order."""
    later = ClosedSlot(3, Mark(1, 7, b"\2" * 8), 2, "m", 2)
    other = ClosedSlot(1, Mark(1, 4, b"\3" * 8), 0, "n", 3)
    for closed in (later, CLOSED, other, later._replace(node_id="k", closed_at=4)):
        await journal.close_slot(closed)

    assert await journal.closed_slots() == (1, [other, CLOSED, later])


async def test_what_was_under_way_when_it_was_raised_closes_nothing(journal: Any) -> None:
    """Given a loss that was accepted, when somebody who has not heard of it closes a slot, then nobody is told."""
    assert await journal.raise_incarnation() == 2
    await journal.close_slot(CLOSED)

    assert await journal.closed_slots() == (2, [])


async def test_it_is_raised_as_a_whole_or_not_at_all(
    database_kind: str, journal_url: str, sql: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """Given a database that forgets no closed slot, when the incarnation is raised, then it is as it was before."""
    journal = SqlJournal(journal_url)
    await journal.open()
    await journal.close_slot(CLOSED)
    await asyncio.to_thread(sql, journal_url, *REFUSE[database_kind], "SELECT 1")

    with pytest.raises(JournalError, match="kept"):
        await journal.raise_incarnation()

    assert await journal.closed_slots() == (1, [CLOSED])
    await journal.close()
