"""What is promised of a slot, a batch and an entity is asserted there; a broken promise costs a slot, not the truth."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_es import ClusteredActorSystem, Distributed
from casty_es.domain import counter
from casty_es.errors import OutcomeUnknownError
from casty_es.format.chain import GENESIS
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import EntityName, Head
from casty_es.owner.batch import Batch
from casty_es.owner.entity import Entities, Entity, Entry
from casty_es.owner.pending import Pending
from casty_es.owner.slot import Slot, left_alone

SALT = bytes(16)


def held(number: int = 3, position: int = 5) -> Slot:
    """A slot that is held under the epoch of its last record."""
    slot = Slot(number, "here")
    slot.take(Head(position, GENESIS, position, 1_000), 0, incarnation=1)
    return slot


def an_entity(slot: Slot, name: str = "hits") -> Entity:
    """A counter in memory, of which nothing is recorded."""
    return Entity(EntityName("counter", name, ""), counter.COUNTER, slot, slot.new_entity_id(), SALT)


def decided(entity: Entity, by: int = 1) -> Entry:
    """An increment that is decided and on its way."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    entry = entity.decide(Pending(counter.Increment(by), bytes(16), future, {}))
    assert entry is not None
    entity.in_batch += 1
    return entry


def test_the_terms_of_a_slot_only_grow() -> None:
    """Given a slot that was held, when it is taken at or before its head, then that is a bug."""
    slot = held()
    slot.lose()
    for position in (4, 5):
        with pytest.raises(AssertionError, match="only grow"):
            slot.take(Head(position, GENESIS, position), 0, incarnation=1)
    slot.take(Head(6, GENESIS, 6), 0, incarnation=1)
    slot.take(Head(1, GENESIS, 1), 0, incarnation=2)
    assert (slot.epoch, slot.head.position) == (1, 1)


def test_what_is_committed_stands_behind_what_was() -> None:
    """Given a held slot, when what is committed stands where something is, then that is a bug."""
    slot = held()
    with pytest.raises(AssertionError, match="behind"):
        slot.commit(Head(5, GENESIS, 5))
    slot.commit(Head(9, GENESIS, 2))
    assert slot.head.position == 5
    slot.commit(Head(6, GENESIS, 5))
    assert slot.head.position == 6


async def test_doubts_leave_a_slot_alone_until_something_is_committed() -> None:
    """Given a slot in doubt three times in a row, when a command is committed to it, then it is left alone no more."""
    slot, other = held(), held(4)
    for _ in range(2):
        slot.doubt()
    assert left_alone([slot, other]) == 0.0
    slot.doubt()
    assert 0.0 < left_alone([slot, other]) <= 0.2
    slot.commit(Head(6, GENESIS, 5))
    assert left_alone([slot, other]) == 0.0


async def test_an_append_has_one_predecessor_a_slot_and_no_gaps() -> None:
    """Given increments of three counters in two slots, when they are one batch, then positions and sequences follow."""
    three, four = held(3), held(4, position=9)
    a, b, c = an_entity(four, "a"), an_entity(three, "b"), an_entity(four, "c")
    batch = Batch([decided(entity) for entity in (a, b, a, c, b)], 2_000)
    assert batch.append.predecessors == [(3, 5, GENESIS), (4, 9, GENESIS)]
    places = [(slot, position, entity, sequence) for slot, position, _, entity, sequence, *_ in batch.append.events]
    assert places == [(3, 6, b.id, 1), (3, 7, b.id, 2), (4, 10, a.id, 1), (4, 11, a.id, 2), (4, 12, c.id, 1)]
    assert {slot: head.position for slot, head in batch.heads.items()} == {three: 7, four: 12}


async def test_what_was_decided_under_another_epoch_is_not_written() -> None:
    """Given an entry whose slot was lost and taken again, when it comes into a batch, then that is a bug."""
    slot = held()
    entry = decided(an_entity(slot))
    slot.lose()
    slot.take(Head(8, GENESIS, 8), 0, incarnation=1)
    with pytest.raises(AssertionError, match="another epoch"):
        Batch([entry], 2_000)


async def test_an_entity_with_nothing_open_is_what_is_committed() -> None:
    """Given two decisions, when both are committed, then nothing is left between; a lost commit is a bug."""
    entity = an_entity(held())
    first, second = decided(entity), decided(entity, 10)
    assert (entity.sequence, entity.committed_sequence, entity.state) == (
        2,
        0,
        counter.COUNTER.evolve(first.state, second.events[0]),
    )
    entity.commit(first)
    assert (entity.sequence, entity.committed_sequence, entity.committed) == (2, 1, first.state)
    entity.commit(second)
    assert (entity.sequence, entity.committed_sequence, entity.committed) == (2, 2, entity.state)
    decided(entity)
    entity.in_batch -= 1
    with pytest.raises(AssertionError, match="nothing open"):
        entity.commit(decided(entity))


async def test_only_what_is_idle_is_passivated() -> None:
    """Given a busy entity, one that is looked for and an idle one, when room is needed, then the idle one goes."""
    entities = Entities()
    for name in ("busy", "held", "idle", "newest"):
        entity = an_entity(held(), name)
        entities[entity.name] = entity
        if name == "busy":
            decided(entity)
    entities.passivate(3, {EntityName("counter", "held", "")})
    assert [name.name for name in entities] == ["newest", "busy", "held"]


async def test_a_broken_invariant_is_an_unknown_outcome_and_costs_the_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a batch that breaks a promise, when it is on its way, then its outcome is unknown, and the next is done."""
    async with ClusteredActorSystem(journal=InMemoryJournal(slots=1)) as system:
        hits = Distributed(system).counter("hits")
        await hits.increment()
        assert system._node is not None
        [slot] = system._node.owner.slots
        epoch, chain = slot.epoch, Batch._chain

        def broken(self: Batch, *arguments: Any) -> Any:
            monkeypatch.setattr(Batch, "_chain", chain)
            slot.epoch += 1
            try:
                return chain(self, *arguments)
            finally:
                slot.epoch -= 1

        monkeypatch.setattr(Batch, "_chain", broken)
        with pytest.raises(OutcomeUnknownError):
            await hits.increment()
        assert slot.epoch == 0
        assert await hits.increment() == 2
        assert slot.epoch > epoch
