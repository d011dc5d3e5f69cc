"""Text comes back as it went in, byte for byte, whatever is in it."""

from __future__ import annotations

import json
import random

import pytest

from casty_es.journal.port import EntityName, EventJournal, StoredSnapshot

from .rows import NOW, Owner, entity_id, recorded

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789'\"\\%_{}()[],;:?$ \t\n" + "éßжあ\U0001f600"
TEXTS = {
    "unicode": '"äöü € 漢字 \U0001f600 e\u0301"',
    "quotes": """'"'' \\" \\\\ $1 ?1 %s {} -- ; DROP TABLE casty_events""",
    "escaped NUL": '{"a":"\\u0000"}',
    "escaped surrogate": '{"a":"\\ud800"}',
    "white space": ' \t\r\n{ "b" : 1,\n "a": 2 } ',
    "large integer": "1" + "0" * 4_000,
    "array literal": '{"NULL",null,"{}"}',
    "empty": "",
    "1 MiB": '"' + "é'" * (349_525) + '"',
}


def hostile_name(size: int, seed: int) -> str:
    """Return a name of exactly so many bytes that hardly compresses."""
    chosen = random.Random(seed)  # noqa: S311 - the same names on every run
    name = "".join(chosen.choice(ALPHABET) for _ in range(size)).encode()[:size].decode(errors="ignore")
    return name + "x" * (size - len(name.encode()))


@pytest.mark.parametrize("text", list(TEXTS.values()), ids=list(TEXTS))
async def test_payload_metadata_and_state(text: str, journal: EventJournal) -> None:
    """Given any text, when it is a payload, metadata and a state, then each is read back unchanged."""
    owner = Owner(3).lease().born(1, EntityName("counter", "hits", "")).event(1, 1, text, metadata=text)
    append = owner.batch()
    await journal.append(append)
    await journal.save_snapshot(entity_id(3, 1), StoredSnapshot(1, text, 1), owner.head.hash, NOW)

    assert await journal.records(3) == recorded(append)
    [event] = await journal.tails({entity_id(3, 1): 0}, limit=1)
    assert tuple(event)[4] == text
    [found] = await journal.entities([EntityName("counter", "hits", "")])
    assert found is not None
    assert found.snapshot == StoredSnapshot(1, text, 1)


async def test_payload_is_not_normalised(journal: EventJournal) -> None:
    """Given JSON with repeated and unsorted keys, when it is read back, then nobody has tidied it."""
    text = '{"b":1,"a":2,"b":3,"f":1.10,"e":1E2}'
    await journal.append(Owner(3).lease().event(1, 1, text).batch())

    [event] = await journal.history(entity_id(3, 1))
    assert event.payload == text
    assert json.loads(event.payload)["b"] == 3


async def test_absent_and_empty_differ(journal: EventJournal) -> None:
    """Given events without and with empty metadata and keys, when read back, then None and "" are told apart."""
    owner = Owner(3).lease().event(1, 1, metadata=None, key=None).event(1, 2, metadata="", key="").event(1, 3, key=None)
    await journal.append(owner.batch())

    events = await journal.history(entity_id(3, 1))

    assert [(event.metadata, event.idempotency_key) for event in events] == [(None, None), ("", ""), (None, None)]


async def test_names_of_512_bytes(journal: EventJournal) -> None:
    """Given names, keys and idempotency keys of full length, when they are used, then they are found by every byte."""
    names = [EntityName("map", hostile_name(512, 1), "s:" + hostile_name(512, seed)) for seed in (2, 3)]
    almost = names[0]._replace(key=names[0].key[:-1] + "y")
    owner = Owner(3).lease()
    for number, name in enumerate(names, 1):
        owner.born(number, name).event(number, 1, key=hostile_name(512, number))
    append = owner.batch()
    assert await journal.record_structures([("map", names[0].name, 4)]) == [4]
    await journal.append(append)

    found = await journal.entities([names[1], almost, names[0]])
    assert [entity and entity.id for entity in found] == [entity_id(3, 2), None, entity_id(3, 1)]
    assert await journal.keys("map", names[0].name) == sorted((name.key for name in names), key=str.encode)
    assert await journal.structures([("map", names[0].name)]) == [4]
    assert await journal.records(3) == recorded(append)


async def test_names_are_compared_by_their_bytes(journal: EventJournal) -> None:
    """Given names that look alike, when each is used, then they are different entities."""
    alike = [
        "\u00e9",
        "e\u0301",
        "E\u0301",
        "é ",
        " é",
        "\uff45",
        "s",
        "\u017f",
        "S",
        "ß",
        "ss",
        "1",
        "01",
        "1.0",
        "null",
        "%",
        "_",
    ]
    owner = Owner(3).lease()
    for number, name in enumerate(alike, 1):
        owner.born(number, EntityName("map", name, "")).event(number, 1)
    await journal.record_structures([("map", name, number) for number, name in enumerate(alike, 1)])
    await journal.append(owner.batch())

    found = await journal.entities([EntityName("map", name, "") for name in alike])
    assert [entity and entity.id for entity in found] == [entity_id(3, n) for n in range(1, len(alike) + 1)]
    assert await journal.structures([("map", name) for name in alike]) == list(range(1, len(alike) + 1))


async def test_largest_numbers(journal: EventJournal) -> None:
    """Given the largest numbers and the last time of the calendar, when they are written, then they come back exact."""
    last = 253_402_300_799_999_999
    owner = Owner(8_191).lease().event(2**32 - 1, 2**63 - 1, command_id=b"\xff" * 16, recorded_at=last)
    append = owner.batch()
    await journal.append(append)

    assert await journal.records(8_191) == recorded(append)
