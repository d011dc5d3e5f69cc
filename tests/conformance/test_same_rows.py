"""The three journals are one: the same appends leave the same rows, hashes included, and meet the same refusals."""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casty_es.errors import ConflictError
from casty_es.journal.port import Append, EntityName, EventJournal, StoredSnapshot

from .rows import NOW, Owner, entity_id, together

SLOTS, NUMBERS = 3, (1, 2, 3)
FAULTS = ["none", "none", "none", "wrong hash", "stale", "sequence again", "name again"]

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
an_event = st.tuples(
    st.sampled_from(NUMBERS), texts, st.none() | texts, st.none() | st.binary(min_size=16, max_size=16), st.booleans()
)
an_append = st.tuples(
    st.dictionaries(st.integers(0, SLOTS - 1), st.lists(an_event, min_size=1, max_size=5), min_size=1),
    st.sampled_from(FAULTS),
)
histories = st.lists(an_append, min_size=1, max_size=6)


class Script:
    """Turns what hypothesis drew into appends, on slots and names that no other example uses."""

    def __init__(self, example: int) -> None:
        self.slots = [example * SLOTS + number for number in range(SLOTS)]
        self.owners = {slot: Owner(slot).lease() for slot in self.slots}
        self.sequences: dict[int, int] = {}
        self.names = {
            entity_id(slot, number): EntityName("map", f"example {example}", f"i:{slot}.{number}")
            for slot in self.slots
            for number in NUMBERS
        }

    def append(self, events: dict[int, list[Any]], fault: str) -> Append:
        """Return one append; the owners go on from it only if it can be committed."""
        owners = self.owners if fault == "none" else {slot: owner.copy() for slot, owner in self.owners.items()}
        sequences = self.sequences if fault == "none" else dict(self.sequences)
        for offset, rows in events.items():
            self._add(owners[self.slots[offset]], sequences, rows)
        append = together(*[owners[self.slots[offset]].batch() for offset in events])
        slot, position, hash_ = append.predecessors[-1]
        if fault == "wrong hash" and position:
            append.predecessors[-1] = (slot, position, hash_[::-1])
        elif fault == "name again" and append.entities:
            append.entities.append((entity_id(slot, 99), *append.entities[0][1:]))
        elif fault == "sequence again":
            last = append.events[-1]
            append.events.append((last[0], last[1] + 1, *last[2:]))
        elif fault != "none":
            append.predecessors[-1] = (slot, position + 1_000, hash_)
        return append

    def _add(self, owner: Owner, sequences: dict[int, int], rows: list[Any]) -> None:
        born: set[int] = set()
        for number, payload, metadata, command_id, keyed in rows:
            entity = entity_id(owner.slot, number)
            sequence = sequences[entity] = sequences.get(entity, 0) + 1
            if sequence == 1:
                owner.born(number, self.names[entity])
                born.add(number)
            key = f"key {sequence}" if keyed else None
            owner.event(number, sequence, payload, metadata=metadata, command_id=command_id, key=key)
        for number in {row[0] for row in rows if row[4]} - born:
            owner.alive(number, sequences[entity_id(owner.slot, number)] % 2 == 0)


async def committed(journal: EventJournal, append: Append) -> bool:
    """Append and tell whether it was committed."""
    try:
        await journal.append(append)
    except ConflictError:
        return False
    return True


async def everything(journal: EventJournal, script: Script) -> list[object]:
    """Return all that can be read about a script's slots and names."""
    ids = list(script.names)
    commands = [
        event.command_id
        for slot in script.slots
        for event in await journal.records(slot)
        if event.command_id is not None
    ]
    return [
        await journal.heads(script.slots),
        await journal.entity_numbers(script.slots),
        [await journal.records(slot) for slot in script.slots],
        [await journal.history(entity) for entity in ids],
        [tuple(event) for event in await journal.tails(dict.fromkeys(ids, 1), limit=7)],
        [await journal.find(slot, 2, commands) for slot in script.slots],
        await journal.entities(list(script.names.values())),
        await journal.keys("map", script.names[ids[0]].name, limit=5),
    ]


examples = count()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=histories)
async def test_same_history_same_rows(history: list[Any], three_journals: list[EventJournal]) -> None:
    """Given any history, some of it stale, when three journals get it, then they agree in every row and refusal."""
    script = Script(next(examples))
    for events, fault in history:
        append = script.append(events, fault)
        outcomes = [await committed(journal, append) for journal in three_journals]
        assert outcomes == [fault == "none" or outcomes[0]] * 3

    memory, sqlite, postgres = [await everything(journal, script) for journal in three_journals]

    assert memory == sqlite == postgres


async def test_same_snapshots(three_journals: list[EventJournal]) -> None:
    """Given one entity, when snapshots are offered, then the three journals keep the same ones."""
    owner = Owner(3).lease().born(1, EntityName("counter", "hits", "")).event(1, 1).event(1, 2)
    append, hash_ = owner.batch(), owner.head.hash
    offers = [(2, hash_), (2, hash_), (1, hash_), (2, bytes(32)), (3, hash_)]
    kept = []
    for journal in three_journals:
        await journal.append(append)
        kept.append(
            [
                await journal.save_snapshot(entity_id(3, 1), StoredSnapshot(sequence, "{}", 1), offered, NOW)
                for sequence, offered in offers
            ]
        )

    assert kept == [[True, False, False, False, False]] * 3
