"""What a journal gives back: heads, tails, pages, lookups by command, and snapshots of committed state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from casty_es.journal.port import EMPTY_SLOT, EntityName, EventJournal, StoredSnapshot
from casty_es.journal.sql import SqlJournal

from .rows import NOW, Owner, entity_id, recorded

COMMAND_A, COMMAND_B, COMMAND_C = bytes([1] * 16), bytes([2] * 16), bytes([3] * 16)
HITS = EntityName("counter", "hits", "")


def tail(number: int, sequence: int) -> tuple[int, int, str, int, str]:
    """Return what replay gets of an event that ``three_entities`` wrote."""
    return entity_id(3, number), sequence, "counter.incremented", 1, f'"{number}.{sequence}"'


async def three_entities(journal: EventJournal) -> None:
    """Write events 1 to 4 of three entities of slot 3, turn by turn."""
    owner = Owner(3).lease()
    for sequence in range(1, 5):
        for number in (2, 1, 3):
            owner.event(number, sequence, f'"{number}.{sequence}"')
    await journal.append(owner.batch())


async def test_heads(journal: EventJournal) -> None:
    """Given slots with and without records, when heads are asked for, then each is the last record or empty."""
    zero, last = Owner(0).lease().event(1, 1), Owner(8_191).lease()
    await journal.append(zero.batch())
    await journal.append(last.batch())

    assert await journal.heads([8_191, 5, 0]) == {0: zero.head, 5: EMPTY_SLOT, 8_191: last.head}
    assert await journal.heads([]) == {}


async def test_tails_of_several_entities(journal: EventJournal) -> None:
    """Given three entities, when tails are asked for, then events come by entity and sequence, after each sequence."""
    await three_entities(journal)

    page = await journal.tails({entity_id(3, 3): 3, entity_id(3, 1): 2, entity_id(3, 9): 0}, limit=100)

    assert [tuple(event) for event in page] == [tail(1, 3), tail(1, 4), tail(3, 4)]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 11, 12, 13])
async def test_tails_in_pages(limit: int, journal: EventJournal) -> None:
    """Given a page of any size, when the next begins where it ended, then every event comes once and in order."""
    await three_entities(journal)
    after = {entity_id(3, number): 0 for number in (3, 1, 2)}
    seen: list[tuple[object, ...]] = []
    while page := await journal.tails(after, limit=limit):
        assert len(page) <= limit
        seen += [tuple(event) for event in page]
        after |= {entity: sequence for entity, sequence, *_ in page}

    assert seen == [tail(number, sequence) for number in (1, 2, 3) for sequence in (1, 2, 3, 4)]


async def test_tails_of_many_entities(journal: EventJournal) -> None:
    """Given 3,000 entities, when their tails are one question, then each entity's event is there."""
    owner = Owner(3).lease()
    for number in range(1, 3_001):
        owner.event(number, 1, f'"{number}.1"')
    await journal.append(owner.batch())

    page = await journal.tails({entity_id(3, number): 0 for number in range(3_000, 0, -1)}, limit=5_000)

    assert [tuple(event) for event in page] == [tail(number, 1) for number in range(1, 3_001)]


async def test_tails_of_nothing(journal: EventJournal) -> None:
    """Given events, when the tails of no entity are asked for, then there are none."""
    await three_entities(journal)

    assert await journal.tails({}, limit=10) == []


async def test_records_in_pages(journal: EventJournal) -> None:
    """Given a slot beside another, when it is read in pages, then its records come once, in order, and no others."""
    owner = Owner(3).lease().event(1, 1).event(1, 2).event(2, 1)
    append = owner.batch()
    await journal.append(append)
    await journal.append(Owner(4).lease().batch())

    pages = [await journal.records(3, after=after, limit=2) for after in (0, 2, 4)]

    assert pages == [recorded(append)[:2], recorded(append)[2:], []]


async def test_history_in_pages(journal: EventJournal) -> None:
    """Given an entity whose events lie between others, when read in pages, then only its events come, in order."""
    await three_entities(journal)

    pages = [await journal.history(entity_id(3, 2), after=after, limit=3) for after in (0, 3, 4)]

    assert [[event.payload for event in page] for page in pages] == [['"2.1"', '"2.2"', '"2.3"'], ['"2.4"'], []]


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(1, [100, 7_000, 7_000, 100, 5]), (7_101, [14_100, 105]), (7_099, [7_100, 7_100, 5]), (10**9, [14_205])],
)
async def test_history_within_bytes(journal: EventJournal, most: int, sizes: list[int]) -> None:
    """Given long events, when read in pages of so many bytes, then a page ends with the event that reaches them."""
    owner = Owner(3).lease()
    for sequence, size in enumerate((100, 7_000, 7_000, 100, 5), 1):
        owner.event(1, sequence, '"' + "ä" * ((size - 2) // 2) + "a" * (size % 2) + '"')
        owner.event(2, sequence)
    await journal.append(owner.batch())

    pages, after = [], 0
    while page := await journal.history(entity_id(3, 1), after=after, most_bytes=most):
        pages.append(sum(len(event.payload.encode()) for event in page))
        after = page[-1].sequence or 0
    assert pages == sizes
    assert len(await journal.history(entity_id(3, 1), after=1, limit=2, most_bytes=10**9)) == 2
    assert await journal.history(entity_id(3, 9), most_bytes=10**9) == []


async def test_find_by_command(journal: EventJournal) -> None:
    """Given events of several commands, when some are looked for after a position, then just theirs come, in order."""
    owner = Owner(3).lease()  # position 1
    owner.event(1, 1, command_id=COMMAND_A)
    owner.event(1, 2, command_id=COMMAND_B).event(1, 3, command_id=COMMAND_B)
    owner.event(2, 1).event(1, 4, command_id=COMMAND_C)
    append = owner.batch()
    await journal.append(append)
    other_slot = Owner(4).lease().event(1, 1, command_id=COMMAND_A)
    await journal.append(other_slot.batch())
    events = recorded(append)

    assert await journal.find(3, 0, [COMMAND_C, COMMAND_B]) == [events[2], events[3], events[5]]
    assert await journal.find(3, 1, [COMMAND_A]) == [events[1]]
    assert await journal.find(3, 2, [COMMAND_A]) == []
    assert await journal.find(3, 3, [COMMAND_B]) == [events[3]]
    assert await journal.find(3, 0, [bytes([9] * 16)]) == []
    assert await journal.find(3, 0, []) == []


async def test_find_many_commands(journal: EventJournal) -> None:
    """Given 3,000 commands, when they are looked for at once, then each one's event is found."""
    owner = Owner(3).lease()
    ids = [number.to_bytes(16, "big") for number in range(1, 3_001)]
    for sequence, command_id in enumerate(ids, 1):
        owner.event(1, sequence, command_id=command_id)
    await journal.append(owner.batch())

    assert [event.command_id for event in await journal.find(3, 0, ids)] == ids


async def test_snapshot_of_committed_state(journal: EventJournal) -> None:
    """Given committed events, when a snapshot names one by its hash, then it is kept and the newest one is given."""
    owner = Owner(3).lease().born(1, HITS).event(1, 1)
    first = owner.head.hash
    owner.event(1, 2).event(1, 3)
    await journal.append(owner.batch())
    newer = StoredSnapshot(3, '{"value":"three €"}', 2)

    assert await journal.save_snapshot(entity_id(3, 1), newer, owner.head.hash, NOW)
    assert await journal.save_snapshot(entity_id(3, 1), StoredSnapshot(1, "{}", 1), first, NOW)

    [found] = await journal.entities([HITS])
    assert found is not None
    assert found.snapshot == newer


async def test_snapshot_of_uncommitted_state(journal: EventJournal) -> None:
    """Given a stale owner's state, when it is offered as a snapshot, then it is not kept."""
    stale = Owner(3).lease().born(1, HITS).event(1, 1)
    await journal.append(stale.batch())
    new = stale.copy().lease().event(1, 2, '"new"')
    await journal.append(new.batch())
    stale.event(1, 2, '"stale"')

    kept = [
        await journal.save_snapshot(entity_id(3, 1), StoredSnapshot(2, '"stale"', 1), stale.head.hash, NOW),
        await journal.save_snapshot(entity_id(3, 1), StoredSnapshot(3, '"ahead"', 1), stale.head.hash, NOW),
        await journal.save_snapshot(entity_id(3, 9), StoredSnapshot(2, '"another"', 1), new.head.hash, NOW),
    ]

    assert kept == [False, False, False]
    [found] = await journal.entities([HITS])
    assert found is not None
    assert found.snapshot is None


async def test_snapshot_twice(journal: EventJournal) -> None:
    """Given a snapshot, when another is offered for its sequence, then the first stays."""
    owner = Owner(3).lease().born(1, HITS).event(1, 1)
    await journal.append(owner.batch())
    first = StoredSnapshot(1, '"first"', 1)
    assert await journal.save_snapshot(entity_id(3, 1), first, owner.head.hash, NOW)

    assert not await journal.save_snapshot(entity_id(3, 1), StoredSnapshot(1, '"second"', 1), owner.head.hash, NOW)

    [found] = await journal.entities([HITS])
    assert found is not None
    assert found.snapshot == first


async def test_a_record_without_a_payload_is_in_its_page(
    postgres_journal_url: str, sql: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """Given a damaged record, when a page is read up to a number of bytes, then it is there, as the rest is."""
    journal = SqlJournal(postgres_journal_url)
    await journal.open()
    owner = Owner(3).lease()
    for sequence in range(1, 5):
        owner.event(1, sequence)
    await journal.append(owner.batch())
    await asyncio.to_thread(
        sql,
        postgres_journal_url,
        "ALTER TABLE casty_events ALTER payload DROP NOT NULL",
        "ALTER TABLE casty_events DISABLE TRIGGER ALL",
        "UPDATE casty_events SET payload = NULL WHERE sequence = 2",
    )

    page = await journal.history(entity_id(3, 1), most_bytes=10**6)
    assert [event.sequence for event in page] == [1, 2, 3, 4]
    await journal.close()
