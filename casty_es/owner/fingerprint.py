"""What is written down of a command with an idempotency key, so that another command under the same key is noticed.

1. The first event of the command carries a digest of it in its metadata: BLAKE2b (RFC 7693) of the command's name and
   JSON, without what differs between two attempts at the same thing (``Command.essence``).
2. The digest is keyed by the entity's random salt: once that is destroyed, nobody can guess the command by trying, and
   nobody can compare either. Then the key alone counts.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec

from casty_es.domain.decider import Command
from casty_es.format.codec import encode_command

_DIGEST_BYTES: Final = 16


class _Metadata(msgspec.Struct, frozen=True, omit_defaults=True):
    command: str | None = None


_decode: Final = msgspec.json.Decoder(_Metadata).decode
_encode: Final = msgspec.json.Encoder().encode


def fingerprint(command: Command, salt: bytes, metadata: str | None = None) -> str:
    """Return the metadata of a command's first event, as JSON text; ``metadata`` is the caller's part of it."""
    own = _encode(_Metadata(_digest(command, salt))).decode()
    return own if metadata is None else f"{own[:-1]},{metadata[1:]}"


def may_be_same(command: Command, salt: bytes, metadata: str | None) -> bool:
    """Return whether a command may be the one whose first event has this metadata: not when the two digests differ."""
    recorded = None if metadata is None else _decode(metadata).command
    return not salt or recorded is None or recorded == _digest(command, salt)


def _digest(command: Command, salt: bytes) -> str:
    name, body = encode_command(command.essence())
    return blake2b(name.encode() + b"\0" + body, key=salt, digest_size=_DIGEST_BYTES).hexdigest()
