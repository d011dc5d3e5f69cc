"""Rows of a SQL database as the values of the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from casty_es.errors import ConfigurationError, JournalCorruptError, SchemaError
from casty_es.journal.damaged import BEHIND_ALL, clamped, entity_of, event_of, number_of, text_of
from casty_es.journal.port import DirectoryRow, Head, Meta, NodeRow, RecordedEvent, SlotRow, StructureRow

__all__ = [
    "directory_of",
    "events_of",
    "heads_of",
    "incarnation_of",
    "meta_of",
    "node_of",
    "secret_of",
    "shards_of",
    "slot_of",
    "structure_of",
]

_MOST_SLOTS: Final = 8_192
_MOST_SHARDS: Final = 2**31 - 1


def meta_of(rows: Sequence[Sequence[Any]]) -> Meta:
    """Return what the migration wrote down.

    Raises
    ------
    SchemaError
        It is not there.
    JournalCorruptError
        It is nothing that a migration writes.
    """
    if not rows:
        raise SchemaError(
            "The journal's table casty_meta is empty. Nothing was opened. If an import or a copy into it is not "
            "complete, run the same `casty-es import` or `casty-es copy` again, and it goes on. Else its row was "
            "deleted: restore the row, or the database, from a backup."
        )
    slots, incarnation, created_at = rows[0]
    if type(slots) is not int or not 1 <= slots <= _MOST_SLOTS:
        raise _damaged_meta("slots", slots, f"a number from 1 to {_MOST_SLOTS:,}")
    return Meta(slots, incarnation_of(incarnation), number_of(created_at))


def incarnation_of(value: Any) -> int:
    """Return the journal's incarnation.

    Raises
    ------
    JournalCorruptError
        It is no number from 1 on: fencing tokens that are made with it could go back.
    """
    if type(value) is not int or value < 1:
        raise _damaged_meta("incarnation", value, "a number from 1 on")
    return value


def _damaged_meta(column: str, value: object, must: str) -> JournalCorruptError:
    return JournalCorruptError(
        f"The journal's table casty_meta is damaged: {column} is {str(value)[:40]!a}, and must be {must}. Nothing was "
        f"done. Restore that row, or the database, from a backup."
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


def directory_of(rows: Sequence[Sequence[Any]]) -> list[DirectoryRow]:
    """Return rows of the directory."""
    return [entity_of(row) for row in rows]


def events_of(rows: Sequence[Sequence[Any]]) -> list[RecordedEvent]:
    """Return records."""
    return [event_of(row) for row in rows]


def shards_of(value: Any) -> int | None:
    """Return a structure's recorded number of shards; ``None`` for what can be no such number."""
    return value if type(value) is int and 1 <= value <= _MOST_SHARDS else None


def structure_of(row: Sequence[Any]) -> StructureRow:
    """Return a structure; 0 shards where its number can be none."""
    kind, name, shards, keep = row
    return StructureRow(text_of(kind), text_of(name), shards_of(shards) or 0, None if keep is None else text_of(keep))


def node_of(row: Sequence[Any]) -> NodeRow:
    """Return a process that was written down: a hint, so what is damaged says nothing."""
    node_id, host, pid, address, started_at, seen_at = row
    where = text_of(address) or None
    return NodeRow(text_of(node_id), text_of(host), number_of(pid), where, number_of(started_at), number_of(seen_at))


def slot_of(row: Sequence[Any]) -> SlotRow:
    """Return who holds a slot: a hint, so what is damaged says nothing."""
    slot, node_id, address, epoch, since = row
    return SlotRow(number_of(slot, -1), text_of(node_id), text_of(address) or None, number_of(epoch), number_of(since))


def secret_of(rows: Sequence[Sequence[Any]]) -> bytes:
    """Return the cluster's secret.

    Raises
    ------
    ConfigurationError
        There is none.
    """
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
