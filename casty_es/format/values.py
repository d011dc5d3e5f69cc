"""User values <-> canonical JSON bytes.

The rules:

1. Equal values of one declared type give equal bytes: object members, dict keys and set members are sorted, and what
   is written is the value as it comes back. Equality of set members and compare-and-set is equality of these bytes. A
   set has one order, whatever class of whatever library it is in (``canonical.py``).
2. What goes in comes back: every value is decoded once before it is sent, and compared part by part, types included
   (``sameness.py``). ``True`` is not ``1``, a tuple is not a list, a subclass is not its parent. The one exception is
   PEP 484's: an int where a float is declared is taken if it is exactly that float, and is written as the float.
3. What a type tells apart stays apart, even where Python calls it equal: ``-0.0`` and ``0.0``, ``Decimal("1.0")`` and
   ``Decimal("1.00")``, one instant in two offsets are different bytes. A time zone comes back as its fixed offset, and
   a naive time with ``fold=1``, which JSON would lose, is refused.
4. What another library wrote for the same type is read (``respelling.py``).
5. Bytes become objects through the declared type only: no byte ever names a class, a module or a function.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar, overload
from uuid import UUID

import msgspec

from casty_es.errors import InvalidTypeError, InvalidValueError
from casty_es.format.canonical import (
    MAX_DEPTH,
    from_json,
    must_sort_by_hand,
    sorted_by_hand,
    type_name,
    write_json,
)
from casty_es.format.respelling import respelled
from casty_es.format.sameness import MAX_DIGITS, difference

V = TypeVar("V")

MAX_VALUE_BYTES = 1_048_576

# Exactly these come back equal by construction, so they need no second look.
_PLAIN = (str, bool, bytes, UUID)
_INSTEAD = (
    "Declare a type that JSON can carry: str, int, float, bool, None, list, dict, tuple, set, datetime, UUID, Decimal, "
    "bytes, an enum, a dataclass, an attrs class, a msgspec Struct, a pydantic model, or an Optional of one."
)


class ValueCodec(Generic[V]):
    """Encodes values of one declared type to canonical JSON bytes, and decodes them.

    Parameters
    ----------
    declared_type : type[V]
        What every value is. ``Any`` and ``object`` mean the JSON types.
    max_bytes : int
        The most bytes that one value may take (the setting ``max_value_bytes``).

    Raises
    ------
    InvalidTypeError
        The declared type is not a type, or no value of it could be decoded.

    Examples
    --------
    >>> codec = ValueCodec(dict[str, float])
    >>> codec.encode({"b": 2, "a": 0.5})
    b'{"a":0.5,"b":2.0}'
    >>> codec.decode(b'{"a":0.5}')
    {'a': 0.5}
    """

    __slots__ = ("_by_hand", "_decoder", "_plain", "declared_type", "max_bytes")

    def __init__(self, declared_type: type[V], *, max_bytes: int = MAX_VALUE_BYTES) -> None:
        self.declared_type = declared_type
        self.max_bytes = max_bytes
        self._plain = declared_type if declared_type in _PLAIN else None
        try:
            self._by_hand = must_sort_by_hand(declared_type)
            self._decoder: msgspec.json.Decoder[V] = msgspec.json.Decoder(declared_type, dec_hook=from_json)
        except Exception as error:  # annotations of user classes are resolved here
            raise InvalidTypeError(
                f"values of {type_name(declared_type)} cannot be stored: {error}. Nothing was sent. {_INSTEAD}"
            ) from error

    def encode(self, value: V) -> bytes:
        """Return the canonical bytes of a value: JSON in UTF-8, without NUL, at most ``max_bytes`` long.

        Raises ``InvalidValueError`` if it cannot be written, would not come back equal, or is too large.
        Nothing was stored.

        Examples
        --------
        >>> ValueCodec(set[str]).encode({"b", "a"})
        b'["a","b"]'
        """
        try:
            raw = self._write(value)
            _check_size(raw, self.max_bytes)
            if type(value) is self._plain:
                return raw
            back = self._decoder.decode(raw)
            problem = difference(value, back)
            if not problem:
                raw = self._write(back)
        except InvalidValueError:
            raise
        except RecursionError as error:
            raise self._refusal(value, f": it is nested deeper than {MAX_DEPTH} levels") from error
        except Exception as error:  # constructors and serializers of user classes run here
            raise self._refusal(value, f": {str(error) or type(error).__name__}") from error
        if problem:
            raise self._refusal(value, f": the value{problem}")
        _check_size(raw, self.max_bytes)
        return raw

    def decode(self, raw: bytes | msgspec.Raw) -> V:
        """Return a new object, equal to the value that was encoded; ``InvalidValueError`` if it is of another type.

        Examples
        --------
        >>> ValueCodec(int).decode(b"3")
        3
        """
        try:
            return self._read(raw)
        except Exception as error:  # constructors and validators of user classes run here
            msg = (
                f"a stored value is not of {type_name(self.declared_type)}: {error}. "
                "Declare the type that it was written under."
            )
            raise InvalidValueError(msg) from error

    def _read(self, raw: bytes | msgspec.Raw) -> V:
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError:
            other = respelled(self.declared_type, raw)
            if other is None:
                raise
            return self._decoder.decode(other)

    def _write(self, value: object) -> bytes:
        return write_json(sorted_by_hand(value) if self._by_hand else value)

    def _refusal(self, value: object, reason: str) -> InvalidValueError:
        return InvalidValueError(
            f"a value of {type_name(type(value))} cannot be stored as {type_name(self.declared_type)}{reason}. "
            "Nothing was stored. Give a value that JSON can carry, finite and of exactly the declared type, "
            "or declare another type."
        )


def _check_size(raw: bytes, max_bytes: int) -> None:
    if len(raw) > max_bytes:
        msg = (
            f"the value takes {len(raw):,} bytes as JSON, the limit max_value_bytes is {max_bytes:,}. "
            "Nothing was stored. Split the value, or raise max_value_bytes on every node."
        )
        raise InvalidValueError(msg)


def check_canonical(raw: bytes | msgspec.Raw, max_bytes: int) -> None:
    """Refuse bytes of another process that :meth:`ValueCodec.encode` writes for no value of any type.

    They are no JSON, not canonical, too long or too deep, or hold a number that nobody can read.

    Examples
    --------
    >>> check_canonical(b'{"a":1,"b":[]}', 100)
    """
    text = bytes(raw)
    if write_json(check_readable(text, max_bytes)) != text:
        raise InvalidValueError(
            "the value is not in canonical form: members sorted and each there once, no blanks, numbers as they are "
            "written here. Nothing was stored."
        )


def check_readable(raw: bytes | msgspec.Raw, max_bytes: int) -> Any:
    """Return what bytes of another process hold, if some type could read it.

    Not if they are no JSON, too long or too deep, or hold a number that nobody can read.

    Examples
    --------
    >>> check_readable(b'[1, 2]', 100)
    [1, 2]
    """
    text = bytes(raw)
    _check_size(text, max_bytes)
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"the value cannot be read: {error}. Nothing was stored.") from error
    if len(text) > MAX_DEPTH:  # a shorter one has no room for what is refused here
        if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
            raise InvalidValueError(f"the value is nested deeper than {MAX_DEPTH} levels. Nothing was stored.")
        if _MANY_DIGITS.search(text) and _MANY_DIGITS.search(_STRINGS.sub(b"", text)):
            raise InvalidValueError(f"the value holds a number of more than {MAX_DIGITS:,} digits. Nothing was stored.")
    return value


def _depth(text: bytes) -> int:
    """Return how deep JSON is nested, no further than one beyond the deepest that is allowed."""
    brackets = _STRINGS.sub(b"", text).translate(_SQUARE, _NO_BRACKETS)
    depth = 0
    while brackets and depth <= MAX_DEPTH:
        brackets = brackets.replace(b"[]", b"")
        depth += 1
    return depth


# Neither goes back over what it has passed: a long value costs no more than its length.
_STRINGS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"')
_MANY_DIGITS: Final = re.compile(rb"(?<![0-9])[0-9]{%d}" % (MAX_DIGITS + 1))
_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


@overload
def value_codec(declared_type: type[V], max_bytes: int = ...) -> ValueCodec[V]: ...
@overload
def value_codec(declared_type: object, max_bytes: int = ...) -> ValueCodec[Any]: ...
def value_codec(declared_type: Any, max_bytes: int = MAX_VALUE_BYTES) -> ValueCodec[Any]:
    """Return the codec of a declared type, made once and then shared. See :class:`ValueCodec`.

    Examples
    --------
    >>> value_codec(list[int]) is value_codec(list[int])
    True
    """
    try:
        hash(declared_type)
    except TypeError:  # such as Annotated with a list in it
        return ValueCodec(declared_type, max_bytes=max_bytes)
    return _shared_codec(declared_type, max_bytes)


@lru_cache(maxsize=512)
def _shared_codec(declared_type: Any, max_bytes: int) -> ValueCodec[Any]:
    return ValueCodec(declared_type, max_bytes=max_bytes)
