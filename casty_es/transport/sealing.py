"""The code in front of every frame by which its receiver knows who wrote it, and that none is missing or repeated.

Keyed BLAKE2b (RFC 7693) over the frame's number and its content, with a key for each direction of each connection.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

MAC_BYTES: Final = 16
_COUNT: Final = struct.Struct(">Q").pack


class ForgedFrameError(Exception):
    """A frame is not the next one that the peer of this connection wrote."""


class _Chain:
    __slots__ = ("_count", "_keyed")

    def __init__(self, key: bytes) -> None:
        self._keyed = blake2b(key=key, digest_size=MAC_BYTES)
        self._count = 0

    def _mac(self, content: bytes | memoryview) -> bytes:
        mac = self._keyed.copy()
        mac.update(_COUNT(self._count))
        mac.update(content)
        self._count += 1
        return mac.digest()


class Sealer(_Chain):
    """The sending side of one direction."""

    __slots__ = ()

    def seal(self, content: bytes) -> bytes:
        """Put the code in front of a frame's content."""
        return self._mac(content) + content


class Opener(_Chain):
    """The receiving side of one direction."""

    __slots__ = ()

    def open(self, frame: bytes | bytearray) -> memoryview:
        """Check a frame's code and give its content; of one that is forged nothing may be looked at."""
        view = memoryview(frame)
        content = view[MAC_BYTES:]
        if not compare_digest(self._mac(content), view[:MAC_BYTES]):
            raise ForgedFrameError
        return content
