"""The hash chain of a slot.

1. A record's hash is SHA-256 over the previous record's hash and the record's own fields, so an edit, deletion,
   insertion or reordering breaks every hash after it. The first record follows ``GENESIS``.
2. Payload and metadata enter by their own digest, an HMAC-SHA256 (RFC 2104) keyed by the entity's random salt. When
   a payload is redacted its digest takes its place and the salt is destroyed: the chain still verifies, and nobody
   can guess the payload by trying.
   The few records that redaction must leave readable (``UNSALTED``) are digested without a salt.
3. The first event of an entity also carries its kind, name and key, so that no entity can be given another's name.
4. Fields are packed at fixed width, or with their length before them, and a byte says which of those that may be absent
   are there, so that no two records pack alike.
"""

from __future__ import annotations

import hmac
import struct
from hashlib import sha256
from typing import Final

GENESIS: Final = bytes(32)

UNSALTED: Final = frozenset({"lease.acquired", "entity.sealed", "entity.redacted"})
"""Types of records that belong to no entity, or that say what was done to one: their payload holds no user's data."""

RECORD: Final = struct.Struct(">32sBiqqqqqi16s32s32sii")
"""How a record's fields are packed; behind them come the type, the idempotency key and the name, as UTF-8."""

_NO_DIGEST: Final = bytes(32)
_NO_COMMAND: Final = bytes(16)
_digest: Final = hmac.digest


def digest(salt: bytes, text: str) -> bytes:
    """Return the digest under which a payload or metadata enters the chain."""
    return _digest(salt, text.encode(), "sha256")


def link(
    previous: bytes,
    slot: int,
    position: int,
    epoch: int,
    entity: int | None,
    sequence: int | None,
    recorded_at: int,
    type_and_version: tuple[str, int],
    command_id: bytes | None,
    idempotency_key: str | None,
    payload_digest: bytes,
    metadata_digest: bytes | None,
    entity_name: tuple[str, str, str] | None = None,
) -> bytes:
    """Return the hash of the record that follows ``previous``.

    Parameters
    ----------
    previous : bytes
        The hash of the record before, 32 bytes; ``GENESIS`` for a slot's first record.
    recorded_at : int
        Microseconds since 1970-01-01 UTC.
    entity_name : tuple[str, str, str] | None
        Kind, name and key of the entity, if this is its first event.

    Returns
    -------
    bytes
        32 bytes.

    Examples
    --------
    >>> first = link(GENESIS, 0, 1, 1, None, None, 0, ("lease.acquired", 1), None, None, digest(b"", "{}"), None)
    >>> first.hex()[:16]
    '3d8022b5e6df5334'
    """
    type_, version = type_and_version
    name = type_.encode()
    key = b"" if idempotency_key is None else idempotency_key.encode()
    called = b"" if entity_name is None else "\0".join(entity_name).encode()
    fixed = RECORD.pack(
        previous,
        (entity is not None)
        | (command_id is not None) << 1
        | (metadata_digest is not None) << 2
        | (entity_name is not None) << 3,
        slot,
        position,
        epoch,
        entity or 0,
        sequence or 0,
        recorded_at,
        version,
        command_id or _NO_COMMAND,
        payload_digest,
        metadata_digest or _NO_DIGEST,
        len(name),
        -1 if idempotency_key is None else len(key),
    )
    return sha256(fixed + name + key + called).digest()
