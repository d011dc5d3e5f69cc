"""The fast loop over a slot's records, and where it stops.

A record that is as it must be costs a few microseconds here. Any other, wrong or only rare, ends the loop and is looked
at by hand (``byhand.py``): leases, seals, redacted values, the end of what was cut, what nobody can read.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from casty_es.audit.verify.entities import Entities
from casty_es.context import metadata_in
from casty_es.format.chain import RECORD
from casty_es.format.codec import decode_event
from casty_es.journal.port import EventRow, Head
from casty_es.replay.fold import NEVER, Fold

# What a row does to the loop that has other types than its columns, or a text that is not UTF-8.
_NO_ROW: Final = (TypeError, AttributeError, ValueError, struct.error)
_LAST: Final = 253_402_300_799_999_999  # the last microsecond of the year 9999
_SHORT: Final = 4_300  # a text that is not longer has no whole number that Python refuses to make of its digits

_NO_DIGEST: Final = bytes(32)
_NO_COMMAND: Final = bytes(16)

decode_any: Final = msgspec.json.Decoder().decode


class Due(NamedTuple):
    """A snapshot that must be there as this state, or not at all."""

    entity: int
    sequence: int
    position: int
    digest: bytes
    kind: str
    hash: bytes  # of the record there


class Walk:
    """How far a slot was walked."""

    __slots__ = ("due", "entities", "epoch", "hash", "position", "recorded_at", "records", "seal_at", "slot")

    def __init__(self, slot: int, head: Head, entities: Entities) -> None:
        self.slot = slot
        self.entities = entities
        self.position = head.position  # of the last record
        # Its hash; ``None`` when the record is not there, so that the next one's cannot be checked.
        self.hash: bytes | None = head.hash
        self.epoch = head.epoch
        self.recorded_at = head.recorded_at
        self.seal_at = NEVER  # where the next seal begins
        self.records = 0
        self.due: list[Due] = []  # snapshots that were passed, to be compared

    def go(self, rows: Sequence[EventRow], start: int) -> int:  # noqa: C901, PLR0912, PLR0915 - calls would cost more
        """Go over rows from an index on; return the index of the first that must be looked at by hand."""
        previous = self.hash
        if previous is None:
            return start
        known, pack, sha, decode, slot = self.entities.known, RECORD.pack, sha256, decode_event, self.slot
        position, epoch, recorded_at, seal_at = self.position, self.epoch, self.recorded_at, self.seal_at
        index = start
        try:
            for index in range(start, len(rows)):
                _, at, under, id_, sequence, type_, version, payload, metadata, command, key, when, hash_ = rows[index]
                entity = known.get(id_)
                if (
                    entity is None
                    or id_ is None
                    or sequence is None
                    or at != position + 1
                    or sequence != entity.sequence + 1
                    or under != epoch
                    or not recorded_at <= when <= _LAST
                    or at >= seal_at
                    or sequence <= entity.by_hand
                ):
                    break
                type_and_version = entity.types.get((type_, version))
                if type_and_version is None:
                    break
                name, length, says = type_and_version
                flags, tail, noted = 1, name, _NO_DIGEST
                if command is None:
                    command = _NO_COMMAND
                else:
                    flags = 3
                if metadata is not None:
                    flags |= 4
                    noted = sha(entity.outer + sha(entity.inner + metadata.encode()).digest()).digest()
                if key is not None:
                    encoded = key.encode()
                    tail += encoded
                    key_length = len(encoded)
                else:
                    key_length = -1
                if sequence == 1:
                    flags |= 8
                    tail += entity.called
                digest = sha(entity.outer + sha(entity.inner + payload.encode()).digest()).digest()
                packed = pack(
                    previous,
                    flags,
                    slot,
                    at,
                    under,
                    id_,
                    sequence,
                    when,
                    version,
                    command,
                    digest,
                    noted,
                    length,
                    key_length,
                )
                if sha(packed + tail).digest() != hash_:
                    break
                folding = entity.folding
                try:
                    event = decode(type_, version, payload)
                    if metadata is not None:
                        metadata_in(metadata)
                    if len(payload) > _SHORT:
                        decode_any(payload)
                    if folding is not None:
                        folding.state = folding.evolve(folding.state, event)
                except Exception:  # noqa: BLE001 - whatever the code does with it, it is looked at by hand
                    break
                if folding is not None and sequence == folding.next:
                    self.pass_snapshot(id_, folding, at, hash_)
                    if folding.next == NEVER:
                        entity.folding = None
                if says:
                    entity.alive = says
                entity.sequence = sequence
                previous, position, recorded_at = hash_, at, when
            else:
                index = len(rows)
        except _NO_ROW:
            pass  # nobody could have written it: it is looked at by hand
        self.records += index - start
        self.hash, self.position, self.recorded_at = previous, position, recorded_at
        return index

    def pass_snapshot(self, entity: int, folding: Fold, position: int, hash_: bytes) -> None:
        """Note what the snapshot here must be."""
        sequence, text = folding.next, folding.passed()
        digest = sha256(text.encode()).digest()
        self.due.append(Due(entity, sequence, position, digest, folding.kind.name, hash_))
