"""The hashes that are part of the data format: an entity's shard and slot, and the id of a command that has a key.

Changing one of them would make every journal unreadable; golden vectors hold them where they are.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

KEYED_VERSION: Final = 8
"""The version of a UUID (RFC 9562) that is made of an idempotency key; every other command's id is of version 7."""


def shard_of(kind: str, name: str, key: str, shards: int) -> int:
    """Return the shard of its structure in which an entity lies. It never changes: it is part of the data format.

    Parameters
    ----------
    kind, name, key : str
        The entity: the structure's kind and name, and the tagged key, empty for a whole structure.
    shards : int
        The structure's number of shards.

    Returns
    -------
    int
        From 0 to ``shards - 1``: BLAKE2b (RFC 7693), 8 bytes, big-endian, modulo ``shards``.

    Examples
    --------
    >>> shard_of("map", "users", "s:alice", 100)
    92
    """
    return _hash(kind, name, key) % shards


@lru_cache(maxsize=8_192)  # a map asks for the same few shards again and again
def slot_of(kind: str, name: str, shard: int, slots: int) -> int:
    """Return the slot of the database in which a shard lies. It never changes: it is part of the data format.

    Parameters
    ----------
    kind, name : str
        The structure.
    shard : int
        What :func:`shard_of` gave.
    slots : int
        The database's number of slots.

    Returns
    -------
    int
        From 0 to ``slots - 1``: the same hash, with the shard in decimal as the third part.

    Examples
    --------
    >>> slot_of("map", "users", 92, 256)
    21
    """
    return _hash(kind, name, str(shard)) % slots


def slots_of(kind: str, name: str, shards: int, slots: int) -> set[int]:
    """Return the slots of the database in which a structure's entities can lie.

    Parameters
    ----------
    kind, name : str
        The structure.
    shards : int
        Its number of shards. Where there are many more of them than slots, they are looked at until no slot is left.
    slots : int
        The database's number of slots.

    Examples
    --------
    >>> sorted(slots_of("map", "users", 2, 256)), len(slots_of("map", "users", 2_000_000_000, 256))
    ([172, 219], 256)
    """
    found: set[int] = set()
    for shard in range(shards):
        found.add(slot_of(kind, name, shard, slots))
        if len(found) == slots:
            break
    return found


def keyed_command_id(kind: str, name: str, key: str, idempotency_key: str) -> bytes:
    """Return the id of the command that a caller named. The answer never changes: it is part of the data format.

    Parameters
    ----------
    kind, name, key : str
        The entity: the structure's kind and name, and the tagged key, empty for a whole structure.
    idempotency_key : str
        The caller's own name for the operation on that entity.

    Returns
    -------
    bytes
        16 bytes of BLAKE2b (RFC 7693) over the four, formed as a UUIDv8 (RFC 9562), which no UUIDv7 ever equals.

    Examples
    --------
    >>> from uuid import UUID
    >>> str(UUID(bytes=keyed_command_id("counter", "stock", "", "order-4711")))
    '382b8285-79d1-8b2e-81b6-e2c885a3300a'
    """
    framed = _framed(kind, name, key, idempotency_key)
    digest = bytearray(blake2b(framed, digest_size=16, person=b"casty-es command").digest())
    digest[6] = KEYED_VERSION << 4 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F  # the variant of RFC 9562
    return bytes(digest)


def _hash(*parts: str) -> int:
    return int.from_bytes(blake2b(_framed(*parts), digest_size=8).digest(), "big")


def _framed(*parts: str) -> bytes:
    """Return the parts, each behind its length, so that ("a", "b:c") and ("a:b", "c") differ."""
    encoded = [part.encode() for part in parts]
    return b"".join([len(raw).to_bytes(4, "big") + raw for raw in encoded])
