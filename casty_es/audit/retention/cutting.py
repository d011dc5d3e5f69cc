"""What a cut takes of one entity, and the seal rows that will stand for it.

``through`` is the last event that goes. It is one behind which the entity can be read: its command's events end there,
the newest event stays, and what was redacted is not cut in the middle.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Final

import msgspec

from casty_es.audit.retention.policy import Keep
from casty_es.audit.seals import packed, rows_digest
from casty_es.errors import JournalCorruptError
from casty_es.journal.maintenance import Maintenance
from casty_es.journal.port import DirectoryRow, RecordedEvent, SealRow
from casty_es.journal.sql import SqlJournal
from casty_es.replay import sequence_stamped

EVENTS_PER_SEAL: Final = 10_000
"""How many events one seal covers at most: their rows are written in one transaction."""

_SECOND: Final = 1_000_000


class Cut(msgspec.Struct):
    """A cut to be made."""

    entity: DirectoryRow
    first: int  # the sequences of the first and the last event that go
    through: int
    rows: list[SealRow] = []  # where they stand; they name no seal yet
    state: bytes = b""  # the digest of the state that the events up to the last one give
    limited: bool = False  # whether more events are to go than one seal covers

    @property
    def events(self) -> int:
        """How many events go."""
        return self.through - self.first + 1


async def plan_cut(journal: SqlJournal, entity: DirectoryRow, keep: Keep, now: int) -> Cut | None:
    """Return the cut that a policy asks for now, in microseconds since 1970; ``None`` where there is none."""
    first, last = await journal.bounds(entity.id)
    if keep == "all" or not first or first == last:
        return None
    if isinstance(keep, timedelta):
        cutoff = now - int(keep.total_seconds()) * _SECOND
        oldest = await journal.history(entity.id, after=first - 1, limit=1)
        through = (
            0 if not oldest or oldest[0].recorded_at > cutoff else await sequence_stamped(journal, entity.id, cutoff)
        )
    else:
        through = last - keep
    limited = min(through, last - 1) > first - 1 + EVENTS_PER_SEAL
    through = min(through, last - 1, first - 1 + EVENTS_PER_SEAL)
    if through < first:
        return None
    seals = await Maintenance(journal).seal_sequences(entity.id)
    if isinstance(keep, int):
        # Seals do not count: each cut would make room for one more.
        while through > (kept := last - keep - sum(sequence > through for sequence in seals)):
            through = kept
    through = await _end_of_command(journal, entity.id, first, through)
    if through < max(first, entity.salted_from) or await journal.retired_salts([entity.id]):
        return None  # before a redaction there is no state to stand for what was cut
    if through - first < len([sequence for sequence in seals if first <= sequence <= through]):
        return None  # nothing but seals would go, and one would come
    return Cut(entity, first, through, limited=limited)


async def _end_of_command(journal: SqlJournal, entity: int, first: int, through: int) -> int:
    """Go back to where a command's events end: a repeat must find all of them, or none."""
    while through >= first:
        pair = await journal.history(entity, after=through - 1, limit=2)
        if len(pair) == 1 or pair[0].command_id is None or pair[0].command_id != pair[1].command_id:
            break
        through -= 1
    return through


class Runs:
    """Gathers the runs of neighbouring records of one entity, and the hashes at their ends."""

    def __init__(self, entity: DirectoryRow) -> None:
        self._entity = entity
        self.rows: list[SealRow] = []

    def add(self, event: RecordedEvent, before: bytes | None) -> None:
        """Add the next event, and the hash of the record before it."""
        position, hash_ = event.position, event.hash
        if self.rows and self.rows[-1].last == position - 1:
            self.rows[-1] = self.rows[-1]._replace(last=position, hash=hash_)
        elif before is not None:
            self.rows.append(SealRow(position, position, self._entity.id, before, hash_, 0))
        else:
            raise JournalCorruptError(
                f"Slot {self._entity.slot}, position {position}: this record was sealed before, and stands there "
                f"still. Nothing of its entity was cut. Verify the journal with `casty-es verify`."
            )


async def sealed_rows(journal: SqlJournal, cut: Cut) -> tuple[bool, str]:
    """Return whether a cut's seal must cover all rows of its entity, and the digest over those that it covers.

    It must when the cut takes an older seal with it: rows whose seal is gone would prove nothing.
    """
    maintenance = Maintenance(journal)
    everything = any(sequence <= cut.through for sequence in await maintenance.seal_sequences(cut.entity.id))
    if not everything:
        return False, rows_digest(cut.rows)
    whole = sha256()  # as rows_digest makes it, without keeping the rows
    async for row in maintenance.seals_of(cut.entity.id):
        whole.update(packed(row))
    for row in cut.rows:
        whole.update(packed(row))
    return True, whole.hexdigest()
