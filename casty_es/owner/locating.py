"""Holding a slot because somebody asks for it, and giving up what others found out about it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from casty_es.errors import JournalRegressedError
from casty_es.journal.port import EventJournal
from casty_es.journal.remembered import Mark
from casty_es.owner.refusals import Refusals
from casty_es.owner.slot import Slot
from casty_es.owner.slot_leases import SlotLeases

__all__ = ["Locating"]


class Locating:
    """What one owner does when a slot is asked for.

    Parameters
    ----------
    lose : Callable[[Collection[Slot]], None]
        Stops owning slots.
    closing : Callable[[], bool]
        Tells whether the owner takes no slots any more.
    """

    def __init__(
        self,
        journal: EventJournal,
        slots: list[Slot],
        leases: SlotLeases,
        refusals: Refusals,
        lose: Callable[[Collection[Slot]], None],
        closing: Callable[[], bool],
    ) -> None:
        self._journal = journal
        self._slots = slots
        self._leases = leases
        self._comparing = leases.comparing
        self._refusals = refusals
        self._lose = lose
        self._closing = closing

    async def locate(self, slot: Slot, mark: Mark | None = None) -> None:
        """Hold a slot, taking it if nobody else does.

        Parameters
        ----------
        mark : Mark | None
            What whoever asks remembers of the slot.

        Raises
        ------
        NotOwnerError
            Another node holds it.
        JournalRegressedError
            It has lost records.
        JournalError
            The journal cannot be asked.
        """
        if mark is None or slot.wrote(mark):
            await self._locate(slot)
        else:
            self._comparing.carry(slot.number, mark)
            try:
                await self._locate(slot)
                if self._comparing.carries(slot.number, mark):  # the slot was held already
                    await self._leases.vouch(slot, mark)
                    await self._locate(slot)
            except JournalRegressedError:
                self._lose([slot])
                raise
            finally:
                self._comparing.drop(slot.number, {mark})
        self._refusals.point(slot, None, None)

    async def _locate(self, slot: Slot) -> None:
        if not slot.epoch and not self._closing():
            await self._leases.take_soon(slot)
        if not slot.epoch:
            if self._comparing.closed(slot.number):  # unless its loss was accepted meanwhile
                await self._leases.vouch(slot)
            raise self._refusals.untaken(slot, None if self._closing() else await self._leases.stranger(slot))

    async def look(self) -> int:
        """Look up what other nodes have closed, and everything once a loss was accepted; return the incarnation."""
        incarnation, closed = await self._journal.closed_slots()
        held = [slot for slot in self._slots if slot.epoch and slot.incarnation < incarnation]
        if held:
            self._lose(held)
        numbers = {row.slot for row in closed if row.slot < len(self._slots) and self._slots[row.slot].epoch}
        if numbers:
            await self._comparing.compare(self._comparing.own(numbers))
            self._lose([self._slots[number] for number in numbers if self._comparing.closed(number)])
        return incarnation
