"""Where the folding of a cold entity begins: with its newest snapshot, if the entity's log speaks of it.

One that the log does not speak of is not believed. It is compared with what the events give, which have to be folded
anyway, and this node's own log says so where it is something else. Where it is the same there is nothing to say:
nothing was appended behind it yet, its owner lost the slot before, or an earlier version wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from casty_es.errors import EntityQuarantinedError
from casty_es.format.codec import decode_state, encode_state
from casty_es.journal.port import EventJournal, StoredEntity, StoredSnapshot, TailEvent
from casty_es.owner.entity import Entity
from casty_es.printing import log_of
from casty_es.replay import base_at, speaks_for

__all__ = ["Unpacking"]

_LOG: Final = log_of("casty_es.activation")

# Beyond these, some are told of again.
_REMEMBERED: Final = 10_000


class Unpacking:
    """Unpacks snapshots, and tells once of each that is not what its events give."""

    def __init__(self, journal: EventJournal) -> None:
        self._journal = journal
        self._told: set[tuple[int, int]] = set()

    async def unpack(self, entity: Entity, stored: StoredEntity) -> StoredSnapshot | None:
        """Set an entity's state, and its sequence, to the newest that can be believed before its events are folded.

        Returns
        -------
        StoredSnapshot | None
            A newer one, which is to be compared with what folding gives.

        Raises
        ------
        EntityQuarantinedError, JournalCorruptError
            There is none, and the events before were cut.
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
        _LOG.warning(
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
