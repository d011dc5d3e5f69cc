"""The rows of a journal as lines of JSON: what exports and archives are made of.

1. Each line is one JSON object that says by ``row`` what it is: ``journal``, ``structure``, ``slot``, ``entity``,
   ``snapshot``, ``seal``, ``salt``, ``event``, ``damaged`` or ``end``.
2. Nothing is reinterpreted. Payloads, metadata and states are the texts that are hashed, as strings; hashes, salts and
   ids are hexadecimal; times are microseconds since 1970. So the same rows give the same bytes, whatever database they
   came from, and reading a line gives back the row.
"""

from __future__ import annotations

from hashlib import sha256
from sys import getsizeof
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from casty_es.errors import InvalidValueError
from casty_es.journal.port import DirectoryRow, EventRow, RetiredSalt, SealRow, StoredSnapshot, StructureRow

# What a database could not hold is refused here, and so is text that is not hexadecimal.
_Int: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
_BigInt: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
_Hash: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
_Salt: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]


class _Line(msgspec.Struct, frozen=True, gc=False, tag_field="row", forbid_unknown_fields=True):
    """One line."""


class JournalLine(_Line, frozen=True, tag="journal"):
    """The first line: what the file is, and of which journal."""

    format: str  # what the file is, with the version of its format
    slots: Annotated[int, Meta(ge=1, le=8192)]  # the journal's number of slots, its incarnation, and when it was made
    incarnation: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
    created_at: _BigInt


class StructureLine(_Line, frozen=True, tag="structure"):
    """A structure."""

    kind: str
    name: str
    shards: Annotated[int, Meta(ge=1, le=(1 << 31) - 1)]
    keep: str | None

    def to_row(self) -> StructureRow:
        """Return the row."""
        return StructureRow(self.kind, self.name, self.shards, self.keep)


class SlotLine(_Line, frozen=True, tag="slot"):
    """Where a slot begins: its last record, and a digest of all lines before this one that no chain protects."""

    slot: _Int
    position: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]  # of the slot's last record that is in the file
    hash: _Hash  # its hash, hexadecimal
    digest: _Hash  # SHA-256, hexadecimal: see ``after_line``


class EndLine(_Line, frozen=True, tag="end"):
    """The last line: how many slots there were, and the digest of the lines before."""

    slots: _Int
    digest: _Hash


class DamagedLine(_Line, frozen=True, tag="damaged"):
    """A row that is none that any program writes, in its place: what it holds cannot be written down."""

    of: str  # what kind of row it is, as ``row`` of the others says
    slot: int  # where it stands
    number: int  # its position, or its id, as far as it has one
    why: str  # what is wrong with it


class EntityLine(_Line, frozen=True, tag="entity"):
    """An entity's row in the directory; its salt is hexadecimal."""

    id: _BigInt
    slot: _Int
    kind: str
    name: str
    key: str
    alive: bool
    salt: _Salt | None
    salted_from: _BigInt

    @classmethod
    def of(cls, row: DirectoryRow) -> EntityLine:
        """Return the line of a row."""
        return cls(*row[:6], None if row.salt is None else row.salt.hex(), row.salted_from)

    def to_row(self) -> DirectoryRow:
        """Return the row."""
        salt = None if self.salt is None else bytes.fromhex(self.salt)
        return DirectoryRow(self.id, self.slot, self.kind, self.name, self.key, self.alive, salt, self.salted_from)


class SnapshotLine(_Line, frozen=True, tag="snapshot"):
    """A state of an entity, as the text that is stored."""

    entity: _BigInt
    sequence: _BigInt
    state: str
    version: _Int
    recorded_at: _BigInt

    @classmethod
    def of(cls, entity: int, row: StoredSnapshot) -> SnapshotLine:
        """Return the line of a row."""
        return cls(entity, row.sequence, row.state, row.version, row.recorded_at)

    def to_row(self) -> StoredSnapshot:
        """Return the snapshot."""
        return StoredSnapshot(self.sequence, self.state, self.version, self.recorded_at)


class SealLine(_Line, frozen=True, tag="seal"):
    """Where cut events stood; hashes are hexadecimal."""

    slot: _Int
    first: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
    last: _BigInt
    entity: _BigInt
    previous_hash: _Hash
    hash: _Hash
    sealed_by: _BigInt

    @classmethod
    def of(cls, slot: int, row: SealRow) -> SealLine:
        """Return the line of a row."""
        return cls(slot, row.first, row.last, row.entity, row.previous_hash.hex(), row.hash.hex(), row.sealed_by)

    def to_row(self) -> SealRow:
        """Return the row."""
        before, last = bytes.fromhex(self.previous_hash), bytes.fromhex(self.hash)
        return SealRow(self.first, self.last, self.entity, before, last, self.sealed_by)


class SaltLine(_Line, frozen=True, tag="salt"):
    """A salt that a redaction set aside and that is not destroyed yet, hexadecimal."""

    entity: _BigInt
    through: _BigInt
    salt: _Salt

    @classmethod
    def of(cls, row: RetiredSalt) -> SaltLine:
        """Return the line of a row."""
        return cls(row.entity, row.through, row.salt.hex())

    def to_row(self) -> RetiredSalt:
        """Return the row."""
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
        """Return the row."""
        fields, command_id = msgspec.structs.astuple(self), self.command_id
        id_ = None if command_id is None else bytes.fromhex(command_id)
        return (*fields[:9], id_, *fields[10:12], bytes.fromhex(self.hash))


Line: TypeAlias = (
    JournalLine
    | StructureLine
    | SlotLine
    | EntityLine
    | SnapshotLine
    | SealLine
    | SaltLine
    | EventLine
    | DamagedLine
    | EndLine
)

_ENCODER: Final = msgspec.json.Encoder()
_encode: Final = _ENCODER.encode
_decode: Final = msgspec.json.Decoder(Line).decode


def event_line(row: EventRow) -> EventLine:
    """Return the line of a record."""
    command_id = row[9]
    return EventLine(*row[:9], None if command_id is None else command_id.hex(), row[10], row[11], row[12].hex())


def encode_line(line: Line) -> bytes:
    r"""Return a line as bytes, with the line feed at its end.

    Examples
    --------
    >>> encode_line(StructureLine("counter", "hits", 100, None))
    b'{"row":"structure","kind":"counter","name":"hits","shards":100,"keep":null}\n'
    """
    return _encode(line) + b"\n"


def encode_lines(lines: list[Line]) -> bytes:
    """Return many lines as bytes, as ``encode_line`` gives each of them."""
    return _ENCODER.encode_lines(lines)


def after_line(digest: bytes, line: Line) -> bytes:
    """Return the running digest behind a line: SHA-256 over the one before and the line.

    Events are left out: their chain protects them, and each of them would cost a microsecond more.

    Examples
    --------
    >>> after_line(bytes(32), StructureLine("counter", "hits", 100, None)).hex()[:8]
    '951f544e'
    """
    if isinstance(line, EventLine):
        return digest
    after = sha256(digest)
    after.update(_encode(line))  # a state may be large: it is not copied to have the line feed behind it
    after.update(b"\n")
    return after.digest()


def size_of(line: Line) -> int:
    """Return how many bytes the texts of a line take in memory: up to four for each byte of a file."""
    return sum(getsizeof(text) for text in msgspec.structs.astuple(line) if isinstance(text, str))


def decode_line(text: bytes) -> Line:
    """Return the line that stands in these bytes; ``InvalidValueError`` if it is none, or has other fields.

    Examples
    --------
    >>> decode_line(encode_line(StructureLine("counter", "hits", 100, None))).to_row()
    StructureRow(kind='counter', name='hits', shards=100, keep=None)
    """
    try:
        line: Line = _decode(text)  # which refuses what is no text, and names that it does not know
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidValueError(f"This line is not a row of a journal: {error}. Nothing was taken from it.") from error
    return line
