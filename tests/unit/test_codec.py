"""Events and states as stored: names and shapes are a data format, and what is not known is never guessed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from casty_es.domain import barrier, counter, lock, map_entry, queue, semaphore
from casty_es.domain import set as set_
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Event
from casty_es.domain.upkeep import Redacted, Sealed
from casty_es.errors import EntityQuarantinedError, RedactedError
from casty_es.format.codec import concluded, decode_event, decode_state, encode_event, encode_state
from casty_es.format.redacted import redacted_text
from casty_es.format.upcasting import CLASSES, UPCASTERS, VERSIONS
from tests.versions import with_state_lifts, with_upcasters

RAW = msgspec.Raw(b'{"a":[1,null,"\xc3\xa9"]}')
TEXT = '{"a":[1,null,"é"]}'

# As they stand in the journals of users: a change here is a change of the data format, and needs an upcaster.
GOLDEN: list[tuple[Event, str, int, str]] = [
    (counter.Incremented(2**70, -3), "counter.incremented", 1, '{"amount":1180591620717411303424,"value":-3}'),
    (counter.ValueSet(5, 10), "counter.set", 1, '{"amount":5,"value":10}'),
    (counter.Replaced(-(2**70), -4), "counter.replaced", 1, '{"amount":-1180591620717411303424,"value":-4}'),
    (counter.Decremented(5, 10), "counter.decremented", 1, '{"amount":5,"value":10}'),
    (counter.Destroyed(), "counter.destroyed", 1, "{}"),
    (map_entry.EntryPut(RAW), "map.put", 1, f'{{"value":{TEXT}}}'),
    (map_entry.EntryPut(RAW, msgspec.Raw(b"null")), "map.put", 1, f'{{"value":{TEXT},"previous":null}}'),
    (map_entry.EntryDeleted(), "map.deleted", 1, "{}"),
    (map_entry.EntryAdded(RAW), "map.added", 1, f'{{"value":{TEXT}}}'),
    (map_entry.EntryReplaced(RAW, RAW), "map.replaced", 1, f'{{"value":{TEXT},"previous":{TEXT}}}'),
    (map_entry.EntryPopped(RAW), "map.popped", 1, f'{{"previous":{TEXT}}}'),
    (set_.Added(RAW), "set.added", 1, f'{{"value":{TEXT}}}'),
    (set_.Removed(RAW), "set.removed", 1, f'{{"value":{TEXT}}}'),
    (set_.Destroyed(), "set.destroyed", 1, "{}"),
    (queue.Enqueued(RAW), "queue.enqueued", 1, f'{{"value":{TEXT}}}'),
    (queue.Dequeued(RAW), "queue.dequeued", 1, f'{{"value":{TEXT}}}'),
    (queue.GivenBack(RAW, "c"), "queue.given_back", 1, f'{{"value":{TEXT},"taken":"c"}}'),
    (queue.Destroyed(), "queue.destroyed", 1, "{}"),
    (lock.Requested("o", "r"), "lock.requested", 1, '{"owner":"o","request":"r"}'),
    (
        lock.Requested("o", "r", process="node:p:n"),
        "lock.requested",
        1,
        '{"owner":"o","request":"r","process":"node:p:n"}',
    ),
    (
        lock.Granted("o", "r", 7, process="client:p"),
        "lock.granted",
        1,
        '{"owner":"o","request":"r","token":7,"process":"client:p"}',
    ),
    (lock.Granted("o", "r", 7), "lock.granted", 1, '{"owner":"o","request":"r","token":7}'),
    (lock.Released("o", "r", 7), "lock.released", 1, '{"owner":"o","request":"r","token":7}'),
    (lock.Withdrawn("o", "r"), "lock.withdrawn", 1, '{"owner":"o","request":"r"}'),
    (lock.Expired("o", "r"), "lock.expired", 1, '{"owner":"o","request":"r"}'),
    (lock.Expired("o", "r", "died"), "lock.expired", 1, '{"owner":"o","request":"r","cause":"died"}'),
    (lock.Unheard("r", 2), "lock.unheard", 1, '{"request":"r","quarters":2}'),
    (lock.Destroyed(), "lock.destroyed", 1, "{}"),
    (semaphore.Requested("o", "r", 3), "semaphore.requested", 1, '{"owner":"o","request":"r","permits":3}'),
    (
        semaphore.Requested("o", "r", 3, process="node:p:n"),
        "semaphore.requested",
        1,
        '{"owner":"o","request":"r","permits":3,"process":"node:p:n"}',
    ),
    (
        semaphore.Granted("o", "r", 7, 3, process="node:p:n"),
        "semaphore.granted",
        1,
        '{"owner":"o","request":"r","token":7,"permits":3,"process":"node:p:n"}',
    ),
    (semaphore.Granted("o", "r", 7, 3), "semaphore.granted", 1, '{"owner":"o","request":"r","token":7,"permits":3}'),
    (semaphore.Released("o", "r", 7), "semaphore.released", 1, '{"owner":"o","request":"r","token":7}'),
    (semaphore.Withdrawn("o", "r"), "semaphore.withdrawn", 1, '{"owner":"o","request":"r"}'),
    (semaphore.Expired("o", "r"), "semaphore.expired", 1, '{"owner":"o","request":"r"}'),
    (semaphore.Expired("o", "r", "died"), "semaphore.expired", 1, '{"owner":"o","request":"r","cause":"died"}'),
    (semaphore.Unheard("r", 3), "semaphore.unheard", 1, '{"request":"r","quarters":3}'),
    (semaphore.Destroyed(), "semaphore.destroyed", 1, "{}"),
    (
        barrier.Arrived("p", "r", 4, 2),
        "barrier.arrived",
        1,
        '{"participant":"p","request":"r","expected":4,"generation":2}',
    ),
    (
        barrier.Arrived("p", "r", 4, 2, process="node:p:n"),
        "barrier.arrived",
        1,
        '{"participant":"p","request":"r","expected":4,"generation":2,"process":"node:p:n"}',
    ),
    (barrier.Tripped(2), "barrier.tripped", 1, '{"generation":2}'),
    (barrier.Withdrawn("p", "r"), "barrier.withdrawn", 1, '{"participant":"p","request":"r"}'),
    (barrier.Expired("p", "r"), "barrier.expired", 1, '{"participant":"p","request":"r"}'),
    (
        barrier.Expired("p", "r", "died"),
        "barrier.expired",
        1,
        '{"participant":"p","request":"r","cause":"died"}',
    ),
    (barrier.Unheard("r", 0), "barrier.unheard", 1, '{"request":"r","quarters":0}'),
    (barrier.Destroyed(), "barrier.destroyed", 1, "{}"),
    (concluded(False), "command.concluded", 1, '{"tag":"b","reply":false}'),
    (concluded(None), "command.concluded", 1, '{"tag":"n","reply":null}'),
    (concluded(RAW), "command.concluded", 1, f'{{"tag":"v","reply":{TEXT}}}'),
    (
        Sealed(9, 5, "ab", "cd", "a.jsonl.gz", "ef"),
        "entity.sealed",
        1,
        '{"through":9,"events":5,"rows":"ab","state":"cd","archive":"a.jsonl.gz","archive_sha256":"ef"}',
    ),
    (Redacted("Art. 17"), "entity.redacted", 1, '{"reason":"Art. 17"}'),
]

STATES = {
    "counter": '{"value":0,"exists":false}',
    "map": "{}",
    "set": '{"members":[],"exists":false}',
    "queue": '{"items":[],"exists":false}',
    "lock": '{"sequence":0,"exists":false,"holder":null,"line":[]}',
    "semaphore": '{"sequence":0,"permits":0,"holders":[],"line":[]}',
    "barrier": '{"exists":false,"generation":0,"expected":0,"line":[],"released":[]}',
}


@pytest.mark.parametrize(("event", "name", "version", "payload"), GOLDEN, ids=[golden[3][:40] for golden in GOLDEN])
def test_event_is_stored_as_ever(event: Event, name: str, version: int, payload: str) -> None:
    """Given an event, when it is stored and read, then name, version and payload are the golden ones, both ways."""
    assert encode_event(event) == (name, version, payload)
    assert decode_event(name, version, payload) == event
    assert decode_event(name, version, payload.encode()) == event


def test_every_event_has_a_golden_payload() -> None:
    """Given the catalog, when its events are counted, then each is among the golden ones, under one name only."""
    any_kind = {"command.concluded", "entity.sealed", "entity.redacted"}
    names = [name for kind in CATALOG.values() for name in kind.events if name not in any_kind]

    assert sorted([*names, *any_kind]) == sorted({golden[1] for golden in GOLDEN})
    assert all(name.split(".")[0] in (kind.name, "entity") for kind in CATALOG.values() for name in kind.events)


@pytest.mark.parametrize("kind", list(CATALOG))
def test_initial_state_is_stored_as_ever(kind: str) -> None:
    """Given a structure's first state, when it is a snapshot, then its text is the golden one and gives it back."""
    initial = CATALOG[kind].initial

    assert encode_state(CATALOG[kind], initial) == STATES[kind]
    again = decode_state(CATALOG[kind], CATALOG[kind].state_version, STATES[kind])
    assert encode_state(CATALOG[kind], again) == STATES[kind]


def test_every_kind_has_a_golden_state() -> None:
    """Given the catalog, when its kinds are listed, then they are the seven whose states are golden."""
    assert list(STATES) == list(CATALOG)


@pytest.mark.parametrize("name", ["counter.exploded", "counter", "Incremented", "", "os.system", "lease.acquired"])
def test_unknown_type(name: str) -> None:
    """Given an event of an unknown type, when it is read, then the entity is quarantined and the type named."""
    with pytest.raises(EntityQuarantinedError, match=f"event type '{name}' is not known"):
        decode_event(name, 1, '{"amount":1,"value":1}')


@pytest.mark.parametrize("version", [2, 99, 0, -1])
def test_unknown_version(version: int) -> None:
    """Given an event of a version that this code does not have, when it is read, then the entity is quarantined."""
    with pytest.raises(EntityQuarantinedError, match=f"has version {version}; this code knows versions 1 to 1"):
        decode_event("counter.incremented", version, '{"amount":1,"value":1}')


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{",
        "null",
        "[]",
        "[1,1]",
        "{}",
        '{"amount":1}',
        '{"amount":1,"value":"1"}',
        '{"amount":1.5,"value":1}',
        '{"amount":true,"value":1}',
        '{"amount":null,"value":1}',
        '{"amount":1,"value":1} {}',
    ],
)
def test_wrong_shape(payload: str | bytes) -> None:
    """Given a payload that is not its event's, when it is read, then the entity is quarantined and the event named."""
    with pytest.raises(EntityQuarantinedError, match=r"'counter\.incremented', version 1, does not have"):
        decode_event("counter.incremented", 1, payload)


@pytest.fixture
def third_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A code in which ``counter.incremented`` is at version 3: it was called ``by``, then lacked its value."""
    with_upcasters(
        monkeypatch,
        "counter.incremented",
        lambda fields: {"amount": fields["by"]},
        lambda fields: {**fields, "value": 0},
    )


@pytest.mark.usefixtures("third_version")
@pytest.mark.parametrize(
    ("version", "payload", "event"),
    [
        (1, '{"by":4}', counter.Incremented(4, 0)),
        (2, '{"amount":5}', counter.Incremented(5, 0)),
        (3, '{"amount":6,"value":7}', counter.Incremented(6, 7)),
    ],
)
def test_upcasters_lift_one_version_at_a_time(version: int, payload: str, event: Event) -> None:
    """Given an event of an older version, when it is read, then each upcaster from there on is applied, in order."""
    assert decode_event("counter.incremented", version, payload) == event


@pytest.mark.usefixtures("third_version")
@pytest.mark.parametrize(
    ("version", "payload"),
    [(2, '{"amount":"five"}'), (2, "[5]"), (2, "{"), (4, '{"amount":1,"value":1}'), (0, '{"by":1}')],
)
def test_old_payload_of_a_wrong_shape(version: int, payload: str) -> None:
    """Given an older event that no upcaster can mend, when it is read, then the entity is quarantined."""
    with pytest.raises(EntityQuarantinedError):
        decode_event("counter.incremented", version, payload)


@pytest.mark.usefixtures("third_version")
def test_upcaster_that_fails() -> None:
    """Given an older event without the field its upcaster wants, when it is read, then the entity is quarantined."""
    with pytest.raises(EntityQuarantinedError):
        decode_event("counter.incremented", 1, '{"amount":4}')


def test_what_is_not_touched_is_lifted_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an old event with a user's value, when it is lifted, then the value is the same to the last byte."""
    with_upcasters(monkeypatch, "map.put", lambda fields: {"value": fields["what"]}, dict)

    event = decode_event("map.put", 1, '{"what": {"n":1.50,"big":123456789012345678901234567890,"a":1} }')

    assert isinstance(event, map_entry.EntryPut)
    assert bytes(event.value) == b'{"n":1.50,"big":123456789012345678901234567890,"a":1}'


@pytest.mark.parametrize("lifted", [None, [5], {"amount": "five", "value": 1}, {"amount": object(), "value": 1}])
def test_upcaster_that_gives_a_wrong_shape(monkeypatch: pytest.MonkeyPatch, lifted: Any) -> None:
    """Given an upcaster that gives something else than the event's fields, then the entity is quarantined."""
    with_upcasters(monkeypatch, "counter.incremented", lambda _: lifted)

    with pytest.raises(EntityQuarantinedError, match=r"'counter\.incremented'.*version 1"):
        decode_event("counter.incremented", 1, '{"by":4}')


@pytest.mark.usefixtures("third_version")
def test_old_payload_that_was_redacted() -> None:
    """Given an older event whose payload was redacted, when it is read, then that is said, not that it is strange."""
    with pytest.raises(RedactedError):
        decode_event("counter.incremented", 1, redacted_text(bytes(32)))


def test_versions_are_declared_for_events_that_exist() -> None:
    """Given the functions that kinds declare, then each is for an event of its kind, and for it alone."""
    for kind in CATALOG.values():
        assert kind.upcasters.keys() <= kind.events.keys()
    declared = [name for kind in CATALOG.values() for name in kind.upcasters]
    assert len(declared) == len(set(declared))
    assert UPCASTERS.keys() <= CLASSES.keys() == VERSIONS.keys()


def test_states_are_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given snapshots of older versions, when they are read, then they are lifted, unless there is a ``None``."""
    with_state_lifts(monkeypatch, "counter", None, lambda fields: {"value": fields["n"], "exists": True})

    assert decode_state(CATALOG["counter"], 2, '{"n":7}') == counter.State(7, exists=True)
    assert decode_state(CATALOG["counter"], 3, '{"value":7,"exists":true}') == counter.State(7, exists=True)
    for version, text in ((1, '{"n":7}'), (4, '{"n":7}'), (0, '{"n":7}'), (2, '{"m":7}'), (2, "[]")):
        with pytest.raises(EntityQuarantinedError):
            decode_state(CATALOG["counter"], version, text)


def test_deeply_nested_payload() -> None:
    """Given a payload nested beyond what a parser follows, when it is read, then the entity is quarantined."""
    depth = 100_000
    with pytest.raises(EntityQuarantinedError):
        decode_event("map.put", 1, '{"value":' + "[" * depth + "]" * depth + "}")


@pytest.mark.parametrize("kind", list(CATALOG))
@pytest.mark.parametrize("version", [0, 2])
def test_state_of_another_version(version: int, kind: str) -> None:
    """Given a snapshot of another state version, when it is read, then the entity is quarantined."""
    with pytest.raises(EntityQuarantinedError, match=f"has state version {version}; this code reads version 1"):
        decode_state(CATALOG[kind], version, STATES[kind])


@pytest.mark.parametrize("kind", [kind for kind in CATALOG if kind != "map"])
@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"exists":"yes"}'])
def test_state_of_a_wrong_shape(text: str, kind: str) -> None:
    """Given a snapshot whose text is not its state's, when it is read, then the entity is quarantined."""
    wrong: Any = kind != "counter" or text != "{}"  # a counter's fields have defaults
    if not wrong:
        assert decode_state(CATALOG[kind], 1, text) == counter.State()
        return
    with pytest.raises(EntityQuarantinedError, match=f"snapshot of a {kind} does not have"):
        decode_state(CATALOG[kind], 1, text)
