"""What is beside the log: entities, structures, keys and nodes."""

from __future__ import annotations

import asyncio

from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import EntityName, EventJournal, NodeRow, StoredEntity, StoredSnapshot
from casty_es.journal.sql import SqlJournal

from .rows import NOW, SALT, Owner, entity_id


def user(key: str) -> EntityName:
    """Name a key of the map ``users``."""
    return EntityName("map", "users", key)


async def test_meta_is_what_the_migration_wrote(closed_journal: EventJournal) -> None:
    """Given a journal, when it is opened twice, then both give its slots and incarnation, and closing twice is fine."""
    first, second = await closed_journal.open(), await closed_journal.open()

    assert (first.slots, first.incarnation) == (256, 1)
    assert second == first
    await closed_journal.close()
    await closed_journal.close()


async def test_records_survive_close_and_open(closed_journal: EventJournal) -> None:
    """Given records, when the journal is closed and opened again, then they are there and appends go on."""
    owner = Owner(3).lease()
    await closed_journal.open()
    await closed_journal.append(owner.batch())
    await closed_journal.close()

    await closed_journal.open()
    await closed_journal.append(owner.event(1, 1).batch())

    assert await closed_journal.heads([3]) == {3: owner.head}
    await closed_journal.close()


async def test_each_journal_is_an_event_journal(journal: EventJournal) -> None:
    """Given a journal, when it is asked what it is, then it has the protocol, and only memory is volatile."""
    assert isinstance(journal, EventJournal)
    assert isinstance(journal, SqlJournal | InMemoryJournal)
    assert journal.volatile is isinstance(journal, InMemoryJournal)


async def test_entities_in_the_order_asked(journal: EventJournal) -> None:
    """Given entities, when they are asked for in any order, then the answers are in that order, with None for none."""
    owner = Owner(3).lease().born(1, user("s:a")).event(1, 1).born(2, user("s:b"), alive=False).event(2, 1)
    await journal.append(owner.batch())
    snapshot = StoredSnapshot(1, "{}", 1)
    await journal.save_snapshot(entity_id(3, 2), snapshot, owner.head.hash, NOW)

    names = [user("s:b"), user("s:c"), user("s:a"), user("s:b"), EntityName("map", "other", "s:a")]

    assert await journal.entities(names) == [
        StoredEntity(entity_id(3, 2), False, SALT, snapshot),
        None,
        StoredEntity(entity_id(3, 1), True, SALT, None),
        StoredEntity(entity_id(3, 2), False, SALT, snapshot),
        None,
    ]


async def test_entities_come_to_life_and_die(journal: EventJournal) -> None:
    """Given entities, when an append says that one died and one came to life, then the directory says so."""
    owner = Owner(3).lease().born(1, user("s:a")).event(1, 1).born(2, user("s:b"), alive=False).event(2, 1)
    await journal.append(owner.batch())

    await journal.append(owner.event(1, 2).alive(1, False).event(2, 2).alive(2, True).batch())

    found = await journal.entities([user("s:a"), user("s:b")])
    assert [entity is not None and entity.alive for entity in found] == [False, True]


async def test_many_entities_at_once(journal: EventJournal) -> None:
    """Given 3,000 entities, when all are one question, then each is found."""
    owner = Owner(3).lease()
    names = [user(f"i:{number}") for number in range(1, 3_001)]
    for number, name in enumerate(names, 1):
        owner.born(number, name).event(number, 1)
    await journal.append(owner.batch())

    found = await journal.entities(names)

    assert [entity and entity.id for entity in found] == [entity_id(3, number) for number in range(1, 3_001)]
    assert await journal.entity_numbers([2, 3, 4]) == {2: 0, 3: 3_000, 4: 0}


async def test_entity_numbers_are_per_slot(journal: EventJournal) -> None:
    """Given entities in neighbouring slots, when their numbers are asked for, then no slot sees another's."""
    for slot, numbers in ((0, (1, 2)), (1, (7,)), (8_191, (2**32 - 1,))):
        owner = Owner(slot).lease()
        for number in numbers:
            owner.born(number, user(f"i:{slot}-{number}")).event(number, 1)
        await journal.append(owner.batch())

    assert await journal.entity_numbers([0, 1, 2, 8_191]) == {0: 2, 1: 7, 2: 0, 8_191: 2**32 - 1}


async def test_questions_about_nothing(journal: EventJournal) -> None:
    """Given any journal, when nothing is asked for, then nothing is the answer."""
    assert await journal.heads([]) == {}
    assert await journal.entity_numbers([]) == {}
    assert await journal.entities([]) == []
    assert await journal.structures([]) == []
    assert await journal.record_structures([]) == []


async def test_first_recorded_structure_wins(journal: EventJournal) -> None:
    """Given a recorded structure, when it is recorded with other shards, then the first number is given back."""
    assert await journal.record_structures([("counter", "a", 7), ("map", "a", 9)]) == [7, 9]

    assert await journal.record_structures([("map", "b", 3), ("counter", "a", 100), ("map", "a", 1)]) == [3, 7, 9]
    assert await journal.structures([("map", "b"), ("counter", "z"), ("counter", "a")]) == [3, None, 7]


async def test_structures_that_have_entities_already(journal: EventJournal) -> None:
    """Given entities of a structure that is not recorded, then only who knows its number of shards records it."""
    await journal.append(Owner(3).lease().born(1, EntityName("map", "m", "s:a")).event(1, 1).batch())
    asked = [("map", "m", 9), ("map", "n", 9), ("counter", "m", 9)]

    assert await journal.record_structures(asked) == [None, 9, 9]
    assert await journal.structures([("map", "m")]) == [None]

    assert await journal.record_structures([("map", "m", 7)], populated=True) == [7]
    assert await journal.record_structures(asked) == [7, 9, 9]


async def test_structures_recorded_at_once(journal: EventJournal) -> None:
    """Given a new structure, when many record it at once with different shards, then all get one of the numbers."""
    asked = [[("counter", "a", shards), ("map", f"only-{shards}", shards)] for shards in range(1, 21)]

    answers = await asyncio.gather(*map(journal.record_structures, asked))

    [winner] = {shards for shards, _ in answers}
    assert await journal.structures([("counter", "a")]) == [winner]
    assert [own for _, own in answers] == list(range(1, 21))


async def test_structures_recorded_by_several_journals(journal: EventJournal) -> None:
    """Given two journals on one database, when both record a structure at once, then both get the same number."""
    other = SqlJournal(journal.url) if isinstance(journal, SqlJournal) else journal
    await other.open()
    try:
        for number in range(10):
            first, second = await asyncio.gather(
                journal.record_structures([("counter", f"c{number}", 1)]),
                other.record_structures([("counter", f"c{number}", 2)]),
            )
            assert first == second
    finally:
        await other.close()


async def test_keys_are_the_living_ones_in_pages(journal: EventJournal) -> None:
    """Given keys of several maps, when they are listed in pages, then living keys come once, sorted by their bytes."""
    owner = Owner(3).lease()
    keys = ["s:b", "s:a", "i:10", "s:Z", "s:é", "s:\U0001f600", "s:\uffee", "i:9", "s:dead"]
    for number, key in enumerate(keys, 1):
        owner.born(number, user(key), alive=key != "s:dead").event(number, 1)
    owner.born(50, EntityName("map", "other", "s:x")).event(50, 1)
    owner.born(51, EntityName("set", "users", "")).event(51, 1)
    await journal.append(owner.batch())
    await journal.append(owner.event(2, 2).alive(2, False).batch())

    listed: list[str] = []
    while page := await journal.keys("map", "users", after=listed[-1] if listed else "", limit=3):
        assert len(page) <= 3
        listed += page

    assert listed == sorted(set(keys) - {"s:a", "s:dead"}, key=str.encode)


async def test_nodes_come_and_go(journal: EventJournal) -> None:
    """Given nodes, when one writes itself down again and one leaves, then the rest is listed, the newest first."""
    first = NodeRow("n1", "host-é", 1, None, 10, 10)
    second = NodeRow("n2", "host", 2, "10.0.0.5:7400", 20, 20)
    third = NodeRow("n3", "host", 3, None, 30, 30)
    for node in (second, third, first):
        await journal.register_node(node)
    seen_again = NodeRow("n1", "host-é", 1, "10.0.0.6:7400", 10, 99)
    await journal.register_node(seen_again)
    await journal.forget_node("n3")
    await journal.forget_node("never-there")

    assert await journal.nodes() == [second, seen_again]
