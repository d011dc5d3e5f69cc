"""Rows of a SQL database as the values of the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from casty_es.errors import SchemaError
from casty_es.journal.port import DirectoryRow, Meta, RecordedEvent

__all__ = ["directory_of", "events_of", "meta_of"]


def meta_of(rows: Sequence[Sequence[Any]]) -> Meta:
    """Return what the migration wrote down.

    Raises
    ------
    SchemaError
        It is not there, because an import is not complete.
    """
    if rows:
        return Meta(*rows[0])
    raise SchemaError(
        "The journal's table casty_meta is empty: an import or a copy into it is not complete. Nothing was opened. Run "
        "the same `casty-es import` or `casty-es copy` again, and it goes on; or begin with a new database."
    )


def directory_of(rows: Sequence[Sequence[Any]]) -> list[DirectoryRow]:
    """Return rows of the directory."""
    return [
        DirectoryRow(id_, slot, kind, name, key, bool(alive), salt, salted_from)
        for id_, slot, kind, name, key, alive, salt, salted_from in rows
    ]


def events_of(rows: Sequence[Sequence[Any]]) -> list[RecordedEvent]:
    """Return records."""
    return [RecordedEvent(*row) for row in rows]
