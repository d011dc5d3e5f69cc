"""What audits ask beside the records: directories whole, bounds, older snapshots, seals and retired salts."""

from __future__ import annotations

import msgspec
import pytest

from casty_es.domain.upkeep import REDACTED, SEALED
from casty_es.errors import ConflictError
from casty_es.journal.port import (
    Binding,
    DirectoryRow,
    EntityName,
    EventJournal,
    RetiredSalt,
    StoredSnapshot,
    StructureRow,
)

from .rows import NOW, SALT, Owner, entity_id


def row(number: int, name: EntityName, *, alive: bool = True, slot: int = 3) -> DirectoryRow:
    """Return the directory row that ``Owner.born`` writes."""
    return DirectoryRow(entity_id(slot, number), slot, *name, alive, SALT, 0)


def user(key: str) -> EntityName:
    """Name a key of the map ``users``."""
    return EntityName("map", "users", key)


async def test_directory_rows_by_id(journal: EventJournal) -> None:
    """Given entities, when rows are asked for by id, then those that exist are given, living or not."""
    owner = Owner(3).lease().born(1, user("s:a")).event(1, 1).born(2, user("s:b"), alive=False).event(2, 1)
    await journal.append(owner.batch())

    found = await journal.entity_rows([entity_id(3, 2), entity_id(3, 9), entity_id(3, 1)])

    assert sorted(found) == [row(1, user("s:a")), row(2, user("s:b"), alive=False)]
    assert found[0].entity_name in {user("s:a"), user("s:b")}
    assert await journal.entity_rows([]) == []


async def test_a_structures_directory_in_pages(journal: EventJournal) -> None:
    """Given a map over two slots, when its directory is paged, then every key comes once, in order, dead ones too."""
    for slot, keys in ((3, ["s:a", "s:c", "s:é"]), (4, ["s:b", "s:ab"])):
        owner = Owner(slot).lease()
        for number, key in enumerate(keys, 1):
            owner.born(number, user(key), alive=key != "s:c").event(number, 1)
        owner.born(9, EntityName("set", "users", "" if slot == 3 else "s:z")).event(9, 1)
        await journal.append(owner.batch())

    listed: list[DirectoryRow] = []
    while page := await journal.directory("map", "users", after=listed[-1].key if listed else None, limit=2):
        listed += page

    assert [found.key for found in listed] == ["s:a", "s:ab", "s:b", "s:c", "s:é"]
    assert [found.key for found in listed if not found.alive] == ["s:c"]
    # A structure that is one entity has the empty key, and comes too.
    assert await journal.directory("set", "users", limit=1) == [row(9, EntityName("set", "users", ""))]


async def test_a_slots_directory_in_pages(journal: EventJournal) -> None:
    """Given entities in neighbouring slots, when one slot's directory is paged, then only its entities come, by id."""
    for slot in (2, 3, 4):
        owner = Owner(slot).lease()
        for number in range(1, 6):
            owner.born(number, user(f"i:{slot}{number}")).event(number, 1)
        await journal.append(owner.batch())

    listed: list[DirectoryRow] = []
    while page := await journal.slot_directory(3, after=listed[-1].id if listed else 0, limit=2):
        listed += page

    assert listed == [row(number, user(f"i:3{number}")) for number in range(1, 6)]


async def test_structures_as_recorded(journal: EventJournal) -> None:
    """Given recorded structures, when all are asked for, then each has its shards and keeps everything."""
    await journal.record_structures([("set", "tags", 3), ("map", "users", 10), ("counter", "hits", 100)])

    assert await journal.structure_rows() == [
        StructureRow("counter", "hits", 100, None),
        StructureRow("map", "users", 10, None),
        StructureRow("set", "tags", 3, None),
    ]


async def test_bounds_of_an_entity(journal: EventJournal) -> None:
    """Given an entity with events, when its bounds are asked for, then they are its first and last sequence."""
    owner = Owner(3).lease().born(1, user("s:a")).event(1, 1).event(1, 2).event(1, 3)
    await journal.append(owner.batch())

    assert await journal.bounds(entity_id(3, 1)) == (1, 3)
    assert await journal.bounds(entity_id(3, 2)) == (0, 0)


async def test_the_snapshot_at_or_before_a_sequence(journal: EventJournal) -> None:
    """Given snapshots at 2 and 4, when one is asked for as of a sequence, then it is the newest until there."""
    owner = Owner(3).lease().born(1, user("s:a")).event(1, 1)
    await journal.append(owner.batch())
    for sequence in (2, 3, 4, 5):
        await journal.append(owner.event(1, sequence).batch())
        if sequence % 2 == 0:
            snapshot = StoredSnapshot(sequence, f'"{sequence}"', 1)
            assert await journal.save_snapshot(entity_id(3, 1), snapshot, owner.head.hash, NOW)

    answers = [await journal.snapshot_before(entity_id(3, 1), sequence) for sequence in range(1, 7)]

    assert [found and found.sequence for found in answers] == [None, 2, 2, 4, 4, 4]
    assert answers[1] == StoredSnapshot(2, '"2"', 1)
    assert await journal.snapshot_before(entity_id(3, 2), 9) is None


async def test_what_the_log_says_of_a_snapshot(journal: EventJournal) -> None:
    """Given records that speak of a snapshot, when one is asked for, then it is found; what a caller said is none."""
    said = '{"snapshot":{"sequence":3,"version":1,"hash":"","state":""}}'
    claimed = msgspec.json.encode({"reason": '"snapshot":{"sequence":5,'}).decode()
    seal = '{"through":4,"events":4}'
    owner = Owner(3).lease().born(1, user("s:a")).event(1, 1).event(1, 2, type_=REDACTED).event(1, 3)
    third = owner.head.hash
    owner.event(1, 4, metadata=said).event(1, 5, metadata=said.replace("3", "31")).event(1, 6, seal, type_=SEALED)
    await journal.append(owner.event(1, 7, metadata=claimed).batch())

    found = {sequence: await journal.binding(entity_id(3, 1), sequence) for sequence in (1, 2, 3, 4, 5, 31, 2**63 - 1)}

    assert found[2] == Binding(REDACTED, "{}", None)
    assert found[3] == Binding("counter.incremented", "{}", said)
    assert found[4] == Binding(SEALED, seal, None)
    assert [found[sequence] for sequence in (1, 5, 31, 2**63 - 1)] == [None] * 4
    assert await journal.save_snapshot(entity_id(3, 1), StoredSnapshot(3, "{}", 1), third, NOW)
    [stored] = await journal.entities([user("s:a")])
    assert stored is not None
    assert (stored.snapshot, stored.binding) == (StoredSnapshot(3, "{}", 1), found[3])


async def test_a_slots_snapshots_in_pages(journal: EventJournal) -> None:
    """Given snapshots of several entities and slots, when one slot's are paged, then each comes once, in order."""
    for slot in (3, 4):
        owner = Owner(slot).lease()
        for number in (1, 2):
            owner.born(number, user(f"i:{slot}{number}")).event(number, 1)
            await journal.append(owner.batch())
            await journal.save_snapshot(entity_id(slot, number), StoredSnapshot(1, "{}", 1), owner.head.hash, NOW)
            await journal.append(owner.event(number, 2).batch())
            await journal.save_snapshot(entity_id(slot, number), StoredSnapshot(2, "{}", 1), owner.head.hash, NOW)

    listed: list[tuple[int, StoredSnapshot]] = []
    after = (0, 0)
    while page := await journal.slot_snapshots(3, after=after, limit=3):
        listed += page
        after = (page[-1][0], page[-1][1].sequence)

    assert [(entity, snapshot.sequence, snapshot.recorded_at) for entity, snapshot in listed] == [
        (entity_id(3, number), sequence, NOW) for number in (1, 2) for sequence in (1, 2)
    ]


async def test_no_seals_without_cuts(journal: EventJournal) -> None:
    """Given a journal that was never cut, when seals and retired salts are asked for, then there are none."""
    await journal.append(Owner(3).lease().born(1, user("s:a")).event(1, 1).batch())

    assert await journal.seals(3) == []
    assert await journal.retired_salts([entity_id(3, 1)]) == []
    assert await journal.retired_salts([]) == []


async def test_a_redaction_sets_the_old_salt_aside(journal: EventJournal) -> None:
    """Given an append that redacts, when it is written, then the entity has the new salt and the old one is retired."""
    owner = Owner(3).lease().born(1, user("s:a")).event(1, 1)
    await journal.append(owner.batch())
    append = owner.event(1, 2).batch()
    fresh = bytes(reversed(SALT))
    append.salts.append((entity_id(3, 1), 2, SALT, fresh))

    await journal.append(append)

    [stored] = await journal.entities([user("s:a")])
    assert stored is not None
    assert (stored.salt, stored.salted_from) == (fresh, 2)
    assert await journal.retired_salts([entity_id(3, 1), entity_id(3, 7)]) == [RetiredSalt(entity_id(3, 1), 2, SALT)]


async def test_two_redactions_in_one_append(journal: EventJournal) -> None:
    """Given an append that redacts twice, when it is written, then both old salts are kept and the last one holds."""
    owner = Owner(3).lease().born(1, user("s:a")).event(1, 1)
    await journal.append(owner.batch())
    append = owner.event(1, 2).event(1, 3).batch()
    second, third = b"2" * 16, b"3" * 16
    append.salts += [(entity_id(3, 1), 2, SALT, second), (entity_id(3, 1), 3, second, third)]

    await journal.append(append)

    [stored] = await journal.entities([user("s:a")])
    assert stored is not None
    assert (stored.salt, stored.salted_from) == (third, 3)
    assert await journal.retired_salts([entity_id(3, 1)]) == [
        RetiredSalt(entity_id(3, 1), 2, SALT),
        RetiredSalt(entity_id(3, 1), 3, second),
    ]


async def test_no_snapshot_of_what_was_redacted(journal: EventJournal) -> None:
    """Given a redacted entity, when a snapshot of before or at the redaction comes late, then it is not kept."""
    owner = Owner(3).lease().born(1, user("s:a")).event(1, 1)
    await journal.append(owner.batch())
    before = owner.head.hash
    append = owner.event(1, 2).batch()
    append.salts.append((entity_id(3, 1), 2, SALT, b"2" * 16))
    await journal.append(append)
    at = owner.head.hash
    await journal.append(owner.event(1, 3).batch())

    assert not await journal.save_snapshot(entity_id(3, 1), StoredSnapshot(1, '"secret"', 1), before, NOW)
    assert not await journal.save_snapshot(entity_id(3, 1), StoredSnapshot(2, "null", 1), at, NOW)
    assert await journal.save_snapshot(entity_id(3, 1), StoredSnapshot(3, "null", 1), owner.head.hash, NOW)


async def test_a_refused_redaction_changes_no_salt(journal: EventJournal) -> None:
    """Given an append behind the wrong head, when it would redact, then it is refused and the salt stays."""
    owner = Owner(3).lease().born(1, user("s:a")).event(1, 1)
    await journal.append(owner.batch())
    late = owner.copy()
    await journal.append(owner.event(1, 2).batch())
    append = late.event(1, 2, '{"other":1}').batch()
    append.salts.append((entity_id(3, 1), 2, SALT, b"2" * 16))

    with pytest.raises(ConflictError):
        await journal.append(append)

    [stored] = await journal.entities([user("s:a")])
    assert stored is not None
    assert (stored.salt, stored.salted_from) == (SALT, 0)
    assert await journal.retired_salts([entity_id(3, 1)]) == []


async def test_heads_know_when_they_were_written(journal: EventJournal) -> None:
    """Given records, when heads are asked for, then each has the time of its record."""
    owner = Owner(3).lease().born(1, user("s:a")).event(1, 1, recorded_at=NOW + 5)
    await journal.append(owner.batch())

    heads = await journal.heads([3, 4])

    assert (heads[3].recorded_at, heads[4].recorded_at) == (NOW + 5, 0)
    assert heads[3] == owner.head
