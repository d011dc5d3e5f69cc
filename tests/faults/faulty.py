"""A journal that fails on purpose, around a real one. It invents no answer: what it writes, the real journal writes."""

from __future__ import annotations

import asyncio
import enum
import time
from typing import TYPE_CHECKING, Any

from casty_es.errors import AppendRejectedError, AppendUnknownError, ConflictError
from casty_es.journal.port import LEASE_ACQUIRED, Append
from casty_es.owner.batch import lease_row

if TYPE_CHECKING:
    from casty_es.journal.port import EventJournal


class Fault(enum.Enum):
    """How an append fails."""

    REJECTED = "rejected before the write"
    UNKNOWN_LOST = "unknown, not written"
    UNKNOWN_WRITTEN = "unknown, written"
    WRITTEN_LATER = "unknown, and tried again behind the next record of the slot"
    WRITTEN_MEANWHILE = "unknown, and written just before the next record of the slot"
    CONFLICT = "a rival wrote to the slot first"
    CRASH_LOST = "an exception nobody planned, not written"
    CRASH_WRITTEN = "an exception nobody planned, written"


class FaultyJournal:
    """Fails the appends whose numbers are in ``at``; everything else goes through."""

    def __init__(self, inner: EventJournal, fault: Fault, at: range) -> None:
        self._inner = inner
        self._fault = fault
        self.at = at
        self.appends = 0
        self.struck = 0
        self.late: list[Append] = []
        self.late_was_written = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(self, append: Append) -> None:
        """Write, or fail as told."""
        await asyncio.sleep(0)  # a journal in memory takes no time: let the next batch fill meanwhile
        self.appends += 1
        waiting = [late for late in self.late if _slots(late) & _slots(append)]
        if self._fault is Fault.WRITTEN_MEANWHILE:
            for late in waiting:
                self.late.remove(late)
                await self._try(late)
        if self.appends in self.at:
            self.struck += 1
            await self._strike(append)
            return
        await self._inner.append(append)
        if self._fault is Fault.WRITTEN_LATER:
            for late in waiting:
                self.late.remove(late)
                await self._try(late)

    async def _try(self, late: Append) -> None:
        try:
            await self._inner.append(late)
        except ConflictError:
            return
        self.late_was_written = True

    async def _strike(self, append: Append) -> None:
        match self._fault:
            case Fault.REJECTED:
                raise AppendRejectedError("The fault: refused. Nothing was written.")
            case Fault.UNKNOWN_LOST:
                raise AppendUnknownError("The fault: the question was lost.")
            case Fault.UNKNOWN_WRITTEN:
                await self._inner.append(append)
                raise AppendUnknownError("The fault: the answer was lost.")
            case Fault.WRITTEN_LATER | Fault.WRITTEN_MEANWHILE:
                self.late.append(append)
                raise AppendUnknownError("The fault: the question is still on its way.")
            case Fault.CONFLICT:
                await self._rival(append.predecessors[0][0])
                await self._inner.append(append)
                raise AssertionError("the journal took an append behind a rival's record")
            case Fault.CRASH_LOST:
                raise RuntimeError("The fault: nobody planned for this.")
            case Fault.CRASH_WRITTEN:
                await self._inner.append(append)
                raise RuntimeError("The fault: nobody planned for this.")

    async def _rival(self, slot: int) -> None:
        """Take the slot away, as another process does."""
        head = (await self._inner.heads([slot]))[slot]
        row = lease_row(slot, head, '{"node":"rival"}', time.time_ns() // 1_000, LEASE_ACQUIRED)
        await self._inner.append(Append([(slot, head.position, head.hash)], [row]))


def _slots(append: Append) -> set[int]:
    return {slot for slot, _, _ in append.predecessors}
