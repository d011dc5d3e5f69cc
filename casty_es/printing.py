"""What people are shown of what others chose: a name, a value, an error's text."""

from __future__ import annotations

import json
import logging
from typing import Final

_LONGEST: Final = 80

# What `str.isprintable` lets pass although it renders as nothing, or as a blank: fillers, joiners, variation selectors.
_BLANK: Final = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0x1D159),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)


class _Escapes(dict[int, str]):
    """What stands for a character, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        shown = character if character.isprintable() and character not in _BLANK else json.dumps(character)[1:-1]
        self[code] = shown
        return shown


_ESCAPES: Final = _Escapes()


def visible(text: str) -> str:
    r"""Return a text as one line in which everything can be seen, whoever chose it.

    Whatever could act on a terminal, begin a line, turn its direction, or stand there unseen is written as JSON
    writes it: control and bidirectional characters, line and paragraph separators, characters without a width,
    blanks other than the space, lone surrogates, and what this Python's Unicode does not know. So JSON stays the
    same JSON. A backslash stays one: where it matters which of two texts was there, JSON says it and this does not.

    Examples
    --------
    >>> print(visible("ok\n2026-11-27 FORGED"), visible("a\u202eb\U000e0001"), visible("日本 ñ"))
    ok\n2026-11-27 FORGED a\u202eb\udb40\udc01 日本 ñ
    """
    return text if text.isascii() and text.isprintable() else text.translate(_ESCAPES)


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


class _Visible:
    """What a log's message is given in place of an argument."""

    __slots__ = ("_thing",)

    def __init__(self, thing: object) -> None:
        self._thing = thing

    def __str__(self) -> str:
        return visible(str(self._thing))

    def __repr__(self) -> str:
        return visible(repr(self._thing))


def log_of(name: str) -> logging.Logger:
    """Return a logger whose messages are one line each, whatever the names and the errors in them hold."""
    logger = logging.getLogger(name)
    logger.addFilter(_shown)
    return logger


def _shown(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):  # numbers stay what they are, for %d
        record.args = tuple(one if isinstance(one, int | float) else _Visible(one) for one in record.args)
    return True
