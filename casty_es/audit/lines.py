"""The rows of a journal as lines of JSON: what exports and archives are made of.

1. Each line is one JSON object that says by ``row`` what it is: ``journal``, ``structure``, ``entity``, ``snapshot``,
   ``seal``, ``salt`` or ``event``.
2. Nothing is reinterpreted. Payloads, metadata and states are the texts that are hashed, as strings; hashes, salts and
   ids are hexadecimal; times are microseconds since 1970. So the same rows give the same bytes, whatever database they
   came from, and reading a line gives back the row.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from casty_es.errors import InvalidValueError
from casty_es.journal.port import DirectoryRow, EventRow, RetiredSalt, SealRow, StoredSnapshot, StructureRow

__all__ = [
    "EntityLine",
    "EventLine",
    "JournalLine",
    "Line",
    "SaltLine",
    "SealLine",
    "SnapshotLine",
    "StructureLine",
    "decode_line",
    "encode_line",
    "event_line",
]


class _Line(msgspec.Struct, frozen=True, gc=False, tag_field="row", forbid_unknown_fields=True):
    """One line."""


class JournalLine(_Line, frozen=True, tag="journal"):
    """The first line: what the file is, and of which journal.

    Attributes
    ----------
    format : str
        What the file is, with the version of its format.
    slots, incarnation, created_at : int
        The journal's number of slots, its incarnation, and when it was made.
    """

    format: str
    slots: int
    incarnation: int
    created_at: int


class StructureLine(_Line, frozen=True, tag="structure"):
    """A structure."""

    kind: str
    name: str
    shards: int
    keep: str | None

    def to_row(self) -> StructureRow:
        """Give the row."""
        return StructureRow(self.kind, self.name, self.shards, self.keep)


class EntityLine(_Line, frozen=True, tag="entity"):
    """An entity's row in the directory; its salt is hexadecimal."""

    id: int
    slot: int
    kind: str
    name: str
    key: str
    alive: bool
    salt: str | None
    salted_from: int

    @classmethod
    def of(cls, row: DirectoryRow) -> EntityLine:
        """Give the line of a row."""
        return cls(*row[:6], None if row.salt is None else row.salt.hex(), row.salted_from)

    def to_row(self) -> DirectoryRow:
        """Give the row."""
        salt = None if self.salt is None else bytes.fromhex(self.salt)
        return DirectoryRow(self.id, self.slot, self.kind, self.name, self.key, self.alive, salt, self.salted_from)


class SnapshotLine(_Line, frozen=True, tag="snapshot"):
    """A state of an entity, as the text that is stored."""

    entity: int
    sequence: int
    state: str
    version: int
    recorded_at: int

    def to_row(self) -> StoredSnapshot:
        """Give the snapshot."""
        return StoredSnapshot(self.sequence, self.state, self.version)


class SealLine(_Line, frozen=True, tag="seal"):
    """Where cut events stood; hashes are hexadecimal."""

    slot: int
    first: int
    last: int
    entity: int
    previous_hash: str
    hash: str
    sealed_by: int

    @classmethod
    def of(cls, slot: int, row: SealRow) -> SealLine:
        """Give the line of a row."""
        return cls(slot, row.first, row.last, row.entity, row.previous_hash.hex(), row.hash.hex(), row.sealed_by)

    def to_row(self) -> SealRow:
        """Give the row."""
        before, last = bytes.fromhex(self.previous_hash), bytes.fromhex(self.hash)
        return SealRow(self.first, self.last, self.entity, before, last, self.sealed_by)


class SaltLine(_Line, frozen=True, tag="salt"):
    """A salt that a redaction set aside and that is not destroyed yet, hexadecimal."""

    entity: int
    through: int
    salt: str

    @classmethod
    def of(cls, row: RetiredSalt) -> SaltLine:
        """Give the line of a row."""
        return cls(row.entity, row.through, row.salt.hex())

    def to_row(self) -> RetiredSalt:
        """Give the row."""
        return RetiredSalt(self.entity, self.through, bytes.fromhex(self.salt))


class EventLine(_Line, frozen=True, tag="event"):
    """One record; command id and hash are hexadecimal."""

    slot: int
    position: int
    epoch: int
    entity: int | None
    sequence: int | None
    type: str
    version: int
    payload: str
    metadata: str | None
    command_id: str | None
    idempotency_key: str | None
    recorded_at: int
    hash: str

    def to_row(self) -> EventRow:
        """Give the row."""
        return (
            self.slot,
            self.position,
            self.epoch,
            self.entity,
            self.sequence,
            self.type,
            self.version,
            self.payload,
            self.metadata,
            None if self.command_id is None else bytes.fromhex(self.command_id),
            self.idempotency_key,
            self.recorded_at,
            bytes.fromhex(self.hash),
        )


Line: TypeAlias = JournalLine | StructureLine | EntityLine | SnapshotLine | SealLine | SaltLine | EventLine

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Line).decode


def event_line(row: EventRow) -> EventLine:
    """Give the line of a record."""
    command_id = row[9]
    return EventLine(*row[:9], None if command_id is None else command_id.hex(), row[10], row[11], row[12].hex())


def encode_line(line: Line) -> bytes:
    r"""Give a line as bytes, with the line feed at its end.

    Examples
    --------
    >>> encode_line(StructureLine("counter", "hits", 100, None))
    b'{"row":"structure","kind":"counter","name":"hits","shards":100,"keep":null}\n'
    """
    return _encode(line) + b"\n"


def decode_line(text: bytes) -> Line:
    """Give the line that stands in these bytes.

    Raises
    ------
    InvalidValueError
        It is none of the lines that are known, or one with other fields.

    Examples
    --------
    >>> decode_line(encode_line(StructureLine("counter", "hits", 100, None))).to_row()
    StructureRow(kind='counter', name='hits', shards=100, keep=None)
    """
    try:
        text.decode()  # what is no text could not be stored
        line: Line = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"This line is not a row of a journal: {error}. Nothing was taken from it.") from error
    return line
