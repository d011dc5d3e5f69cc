"""Rows that are not as any program writes them: read all the same, and marked.

A database can hold anything where somebody may do anything in it: other types than the columns have, nothing where
something must be, text that is not UTF-8, times that no calendar has. Whoever reads the journal goes on behind such a
row. So it becomes a row of the usual class, of which every field has its type, and its subclass here says what is
wrong with it. It is the one place where rows of a database are decoded for readers; what is in the payload is looked at
in ``replay/reading.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from casty_es.journal.port import (
    DirectoryRow,
    Meta,
    NodeRow,
    RecordedEvent,
    RetiredSalt,
    SealRow,
    SlotRow,
    StoredSnapshot,
    StructureRow,
)

T = TypeVar("T")

BEHIND_ALL: Final = 2**63 - 1
"""Where SQLite sorts what is no number: behind every one. A reader that goes on behind it has seen the others."""

# The first and the last moment of a calendar with years of four digits, in microseconds since 1970.
_FIRST: Final = -62_135_596_800_000_000
_LAST: Final = 253_402_300_799_999_999


_ID: Final = 16  # bytes of a command's id, and of a salt
_HASH: Final = 32


class NotUtf8(str):
    """A text of the database that is not UTF-8: each wrong byte is a lone surrogate, as PEP 383 has it."""

    __slots__ = ()


class DamagedEvent(RecordedEvent, frozen=True):
    """A record that is none; ``damage`` says why. Its fields are of their types, and need not mean anything."""

    damage: str = ""  # what is wrong with it, in words
    lost: tuple[str, ...] = ()  # what of it says nothing, as ``damage`` calls it: ``time``, ``payload``, …


class DamagedMeta(Meta, frozen=True):
    """The same of what the migration wrote down. Its slots are those in which something stands, and may be fewer."""

    damage: str = ""


class DamagedSnapshot(StoredSnapshot, frozen=True):
    """The same of a snapshot."""

    damage: str = ""


class DamagedEntity(DirectoryRow):
    """The same of an entity's row in the directory."""

    damage = ""


class DamagedSeal(SealRow):
    """The same of a seal."""

    damage = ""


class DamagedSalt(RetiredSalt):
    """The same of a salt that was set aside."""

    damage = ""


class DamagedStructure(StructureRow):
    """The same of a structure whose kind or name is none."""

    damage = "its kind or its name is not text"


class DamagedNode(NodeRow, frozen=True):
    """The same of a process that was written down."""

    damage: str = ""


class DamagedSlot(SlotRow, frozen=True):
    """The same of who holds a slot."""

    damage: str = ""


class _Column(NamedTuple):
    name: str
    of: type
    absent: bool = False  # whether NULL is one of its values
    length: int | None = None
    behind: bool = False  # whether readers go on behind it
    time: bool = False


_EVENT: Final = (
    _Column("slot", int),
    _Column("position", int, behind=True),
    _Column("epoch", int),
    _Column("entity", int, absent=True),
    _Column("sequence", int, absent=True, behind=True),
    _Column("type", str),
    _Column("version", int),
    _Column("payload", str),
    _Column("metadata", str, absent=True),
    _Column("command id", bytes, absent=True, length=_ID),
    _Column("idempotency key", str, absent=True),
    _Column("time", int, time=True),
    _Column("hash", bytes, length=_HASH),
)
_SNAPSHOT: Final = (
    _Column("sequence", int, behind=True),
    _Column("state", str),
    _Column("version", int),
    _Column("time", int),
)
_ENTITY: Final = (
    _Column("id", int, behind=True),
    _Column("slot", int),
    _Column("kind", str),
    _Column("name", str),
    _Column("key", str),
    _Column("alive", bool),
    _Column("salt", bytes, absent=True, length=_ID),
    _Column("salted_from", int),
)
_SEAL: Final = (
    _Column("first", int),
    _Column("last", int, behind=True),
    _Column("entity", int),
    _Column("previous hash", bytes, length=_HASH),
    _Column("hash", bytes, length=_HASH),
    _Column("sealed_by", int),
)
_NODE: Final = (
    *(_Column(name, str) for name in ("node id", "host")),
    _Column("pid", int),
    _Column("address", str, absent=True),
    *(_Column(name, int) for name in ("started_at", "seen_at")),
)
_SLOT: Final = (_Column("slot", int), _NODE[0], _NODE[3], *(_Column(name, int) for name in ("epoch", "since")))
_RETIRED_SALT: Final = (_Column("entity", int), _Column("through", int), _Column("salt", bytes, length=_ID))

_WORDS: Final = {int: "a whole number", str: "text", bytes: "bytes", bool: "true or false"}
_NOTHING: Final[dict[type, Any]] = {int: 0, str: "", bytes: b"", bool: False}


def event_of(row: Sequence[Any]) -> RecordedEvent:
    """Return a record.

    Examples
    --------
    >>> damage_of(event_of((0, 1, 1, None, None, "lease.acquired", 1, None, None, None, None, 0, bytes(32))))
    'its payload is missing'
    """
    # What nearly all rows are: this costs less than a microsecond.
    _, position, epoch, entity, sequence, type_, _, payload, metadata, command, _, time, hash_ = row
    if (
        type(payload) is type(type_) is str
        and type(position) is type(epoch) is type(time) is int
        and type(hash_) is bytes
        and _FIRST <= time <= _LAST
        and (metadata is None or type(metadata) is str)
        and (command is None or (type(command) is bytes and len(command) == _ID))
        and (entity is None or type(entity) is type(sequence) is int)
        and len(hash_) == _HASH
        and type(row[0]) is type(row[6]) is int
        and (row[10] is None or type(row[10]) is str)
    ):
        return RecordedEvent(*row)
    fields, damage = _mended(row, _EVENT)
    if not damage:
        return RecordedEvent(*fields)
    lost = tuple(column.name for value, column in zip(row, _EVENT, strict=True) if _why(value, column) is not None)
    made: Any = DamagedEvent
    return made(*fields, damage, lost)  # type: ignore[no-any-return]


def snapshot_of(row: Sequence[Any]) -> StoredSnapshot:
    """Return a snapshot, with its time if the row has it."""
    fields, damage = _mended(row, _SNAPSHOT)
    if not damage:
        return StoredSnapshot(*fields)
    made: Any = DamagedSnapshot
    return made(*fields, *[0] * (len(_SNAPSHOT) - len(fields)), damage)  # type: ignore[no-any-return]


def entity_of(row: Sequence[Any]) -> DirectoryRow:
    """Return an entity's row in the directory."""
    if row[5] in (0, 1):  # as SQLite has it
        row = (*row[:5], bool(row[5]), *row[6:])
    return _marked(row, _ENTITY, DirectoryRow, DamagedEntity)


def seal_of(row: Sequence[Any]) -> SealRow:
    """Return a seal."""
    return _marked(row, _SEAL, SealRow, DamagedSeal)


def retired_salt_of(row: Sequence[Any]) -> RetiredSalt:
    """Return a salt that was set aside."""
    return _marked(row, _RETIRED_SALT, RetiredSalt, DamagedSalt)


def node_of(row: Sequence[Any]) -> NodeRow:
    """Return a process that was written down: a hint, so what is damaged says nothing."""
    (node_id, host, pid, address, *times), damage = _mended(row, _NODE)
    made: Any = partial(DamagedNode, damage=damage) if damage else NodeRow
    return made(node_id, host, pid, address or None, *times)  # type: ignore[no-any-return]


def slot_of(row: Sequence[Any]) -> SlotRow:
    """Return who holds a slot: a hint, so what is damaged says nothing."""
    (_, node_id, address, epoch, since), damage = _mended(row, _SLOT)
    made: Any = partial(DamagedSlot, damage=damage) if damage else SlotRow
    return made(number_of(row[0], -1), node_id, address or None, epoch, since)  # type: ignore[no-any-return]


def damage_of(row: object) -> str | None:
    """Return why a row is none that any program writes; ``None`` if it is one."""
    return getattr(row, "damage", None)


def lost_of(row: object) -> tuple[str, ...]:
    """Return what of a row says nothing, because something else stood there."""
    lost: tuple[str, ...] = getattr(row, "lost", ())
    return lost


def in_calendar(microseconds: int) -> bool:
    """Return whether a time has a date of four digits.

    Examples
    --------
    >>> in_calendar(0), in_calendar(2**62)
    (True, False)
    """
    return _FIRST <= microseconds <= _LAST


def decoded_text(raw: bytes) -> str:
    """Return a text of the database, whatever its bytes are."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return NotUtf8(raw.decode(errors="surrogateescape"))


def clamped(microseconds: int) -> int:
    """Return a time, or the first or last that a calendar has."""
    return min(max(microseconds, _FIRST), _LAST)


def number_of(value: object, otherwise: int = 0) -> int:
    """Return a number that is nothing but a hint, and something else where it is none."""
    return value if type(value) is int else otherwise


def text_of(value: object) -> str:
    """Return a text that can be shown and written, whatever it was."""
    if isinstance(value, NotUtf8):
        return value.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return value if type(value) is str else ""


def _marked(row: Sequence[Any], columns: Sequence[_Column], sound: Callable[..., T], damaged: Callable[..., T]) -> T:
    fields, damage = _mended(row, columns)
    if not damage:
        return sound(*fields)
    marked: Any = damaged(*fields)
    marked.damage = damage
    return marked  # type: ignore[no-any-return]  # it is a subclass of T


def _mended(row: Sequence[Any], columns: Sequence[_Column]) -> tuple[list[Any], str]:
    """Return a row whose fields have their types, and what was wrong with it."""
    fields, wrong = [], []
    for value, column in zip(row, columns, strict=False):
        why = _why(value, column)
        if why is not None:
            wrong.append(f"its {column.name} {why}")
            value = _instead(value, column)  # noqa: PLW2901 - from here on it is that
        fields.append(value)
    return fields, ", ".join(wrong)


def _why(value: Any, column: _Column) -> str | None:
    if value is None:
        return None if column.absent else "is missing"
    if isinstance(value, NotUtf8):
        return "is not UTF-8"
    if type(value) is not column.of:
        return f"is not {_WORDS[column.of]}"
    if isinstance(value, bytes) and column.length is not None and len(value) != column.length:
        return f"has {len(value)} bytes, not {column.length}"
    if column.time and isinstance(value, int) and not in_calendar(value):
        return f"is {value} microseconds from 1970, which no calendar has"
    return None


def _instead(value: Any, column: _Column) -> Any:
    if column.of is str:
        return text_of(value)
    if column.time:
        return clamped(number_of(value))
    if column.of is int and isinstance(value, float | Decimal) and math.isfinite(value):
        number = min(math.ceil(value), BEHIND_ALL)
        if column.behind or number == value:  # a column of another type can hold the same numbers
            return number
    if column.behind and value is not None:
        return BEHIND_ALL
    if column.length is not None:
        return None if column.absent else bytes(column.length)
    return None if column.absent else _NOTHING[column.of]
