"""One key of a map, where None is a value."""

from __future__ import annotations

import msgspec

from casty_es.domain.map_entry import MAP, Contains, Delete, EntryPut, Get, Put, State

from .history import run, snapshot_bytes, value

NULL = msgspec.Raw(b"null")


def test_an_absent_key_gives_nothing() -> None:
    """Given a key that nobody put, when it is asked for and deleted, then there is nothing and nothing is appended."""
    ran = run(MAP, Get(), Contains(), Delete())
    assert (ran.told, ran.events) == ([None, False, False], ())
    assert not MAP.exists(ran.state)


def test_put_tells_the_value_before() -> None:
    """Given a key, when it is put three times, then each caller is told what was there before, and the last stays."""
    ran = run(MAP, Put(value(1)), Put(value({"a": 2})), Put(value(3)), Get(), Contains())
    assert ran.told == [None, value(1), value({"a": 2}), value(3), True]


def test_delete_tells_whether_there_was_something() -> None:
    """Given a value, when it is deleted twice, then only the first did something, and a put starts afresh."""
    ran = run(MAP, Put(value(1)), Delete(), Delete(), Get(), Contains(), Put(value(2)))
    assert ran.told == [None, True, False, None, False, None]
    assert len(ran.events) == 3


def test_none_is_a_value_and_not_an_absence() -> None:
    """Given None put as a value, when it is read, replaced and deleted, then it counts as something that was there."""
    ran = run(MAP, Put(NULL), Contains(), Get(), Put(NULL), Put(value(1)), Put(NULL), Delete())
    assert ran.told == [None, True, NULL, NULL, NULL, value(1), True]


def test_none_stays_a_value_in_the_journal() -> None:
    """Given None put as a value, when event and snapshot are written and read, then it is not taken for an absence."""
    null = run(MAP, Put(NULL), Put(NULL))
    first, second = (msgspec.json.decode(msgspec.json.encode(event), type=EntryPut) for event in null.events)
    assert (MAP.reply(Put(NULL), (first,)), MAP.reply(Put(NULL), (second,))) == (None, NULL)
    assert snapshot_bytes(MAP, null.state) != snapshot_bytes(MAP, MAP.initial)
    assert MAP.exists(msgspec.json.decode(snapshot_bytes(MAP, null.state), type=State))
    assert not MAP.exists(msgspec.json.decode(snapshot_bytes(MAP, MAP.initial), type=State))


def test_values_are_moved_byte_for_byte() -> None:
    """Given JSON that a parser would change, when it is put and read, then its bytes come back as they were."""
    strange = msgspec.Raw(b'{"a":1.50,"a":12345678901234567890123456789}')
    assert run(MAP, Put(strange), Get()).told == [None, strange]
