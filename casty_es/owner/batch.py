"""Turning decided commands into one append: positions, times and hashes, slot by slot."""

from __future__ import annotations

from casty_es.errors import JournalCorruptError
from casty_es.format.chain import GENESIS, UNSALTED, digest, link
from casty_es.journal.damaged import BEHIND_ALL
from casty_es.journal.port import Append, EventRow, Head, SaltRow
from casty_es.owner.entity import Entity, Entry
from casty_es.owner.slot import Slot


class Batch:
    """Entries on their way to the journal together, and the append that carries them."""

    def __init__(self, entries: list[Entry], now: int) -> None:
        self.entries = entries
        self.heads: dict[Slot, Head] = {}  # per slot that is written the head after the append
        self._salts: list[SaltRow] = []
        rows: list[EventRow] = []
        # Sorted, so that two appends that wait for each other's rows in the database do so in the same order.
        for slot, mine in sorted(self.by_slot().items(), key=_by_number):
            rows += self._chain(slot, mine, now)
        predecessors = [(slot.number, slot.head.position, slot.head.hash) for slot in self.heads]
        # It names one predecessor for each slot that it writes, so all of it is written or nothing is: two appends
        # that follow the same record cannot both be (``docs/explanation/safety.md``, H1).
        self.append = Append(predecessors, rows, salts=self._salts)
        self._note_directory()

    def _chain(self, slot: Slot, entries: list[Entry], now: int) -> list[EventRow]:
        number, epoch = slot.number, slot.epoch
        position, hash_ = slot.head.position, slot.head.hash
        # The owner's clock may step back; the times of a slot do not, so that a moment is one place in its log.
        at = max(now, slot.head.recorded_at)
        sequences: dict[Entity, int] = {}
        rows: list[EventRow] = []
        for entry in entries:
            if not entry.events:
                continue
            assert entry.epoch == epoch, "what was decided under another epoch is recalled with it"
            entity, command = entry.entity, entry.pending.command_id
            id_, sequence = entity.id, sequences.get(entity, entity.committed_sequence)
            # A command's first event carries its key and what is known of it; one event, so that the key is unique.
            key, metadata = entry.pending.idempotency_key, entry.metadata
            for type_, version, payload in entry.encoded:
                position += 1
                sequence += 1
                salt = b"" if type_ in UNSALTED else entry.salt
                shape, content = (type_, version), digest(salt, payload)
                note = None if metadata is None else digest(salt, metadata)
                # What the entity is called is in the chain once, so that a log cannot be given to another entity.
                name = entity.name if sequence == 1 else None
                hash_ = link(
                    hash_, number, position, epoch, id_, sequence, at, shape, command, key, content, note, name
                )
                rows.append(
                    (number, position, epoch, id_, sequence, type_, version, payload, metadata, command, key, at, hash_)
                )
                key = metadata = None
            sequences[entity] = sequence
            entry.hash = hash_
            if entry.new_salt:
                self._salts.append((id_, sequence, entry.salt, entry.new_salt))
        if rows:
            assert position == slot.head.position + len(rows), "positions follow each other without a gap"
            self.heads[slot] = Head(position, hash_, epoch, at)
        return rows

    def _note_directory(self) -> None:
        last = {entry.entity: entry.state for entry in self.entries if entry.events}
        for entity, state in last.items():
            exists = entity.kind.exists(state)
            if not entity.recorded:
                self.append.entities.append((entity.id, entity.slot.number, *entity.name, exists, entity.salt))
            elif exists != entity.alive:
                self.append.alive.append((entity.id, exists))

    def by_slot(self) -> dict[Slot, list[Entry]]:
        """Return the entries of each slot, in order."""
        entries: dict[Slot, list[Entry]] = {}
        for entry in self.entries:
            entries.setdefault(entry.entity.slot, []).append(entry)
        return entries


def lease_row(slot: int, head: Head, payload: str, recorded_at: int, type_: str) -> EventRow:
    """Return the record that makes its writer the owner of a slot whose head is ``head``. Its position is the epoch.

    It takes the position that an old owner's append would need, so what was still on its way can no longer be
    written. Times of a slot never go back, whatever the clocks of the hosts that own it in turn say. A head that no
    record can follow is a ``JournalCorruptError``.
    """
    if head.position >= BEHIND_ALL or len(head.hash) != len(GENESIS):
        raise JournalCorruptError(
            f"The last record of slot {slot} is none that any program writes, so nothing can follow it. Nothing was "
            f"written. `casty-es verify` says what is wrong."
        )
    position = head.position + 1
    recorded_at = max(recorded_at, head.recorded_at)
    content = digest(b"", payload)
    hash_ = link(head.hash, slot, position, position, None, None, recorded_at, (type_, 1), None, None, content, None)
    return (slot, position, position, None, None, type_, 1, payload, None, None, None, recorded_at, hash_)


def _by_number(item: tuple[Slot, list[Entry]]) -> int:
    return item[0].number
