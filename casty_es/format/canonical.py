"""How a user value becomes canonical JSON: one order for whatever has none of its own.

1. Members of objects and keys of dicts are sorted by their text.
2. Members of a set that are all of one type with an order of its own (str, int, float, bytes, UUID, date, timedelta)
   have that order; all others are sorted by their canonical JSON. So a set has one order, whatever it is declared as
   and wherever it stands.

msgspec does both for dict keys that are str and for sets of those types. What is left is done by hand here: other dict
keys, sets of anything else, attributes of attrs classes that msgspec leaves out, and sets inside pydantic models
(pydantic is found by its methods and never imported). Which of the two a declared type needs is decided once, from the
type.
"""

from __future__ import annotations

import dataclasses
from base64 import urlsafe_b64encode
from collections import deque
from datetime import date, timedelta
from functools import lru_cache, partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from msgspec import inspect

from casty_es.format.respelling import in_days
from casty_es.printing import printed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# A fixed depth, not the interpreter's: what was stored under a short call stack must be readable under a long one.
MAX_DEPTH = 200

# The same on both sides: members of which msgspec's sort is a total order, whatever they hold.
_ORDERED = frozenset({str, int, float, UUID, date, timedelta, bytes})
_SORTABLE = (
    inspect.StrType,
    inspect.IntType,
    inspect.FloatType,
    inspect.UUIDType,
    inspect.DateType,
    inspect.TimeDeltaType,
    inspect.BytesType,
)
# What JSON can write as the key of an object and msgspec reads back.
_KEYS = (
    *_SORTABLE,
    inspect.AnyType,
    inspect.DecimalType,
    inspect.DateTimeType,
    inspect.TimeType,
    inspect.EnumType,
    inspect.LiteralType,
)


def type_name(kind: Any) -> str:
    """Return the name of a type for a message."""
    if isinstance(kind, type) and not hasattr(kind, "__origin__"):
        return kind.__qualname__
    try:
        return str(kind)
    except Exception:  # noqa: BLE001 - it is no type, but something of the caller's where one belongs
        return printed(kind)


def must_sort_by_hand(declared_type: Any) -> bool:
    """Return whether values of a type must pass :func:`sorted_by_hand` first; TypeError if none could be decoded."""
    by_hand = False
    seen: set[int] = set()  # a recursive type has a recursive description
    todo = [inspect.type_info(declared_type)]
    while todo:
        info = todo.pop()
        if id(info) in seen:
            continue
        seen.add(id(info))
        match info:
            case inspect.CustomType(cls=cls) if cls is not object and not is_model(cls):
                raise TypeError(f"JSON has no form for {type_name(cls)}")
            case inspect.RawType() | inspect.ExtType() | inspect.MemoryViewType():
                raise TypeError("raw and borrowed buffers are not values")
            case inspect.DictType(key_type=key):
                if not all(isinstance(k, _KEYS) for k in (key.types if isinstance(key, inspect.UnionType) else (key,))):
                    raise TypeError("a dict's keys must be of a type that JSON can write as a string")
                by_hand |= not isinstance(key, inspect.StrType | inspect.AnyType)
            case inspect.SetType(item_type=item) | inspect.FrozenSetType(item_type=item):
                by_hand |= not isinstance(item, _SORTABLE)
            case inspect.DataclassType(cls=cls) if not dataclasses.is_dataclass(cls):
                # Of an attrs class, msgspec reads the attributes with an underscore in front and does not write them.
                by_hand |= any(name.startswith("_") for name in field_names(cls) or ())
            case _:
                pass
        todo.extend(_children(info))
    return by_hand


def _children(info: inspect.Type) -> Iterator[inspect.Type]:
    for name in info.__struct_fields__:
        member = getattr(info, name)
        for item in member if isinstance(member, tuple) else (member,):
            if isinstance(item, inspect.Field):
                yield item.type
            elif isinstance(item, inspect.Type):
                yield item


def sorted_by_hand(value: Any) -> Any:
    """Turn a value into one that msgspec writes in canonical order: dict keys as text, sets as sorted lists."""
    if isinstance(value, dict):
        return {_key_text(key): sorted_by_hand(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return _in_order(value, [sorted_by_hand(member) for member in value])
    if isinstance(value, list | tuple):
        return [sorted_by_hand(item) for item in value]
    kind: Any = type(value)
    names = field_names(kind)
    return value if names is None or is_model(kind) else _members(value, names)


def _in_order(members: Collection[Any], written: list[Any]) -> list[Any]:
    """Put what the members of a set were written as in canonical order."""
    kinds = {type(member) for member in members}
    if len(kinds) == 1 and kinds <= _ORDERED:
        return [item for _, item in sorted(zip(members, written, strict=True), key=itemgetter(0))]
    return sorted(written, key=write_json)


def _members(value: Any, names: tuple[str, ...]) -> Any:
    """Write an object as msgspec would, with its parts sorted."""
    items = [sorted_by_hand(getattr(value, name)) for name in names]
    if not isinstance(value, msgspec.Struct):
        return dict(zip(names, items, strict=True))
    config = value.__struct_config__
    if config.array_like:
        return items if config.tag is None else [config.tag, *items]
    written = zip(value.__struct_encode_fields__, items, strict=True)
    members = {name: item for name, item in written if item is not msgspec.UNSET}
    return members if config.tag is None else {config.tag_field: config.tag, **members}


def _key_text(key: object) -> str:
    if type(key) is str:
        return key
    raw = write_json(key)
    return msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw.decode()


@lru_cache(maxsize=1_024)
def field_names(kind: Any) -> tuple[str, ...] | None:
    """Return the fields of a class that has fields; None for any other."""
    if issubclass(kind, msgspec.Struct):
        return tuple(kind.__struct_fields__)
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    if is_model(kind):
        return tuple(kind.model_fields)
    if hasattr(kind, "__attrs_attrs__"):
        return tuple(field.name for field in kind.__attrs_attrs__)
    return None


def is_model(kind: Any) -> bool:
    """Return whether a class is a pydantic model."""
    return hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate_json")


def _to_json(value: Any) -> Any:
    """Write what msgspec does not know: a pydantic model, in the form that its own JSON input takes."""
    kind = type(value)
    if not is_model(kind):
        raise TypeError(f"JSON has no form for {type_name(kind)}")
    return _sets_sorted(value, value.model_dump(mode="json", by_alias=True, round_trip=True, warnings=False))


def _sets_sorted(value: Any, dumped: Any) -> Any:
    """Sort what were sets before pydantic dumped them, in the order of iteration, to lists."""
    kind: Any = type(value)
    if getattr(kind, "__pydantic_root_model__", False):
        return _sets_sorted(value.root, dumped)
    if isinstance(dumped, list):
        if isinstance(value, list | tuple | set | frozenset | deque) and len(value) == len(dumped):
            items = [_sets_sorted(item, written) for item, written in zip(value, dumped, strict=True)]
            return _dumped_in_order(value, items) if isinstance(value, set | frozenset) else items
    elif isinstance(dumped, dict):
        if isinstance(value, dict) and len(value) == len(dumped):
            pairs = zip(dumped.items(), value.values(), strict=True)
            return {key: _sets_sorted(value.get(key, item), written) for (key, written), item in pairs}
        for name, item in _named_parts(value):
            if name in dumped:
                dumped[name] = _sets_sorted(item, dumped[name])
    return dumped


def _dumped_in_order(members: Collection[Any], written: list[Any]) -> list[Any]:
    """Put what pydantic wrote a set as in the same order as any other set.

    A serializer of the model's may have put it in another order than that of iteration, which differs from process to
    process: so nothing here rests on which of the members stands where.
    """
    kinds = {type(member) for member in members}
    kind: Any = next(iter(kinds)) if len(kinds) == 1 else None
    if kind in {timedelta, bytes} and not all(type(item) is float for item in written):
        keys = _durations(written) if kind is timedelta else _spelled(members, written)
        return sorted(written, key=write_json if keys is None else keys.__getitem__)
    written_as = {int: int, float: float, timedelta: float, str: str, UUID: str, date: str}.get(kind)
    return sorted(written, key=None if {type(item) for item in written} == {written_as} else write_json)


def _durations(written: list[Any]) -> dict[Any, timedelta] | None:
    try:
        return {text: msgspec.convert(in_days(text), timedelta) for text in written}
    except (TypeError, msgspec.ValidationError):  # the model spells them in a way of its own
        return None


def _spelled(members: Collection[bytes], written: list[Any]) -> dict[Any, bytes] | None:
    """Return the bytes of each text, in whichever of pydantic's spellings the model has."""
    for spelling in (partial(str, encoding="utf-8", errors="replace"), bytes.hex, _for_urls):
        spelled: dict[Any, bytes] = {spelling(member): member for member in members}
        if spelled.keys() == set(written):
            return spelled
    return None


def _for_urls(member: bytes) -> str:
    return urlsafe_b64encode(member).decode()


def _named_parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a model or dataclass by the names that pydantic writes."""
    kind: Any = type(value)
    fields = kind.model_fields if is_model(kind) else getattr(kind, "__pydantic_fields__", {})
    for name in field_names(kind) or ():
        field = fields.get(name)
        yield (field.serialization_alias or field.alias or name) if field else name, getattr(value, name)
    yield from (getattr(value, "__pydantic_extra__", None) or {}).items()


def from_json(kind: Any, plain: Any) -> Any:
    """Read what msgspec does not know; only :func:`must_sort_by_hand` lets a type come this far."""
    # As JSON text: a strict model takes a date or a UUID only from there.
    return kind.model_validate_json(msgspec.json.encode(plain)) if is_model(kind) else plain


write_json = msgspec.json.Encoder(order="sorted", enc_hook=_to_json).encode
