"""Taking slots: the lock first, then a lease record in the slot's log.

1. A node opens one lease session when it starts, and another one whenever it lost it.
2. A slot is taken by its lock, and then by appending a ``lease.acquired`` record that names the slot's head. Its
   position is the epoch. When somebody else wrote in between the record does not fit, and it is tried again behind what
   they wrote.
3. The record settles everything before it: what was still on its way to its position can no longer be written. So a
   record whose own outcome is unknown is followed by another; how soon, ``Slot.doubt`` says.
4. A log that is shorter than what this node has seen committed has lost records: the slot stays closed until an
   operator accepts the loss, which raises the journal's incarnation.

The lock chooses who should write, the journal decides who may (``docs/explanation/architecture.md``, "Who may write"):
a lock that two processes believe to have costs time, and never data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from casty_es.background import Errands
from casty_es.errors import (
    AppendRejectedError,
    CastyError,
    ConfigurationError,
    ConflictError,
    JournalUnavailableError,
    LeaseLostError,
)
from casty_es.journal.port import LEASE_ACQUIRED, Append, EventJournal, Head, SlotRow
from casty_es.leases.port import LeaseManager, LeaseSession
from casty_es.owner.batch import lease_row
from casty_es.owner.comparing import Comparing
from casty_es.owner.ports import Node, Tenure
from casty_es.owner.slot import Slot, left_alone
from casty_es.printing import log_of
from casty_es.processes import process_of
from casty_es.runtime import Runtime

_LOG: Final = log_of("casty_es.leases")

# Each attempt that fails means that somebody else wrote meanwhile, so somebody went on; this bounds what a bug costs.
_ATTEMPTS: Final = 50
_AGAIN_SECONDS: Final = 1.0


class SlotLeases:
    """What this process may write."""

    def __init__(
        self,
        journal: EventJournal,
        manager: LeaseManager,
        runtime: Runtime,
        comparing: Comparing,
        tenure: Tenure,
        node: Node,
        *,
        node_id: str,
        process: str,
    ) -> None:
        self._journal = journal
        self._manager = manager
        self._runtime = runtime
        self._node_id = node_id  # which the lease records carry beside the id of the process
        named = process_of(process)
        self._process = node_id if named is None else named.id  # as in its name (``processes.py``)
        self._tenure = tenure
        self._session: LeaseSession | None = None
        self._opening = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._closed = False
        self._asked: list[tuple[Slot, asyncio.Future[None]]] = []
        self._batching: asyncio.Task[None] | None = None
        self._errands = Errands(node.ended)
        self._lost_slots: set[Slot] = set()  # whose locks may still be held
        self._releasing = Errands(node.ended)
        self._gives_back = False
        self.comparing = comparing  # closes the slots whose log lacks what is remembered of it
        self.address: str | None = None
        # Tells whether the lease session is known to have lasted until now, so nobody can have taken the slots.
        # It is the session's own, as each append asks it.
        self.stands: Callable[[], bool] = _no_session

    async def session(self) -> LeaseSession:
        """Return the node's lease session, opening one if there is none.

        Raises ``NodeInUseError`` if a living process has the node's name, and ``JournalUnavailableError``.
        """
        async with self._opening:
            if self._closed:
                raise JournalUnavailableError("The node is closing and takes no slots any more. Nothing was done.")
            if self._session is None or not self._session.stands():
                self._session = session = await self._manager.open(self._node_id, self._process)
                self.stands = session.stands
                session.lost.add_done_callback(self._lost)
                _LOG.info("Node %s opened its lease session", self._node_id)
            return self._session

    async def take_soon(self, slot: Slot) -> None:
        """Own one slot, as ``take`` does, together with all others that are asked for meanwhile.

        A slot whose appends ended in doubt again and again is left alone for a while first.
        """
        if left := slot.left_alone():
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

        Raises ``JournalRegressedError`` if a slot's log lacks what is remembered of it, ``LeaseLostError`` if
        the slots were taken away again and again, and ``JournalError`` if the journal could not be read or
        written.
        """
        async with self._taking:
            wanted = {slot.number: slot for slot in slots if not slot.epoch}
            try:
                await self._take(wanted)
            finally:
                # A lock without a record is given back, or it would keep everybody else out for nothing.
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
                self.comparing.refuse(number)  # before the record: a log that lacks records is not written to
            now, incarnation = self._runtime.now(), self.comparing.incarnation
            append = self._lease_records(heads, now)
            if await self._written(append, mine) and await self._begun(session, append, mine, incarnation, now):
                return
        raise LeaseLostError(
            f"The slots {[*wanted]} could not be taken in {_ATTEMPTS} attempts, because others wrote to them or the "
            f"journal did not answer. Nothing of this command was written."
        )

    async def _written(self, append: Append, mine: dict[int, Slot]) -> bool:
        """Append lease records; tell whether they are known to be there."""
        try:
            await self._journal.append(append)
        except ConflictError as error:
            _LOG.info("Others wrote to the slots %s, trying again behind them: %s", [*mine], error)
            return False
        except (AppendRejectedError, JournalUnavailableError, ConfigurationError):
            raise
        except Exception as error:  # noqa: BLE001 - what is not known to be harmless counts as unknown
            _LOG.warning("The lease records of slots %s were not confirmed: %r", [*mine], error)
            for slot in mine.values():
                slot.doubt()
            return False
        return True

    async def _begun(
        self, session: LeaseSession, append: Append, mine: dict[int, Slot], incarnation: int, now: int
    ) -> bool:
        """Begin to own the slots of lease records that are written; tell whether the locks lasted until then."""
        # Read after the record is there: nobody but its writer gives numbers from here on.
        numbers = await self._journal.entity_numbers(list(mine))
        rows = [SlotRow(row[0], self._node_id, self.address, row[1], now) for row in append.events]
        await self._journal.save_slots(rows)
        if not session.stands():
            for slot in mine.values():
                slot.doubt()  # a record without use, like one in doubt
            return False
        for row in append.events:
            mine[row[0]].take(Head(row[1], row[-1], row[1], row[11]), numbers[row[0]], incarnation)
        _LOG.info("Node %s won slots %s", self._node_id, [*mine])
        return True

    def _refuse_doubtful(self, slots: Collection[Slot]) -> None:
        left = left_alone(slots)
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
                try:
                    await self._journal.forget_slots(numbers, self._node_id)
                finally:
                    await self._session.release(numbers)

    def give_back(self, slots: Collection[Slot]) -> None:
        """Release slots that were lost, in a moment, unless they are taken again."""
        self._lost_slots.update(slots)
        if self._lost_slots and not self._closed and not self._gives_back:
            self._gives_back = True
            self._releasing.begin(self._release_lost(), name="casty-give-back")

    async def _release_lost(self) -> None:
        try:
            while self._lost_slots:
                slots, self._lost_slots = self._lost_slots, set()
                try:
                    await self._release_now(slots)
                except CastyError as error:
                    _LOG.info("Slots that were lost are not released, trying again: %s", error)
                    self._lost_slots |= slots
                    await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            self._gives_back = False

    async def _release_now(self, slots: Collection[Slot]) -> None:
        async with self._taking:
            numbers = [slot.number for slot in slots if not slot.epoch]
            if not numbers or self._session is None or self._session.lost.done():
                return
            # The locks first: others wait for them, and the journal may be away for long.
            await self._session.release(numbers)
        # Whoever takes one of them again writes its row behind this.
        await self._journal.forget_slots(numbers, self._node_id)

    async def close(self) -> None:
        """Give everything back."""
        self._closed = True
        await self._releasing.cancel()  # the session's end releases all
        await self._errands.settled()
        async with self._opening:
            session, self._session, self.stands = self._session, None, _no_session
        if session is not None:
            session.lost.remove_done_callback(self._lost)
            await session.close()

    def abandon_after_fork(self) -> None:
        """Let go of the parent's session without a word, in a forked child."""
        if self._session is not None:
            self._session.abandon_after_fork()

    def _lease_records(self, heads: dict[int, Head], now: int) -> Append:
        said = {"node": self._node_id, "process": self._process, "incarnation": self.comparing.incarnation}
        payload = msgspec.json.encode(said).decode()
        rows = [lease_row(number, heads[number], payload, now, LEASE_ACQUIRED) for number in sorted(heads)]
        return Append([(number, heads[number].position, heads[number].hash) for number in sorted(heads)], rows)

    def _lost(self, reason: asyncio.Future[str]) -> None:
        if not reason.cancelled():
            _LOG.warning("Node %s lost its lease session and every slot: %s", self._node_id, reason.result())
            self._tenure.lose_all()


def _tell(waiter: asyncio.Future[None], error: Exception | None) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)


def _no_session() -> bool:
    return False
