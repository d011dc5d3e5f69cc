"""When to keep a snapshot, and keeping it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from casty_es.background import Errands
from casty_es.errors import JournalError
from casty_es.format.codec import encode_state
from casty_es.journal.port import EventJournal, StoredSnapshot
from casty_es.printing import log_of
from casty_es.replay import binding_said

if TYPE_CHECKING:
    from casty_es.domain.decider import Kind
    from casty_es.owner.entity import Entity
    from casty_es.runtime import Runtime

__all__ = ["Snapshotter", "snapshot_due", "snapshot_worth_writing"]

_LOG: Final = log_of("casty_es.snapshots")

# A snapshot may be at most this many times as long as the events it spares the next replay.
_BYTES_PER_EVENT_BYTE: Final = 2


def snapshot_due(*, tail_events: int, tail_bytes: int, last_bytes: int, threshold: int) -> bool:
    """Return whether replaying the tail would cost more than a snapshot saves.

    The tail must be long, and as long in bytes as the last snapshot was: a large state that changes little is
    written the more rarely the larger it is, so the bytes written in snapshots stay within twice those of the events.

    Parameters
    ----------
    tail_events, tail_bytes : int
        Events since the last snapshot, and the bytes of their payloads.
    last_bytes : int
        The bytes of the last snapshot, or of the last one that was thought not worth writing.
    threshold : int
        The number of events below which no snapshot is written.

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
    """Writes snapshots of committed state in the background, one at a time.

    The entity's next event says what the snapshot is (``replay/binding.py``); until then nobody believes it.
    """

    def __init__(
        self, journal: EventJournal, runtime: Runtime, threshold: int, ended: Callable[[str], None] | None = None
    ) -> None:
        self._journal = journal
        self._runtime = runtime
        self._threshold = threshold
        self._errands = Errands(ended)
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
            text, said = await self._runtime.offload(_encoded, entity.kind, state, sequence, event_hash, salt)
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
