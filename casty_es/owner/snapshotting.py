"""Snapshots of an entity's state: when one is written, and when one is believed.

1. What is written is committed state only, and the entity's next event says what it is (``replay/binding.py``).
2. The folding of a cold entity begins with its newest snapshot, if the entity's log speaks of it. One that the log does
   not speak of is not believed: a role that may insert one could forge it (``docs/decisions/0041-bound-snapshots.md``).
   It is compared with what the events give, which have to be folded anyway, and this node's own log says so where it is
   something else. Where it is the same there is nothing to say: nothing was appended behind it yet, its owner lost the
   slot before, or an earlier version wrote it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final

from casty_es.background import Errands
from casty_es.domain.decider import Kind
from casty_es.errors import EntityQuarantinedError, InvalidValueError, JournalError
from casty_es.format.codec import decode_state, encode_state
from casty_es.journal.port import EventJournal, StoredEntity, StoredSnapshot, TailEvent
from casty_es.owner.entity import Entity
from casty_es.owner.ports import Node
from casty_es.printing import log_of
from casty_es.replay import base_at, binding_said, speaks_for
from casty_es.runtime import Runtime

_LOG: Final = log_of("casty_es.snapshots")
_LOG_OF_READING: Final = log_of("casty_es.activation")

# A snapshot may be at most this many times as long as the events it spares the next replay.
_BYTES_PER_EVENT_BYTE: Final = 2

# Of so many snapshots that are not believed it is known that this was told; beyond that, some are told of again.
_REMEMBERED: Final = 10_000


def snapshot_due(*, tail_events: int, tail_bytes: int, last_bytes: int, threshold: int) -> bool:
    """Return whether replaying the tail would cost more than a snapshot saves.

    The tail must have ``threshold`` events, and be as long in bytes as the last snapshot was, or the last that was
    thought not worth writing: a large state that changes little is written the more rarely the larger it is, so the
    bytes written in snapshots stay within twice those of the events.

    Examples
    --------
    >>> snapshot_due(tail_events=1_000, tail_bytes=30_000, last_bytes=40, threshold=1_000)
    True
    >>> snapshot_due(tail_events=1_000, tail_bytes=30_000, last_bytes=5_000_000, threshold=1_000)
    False
    """
    return tail_events >= threshold and tail_bytes >= last_bytes


def snapshot_worth_writing(*, state_bytes: int, tail_bytes: int) -> bool:
    """Return whether an encoded state keeps to the bound: at most twice the bytes of the events it covers."""
    return state_bytes <= _BYTES_PER_EVENT_BYTE * tail_bytes


class Snapshotter:
    """Writes snapshots of committed state in the background, one at a time."""

    def __init__(self, journal: EventJournal, runtime: Runtime, threshold: int, node: Node) -> None:
        self._journal = journal
        self._runtime = runtime
        self._threshold = threshold
        self._errands = Errands(node.ended)
        self._one_encoding, self._one_saving = asyncio.Lock(), asyncio.Lock()

    def consider(self, entity: Entity) -> None:
        """Begin a snapshot of the entity's committed state, if one is due."""
        if snapshot_due(
            tail_events=entity.tail_events,
            tail_bytes=entity.tail_bytes,
            last_bytes=entity.snapshot_bytes,
            threshold=self._threshold,
        ):
            tail_bytes, entity.tail_events, entity.tail_bytes = entity.tail_bytes, 0, 0
            # The state is a value: what is written later is what was committed now.
            writing = self._write(
                entity, entity.committed, entity.committed_sequence, entity.committed_hash, tail_bytes
            )
            self._errands.begin(writing, name="casty-snapshot")

    async def _write(self, entity: Entity, state: object, sequence: int, event_hash: bytes, tail_bytes: int) -> None:
        async with self._one_encoding:
            if sequence <= entity.salted_from:
                return  # redacted meanwhile: nothing of it is to be digested under the salt of what comes
            salt = entity.salt
            try:
                text, said = await self._runtime.offload(_encoded, entity.kind, state, sequence, event_hash, salt)
            except InvalidValueError as error:  # of a program's own kind; its events are all there
                _LOG.warning("A snapshot of entity %d at %d was not written: %s", entity.id, sequence, error)
                return
        entity.snapshot_bytes = len(text)
        if not snapshot_worth_writing(state_bytes=len(text), tail_bytes=tail_bytes) or entity.salt is not salt:
            return
        entity.binding = said  # not only when it is there: the event that says it must come soon
        async with self._one_saving:
            snapshot = StoredSnapshot(sequence, text, entity.kind.state_version)
            try:
                await self._journal.save_snapshot(entity.id, snapshot, event_hash, self._runtime.now())
            except JournalError as error:
                # Nothing is lost: the events are all there, and the next snapshot covers these too.
                _LOG.warning("A snapshot of entity %d at %d was not written: %s", entity.id, sequence, error)

    async def close(self) -> None:
        """Wait for the snapshots that were begun."""
        await self._errands.settled()


def _encoded(
    kind: Kind[Any, Any, Any], state: object, sequence: int, event_hash: bytes, salt: bytes
) -> tuple[str, str]:
    """Return a state's text, and what the next event is to say of it."""
    text = encode_state(kind, state)
    return text, binding_said(StoredSnapshot(sequence, text, kind.state_version), event_hash, salt)


class Unpacking:
    """Unpacks snapshots, and tells once of each that is not what its events give."""

    def __init__(self, journal: EventJournal) -> None:
        self._journal = journal
        self._told: set[tuple[int, int]] = set()

    async def unpack(self, entity: Entity, stored: StoredEntity) -> StoredSnapshot | None:
        """Set an entity's state, and its sequence, to the newest that can be believed before its events are folded.

        Returns a newer snapshot, which is to be compared with what folding gives. If there is none to be
        believed and the events before were cut, the entity is quarantined, or the journal corrupt.
        """
        snapshot = stored.snapshot
        if snapshot is None:
            return None
        bound = speaks_for(stored.binding, entity.kind, snapshot, entity.salt)
        if bound:
            try:
                entity.state = decode_state(entity.kind, snapshot.version, snapshot.state)
            except EntityQuarantinedError:
                pass  # an older one may be readable, or the events be there
            else:
                entity.sequence, entity.snapshot_bytes = snapshot.sequence, len(snapshot.state)
                return None
        entity.state, entity.sequence = await base_at(self._journal, stored.id, entity.kind, snapshot.sequence)
        return None if bound or entity.sequence == snapshot.sequence else snapshot

    def parts(
        self, page: Sequence[TailEvent], unbound: dict[int, tuple[Entity, StoredSnapshot]]
    ) -> Iterator[Sequence[TailEvent]]:
        """Yield a page in parts that end where a snapshot is to be compared, which is done when the part was folded."""
        begin = 0
        if unbound:
            for end, (id_, sequence, *_) in enumerate(page, 1):
                if id_ in unbound and sequence >= unbound[id_][1].sequence:
                    yield page[begin:end]
                    entity, snapshot = unbound.pop(id_)
                    begin = end
                    if entity.sequence == snapshot.sequence and not _same(entity, snapshot):
                        self._tell(entity, snapshot, "is not the state that its events give")
        yield page[begin:] if begin else page

    def ended(self, entity: Entity, snapshot: StoredSnapshot) -> None:
        """Tell of a snapshot that stands behind the last event of its entity."""
        self._tell(entity, snapshot, "is not the state that its events give: there is no such event")

    def _tell(self, entity: Entity, snapshot: StoredSnapshot, what: str) -> None:
        if (entity.id, snapshot.sequence) in self._told:
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told.add((entity.id, snapshot.sequence))
        _LOG_OF_READING.warning(
            "The snapshot at event %d of the %s %r, entity %d in slot %d, %s, and its log does not speak of it. It is "
            "not used. `casty-es verify` names it",
            snapshot.sequence,
            *entity.name[:2],
            entity.id,
            entity.slot.number,
            what,
        )


def _same(entity: Entity, snapshot: StoredSnapshot) -> bool:
    """Return whether an entity's state is that of a snapshot; one that cannot be read says nothing."""
    try:
        stored = decode_state(entity.kind, snapshot.version, snapshot.state)
    except EntityQuarantinedError:
        return True
    return encode_state(entity.kind, stored) == encode_state(entity.kind, entity.state)
