"""Reading what another library wrote for the same value, after a class has moved from one to the other.

pydantic and msgspec agree on the JSON of every type but two, where msgspec reads one spelling alone:

1. A duration of a year or more is ``P1Y35DT5H`` in pydantic, whose year has 365 days; msgspec reads ``P400DT5H``.
2. Bytes that a model writes as base64 are in the alphabet for URLs; msgspec reads the standard one.

Where the declared type says that such a part stands, and only there, the text is respelled. This is asked for after
reading has failed, so it costs nothing otherwise. pydantic reads both spellings itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import inspect

_YEARS: Final = re.compile(r"([+-]?)P(\d+)Y(?:(\d+)D)?((?:T.+)?)", re.ASCII)
_YEAR_DAYS: Final = 365
_LONGEST_TEXT: Final = 64  # of a duration: as numbers they would be slow to read
_STANDARD: Final = str.maketrans("-_", "+/")

# A number keeps its text: it may be a Decimal.
_read: Final = msgspec.json.Decoder(float_hook=msgspec.Raw).decode
_write: Final = msgspec.json.Encoder().encode


def respelled(declared_type: Any, raw: bytes | msgspec.Raw) -> bytes | None:
    """Return the bytes as msgspec reads them; ``None`` if there is nothing to respell."""
    try:
        plain = _read(raw)
    except (msgspec.DecodeError, RecursionError):  # it is not JSON at all
        return None
    other = _respelled(inspect.type_info(declared_type), plain)
    return None if other == plain else _write(other)


def _respelled(info: inspect.Type | None, plain: Any) -> Any:
    match info, plain:
        case inspect.UnionType(types=kinds), _:  # of those that are text, or arrays, msgspec lets a union have one
            for kind in kinds:
                plain = _respelled(kind, plain)
            return plain
        case inspect.Metadata(type=kind), _:
            return _respelled(kind, plain)
        case inspect.TimeDeltaType() | inspect.BytesType(), str():
            return in_days(plain) if isinstance(info, inspect.TimeDeltaType) else plain.translate(_STANDARD)
        case _, list():
            return _respelled_list(info, plain)
        case _, dict():
            return _respelled_dict(info, plain)
        case _:
            return plain


def _respelled_list(info: inspect.Type | None, plain: list[Any]) -> list[Any]:
    match info:
        case (
            inspect.ListType(item_type=kind)
            | inspect.SetType(item_type=kind)
            | inspect.FrozenSetType(item_type=kind)
            | inspect.VarTupleType(item_type=kind)
        ):
            return [_respelled(kind, item) for item in plain]
        case inspect.TupleType(item_types=kinds):
            return _each(kinds, plain)
        case inspect.NamedTupleType(fields=fields):
            return _each((field.type for field in fields), plain)
        case inspect.StructType(array_like=True, tag=None, fields=fields):
            return _each((field.type for field in fields), plain)
        case inspect.StructType(array_like=True, tag=tag, fields=fields) if plain[:1] == [tag]:
            return [tag, *_each((field.type for field in fields), plain[1:])]
        case _:
            return plain


def _each(kinds: Iterable[inspect.Type], plain: list[Any]) -> list[Any]:
    kinds = tuple(kinds)
    return [*map(_respelled, kinds, plain), *plain[len(kinds) :]]


def _respelled_dict(info: inspect.Type | None, plain: dict[str, Any]) -> dict[str, Any]:
    match info:
        case inspect.DictType(key_type=key_kind, value_type=kind):
            return {_respelled(key_kind, key): _respelled(kind, item) for key, item in plain.items()}
        case inspect.StructType(tag_field=str(name), tag=tag) if plain.get(name) != tag:
            return plain  # it is of another member of the union
        case (
            inspect.StructType(fields=fields)
            | inspect.DataclassType(fields=fields)
            | inspect.TypedDictType(fields=fields)
        ):
            kinds = {field.encode_name: field.type for field in fields}
            return {name: _respelled(kinds.get(name), item) for name, item in plain.items()}
        case _:
            return plain


def in_days(text: str) -> str:
    """Return a duration without its years; any other text as it is."""
    found = _YEARS.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if found is None:
        return text
    sign, years, days, rest = found.groups()
    return f"{sign}P{int(years) * _YEAR_DAYS + int(days or 0)}D{rest}"
