"""Taking slots: the lock first, then a lease record in the slot's log.

1. A node opens one lease session when it starts, and another one whenever it lost it.
2. A slot is taken by its lock, and then by appending a ``lease.acquired`` record that names the slot's head. Its
   position is the epoch. When somebody else wrote in between the record does not fit, and it is tried again behind what
   they wrote.
3. The record settles everything before it: what was still on its way to its position can no longer be written. So a
   record whose own outcome is unknown is followed by another; how soon, ``doubts.py`` says.
4. A log that is shorter than what this node has seen committed has lost records: the slot stays closed until an
   operator accepts the loss, which raises the journal's incarnation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from casty_es.background import Errands
from casty_es.errors import (
    AppendRejectedError,
    ConfigurationError,
    ConflictError,
    JournalUnavailableError,
    LeaseLostError,
)
from casty_es.journal.port import LEASE_ACQUIRED, Append, EventJournal, Head, SlotRow
from casty_es.journal.remembered import Mark
from casty_es.leases.port import LeaseManager, LeaseSession
from casty_es.owner.batch import lease_row
from casty_es.owner.comparing import Comparing
from casty_es.owner.doubts import Doubts
from casty_es.owner.slot import Slot
from casty_es.printing import log_of
from casty_es.processes import process_of
from casty_es.runtime import Runtime

__all__ = ["SlotLeases"]

_LOG: Final = log_of("casty_es.leases")

_ATTEMPTS: Final = 50
_STRANGERS_SECONDS: Final = 1.0  # so many callers that wait for slots ask once


class SlotLeases:
    """What this process may write.

    Parameters
    ----------
    node_id : str
        The node's name, which the lease records carry beside the id of its process.
    process : str
        What the process is called (``processes.py``).
    comparing : Comparing
        Closes the slots whose log lacks what is remembered of it.
    lost : Callable[[str], None]
        Told the reason when the node's lease session is lost, and every slot with it.
    ended : Callable[[str], None]
        Told why, when the taking of slots was cut off.
    """

    def __init__(
        self,
        journal: EventJournal,
        manager: LeaseManager,
        runtime: Runtime,
        comparing: Comparing,
        *,
        node_id: str,
        process: str,
        lost: Callable[[str], None],
        ended: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._manager = manager
        self._runtime = runtime
        self._node_id = node_id
        named = process_of(process)
        self._process = node_id if named is None else named.id
        self._on_lost = lost
        self._session: LeaseSession | None = None
        self._opening = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._closed = False
        self._asked: list[tuple[Slot, asyncio.Future[None]]] = []
        self._batching: asyncio.Task[None] | None = None
        self._errands = Errands(ended)
        self.doubts = Doubts()
        self.comparing = comparing
        self.address: str | None = None
        self._strangers: tuple[float, dict[int, str]] = (0.0, {})
        self._looking = asyncio.Lock()

    async def session(self) -> LeaseSession:
        """Return the node's lease session, opening one if there is none.

        Raises
        ------
        NodeInUseError
            A living process has the node's name.
        JournalUnavailableError
            The database cannot be reached.
        """
        async with self._opening:
            if self._closed:
                raise JournalUnavailableError("The node is closing and takes no slots any more. Nothing was done.")
            if self._session is None or not self._session.stands():
                self._session = session = await self._manager.open(self._node_id, self._process)
                session.lost.add_done_callback(self._lost)
                _LOG.info("Node %s opened its lease session", self._node_id)
            return self._session

    async def take_soon(self, slot: Slot) -> None:
        """Own one slot, as ``take`` does, together with all others that are asked for meanwhile.

        A slot whose appends ended in doubt again and again is left alone for a while first.
        """
        if left := self.doubts.left([slot]):
            await asyncio.sleep(left)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append((slot, waiter))
        if self._batching is None or self._batching.done():
            self._batching = self._errands.begin(self._take_asked(), name="casty-takes")
        await waiter

    async def _take_asked(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, []
            try:
                await self.take({slot for slot, _ in asked})
            except Exception as error:  # noqa: BLE001 - it is given to those whom it concerns
                if len(asked) > 1:  # one slot's trouble is not the others'
                    for slot, waiter in asked:
                        await self._take_one(slot, waiter)
                else:
                    _tell(asked[0][1], error)
            else:
                for _, waiter in asked:
                    _tell(waiter, None)

    async def _take_one(self, slot: Slot, waiter: asyncio.Future[None]) -> None:
        try:
            await self.take([slot])
        except Exception as error:  # noqa: BLE001 - as above
            _tell(waiter, error)
        else:
            _tell(waiter, None)

    async def take(self, slots: Collection[Slot]) -> None:
        """Own these slots, as far as nobody else holds them: those that could not be taken keep the epoch 0.

        Raises
        ------
        JournalRegressedError
            A slot's log lacks what is remembered of it.
        LeaseLostError
            The slots were taken away again and again.
        JournalError
            The journal could not be read or written.
        """
        async with self._taking:
            wanted = {slot.number: slot for slot in slots if not slot.epoch}
            try:
                await self._take(wanted)
            finally:
                missed = [number for number, slot in wanted.items() if not slot.epoch]
                if missed and self._session is not None and not self._session.lost.done():
                    await self._session.release(missed)

    async def _take(self, wanted: dict[int, Slot]) -> None:
        for _ in range(_ATTEMPTS):
            if not wanted:
                return
            self._refuse_doubtful(wanted.values())
            session = await self.session()
            held = await session.acquire(wanted)
            mine = {number: wanted[number] for number in sorted(held & set(wanted))}
            if not mine:
                return
            # Read after the locks are there: what an earlier owner wrote before it let go must be seen.
            heads = await self.comparing.compare(await self.comparing.recollect(list(mine)))
            for number in mine:
                self.comparing.refuse(number)
            now, incarnation = self._runtime.now(), self.comparing.incarnation
            append = self._lease_records(heads, now)
            try:
                await self._journal.append(append)
            except ConflictError as error:
                _LOG.info("Others wrote to the slots %s, trying again behind them: %s", [*mine], error)
                continue
            except (AppendRejectedError, JournalUnavailableError, ConfigurationError):
                raise
            except Exception as error:  # noqa: BLE001 - what is not known to be harmless counts as unknown
                _LOG.warning("The lease records of slots %s were not confirmed: %r", [*mine], error)
                self.doubts.note(mine.values())
                continue
            # Read after the record is there: nobody but its writer gives numbers from here on.
            numbers = await self._journal.entity_numbers(list(mine))
            rows = [SlotRow(row[0], self._node_id, self.address, row[1], now) for row in append.events]
            await self._journal.save_slots(rows)
            if not session.stands():
                self.doubts.note(mine.values())  # a record without use, like one in doubt
                continue
            for row in append.events:
                mine[row[0]].take(Head(row[1], row[-1], row[1], row[11]), numbers[row[0]], row[11], incarnation)
            _LOG.info("Node %s won slots %s", self._node_id, [*mine])
            return
        raise LeaseLostError(
            f"The slots {[*wanted]} could not be taken in {_ATTEMPTS} attempts, because others wrote to them or the "
            f"journal did not answer. Nothing of this command was written."
        )

    def _refuse_doubtful(self, slots: Collection[Slot]) -> None:
        left = self.doubts.left(slots)
        if left:
            raise JournalUnavailableError(
                f"The slots {[slot.number for slot in slots]} are left alone for {left:.1f} s, because their appends "
                f"ended without a trustworthy answer again and again. Nothing of this command was written. Look at the "
                f"database's log for the cause."
            )

    async def settled(self, slots: Collection[Slot], epochs: dict[Slot, int]) -> bool:
        """Try to settle what was on its way to these slots under older epochs; tell whether all of it is settled.

        It is, once a lease record stands behind it: one of this node, or of whoever holds the slot now.
        """
        await self.take(slots)
        others = [slot.number for slot in slots if not slot.epoch]
        heads = await self._journal.heads(others) if others else {}
        return all(heads[slot.number].epoch != epochs[slot] for slot in slots if not slot.epoch)

    async def release(self, slots: Collection[Slot]) -> None:
        """Give slots back that are not owned any more."""
        async with self._taking:
            numbers = [slot.number for slot in slots if not slot.epoch]
            if numbers and self._session is not None and not self._session.lost.done():
                await self._journal.forget_slots(numbers, self._node_id)
                await self._session.release(numbers)

    async def close(self) -> None:
        """Give everything back."""
        self._closed = True
        await self._errands.settled()
        async with self._opening:
            session, self._session = self._session, None
        if session is not None:
            session.lost.remove_done_callback(self._lost)
            await session.close()

    def abandon_after_fork(self) -> None:
        """Let go of the parent's session without a word, in a forked child."""
        if self._session is not None:
            self._session.abandon_after_fork()

    def stands(self) -> bool:
        """Return whether the lease session is known to have lasted until now, so nobody can have taken the slots."""
        return self._session is not None and self._session.stands()

    async def stranger(self, slot: Slot) -> str | None:
        """Return who holds a slot that could not be taken and is no node, as of a second ago or less.

        Raises
        ------
        JournalUnavailableError
            It cannot be found out.
        """
        async with self._looking:
            now = asyncio.get_running_loop().time()
            until, strangers = self._strangers
            if now >= until:
                strangers = await (await self.session()).strangers()
                self._strangers = now + _STRANGERS_SECONDS, strangers
            return strangers.get(slot.number)

    async def vouch(self, slot: Slot, mark: Mark | None = None) -> None:
        """Compare a slot with what whoever asks for it remembers, and with what this process does.

        Raises
        ------
        JournalRegressedError
            Its log lacks some of it.
        JournalError
            The journal cannot be read.
        """
        marks = self.comparing.own([slot.number])
        if mark is not None:
            marks[slot.number].add(mark)
        await self.comparing.compare(marks)
        self.comparing.refuse(slot.number)

    def _lease_records(self, heads: dict[int, Head], now: int) -> Append:
        said = {"node": self._node_id, "process": self._process, "incarnation": self.comparing.incarnation}
        payload = msgspec.json.encode(said).decode()
        rows = [lease_row(number, heads[number], payload, now, LEASE_ACQUIRED) for number in sorted(heads)]
        return Append([(number, heads[number].position, heads[number].hash) for number in sorted(heads)], rows)

    def _lost(self, reason: asyncio.Future[str]) -> None:
        if not reason.cancelled():
            _LOG.warning("Node %s lost its lease session and every slot: %s", self._node_id, reason.result())
            self._on_lost(reason.result())


def _tell(waiter: asyncio.Future[None], error: Exception | None) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)
