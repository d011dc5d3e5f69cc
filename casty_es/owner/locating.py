"""Holding a slot because somebody asks for it, and giving up what others found out about it.

Nothing else makes a node take a slot, a command least of all: one that lay in the buffer of a frozen process can so
never run under an epoch that was taken because of it (``docs/explanation/model.md``).
"""

from __future__ import annotations

import asyncio
from typing import Final

from casty_es.errors import JournalRegressedError
from casty_es.journal.port import EventJournal
from casty_es.journal.remembered import Mark
from casty_es.owner.ports import Tenure
from casty_es.owner.slot import Slot
from casty_es.owner.slot_leases import SlotLeases

_STRANGERS_SECONDS: Final = 1.0  # so many callers that wait for slots ask once


class Locating:
    """What one owner does when a slot is asked for."""

    def __init__(self, journal: EventJournal, slots: list[Slot], leases: SlotLeases, tenure: Tenure) -> None:
        self._journal = journal
        self._slots = slots
        self._leases = leases
        self._comparing = leases.comparing
        self._tenure = tenure
        self._strangers: tuple[float, dict[int, str]] = (0.0, {})
        self._looking = asyncio.Lock()

    async def locate(self, slot: Slot, mark: Mark | None = None) -> None:
        """Hold a slot, taking it if nobody else does; ``mark`` is what whoever asks remembers of it.

        Raises ``NotOwnerError`` if another node holds it, ``JournalRegressedError`` if it has lost records, and
        ``JournalError`` if the journal cannot be asked.
        """
        if mark is None or slot.wrote(mark):
            await self._locate(slot)
        else:
            self._comparing.carry(slot.number, mark)
            try:
                await self._locate(slot)
                if self._comparing.carries(slot.number, mark):  # the slot was held already
                    await self._comparing.vouch(slot.number, mark)
                    await self._locate(slot)
            except JournalRegressedError:
                self._tenure.lose([slot])
                raise
            finally:
                self._comparing.drop(slot.number, {mark})
        slot.point(None, None)

    async def _locate(self, slot: Slot) -> None:
        if not slot.epoch and not self._tenure.closing:
            await self._leases.take_soon(slot)
        if not slot.epoch:
            if self._comparing.closed(slot.number):  # unless its loss was accepted meanwhile
                await self._comparing.vouch(slot.number)
            raise slot.untaken(None if self._tenure.closing else await self._stranger(slot))

    async def _stranger(self, slot: Slot) -> str | None:
        """Return who holds a slot that could not be taken and is no node, as of a second ago or less."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            until, strangers = self._strangers
            if now >= until:
                strangers = await (await self._leases.session()).strangers()
                self._strangers = now + _STRANGERS_SECONDS, strangers
            return strangers.get(slot.number)

    async def look(self) -> int:
        """Look up what other nodes have closed, and everything once a loss was accepted; return the incarnation."""
        incarnation, closed = await self._journal.closed_slots()
        held = [slot for slot in self._slots if slot.epoch and slot.incarnation < incarnation]
        if held:
            self._tenure.lose(held)
        numbers = {row.slot for row in closed if row.slot < len(self._slots) and self._slots[row.slot].epoch}
        if numbers:
            await self._comparing.compare(self._comparing.own(numbers))
            self._tenure.lose([self._slots[number] for number in numbers if self._comparing.closed(number)])
        return incarnation
