"""Whether a snapshot is one that its entity's log speaks of: only such a one is believed.

Whoever may insert a snapshot can also compute everything that could stand beside it in its row. So what makes it
believable stands in the hash chain, behind the event that it is of:

1. The owner's next event of the entity has the digest of the state in its metadata, under the entity's salt, with the
   sequence, the version, and the hash of the event at that sequence. It costs no record of its own.
2. The seal of what retention cut has the digest of the snapshot behind which was cut.
3. A redaction says by itself that the entity is empty there.

A snapshot that is not bound costs time and nothing else: its entity is folded from an older one, or from its first
event.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from casty_es.domain.decider import Kind
from casty_es.domain.upkeep import REDACTED, SEALED, Sealed
from casty_es.format.chain import digest
from casty_es.format.codec import encode_state
from casty_es.journal.binding_sql import speaks_of
from casty_es.journal.port import ENTITY_NUMBER_BITS, Binding, DirectoryRow, EventJournal, StoredSnapshot


class _Bound(msgspec.Struct, frozen=True):
    """What an event says of a snapshot: hexadecimal the hash of its last event, and the digest of its state."""

    sequence: int
    version: int
    hash: str
    state: str


class _Metadata(msgspec.Struct, frozen=True):
    snapshot: _Bound | None = None


_decode: Final = msgspec.json.Decoder(_Metadata).decode
_decode_seal: Final = msgspec.json.Decoder(Sealed).decode
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, TypeError, ValueError)


def binding_said(snapshot: StoredSnapshot, event_hash: bytes, salt: bytes) -> str:
    """Return what the next event says of a snapshot: a member of a JSON object.

    Examples
    --------
    >>> binding_said(StoredSnapshot(20, "{}", 1), bytes(32), b"salt")[:50]
    '"snapshot":{"sequence":20,"version":1,"hash":"0000'
    """
    state = digest(salt, snapshot.state).hex()
    said = f'"version":{snapshot.version},"hash":"{event_hash.hex()}","state":"{state}"}}'
    return speaks_of(snapshot.sequence) + said


def with_binding(metadata: str | None, said: str) -> str:
    """Return an event's metadata with what it says of a snapshot.

    Examples
    --------
    >>> with_binding(None, '"snapshot":{}'), with_binding('{"actor":"alice"}', '"snapshot":{}')
    ('{"snapshot":{}}', '{"actor":"alice","snapshot":{}}')
    """
    return f"{{{said}}}" if metadata is None or metadata == "{}" else f"{metadata[:-1]},{said}}}"


def speaks_for(
    binding: Binding | None,
    kind: Kind[Any, Any, Any],
    snapshot: StoredSnapshot,
    salt: bytes,
    event_hash: bytes | None = None,
) -> bool:
    """Return whether what the log says of a snapshot is that it holds this state.

    ``event_hash`` is that of the event at its sequence, where it was checked.
    """
    if binding is None:
        return False
    if binding.type == REDACTED:
        return snapshot.state == encode_state(kind, kind.initial)
    try:
        state = digest(salt, snapshot.state).hex()
        if binding.type == SEALED:
            sealed = _decode_seal(binding.payload)
            if (sealed.through, sealed.state) == (snapshot.sequence, state):
                return True
        bound = None if binding.metadata is None else _decode(binding.metadata).snapshot
    except _UNREADABLE:
        return False  # no owner wrote it
    return (
        bound is not None
        and (bound.sequence, bound.version, bound.state) == (snapshot.sequence, snapshot.version, state)
        and (event_hash is None or bound.hash == event_hash.hex())
    )


async def is_bound(
    journal: EventJournal,
    row: DirectoryRow,
    kind: Kind[Any, Any, Any],
    snapshot: StoredSnapshot,
    event_hash: bytes | None = None,
) -> bool:
    """Return whether the log of an entity speaks for a snapshot; see :func:`speaks_for`."""
    salt = row.salt or b""
    if speaks_for(await journal.binding(row.id, snapshot.sequence), kind, snapshot, salt, event_hash):
        return True
    # Behind a cut a seal may be far away: everything younger was kept.
    cut = await journal.last_cut(row.id)
    for seal in await journal.seals(row.id >> ENTITY_NUMBER_BITS, after=cut - 1, limit=1) if cut else ():
        for event in await journal.history(row.id, after=seal.sealed_by - 1, limit=1):
            if seal.entity == row.id and event.sequence == seal.sealed_by and event.type == SEALED:
                return speaks_for(Binding(event.type, event.payload, None), kind, snapshot, salt)
    return False
