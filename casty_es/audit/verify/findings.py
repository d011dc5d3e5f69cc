"""What a verification finds, and what it cannot find."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from casty_es.audit.verify.looked_at import LookedAt

FINDINGS_PER_SLOT: Final = 25
"""After so many the walk of a slot ends: where everything is wrong, the first of it is what matters."""

NOT_SHOWN: Final = (
    "Without an anchor, nobody can tell whether the last records of a slot were cut off, or whether the whole chain "
    "was written anew with hashes that fit: take anchors with `casty-es anchor`, keep them elsewhere, and give them to "
    "`casty-es verify --anchor`."
)


class Wrong(StrEnum):
    """What is wrong, in a word."""

    ALTERED = "altered"  # a record is not the one that was written there
    MISSING = "missing"  # records are gone, and no seal says that retention cut them
    SEQUENCE = "sequence"  # an entity's events do not follow each other
    EPOCH = "epoch"  # a record was not written under the lease before it
    TIME = "time"  # a record is older than the one before it
    REDACTION = "redaction"  # a value was replaced by its digest, or put back, and no redaction says so
    UNKNOWN = "unknown"  # the installed code cannot read an event
    UNREADABLE = "unreadable"  # a record holds what no program writes and no reader can show
    SEAL = "seal"  # what is said of cut records is not what was sealed
    SNAPSHOT = "snapshot"  # a snapshot is not what the events before it give
    DIRECTORY = "directory"  # the directory names another entity, or says of one what its events do not say
    GUARD = "guard"  # what keeps the tables append-only and unique is gone, or was changed
    FILE = "file"  # the database itself says that it is damaged, or a running process writes another of its name
    ANCHOR = "anchor"  # the records are not those of which the anchor was taken


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong.

    Attributes
    ----------
    slot, position : int | None
        Where; ``None`` for what belongs to no slot, or to no position in it.
    entity : int | None
        The entity, if it is about one.
    wrong : Wrong
        What, in a word.
    text : str
        What, in a sentence.
    """

    slot: int | None
    position: int | None
    entity: int | None
    wrong: Wrong
    text: str

    @property
    def where(self) -> str:
        """The place, as text."""
        places = [
            f"{name} {number}"
            for name, number in (("slot", self.slot), ("position", self.position), ("entity", self.entity))
            if number is not None
        ]
        return ", ".join(places) or "the journal"


class SlotResult(msgspec.Struct):
    """What came of one slot.

    Attributes
    ----------
    position, hash, epoch, recorded_at
        The last record that was looked at.
    records : int
        How many records were looked at.
    cut : int
        How many records retention had cut, by seals that hold.
    snapshots : int
        How many snapshots were compared with the events before them.
    unread_snapshots : int
        How many were not, because the installed code does not read their version.
    unbound_snapshots : int
        How many are what the events give, and are not believed all the same: the log does not speak of them.
    unfinished_redactions : int
        How many entities are being redacted, so that older snapshots may still be there.
    beside : bytes
        A digest over its seals and its directory; empty unless all of them were looked at.
    """

    slot: int
    position: int = 0
    hash: bytes = bytes(32)
    epoch: int = 0
    recorded_at: int = 0
    records: int = 0
    cut: int = 0
    entities: int = 0
    snapshots: int = 0
    unread_snapshots: int = 0
    unbound_snapshots: int = 0
    unfinished_redactions: int = 0
    findings: list[Finding] = []
    beside: bytes = b""

    @property
    def full(self) -> bool:
        """Whether the walk of the slot ends early."""
        return len(self.findings) >= FINDINGS_PER_SLOT


class Report(msgspec.Struct):
    """What came of a verification.

    Attributes
    ----------
    slots, records, cut, entities, snapshots : int
        How many of each were looked at; ``cut`` are records that retention had cut, by seals that hold.
    unread_snapshots, unfinished_redactions : int
        How many were not looked at: snapshots of a version that the installed code does not read, and what was before
        redactions that are not finished.
    unbound_snapshots : int
        How many snapshots are what the events give, and are not used all the same: the log does not speak of them.
    findings : list[Finding]
        What is wrong, the first of each slot first.
    notes : list[str]
        What the verification cannot show, and why.
    looked_at : LookedAt
        Which journal it was.
    seconds : float
        How long it took.
    """

    slots: int = 0
    records: int = 0
    cut: int = 0
    entities: int = 0
    snapshots: int = 0
    unread_snapshots: int = 0
    unbound_snapshots: int = 0
    unfinished_redactions: int = 0
    findings: list[Finding] = []
    notes: list[str] = []
    looked_at: LookedAt = msgspec.field(default_factory=LookedAt)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def records_per_second(self) -> float:
        """How fast it was."""
        return self.records / self.seconds if self.seconds else 0.0

    def first(self, slot: int) -> Finding | None:
        """Return the finding with the lowest position of a slot, if it has any."""
        return next((finding for finding in self.findings if finding.slot == slot), None)

    def add(self, result: SlotResult) -> None:
        """Count a slot."""
        self.slots += 1
        self.records += result.records
        self.cut += result.cut
        self.entities += result.entities
        self.snapshots += result.snapshots
        self.unread_snapshots += result.unread_snapshots
        self.unbound_snapshots += result.unbound_snapshots
        self.unfinished_redactions += result.unfinished_redactions
        self.findings += result.findings
        if result.position:
            self.looked_at.positions[result.slot] = result.position
        if result.full:
            self.notes.append(
                f"The walk of slot {result.slot} ended after {len(result.findings)} findings: there may be more."
            )
