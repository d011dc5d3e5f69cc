"""Whether the value that came back is the one that went in.

Two values are the same when they are of one type and the parts that make them are the same, at every depth. Python's
``==`` says something else: it calls ``True`` and ``1`` equal, ``-0.0`` and ``0.0``, ``Decimal("1.0")`` and
``Decimal("1")``; and two times of different zones never, when one of them is in a repeated or skipped hour (PEP 495).

1. A time with a zone is what its clock shows and how far that is from UTC. The zone's name is not a part: it comes back
   as that offset. ``fold`` is not either, because it has done its work when the offset is known.
2. A time without a zone is what its clock shows and its ``fold``.
3. Members of sets, and keys, are paired by ``==`` where that finds a partner, and else by their canonical JSON.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from itertools import repeat
from typing import TYPE_CHECKING, Any

from casty_es.format.canonical import MAX_DEPTH, field_names, is_model, sorted_by_hand, type_name, write_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

# CPython and msgspec read integers of up to 4,300 digits.
MAX_DIGITS = 4_000
_INT_BOUND = 10**MAX_DIGITS

_DIFFERENT = " comes back different"
# Of these, two of one type are the same when they are equal, and they are most parts of most values.
_PLAIN = frozenset({str, int, bool, type(None), bytes})


def difference(sent: Any, back: Any, depth: int = MAX_DEPTH) -> str:
    """Return where and how the value that came back is another one; empty if it is the same, part by part."""
    kind: Any = type(sent)
    if kind is float and not math.isfinite(sent):
        return " is not a finite number"
    if kind is int and not -_INT_BOUND < sent < _INT_BOUND:
        return f" has more than {MAX_DIGITS:,} digits"
    if kind is not type(back) and not (kind is int and type(back) is float):
        return f" is of type {type_name(kind)} and comes back as {type_name(type(back))}"
    if kind in _PLAIN:
        return "" if sent == back else _DIFFERENT
    parts = None if kind is float or isinstance(sent, Enum) else _parts(sent, back)
    if parts is None:
        return _leaf_difference(sent, back)
    return _first_difference(parts, depth - 1) if depth else f" is nested deeper than {MAX_DEPTH} levels"


def _first_difference(parts: Iterable[tuple[str, object, Any, Any]], depth: int) -> str:
    for form, label, one, other in parts:
        if one.__class__ is other.__class__ and one == other:
            kind = one.__class__
            # Most parts of most values. Zero has a sign, and infinity less itself is not zero.
            if kind is str or (kind is float and one and one - one == 0.0):
                continue
        if found := difference(one, other, depth):
            return form.format(label) + found
    return ""


def _leaf_difference(sent: Any, back: Any) -> str:
    """Compare two of one type that have no parts of their own in JSON."""
    match sent:
        case Enum():
            same = sent is back
        case float():
            same = sent == back and math.copysign(1.0, sent) == math.copysign(1.0, back)
        case datetime() | time():
            return _time_difference(sent, back)
        case Decimal():
            same = not sent.is_nan() and sent.as_tuple() == back.as_tuple()
        case complex():
            same = repr(sent) == repr(back)
        case _:
            same = sent == back
    return "" if same else _DIFFERENT


def _time_difference(sent: datetime | time, back: datetime | time) -> str:
    if sent.tzinfo is None and sent.fold:
        return (
            " is the second of two moments that a clock shows alike (fold=1), which JSON does not tell from the first: "
            "give it a time zone, or fold=0"
        )
    ours, theirs = ((one.replace(tzinfo=None, fold=0), one.tzinfo is None, one.utcoffset()) for one in (sent, back))
    return "" if ours == theirs else _DIFFERENT


def _parts(sent: Any, back: Any) -> Iterable[tuple[str, object, Any, Any]] | None:
    """Pair up the parts of two values of one type, each with its place; None if they have no parts."""
    if isinstance(sent, list | tuple | dict | set | frozenset | deque) and len(sent) != len(back):
        return [(" (its length)", None, len(sent), len(back))]
    if isinstance(sent, list | tuple | deque):
        return zip(repeat("[{}]"), range(len(sent)), sent, back, strict=False)
    if isinstance(sent, dict):
        return _items(sent, back)
    if isinstance(sent, set | frozenset):
        return [] if _obvious(sent, back) else [(" (a member)", None, one, other) for one, other in _paired(sent, back)]
    kind: Any = type(sent)
    names = field_names(kind)
    if names is None:
        return None
    if is_model(kind):
        names += ("__pydantic_extra__", "__pydantic_private__")
    return [(".{}", name, getattr(sent, name, _Missing), getattr(back, name, _Missing)) for name in names]


def _items(sent: Any, back: Any) -> Iterator[tuple[str, object, Any, Any]]:
    if not isinstance(sent, OrderedDict) and _obvious(sent.keys(), back.keys()):
        for key, item in sent.items():
            yield "[{!a:.40}]", key, item, back[key]
        return
    # Order is a part of an OrderedDict alone: two dicts are equal in any.
    pairs = list(zip(sent, back, strict=True) if isinstance(sent, OrderedDict) else _paired(sent, back))
    for key, other in pairs:
        yield " (a key)", None, key, other
    for key, other in pairs:
        yield "[{!a:.40}]", key, sent[key], back[other]


def _obvious(sent: Any, back: Any) -> bool:
    """Say without a look at each whether members or keys are the same; of most sets and dicts it can be said."""
    kinds = set(map(type, sent))
    if kinds == {int}:
        return sent == back and kinds == set(map(type, back)) and -_INT_BOUND < min(sent) <= max(sent) < _INT_BOUND
    return kinds == {str} and sent == back and kinds == set(map(type, back))


def _paired(sent: Collection[Any], back: Collection[Any]) -> list[tuple[Any, Any]]:
    """Return each member or key its partner of those that came back, of which there are as many."""
    unpaired = dict(zip(back, back, strict=True))
    pairs, alone = [], []
    for member in sent:
        other = unpaired.pop(member, _Missing)
        if other is _Missing:
            alone.append(member)
        else:
            pairs.append((member, other))
    if alone:
        pairs += zip(sorted(alone, key=_text), sorted(unpaired, key=_text), strict=True)
    return pairs


def _text(member: Any) -> bytes:
    return write_json(sorted_by_hand(member))


class _Missing:
    """Stands for a part that did not come back: equal to nothing that a value can hold."""
