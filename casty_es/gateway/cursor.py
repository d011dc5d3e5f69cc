"""A point of the whole journal as a text: how far every slot was committed at one moment.

Times of different owners come from different clocks; positions do not. A cursor is a consistent cut: every operation
that was acknowledged before it was taken is in it, and none that was asked for after. The text is for programs to keep,
not to look into: a version, when the journal was made, and the positions, as zlib'd msgpack in base64.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Final

import msgspec

from casty_es.errors import InvalidArgumentError
from casty_es.journal.port import Stored
from casty_es.replay import Positions

_VERSION: Final = 1
_LONGEST_TEXT: Final = 200_000
_LONGEST_BYTES: Final = 200_000


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    version: int
    journal: int
    positions: tuple[Stored, ...]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Cursor).decode


def encode_cursor(positions: Positions) -> str:
    """Return the text of a cut.

    Examples
    --------
    >>> decode_cursor(encode_cursor(Positions(5, (1, 0, 7)))).positions
    (1, 0, 7)
    """
    packed = zlib.compress(_encode(_Cursor(_VERSION, positions.journal, positions.positions)), 9)
    return base64.urlsafe_b64encode(packed).decode()


def decode_cursor(text: str) -> Positions:
    """Return the cut that a text stands for; ``InvalidArgumentError`` if it is none, or of a newer version."""
    if len(text) > _LONGEST_TEXT:
        raise _unusable("it is too long")
    try:
        inflating = zlib.decompressobj()
        packed = inflating.decompress(base64.b64decode(text.encode(), altchars=b"-_", validate=True), _LONGEST_BYTES)
        if inflating.unconsumed_tail or not inflating.eof:
            raise _unusable("it is not whole")
        cursor = _decode(packed)
    except (binascii.Error, zlib.error, msgspec.MsgspecError, UnicodeError, ValueError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise _unusable("it cannot be read") from None
    if cursor.version != _VERSION:
        raise _unusable(f"it is of version {cursor.version}, and this code reads version {_VERSION}")
    return Positions(cursor.journal, cursor.positions)


def _unusable(why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"This is not a cursor: {why}. Nothing was read. Take one with `await d.cursor()`.")
