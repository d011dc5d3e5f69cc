"""Records that the fast loop does not know what to do with, one by one: rare ones, and wrong ones."""

from __future__ import annotations

from typing import Final

import msgspec

from casty_es.audit.links import fits, salt_at, unexplained
from casty_es.audit.verify.entities import DEAD, UNTOLD, Entities, Known
from casty_es.audit.verify.findings import Finding, Wrong
from casty_es.audit.verify.walk import Walk
from casty_es.domain.catalog import CATALOG
from casty_es.domain.upkeep import Sealed
from casty_es.errors import CastyError, JournalError
from casty_es.format.codec import decode_event, decode_state
from casty_es.format.upcasting import readable
from casty_es.journal.damaged import BEHIND_ALL, damage_of, event_of, lost_of
from casty_es.journal.port import LEASE_ACQUIRED, EventJournal, EventRow, RecordedEvent, SealRow
from casty_es.replay import unreadable_content
from casty_es.replay.fold import NEVER, Fold

_SEALS: Final = 1_000
_DECODE_SEALED: Final = msgspec.json.Decoder(Sealed).decode


class ByHand:
    """Looks at single records of a walk."""

    def __init__(self, journal: EventJournal, walk: Walk, entities: Entities, findings: list[Finding]) -> None:
        self._journal = journal
        self._walk = walk
        self._entities = entities
        self._findings = findings
        self._seals: list[SealRow] = []  # what comes next, the next one last
        self._cut_until = 0
        self._cut_hash = b""
        self._nobody: set[int] = set()  # entities of seals that the directory does not have
        self._lost = False  # whether records are missing, so that sequences may have gaps
        # The seals that the walk met, and their positions, by entity and sequence.
        self.sealed: dict[tuple[int, int], tuple[Sealed, int]] = {}

    async def begin(self) -> None:
        """Find the first seal."""
        await self._read_seals()

    async def look(self, row: EventRow) -> None:
        """Look at a record, and go on behind it."""
        walk, record = self._walk, event_of(row)
        if record.position == BEHIND_ALL:
            self._find_damage(record)
            walk.position = BEHIND_ALL
            return
        if record.position > walk.position + 1 or record.position >= walk.seal_at:
            await self.cross(record.position)
        if record.position <= self._cut_until:
            # It was sealed, and retention has not come to cutting it yet, or not to all of the run.
            if record.position == self._cut_until and record.hash != self._cut_hash:
                self._find(record, Wrong.ALTERED, "This record was sealed with another hash.")
            return
        if damage_of(record) is not None:
            self._pass(record)
            return
        if record.entity is None:
            self._check_lease(record)
        else:
            await self._check_event(record, record.entity)
        if record.recorded_at < walk.recorded_at:
            self._find(record, Wrong.TIME, "This record is older than the one before it.")
        walk.position, walk.hash = record.position, record.hash
        walk.recorded_at = max(walk.recorded_at, record.recorded_at)

    def _pass(self, record: RecordedEvent) -> None:
        """Go on behind a record that is none."""
        walk = self._walk
        self._find_damage(record)
        walk.position, walk.hash = record.position, None if "hash" in lost_of(record) else record.hash
        self._lost = True  # of its entity nobody can tell
        entity = self._entities.known.get(record.entity)
        if entity is not None:
            entity.folding, entity.alive = None, UNTOLD
            if "sequence" not in lost_of(record):
                entity.sequence = max(entity.sequence, record.sequence or 0)

    def _find_damage(self, record: RecordedEvent) -> None:
        position = None if record.position == BEHIND_ALL else record.position
        text = f"This record is none that any program writes: {damage_of(record)}."
        self._findings.append(Finding(record.slot, position, record.entity, Wrong.UNREADABLE, text))

    async def cross(self, position: int) -> None:
        """Go up to a position over what was cut, and over what is missing without a seal."""
        walk = self._walk
        while walk.position + 1 < position or walk.seal_at <= position:
            if not self._seals or self._seals[-1].first > walk.position + 1:
                await self._read_seals()  # retention may have cut meanwhile
            seal = self._seals[-1] if self._seals else None
            if seal is not None and seal.first <= walk.position + 1:
                await self._jump(seal)
                continue
            until = min(position, NEVER if seal is None else seal.first) - 1
            if until <= walk.position:
                return
            first, walk.position, walk.hash, self._lost = walk.position + 1, until, None, True
            what = f"The record at position {first} is" if first == until else f"Positions {first} to {until} are"
            self._findings.append(
                Finding(walk.slot, first, None, Wrong.MISSING, f"{what} missing, and no seal says what stood there.")
            )

    async def _jump(self, seal: SealRow) -> None:
        walk = self._walk
        if seal.first == walk.position + 1 and walk.hash is not None and seal.previous_hash != walk.hash:
            text = "The records that were cut here do not follow the record before them."
            self._findings.append(Finding(walk.slot, seal.first, seal.entity, Wrong.SEAL, text))
        if seal.entity not in self._entities.known and seal.entity not in self._nobody:
            await self._entities.get_to_know([seal.entity])
            if seal.entity not in self._entities.known:
                self._nobody.add(seal.entity)
        entity = self._entities.known.get(seal.entity)
        if entity is not None:
            entity.sequence += seal.last - walk.position
            entity.alive = UNTOLD  # what was cut may have said otherwise
            entity.unsure = self._entities.resumed and entity.sequence == seal.last - walk.position
            entity.by_hand = max(entity.by_hand, entity.sequence + 1)  # where its folding begins anew
        walk.position, walk.hash = seal.last, seal.hash
        self._cut_until, self._cut_hash = seal.last, seal.hash
        self._seals.pop()
        if not self._seals:
            await self._read_seals()
        walk.seal_at = self._seals[-1].first if self._seals else NEVER

    async def _read_seals(self) -> None:
        page = await self._journal.seals(self._walk.slot, after=self._walk.position, limit=_SEALS)
        self._seals = page[::-1]
        self._walk.seal_at = page[0].first if page else NEVER

    def _check_lease(self, record: RecordedEvent) -> None:
        if record.type != LEASE_ACQUIRED:
            self._find(record, Wrong.ALTERED, f"This record of type {record.type!r} belongs to no entity.")
        elif not self._fits(record, None, b""):
            self._find(record, Wrong.ALTERED, _ALTERED)
        elif record.epoch != record.position:
            self._find(record, Wrong.EPOCH, f"This lease is under epoch {record.epoch}, not under its own position.")
        self._walk.epoch = record.epoch

    async def _check_event(self, record: RecordedEvent, id_: int) -> None:
        entity = self._entities.known.get(id_)
        if entity is None:
            await self._entities.get_to_know([id_])
            entity = self._entities.known.get(id_)
            if entity is None:
                self._find(record, Wrong.DIRECTORY, "The directory does not have this record's entity.")
                return
        if unexplained(record, entity.row.salted_from) or not self._fits(
            record, entity, await self._salt(record, entity)
        ):
            # It may have been redacted while the walk was under way.
            await self._entities.get_to_know([id_])
            entity = self._entities.known[id_]
            again = await self._journal.rows(record.slot, after=record.position - 1, limit=1)
            if again and again[0][1] == record.position:
                record = event_of(again[0])
            if not self._fits(record, entity, await self._salt(record, entity)):
                self._find(record, Wrong.ALTERED, _ALTERED)
                entity.folding = None
                entity.sequence = max(entity.sequence, record.sequence or 0)
                return
        self._check_order(record, entity)
        self._check_redaction(record, entity)
        await self._follow(record, entity)
        entity.sequence = record.sequence or 0

    def _check_order(self, record: RecordedEvent, entity: Known) -> None:
        if entity.unsure:
            # An earlier walk met its events before the cut, and this one does not know how many they were.
            entity.unsure, entity.folding = False, None
        elif record.sequence != entity.sequence + 1:
            entity.folding = None
            # Where records are missing, that is the finding; what is missing of each entity says nothing more.
            if not (self._lost and (record.sequence or 0) > entity.sequence):
                text = f"This is event {record.sequence} of its entity, and the one before is event {entity.sequence}."
                self._find(record, Wrong.SEQUENCE, text)
        if record.epoch != self._walk.epoch and not self._lost:
            text = f"This record is under epoch {record.epoch}, and the lease before it is {self._walk.epoch}."
            self._find(record, Wrong.EPOCH, text)
        self._walk.epoch = record.epoch

    def _check_redaction(self, record: RecordedEvent, entity: Known) -> None:
        if unexplained(record, entity.row.salted_from):
            text = "A value was replaced by its digest, and no redaction of its entity says so."
            self._find(record, Wrong.REDACTION, text)
            entity.folding = None

    async def _follow(self, record: RecordedEvent, entity: Known) -> None:
        """Do what the event means: fold it, begin anew behind a cut or a redaction, note a seal."""
        sequence = record.sequence or 0
        if not readable(record.type, record.version):
            text = f"Event {record.type!r} of version {record.version} is not known to the installed code."
            self._find(record, Wrong.UNKNOWN, text)
            entity.folding = None
            return
        self._note(record, entity)
        unreadable = unreadable_content(record.type, record.version, record.payload, record.metadata)
        if unreadable is not None:
            self._find(record, Wrong.UNREADABLE, f"This record is the one that was written here. {unreadable}")
            entity.folding = None
            return
        if entity.folding is not None:
            await self._fold(record, sequence, entity, entity.folding)

    def _note(self, record: RecordedEvent, entity: Known) -> None:
        """Note what the event says of its entity besides its state."""
        told = entity.types.get((record.type, record.version))
        if told is not None:
            entity.alive = told[2] or entity.alive
        if record.type == "entity.redacted":
            entity.alive = DEAD
        if record.type == "entity.sealed":
            try:
                sealed = _DECODE_SEALED(record.payload)
            except (msgspec.MsgspecError, RecursionError) as error:
                self._find(record, Wrong.UNREADABLE, f"This seal cannot be read: {error}.")
            else:
                self.sealed[entity.row.id, record.sequence or 0] = sealed, record.position

    async def _fold(self, record: RecordedEvent, sequence: int, entity: Known, folding: Fold) -> None:
        try:
            if sequence <= entity.row.salted_from:
                folding.begin(folding.kind.initial, sequence)
            else:
                behind_a_cut = sequence == entity.by_hand != entity.row.salted_from
                if behind_a_cut and not await self._begin_behind(sequence - 1, entity, folding):
                    entity.folding = None
                    return
                folding.state = folding.evolve(folding.state, decode_event(record.type, record.version, record.payload))
        except (JournalError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - that code fails is a finding, and no reason to look at nothing more
            told = error if isinstance(error, CastyError) else repr(error)
            self._find(record, Wrong.UNKNOWN, f"The installed code cannot read this event or the state before: {told}")
            entity.folding = None
            return
        if sequence == folding.next:
            self._walk.pass_snapshot(entity.row.id, folding, record.position, record.hash)
        if folding.next == NEVER:
            entity.folding = None

    async def _begin_behind(self, sequence: int, entity: Known, folding: Fold) -> bool:
        """Begin anew behind a cut, with the snapshot that stands there, if it does: its seal proves it."""
        base = await self._journal.snapshot_before(entity.row.id, sequence)
        if base is None or base.sequence != sequence:
            return False
        state = decode_state(CATALOG[entity.row.kind], base.version, base.state)
        folding.begin(state, sequence + 1)  # with what it says itself nothing is compared
        return True

    async def _salt(self, record: RecordedEvent, entity: Known) -> bytes:
        if entity.retired is None and (record.sequence or 0) <= entity.row.salted_from:
            entity.retired = await self._journal.retired_salts([entity.row.id])
        return salt_at(entity.row, entity.retired or (), record.sequence or 0)

    def _fits(self, record: RecordedEvent, entity: Known | None, salt: bytes) -> bool:
        if self._walk.hash is None:
            return True  # the record before it is missing: nobody can tell
        return fits(self._walk.hash, record, salt, None if entity is None else entity.row.entity_name)

    def _find(self, record: RecordedEvent, wrong: Wrong, text: str) -> None:
        self._findings.append(Finding(record.slot, record.position, record.entity, wrong, text))


_ALTERED: Final = (
    "This record is not the one that was written here: its hash does not follow from its own fields, its entity's name "
    "and salt, and the record before it."
)
