"""What stands where a redacted payload or metadata stood: its digest, so that the hash chain still holds.

No event has a payload like it, so it is never taken for one.
"""

from __future__ import annotations

import re
from typing import Final

UNPROVEN: Final = bytes(32)
"""Stands in an archive for the digest of a value whose salt was destroyed before the archive was found."""

_BEGINNING: Final = '{"redacted"'
_TEXT: Final = re.compile(r'\{"redacted":"([0-9a-f]{64})"\}')


def redacted_text(digest: bytes) -> str:
    """Return the text that takes the place of one with this digest.

    Examples
    --------
    >>> redacted_text(bytes(32))[:20]
    '{"redacted":"0000000'
    """
    return f'{{"redacted":"{digest.hex()}"}}'


def redacted_digest(text: object) -> bytes | None:
    """Return the digest of what stood here, or ``None`` for a text that was not redacted.

    Examples
    --------
    >>> redacted_digest(redacted_text(bytes(32))) == bytes(32)
    True
    >>> redacted_digest("{}") is None
    True
    """
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    # A database may give something else for what was to be text. Few are redacted, and the first characters say so in
    # a tenth of the time.
    match = _TEXT.fullmatch(text) if isinstance(text, str) and text.startswith(_BEGINNING) else None
    return None if match is None else bytes.fromhex(match[1])
