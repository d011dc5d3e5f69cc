"""What a walk through a whole journal asks: plain rows, and at which sequences there are snapshots."""

from __future__ import annotations

from casty_es.journal.port import EntityName, EventJournal, StoredSnapshot

from .rows import NOW, Owner, entity_id


async def test_rows_are_the_records(journal: EventJournal) -> None:
    """Given records, when they are asked for as plain rows, then they are the same, page by page."""
    owner = Owner(3).lease().born(1, EntityName("counter", "hits", "")).event(1, 1, key="k").event(1, 2, metadata="{}")
    append = owner.batch()
    await journal.append(append)

    assert [tuple(row) for row in await journal.rows(3)] == append.events
    assert [tuple(row) for row in await journal.rows(3, after=1, limit=1)] == append.events[1:2]


async def test_sequences_of_snapshots(journal: EventJournal) -> None:
    """Given snapshots of two entities, when their sequences are asked for, then those of others are not given."""
    owner = Owner(3).lease()
    for number in (1, 2, 3):
        owner.born(number, EntityName("counter", str(number), "")).event(number, 1)
        await journal.append(owner.batch())
        await journal.save_snapshot(entity_id(3, number), StoredSnapshot(1, "{}", 1), owner.head.hash, NOW)

    asked = [entity_id(3, 1), entity_id(3, 3), entity_id(3, 9)]
    assert await journal.snapshot_sequences(asked) == [(entity_id(3, 1), 1), (entity_id(3, 3), 1)]
    assert await journal.snapshot_sequences([]) == []
