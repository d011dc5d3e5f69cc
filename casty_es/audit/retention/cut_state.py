"""The state behind a cut, from the events that go: no snapshot is believed that nothing proves.

A cut takes the snapshots before it along, and puts one in the place of the events. One that was forged would be the
truth from then on.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from casty_es.audit.retention.cutting import Cut
from casty_es.audit.retention.proving import proven_seal
from casty_es.audit.seals import state_digest
from casty_es.audit.verify.snapshots import as_of_now
from casty_es.domain.catalog import kind_of
from casty_es.errors import JournalCorruptError
from casty_es.format.codec import decode_state, encode_state
from casty_es.format.upcasting import state_readable
from casty_es.journal.maintenance import Maintenance
from casty_es.journal.port import DirectoryRow, RecordedEvent
from casty_es.journal.sql import SqlJournal
from casty_es.replay import read_event, unfoldable
from casty_es.replay.fold import Fold


class Folded:
    """Folds the events of a cut, and compares the snapshots that go with them."""

    def __init__(self, journal: SqlJournal, entity: DirectoryRow, state: Any, snapshots: set[int]) -> None:
        self._journal = journal
        self._entity = entity
        self._fold = Fold(kind_of(entity.kind), snapshots, entity.salted_from, state)
        self._reached = 0

    @classmethod
    async def begin(cls, journal: SqlJournal, cut: Cut) -> Folded:
        """Begin with the state before the first event that goes: behind an earlier cut, with what was sealed."""
        entity, before = cut.entity, cut.first - 1
        state: Any = kind_of(entity.kind).initial
        if before > entity.salted_from:  # else a redaction left the first state of all
            state = await _sealed_state(journal, entity, before)
        stored = {sequence for _, sequence in await journal.snapshot_sequences([entity.id])}
        return cls(journal, entity, state, {sequence for sequence in stored if sequence > before})

    async def add(self, event: RecordedEvent) -> None:
        """Add the next event."""
        sequence = self._reached = event.sequence or 0
        if sequence > self._entity.salted_from:
            try:
                self._fold.state = self._fold.evolve(self._fold.state, read_event(event))
            except Exception as error:
                raise await unfoldable(self._journal, self._entity.id, sequence, error) from error
        if sequence == self._fold.next:
            await self._compare(sequence, self._fold.passed())

    def digest(self, through: int) -> bytes:
        """Return the digest of the state that the events up to a sequence give."""
        if self._reached != through:
            raise JournalCorruptError(
                f"Event {self._reached + 1} of the {self._entity.kind} {self._entity.name!r} in slot "
                f"{self._entity.slot} is missing. Nothing of it was cut. Verify the journal with `casty-es verify`."
            )
        return sha256(encode_state(self._fold.kind, self._fold.state).encode()).digest()

    async def _compare(self, sequence: int, folded: str) -> None:
        stored = await self._journal.snapshot_before(self._entity.id, sequence)
        if stored is None or stored.sequence != sequence:
            return  # thinned out meanwhile
        known = 1 <= stored.version <= self._fold.kind.state_version
        if known and not state_readable(self._fold.kind, stored.version):
            return
        if not known or as_of_now(self._fold.kind, stored) != folded:
            raise wrong_snapshot(self._entity, sequence)


async def _sealed_state(journal: SqlJournal, entity: DirectoryRow, through: int) -> Any:
    """Return the state behind an earlier cut, if its seal says that it is the one."""
    seals = await Maintenance(journal).seal_sequences(entity.id)
    base = await journal.snapshot_before(entity.id, through)
    if seals and base is not None and base.sequence == through:
        sealed = await proven_seal(journal, entity, seals[-1])
        if (sealed.through, sealed.state) == (through, state_digest(entity.salt or b"", base.state)):
            return decode_state(kind_of(entity.kind), base.version, base.state)
    raise JournalCorruptError(
        f"The events up to {through} of the {entity.kind} {entity.name!r} in slot {entity.slot} are not there, and the "
        f"snapshot in their place is not one that was sealed. Nothing of it was cut. Verify the journal with `casty-es "
        f"verify`."
    )


def wrong_snapshot(entity: DirectoryRow, sequence: int) -> JournalCorruptError:
    """Return the error for a snapshot that the events do not give."""
    return JournalCorruptError(
        f"The snapshot at event {sequence} of the {entity.kind} {entity.name!r} in slot {entity.slot} is not what its "
        f"events give. Nothing of it was cut. Run `casty-es check-replay`; a wrong snapshot can be deleted while its "
        f"events are there."
    )
