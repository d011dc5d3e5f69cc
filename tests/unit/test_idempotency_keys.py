"""Idempotency keys: what may be one, which command it stands for, and how another command under it is noticed."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from casty_es.domain import counter, lock, map_entry
from casty_es.domain.decider import Command, Event
from casty_es.errors import InvalidArgumentError, InvalidTypeError
from casty_es.format.codec import concluded
from casty_es.hashes import keyed_command_id
from casty_es.journal.port import EntityName
from casty_es.names import MAX_IDEMPOTENCY_KEY_BYTES, check_idempotency_key
from casty_es.owner.entity import Entity
from casty_es.owner.fingerprint import fingerprint, may_be_same
from casty_es.owner.pending import Pending
from casty_es.owner.slot import Slot

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
SALT = bytes(range(16))


@given(TEXT)
def test_any_text_is_a_key(key: str) -> None:
    """Given text of 1 to 255 bytes, when it is checked, then it comes back unchanged; so does no key at all."""
    assert check_idempotency_key(key) == key
    assert check_idempotency_key(None) is None


def test_a_key_is_measured_in_bytes() -> None:
    """Given two-byte characters and one byte, when they make 255 or 256 bytes, then only the first is a key."""
    assert check_idempotency_key("é" * 127 + "x") == "é" * 127 + "x"
    with pytest.raises(InvalidArgumentError, match="idempotency_key must be 1 to 255 bytes of UTF-8, not 256"):
        check_idempotency_key("é" * 128)
    assert MAX_IDEMPOTENCY_KEY_BYTES == 255


@pytest.mark.parametrize("key", ["", "a\0b", "\ud800", "x" * 256, "x" * 1_000_000])
def test_a_key_that_cannot_be_stored_is_refused(key: str) -> None:
    """Given empty, overlong or unstorable text, when it is checked, then the error names the parameter."""
    with pytest.raises(InvalidArgumentError, match=r"idempotency_key .* Nothing was sent"):
        check_idempotency_key(key)


@pytest.mark.parametrize("key", [1, True, b"key", UUID(int=1), ["key"], object()])
def test_a_key_of_another_type_is_refused(key: object) -> None:
    """Given no text, when it is checked, then the error names the parameter and the type."""
    with pytest.raises(InvalidTypeError, match=f"idempotency_key must be a str, not {type(key).__name__}"):
        check_idempotency_key(key)


@pytest.mark.parametrize(
    ("kind", "name", "key", "idempotency_key", "command_id"),
    [
        ("counter", "stock", "", "order-4711", "382b8285-79d1-8b2e-81b6-e2c885a3300a"),
        ("map", "users", "s:alice", "1", "9b6975bc-a3c6-8b0c-8a81-4b8f7c310d2c"),
        ("map", "users", "i:1", "1", "fd8a7b27-695b-84de-9fb8-3d3eb1c0805d"),
        ("lock", "é", "", "ключ", "3aef1428-c3f1-80b9-b5d0-052187f5aaa0"),
    ],
)
def test_the_id_of_a_keyed_command_never_changes(
    kind: str, name: str, key: str, idempotency_key: str, command_id: str
) -> None:
    """Given an entity and a key, when the command's id is made of them, then it is the golden one."""
    assert keyed_command_id(kind, name, key, idempotency_key) == UUID(command_id).bytes


@given(st.tuples(TEXT, TEXT, TEXT, TEXT), st.tuples(TEXT, TEXT, TEXT, TEXT))
def test_two_operations_have_two_ids(one: tuple[str, str, str, str], other: tuple[str, str, str, str]) -> None:
    """Given two operations, when their ids are made, then they are UUIDv8, and equal only for the same operation."""
    first, second = keyed_command_id(*one), keyed_command_id(*other)
    assert (first == second) == (one == other)
    assert (UUID(bytes=first).version, UUID(bytes=first).variant) == (8, RFC_4122)


def test_parts_do_not_run_into_each_other() -> None:
    """Given the same characters cut elsewhere, when the ids are made, then they differ."""
    ids = {
        keyed_command_id(*parts)
        for parts in [("map", "a", "b:c", "k"), ("map", "a:b", "c", "k"), ("mapa", "b:c", "", "k")]
    }
    assert len(ids) == 3


def test_the_fingerprint_of_a_command_never_changes() -> None:
    """Given commands and a salt, when they are fingerprinted, then the metadata is the golden text."""
    assert fingerprint(counter.Increment(5), SALT) == '{"command":"e6acd53cc7ca5a5bc00444ef77fd2412"}'
    assert fingerprint(lock.Acquire("ann", "a1"), SALT) == '{"command":"d3bf3613c28c33dd8e10d1269855e730"}'


def test_another_command_is_noticed() -> None:
    """Given the metadata of a command, when others are compared with it, then only the same operation may be it."""
    metadata = fingerprint(map_entry.Put(Raw(b"1")), SALT)
    assert may_be_same(map_entry.Put(Raw(b"1")), SALT, metadata)
    assert not may_be_same(map_entry.Put(Raw(b"2")), SALT, metadata)
    assert not may_be_same(map_entry.Delete(), SALT, metadata)
    assert may_be_same(lock.Release("ann", "a1"), SALT, fingerprint(lock.Release("bob"), SALT))


def test_the_fingerprint_cannot_be_tried_out_without_the_salt() -> None:
    """Given one command of two entities, when it is fingerprinted, then the two say nothing about each other."""
    assert fingerprint(counter.Increment(5), SALT) != fingerprint(counter.Increment(5), SALT[::-1])


def test_what_cannot_be_compared_may_be_the_same() -> None:
    """Given metadata without a fingerprint, or a salt that was destroyed, when it is compared, then the key counts."""
    metadata = fingerprint(counter.Increment(5), SALT)
    assert may_be_same(counter.Increment(6), SALT, None)
    assert may_be_same(counter.Increment(6), SALT, '{"actor":"ann"}')
    assert may_be_same(counter.Increment(6), b"", metadata)


async def test_a_keyed_decision_without_events_is_concluded_unless_it_waits() -> None:
    """Given a held lock with a waiter, when keyed commands have nothing to do, then only the waiter leaves no event."""
    entity = Entity(EntityName("lock", "l", ""), lock.LOCK, Slot(0), 1, SALT)

    def decided(command: Command, key: str | None) -> tuple[Event, ...] | None:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        entry = entity.decide(Pending(command, bytes(16), future, {}, idempotency_key=key))
        return None if entry is None else entry.events

    assert decided(lock.Acquire("ann", "a1"), "a") == (lock.Granted("ann", "a1", 1),)
    assert decided(lock.Acquire("bob", "b1"), "b") == (lock.Requested("bob", "b1"),)
    assert decided(lock.Acquire("bob", "b1"), "b") is None
    assert decided(lock.TryAcquire("cat", "c1"), "c") == (concluded(None),)
    assert decided(lock.TryAcquire("cat", "c1"), None) is None
    assert decided(lock.GetHolder(), "d") is None
    assert entity.sequence == 3
