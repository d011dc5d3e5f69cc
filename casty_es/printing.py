"""What an error shows of a thing that a caller passed."""

from __future__ import annotations

from typing import Final

__all__ = ["printed"]

_LONGEST: Final = 80


def printed(thing: object) -> str:
    """Return the text of a thing in ASCII, short, whatever it is.

    Examples
    --------
    >>> printed("a"), printed(10**5_000)
    ("'a'", '<int>')
    """
    try:
        text = ascii(thing)
    except Exception:  # noqa: BLE001 - of a class of the caller's, or a number that Python will not print
        return f"<{type(thing).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
