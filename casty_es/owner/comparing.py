"""Comparing a slot's log with what is remembered of it, before anything is taken, granted or answered.

1. What is remembered are marks: this process's own, those of the living nodes, what whoever asks carries, and what was
   written down when a slot was closed. They are collected before the log is looked at, so that none is newer than that.
2. A log that ends before a mark, or has another record there, has lost records: the slot is closed. That is written
   down beside the log, so that no process that remembers nothing opens it again.
3. A mark of an earlier incarnation has been given up: an operator accepted the loss. A log that reaches its marks again
   (the records were restored) opens its slot.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, TypeAlias

from casty_es.errors import CastyError, JournalRegressedError
from casty_es.journal.port import EventJournal, Head
from casty_es.journal.remembered import ClosedSlot, Mark, Remembered
from casty_es.printing import log_of
from casty_es.runtime import Runtime

_LOG: Final = log_of("casty_es.leases")

Marks: TypeAlias = dict[int, set[Mark]]


class Comparing:
    """What one node knows of the loss of records.

    ``node_id`` stands beside a slot that it closes. ``incarnation`` is the journal's as last seen: how often a loss
    has been accepted, plus one. ``peers`` asks the other living nodes what they remember of some slots.
    """

    def __init__(
        self, journal: EventJournal, remembered: Remembered, runtime: Runtime, *, node_id: str, incarnation: int
    ) -> None:
        self._journal = journal
        self._runtime = runtime
        self._node_id = node_id
        self._closed: dict[int, str] = {}
        self._carried: defaultdict[int, set[Mark]] = defaultdict(set)
        self._written: set[tuple[int, Mark]] = set()
        self.remembered = remembered
        self.incarnation = incarnation
        self.peers: Callable[[Collection[int]], Awaitable[Marks]] = _nobody

    def carry(self, slot: int, mark: Mark) -> None:
        """Note what somebody who asks for a slot remembers of it, until ``drop``."""
        self._carried[slot].add(mark)
        self.remembered.note(slot, mark)

    def carries(self, slot: int, mark: Mark) -> bool:
        """Return whether a mark that somebody carried was not compared yet."""
        return mark in self._carried[slot]

    def drop(self, slot: int, marks: set[Mark]) -> None:
        """Note that these marks were compared, or that nobody waits for it any more."""
        self._carried[slot] -= marks

    def own(self, slots: Collection[int]) -> Marks:
        """Return what this process remembers of some slots."""
        return {slot: self._carried.get(slot, set()) | self.remembered.all(slot) for slot in slots}

    async def recollect(self, slots: Collection[int]) -> Marks:
        """Return what is remembered of some slots, here and at the other nodes."""
        told = await self.peers(slots) if slots else {}
        marks = self.own(slots)  # after the others' answers: meanwhile this process may have been told more
        for slot in slots:
            marks[slot] |= told.get(slot, set())
        return marks

    async def compare(self, marks: Mapping[int, set[Mark]]) -> dict[int, Head]:
        """Return the heads of some slots, and close those that do not reach what is remembered of them.

        That was collected before. ``JournalError`` if the journal cannot be read.
        """
        heads = await self._journal.heads(list(marks))
        self.incarnation, closed = await self._journal.closed_slots()
        standing = {slot: {mark for mark in of if mark.incarnation >= self.incarnation} for slot, of in marks.items()}
        for row in closed:
            if row.slot in standing:
                standing[row.slot].add(row.mark)
        hashes = await self._journal.hashes(
            [(slot, mark.position) for slot, of in standing.items() for mark in of if mark.hash]
        )
        for slot, of in standing.items():
            # The highest first: it is what has to be restored.
            for mark in sorted(of, key=lambda one: one.place, reverse=True):
                if await self._missing(slot, mark, heads[slot], hashes.get((slot, mark.position))):
                    await self._close(slot, mark, heads[slot])
                    break
            else:
                if self._closed.pop(slot, None) is not None:
                    _LOG.warning("Slot %d is open again: its log has all that is remembered of it", slot)
                self.drop(slot, marks[slot])
        return heads

    async def vouch(self, slot: int, mark: Mark | None = None) -> None:
        """Compare a slot with what whoever asks for it remembers, and with what this process does.

        Raises ``JournalRegressedError`` if its log lacks some of it, ``JournalError`` if it cannot be read.
        """
        marks = self.own([slot])
        if mark is not None:
            marks[slot].add(mark)
        await self.compare(marks)
        self.refuse(slot)

    async def _missing(self, slot: int, mark: Mark, head: Head, hash_: bytes | None) -> bool:
        """Return whether a slot's log lacks what is remembered of it."""
        if mark.incarnation > self.incarnation or not mark.reached(head.position, hash_):
            return True
        if hash_ is not None or not mark.hash:
            return False
        # Retention cuts records; where it did, a seal stands.
        seals = await self._journal.seals(slot, after=mark.position - 1, limit=1)
        return not seals or seals[0].first > mark.position

    async def _close(self, slot: int, mark: Mark, head: Head) -> None:
        why = (
            f"The database has lost records of slot {slot}: position {mark.position} was committed and is not there "
            f"any more (the log ends at {head.position}). The slot is closed, nothing was written. Restore the "
            f"records, or accept the loss with `casty-es accept-loss`."
        )
        if slot not in self._closed:
            _LOG.error("%s", why)
        self._closed[slot] = why
        self.remembered.note(slot, mark)
        if (slot, mark) in self._written:
            return
        try:
            await self._journal.close_slot(ClosedSlot(slot, mark, head.position, self._node_id, self._runtime.now()))
        except CastyError as error:
            _LOG.warning(
                "That slot %d is closed could not be written down. A process that remembers nothing of what it lost "
                "may open it: start none until the records are restored or the loss is accepted. The cause: %s",
                slot,
                error,
            )
        else:
            self._written.add((slot, mark))

    def closed(self, slot: int) -> bool:
        """Return whether a slot was found to have lost records."""
        return slot in self._closed

    def error(self, slot: int) -> JournalRegressedError:
        """Return what whoever asks for a closed slot is told."""
        return JournalRegressedError(self._closed[slot])

    def refuse(self, slot: int) -> None:
        """Refuse to work on a slot that has lost records."""
        if slot in self._closed:
            raise self.error(slot)

    def seen(self, slot: int, head: Head) -> None:
        """Remember the head up to which somebody is told something."""
        self.remembered.note(slot, Mark.of(self.incarnation, head.position, head.hash))


async def _nobody(_slots: Collection[int]) -> Marks:
    return {}
