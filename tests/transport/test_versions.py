"""What was added to messages since version 1 of the protocol disturbs nobody who speaks that."""

from __future__ import annotations

import msgspec
import pytest

from casty_es.journal.remembered import Mark
from casty_es.transport.wire import Answer, Answered, Locate, Located, Request


class OldLocate(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Locate of version 1."""

    slot: int


class OldLocated(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """Located of version 1."""

    term: int
    position: int


class OldAnswered(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """Answered of version 1."""

    body: bytes
    position: int


@pytest.mark.parametrize(
    ("new", "old", "type_"),
    [
        (Locate(3, Mark(1, 7, b"12345678")), OldLocate(3), Request),
        (Located(9, 7, b"12345678"), OldLocated(9, 7), Answer),
        (Answered(b"5", 7, b"12345678"), OldAnswered(b"5", 7), Answer),
    ],
)
def test_old_and_new_read_each_other(new: object, old: object, type_: object) -> None:
    """Given a message, then the old version leaves out what it does not know, and the new one takes it as absent."""
    encode = msgspec.msgpack.encode
    assert msgspec.msgpack.decode(encode(new), type=type(old)) == old

    read = msgspec.msgpack.decode(encode(old), type=type_)

    assert type(read) is type(new)
    assert getattr(read, "mark", None) is None
    assert getattr(read, "hash", b"") == b""
