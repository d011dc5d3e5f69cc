"""What an ``entity.sealed`` event says of the records that retention cut, as digests.

The event stands in the chain, so its digests prove the rows of ``casty_seals`` (where the cut records stood, and their
hashes) and the snapshot that took their place.

Rows whose seal is cut itself would prove nothing, and a cut takes everything up to a sequence, older seals included. So
a seal covers all rows of its entity, also those of earlier cuts, which name it from then on (``sealed_by``): together
they are as long as its ``through``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import msgspec

from casty_es.domain.upkeep import Sealed
from casty_es.errors import JournalCorruptError
from casty_es.format.chain import digest
from casty_es.journal.port import SealRow

_decode: Final = msgspec.json.Decoder(Sealed).decode
_ROW: Final = struct.Struct(">qqq32s32s")


def rows_digest(rows: Iterable[SealRow]) -> str:
    """Return the SHA-256 over the rows that name one ``entity.sealed`` event, by position, hexadecimal.

    Examples
    --------
    >>> rows_digest([])[:16]
    'e3b0c44298fc1c14'
    """
    whole = sha256()
    for row in rows:
        whole.update(packed(row))
    return whole.hexdigest()


def decode_sealed(payload: str) -> Sealed:
    """Return what an ``entity.sealed`` event says; ``JournalCorruptError`` if the library writes no such thing."""
    try:
        return _decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise JournalCorruptError(
            f"A seal of records that were cut cannot be read: {error}. Nothing was done. `casty-es verify` says where."
        ) from error


def packed(row: SealRow) -> bytes:
    """Return what of a seal row goes into the digest."""
    return _ROW.pack(row.first, row.last, row.entity, row.previous_hash, row.hash)


def state_digest(salt: bytes, state: str) -> str:
    """Return the digest of the snapshot behind which events are cut, hexadecimal.

    The entity's salt is in it, so that nobody can guess the state by trying.

    Examples
    --------
    >>> state_digest(b"salt", "5")[:16]
    '0154d86c716146fc'
    """
    return digest(salt, state).hex()
