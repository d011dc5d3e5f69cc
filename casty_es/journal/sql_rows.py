"""Rows of a SQL database as the values of the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from casty_es.errors import ConfigurationError, JournalCorruptError, SchemaError
from casty_es.journal.damaged import BEHIND_ALL, DamagedMeta, DamagedStructure, clamped, number_of, text_of
from casty_es.journal.port import Head, Meta, StructureRow
from casty_es.journal.remembered import ClosedSlot, Mark

_MOST_SLOTS: Final = 8_192
_RESTORE: Final = "Restore that row, or the database, from a backup."
_EMPTY: Final = "The journal's table casty_meta is empty."
_EMPTY_REMEDY: Final = (
    "If an import or a copy into it is not complete, run the same `casty-es import` or `casty-es copy` again, and it "
    "goes on. Else its row was deleted: restore the row, or the database, from a backup."
)
_MOST_SHARDS: Final = 2**31 - 1


def meta_of(rows: Sequence[Sequence[Any]]) -> Meta:
    """Return what the migration wrote down.

    Raises ``SchemaError`` if it is not there, ``JournalCorruptError`` if no migration writes it.
    """
    if not rows:
        raise SchemaError(f"{_EMPTY} Nothing was opened. {_EMPTY_REMEDY}")
    slots, incarnation, created_at = rows[0]
    if not _are_slots(slots):
        raise _damaged_meta(_wrong_slots(slots))
    return Meta(slots, incarnation_of(incarnation), number_of(created_at))


def meta_to_read_by(rows: Sequence[Sequence[Any]], last_slot: Any, *, every_slot: bool) -> Meta:
    """Return what the migration wrote down, or as much of it as readers need to go through all records.

    ``last_slot`` is the last one with a record, as the database says. With ``every_slot`` a smaller number of slots
    is damage, and not that record.
    """
    among = min(number_of(last_slot) + 1, _MOST_SLOTS)
    if not rows:
        return DamagedMeta(among, 1, 0, f"{_EMPTY} {_EMPTY_REMEDY}")
    slots, incarnation, created_at = rows[0]
    wrong = None if _is_incarnation(incarnation) else _wrong_incarnation(incarnation)
    if not _are_slots(slots):
        wrong, slots = _wrong_slots(slots), among
    elif every_slot and slots < among:
        wrong, slots = _wrong("slots", slots, f"above {among - 1}, where records stand"), among
    if wrong is None:
        return Meta(slots, incarnation, number_of(created_at))
    return DamagedMeta(slots, 1, number_of(created_at), f"{wrong} {_RESTORE}")


def incarnation_of(value: Any) -> int:
    """Return the journal's incarnation, a number from 1 on: by less, fencing tokens could go back."""
    if not _is_incarnation(value):
        raise _damaged_meta(_wrong_incarnation(value))
    return int(value)


def _are_slots(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _MOST_SLOTS


def _is_incarnation(value: Any) -> bool:
    return type(value) is int and value >= 1


def _wrong_slots(value: object) -> str:
    return _wrong("slots", value, f"a number from 1 to {_MOST_SLOTS:,}")


def _wrong_incarnation(value: object) -> str:
    return _wrong("incarnation", value, "a number from 1 on")


def _wrong(column: str, value: object, must: str) -> str:
    return f"The journal's table casty_meta is damaged: {column} is {str(value)[:40]!a}, and must be {must}."


def _damaged_meta(wrong: str) -> JournalCorruptError:
    return JournalCorruptError(f"{wrong} Nothing was done. {_RESTORE}")


def no_entity_id(value: object) -> JournalCorruptError:
    """Return the error of a directory row by which no event can be found."""
    return JournalCorruptError(
        f"An id in casty_entities is {str(value)[:40]!a}, which is no whole number. Nothing was done. {_RESTORE}"
    )


def heads_of(rows: Sequence[Sequence[Any]]) -> dict[int, Head]:
    """Return the heads of slots. One that is damaged stands behind all that can be read.

    A time that no calendar has is brought into it, or whoever writes next would have to go on with such times.
    """
    return {
        slot: Head(
            position if type(position) is int else BEHIND_ALL,
            hash_ if type(hash_) is bytes else b"",
            number_of(epoch),
            clamped(number_of(time)),
        )
        for slot, position, hash_, epoch, time in rows
    }


def shards_of(value: Any) -> int | None:
    """Return a structure's recorded number of shards; ``None`` for what can be no such number."""
    return value if type(value) is int and 1 <= value <= _MOST_SHARDS else None


def structure_of(row: Sequence[Any]) -> StructureRow:
    """Return a structure; 0 shards where its number can be none."""
    kind, name, shards, keep = row
    made = DamagedStructure if type(kind) is not str or type(name) is not str else StructureRow
    return made(text_of(kind), text_of(name), shards_of(shards) or 0, None if keep is None else text_of(keep))


def closed_of(row: Sequence[Any]) -> ClosedSlot:
    """Return a closed slot. What is damaged in it keeps it closed: nobody can tell any more what it has lost."""
    slot, incarnation, position, hash_, found, node_id, closed_at = row
    mark = Mark(
        number_of(incarnation, BEHIND_ALL), number_of(position, BEHIND_ALL), hash_ if type(hash_) is bytes else b""
    )
    return ClosedSlot(slot, mark, number_of(found), text_of(node_id), number_of(closed_at))


def secret_of(rows: Sequence[Sequence[Any]]) -> bytes:
    """Return the cluster's secret; ``ConfigurationError`` if there is none."""
    if not rows:
        raise ConfigurationError(
            "The journal has no cluster secret: casty_secrets has no row named 'cluster'. Nothing was started. "
            "Insert one of 32 random bytes, or give the secret with secret=."
        )
    [[secret]] = rows
    if type(secret) is not bytes or not secret:
        raise ConfigurationError(
            "The cluster secret in casty_secrets is not bytes. Nothing was started. Replace it by 32 random bytes "
            "while no node runs, or give the secret with secret=."
        )
    return secret
