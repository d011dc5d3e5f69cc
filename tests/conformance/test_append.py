"""An append is written whole or not at all, and only behind the records that it names."""

from __future__ import annotations

import asyncio

import pytest

from casty_es.errors import ConflictError
from casty_es.journal.port import EMPTY_SLOT, Append, EntityName, EventJournal

from .rows import Owner, contents, entity_id, recorded, together

PREDECESSOR = {"predecessor", "pk_casty_events"}
HITS = EntityName("counter", "hits", "")
LIKES = EntityName("counter", "likes", "")
NAMES = [HITS, LIKES]


async def refused(journal: EventJournal, append: Append, *, slots: tuple[int, ...] = (3, 7)) -> str:
    """Append, expect a conflict, check that nothing at all was written, and return the constraint."""
    before = await contents(journal, slots, NAMES)
    with pytest.raises(ConflictError, match="Nothing was written") as conflict:
        await journal.append(append)
    assert await contents(journal, slots, NAMES) == before
    return conflict.value.constraint


async def test_first_record_of_a_slot(journal: EventJournal) -> None:
    """Given an empty slot, when an append names GENESIS, then its records are the slot's first."""
    owner = Owner(3)
    append = owner.lease().born(1, HITS).event(1, 1, '{"amount":1}').batch()

    await journal.append(append)

    assert await journal.records(3) == recorded(append)
    assert await journal.heads([3]) == {3: owner.head}


async def test_several_slots_are_one_append(journal: EventJournal) -> None:
    """Given two slots with records, when one append writes both, then both have what it carries."""
    three, seven = Owner(3), Owner(7)
    first = together(three.lease().batch(), seven.lease().batch())
    await journal.append(first)

    second = together(three.born(1, HITS).event(1, 1).batch(), seven.born(1, LIKES).event(1, 1).event(1, 2).batch())
    await journal.append(second)

    assert await journal.records(3) + await journal.records(7) == sorted(
        recorded(first, second), key=lambda event: (event.slot, event.position)
    )
    assert [found is not None and found.id for found in await journal.entities(NAMES)] == [
        entity_id(3, 1),
        entity_id(7, 1),
    ]


@pytest.mark.parametrize("stale_slot", [3, 7])
async def test_one_stale_slot_refuses_all(stale_slot: int, journal: EventJournal) -> None:
    """Given an append over two slots, when one has moved on, then neither slot nor the directory gets a row."""
    owners = {3: Owner(3).lease(), 7: Owner(7).lease()}
    await journal.append(together(owners[3].batch(), owners[7].batch()))
    await journal.append(Owner(stale_slot, owners[stale_slot].head).lease().batch())

    append = together(
        owners[3].born(1, HITS).event(1, 1).batch(),
        owners[7].born(1, LIKES).event(1, 1).batch(),
    )

    assert await refused(journal, append) in PREDECESSOR


async def test_wrong_hash_is_refused(journal: EventJournal) -> None:
    """Given a slot, when an append names its last position with another hash, then nothing is written."""
    owner = Owner(3).lease()
    await journal.append(owner.batch())
    append = owner.born(1, HITS).event(1, 1).batch()
    append.predecessors[0] = (3, 1, bytes(31) + b"\1")

    assert await refused(journal, append) == "predecessor"


async def test_position_beyond_the_head_is_refused(journal: EventJournal) -> None:
    """Given a slot, when an append follows a record that is not there, then nothing is written and no gap exists."""
    owner = Owner(3).lease()
    await journal.append(owner.batch())
    owner.event(1, 1).batch()  # never sent

    assert await refused(journal, owner.event(1, 2).batch()) == "predecessor"


async def test_position_behind_the_head_is_refused(journal: EventJournal) -> None:
    """Given a slot that went on, when an append follows an older record, then nothing is written."""
    owner = Owner(3).lease()
    await journal.append(owner.batch())
    stale = owner.copy()
    await journal.append(owner.born(1, HITS).event(1, 1).event(1, 2).batch())

    assert await refused(journal, stale.event(9, 1).batch()) in PREDECESSOR


async def test_genesis_on_a_used_slot_is_refused(journal: EventJournal) -> None:
    """Given a slot with records, when an append says that it is empty, then nothing is written."""
    await journal.append(Owner(3).lease().batch())

    assert await refused(journal, Owner(3).lease().event(1, 1).batch()) in PREDECESSOR


async def test_an_empty_slot_has_no_predecessor(journal: EventJournal) -> None:
    """Given an empty slot beside a used one, when an append names a record of it, then nothing is written."""
    seven = Owner(7).lease()
    await journal.append(seven.batch())
    missing = Owner(3)
    missing.lease().batch()  # never sent

    append = together(missing.event(1, 1).batch(), seven.event(1, 1).batch())

    assert await refused(journal, append) == "predecessor"
    assert (await journal.heads([3]))[3] == EMPTY_SLOT


async def test_same_sequence_twice_is_refused(journal: EventJournal) -> None:
    """Given an entity with an event 1, when another event 1 of it is appended, then the constraint is named."""
    owner = Owner(3).lease().born(1, HITS).event(1, 1)
    await journal.append(owner.batch())

    append = owner.event(2, 1).event(1, 1).batch()

    assert await refused(journal, append) == "uq_casty_events_entity_sequence"


async def test_same_sequence_twice_in_one_append_is_refused(journal: EventJournal) -> None:
    """Given an append with two events 1 of one entity, when it is sent, then the constraint is named."""
    append = Owner(3).lease().born(1, HITS).event(1, 1).event(1, 1).batch()

    assert await refused(journal, append) == "uq_casty_events_entity_sequence"


async def test_sequence_is_unique_across_slots(journal: EventJournal) -> None:
    """Given an entity with an event 1, when another slot holds an event 1 of it, then the constraint is named."""
    await journal.append(Owner(3).lease().born(1, HITS).event(1, 1).batch())
    lost = Owner(7)
    number_from_slot_7 = entity_id(3, 1) - entity_id(7, 0)

    append = lost.lease().event(number_from_slot_7, 1).batch()

    assert await refused(journal, append) == "uq_casty_events_entity_sequence"


async def test_same_idempotency_key_twice_is_refused(journal: EventJournal) -> None:
    """Given an event with an idempotency key, when its entity gets the key again, then the constraint is named."""
    owner = Owner(3).lease().born(1, HITS).event(1, 1, key="order-1")
    await journal.append(owner.batch())

    append = owner.event(1, 2).event(1, 3, key="order-1").batch()

    assert await refused(journal, append) == "uq_casty_events_idempotency_key"


async def test_same_idempotency_key_twice_in_one_append_is_refused(journal: EventJournal) -> None:
    """Given an append with one key on two events of an entity, when it is sent, then the constraint is named."""
    append = Owner(3).lease().born(1, HITS).event(1, 1, key="order-1").event(1, 2, key="order-1").batch()

    assert await refused(journal, append) == "uq_casty_events_idempotency_key"


async def test_idempotency_key_belongs_to_its_entity(journal: EventJournal) -> None:
    """Given an event with an idempotency key, when another entity gets the same key, then it is written."""
    owner = Owner(3).lease().born(1, HITS).event(1, 1, key="order-1")
    await journal.append(owner.batch())

    await journal.append(owner.born(2, LIKES).event(2, 1, key="order-1").event(2, 2).event(2, 3).batch())

    assert [event.idempotency_key for event in await journal.history(entity_id(3, 2))] == ["order-1", None, None]


async def test_same_entity_name_twice_is_refused(journal: EventJournal) -> None:
    """Given an entity, when another id gets its name, then the constraint is named and no event is written."""
    owner = Owner(3).lease().born(1, HITS).event(1, 1)
    await journal.append(owner.batch())

    append = owner.born(2, HITS).event(2, 1).batch()

    assert await refused(journal, append) == "uq_casty_entities_kind_name_key"


async def test_same_entity_name_twice_in_one_append_is_refused(journal: EventJournal) -> None:
    """Given an append with one name for two ids, when it is sent, then the constraint is named."""
    append = Owner(3).lease().born(1, HITS).born(2, HITS).event(1, 1).event(2, 1).batch()

    assert await refused(journal, append) == "uq_casty_entities_kind_name_key"


async def test_same_entity_id_twice_is_refused(journal: EventJournal) -> None:
    """Given an entity, when another name gets its id, then nothing is written."""
    owner = Owner(3).lease().born(1, HITS).event(1, 1)
    await journal.append(owner.batch())

    append = owner.born(1, LIKES).event(1, 2).batch()

    assert await refused(journal, append) in {"pk_casty_entities", "uq_casty_entities_kind_name_key"}


async def test_of_two_owners_one_wins(journal: EventJournal) -> None:
    """Given two processes that know one head, when both append at once, then one commits and the slot has no gap."""
    owner = Owner(3).lease()
    await journal.append(owner.batch())
    rivals = [owner.copy().event(number, 1, f'"{number}"').event(number, 2).batch() for number in range(1, 9)]

    results = await asyncio.gather(*map(journal.append, rivals), return_exceptions=True)

    winners = [rival for rival, result in zip(rivals, results, strict=True) if result is None]
    assert len(winners) == 1
    assert all(isinstance(result, ConflictError) and result.constraint in PREDECESSOR for result in results if result)
    assert (await journal.records(3))[1:] == recorded(winners[0])


async def test_refusal_does_not_stop_the_journal(journal: EventJournal) -> None:
    """Given an append that was refused, when the next one is right, then it is written."""
    owner = Owner(3).lease()
    await journal.append(owner.batch())
    await refused(journal, Owner(3).lease().batch())

    await journal.append(owner.event(1, 1).batch())

    assert (await journal.heads([3]))[3] == owner.head


@pytest.mark.parametrize("events", [2_000, 2_001, 5_000])
async def test_large_append(events: int, journal: EventJournal) -> None:
    """Given more events than a statement has parameters, when they are one append, then all are there, in order."""
    three, seven = Owner(3).lease(), Owner(7).lease()
    await journal.append(together(three.batch(), seven.batch()))
    for sequence in range(1, events // 2 + 1):
        three.event(1, sequence, f'{{"amount":{sequence}}}')
    for sequence in range(1, events - events // 2 + 1):
        seven.event(1, sequence)
    append = together(three.batch(), seven.batch())

    await journal.append(append)

    written = await journal.records(3, after=1, limit=10_000) + await journal.records(7, after=1, limit=10_000)
    assert written == recorded(append)


async def test_large_append_is_refused_whole(journal: EventJournal) -> None:
    """Given 5,000 events of which the last breaks a constraint, when they are one append, then none is written."""
    owner = Owner(3).lease().born(1, HITS).event(1, 1)
    await journal.append(owner.batch())
    for sequence in range(2, 5_001):
        owner.event(1, sequence)

    assert await refused(journal, owner.event(1, 1).batch()) == "uq_casty_events_entity_sequence"


async def test_append_over_many_slots(journal: EventJournal) -> None:
    """Given 8,192 slots with records, when one append writes them all, then each has its record."""
    owners = [Owner(slot).lease() for slot in range(8_192)]
    await journal.append(together(*[owner.batch() for owner in owners]))

    await journal.append(together(*[owner.lease().batch() for owner in owners]))

    assert await journal.heads(range(8_192)) == {owner.slot: owner.head for owner in owners}


async def test_append_over_many_slots_is_refused_whole(journal: EventJournal) -> None:
    """Given 4,096 slots of which the last has moved on, when one append names them all, then none is written."""
    owners = [Owner(slot).lease() for slot in range(4_096)]
    await journal.append(together(*[owner.batch() for owner in owners]))
    await journal.append(owners[-1].copy().lease().batch())

    with pytest.raises(ConflictError):
        await journal.append(together(*[owner.lease().batch() for owner in owners]))

    assert {head.position for head in (await journal.heads(range(4_095))).values()} == {1}


async def test_reading_an_empty_journal(journal: EventJournal) -> None:
    """Given a journal without a record, when everything is asked for, then everything is empty."""
    assert await journal.heads([0, 255]) == {0: EMPTY_SLOT, 255: EMPTY_SLOT}
    assert await journal.entity_numbers([0, 255]) == {0: 0, 255: 0}
    assert await journal.entities(NAMES) == [None, None]
    assert await journal.tails({entity_id(0, 1): 0}, limit=10) == []
    assert await journal.find(0, 0, [bytes(16)]) == []
    assert await journal.records(0) == []
    assert await journal.history(entity_id(0, 1)) == []
    assert await journal.structures([("counter", "hits")]) == [None]
    assert await journal.keys("map", "users") == []
    assert await journal.nodes() == []
