"""Taking slots: the process's lease first, then a lease record in each slot's log.

1. A process takes the right to write at its first write, and keeps it until it is closed or loses it.
2. A slot is taken by appending a ``lease.acquired`` record that names the slot's head. Its position is the epoch. When
   somebody else wrote in between the record does not fit, and it is tried again behind what they wrote.
3. The record settles everything before it: what was still on its way to its position can no longer be written. So a
   record whose own outcome is unknown is followed by another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from casty_es.actors.batch import lease_row
from casty_es.actors.slot import Slot
from casty_es.errors import AppendUnknownError, ConflictError, JournalError, JournalInUseError, LeaseLostError
from casty_es.journal.port import LEASE_ACQUIRED, Append, EventJournal, Head, NodeRow
from casty_es.leases.port import Lease, LeaseManager
from casty_es.runtime import Runtime

__all__ = ["SlotLeases"]

_LOG: Final = logging.getLogger("casty_es.leases")

_ATTEMPTS: Final = 50
_ASK_AGAIN_SECONDS: Final = 0.1


class SlotLeases:
    """What this process may write.

    Parameters
    ----------
    node_id : str
        The name of this process, fresh at every start, which the lease records carry.
    wait_seconds : float
        How long the first write waits for another process to give up the journal, in seconds.
    lost : Callable[[str], None]
        Told the reason when the process's lease is lost.
    """

    def __init__(
        self,
        journal: EventJournal,
        manager: LeaseManager,
        runtime: Runtime,
        *,
        node_id: str,
        wait_seconds: float,
        lost: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._manager = manager
        self._runtime = runtime
        self._node_id = node_id
        self._wait_seconds = wait_seconds
        self._on_lost = lost
        self._lease: Lease | None = None
        self._taking = asyncio.Lock()

    async def take(self, slots: Collection[Slot]) -> None:
        """Own these slots; those that are owned already stay as they are.

        Raises
        ------
        JournalInUseError
            Another process holds the right to write.
        LeaseLostError
            The slots were taken away again and again.
        JournalError
            The journal could not be read or written.
        """
        give_up_at = asyncio.get_running_loop().time() + self._wait_seconds
        async with self._taking:
            wanted = {slot.number: slot for slot in slots if not slot.epoch}
            if not wanted:
                return
            for _ in range(_ATTEMPTS):
                lease = await self._acquire(give_up_at)
                heads = await self._journal.heads(list(wanted))
                now = self._runtime.now()
                append = self._lease_records(heads, now)
                try:
                    await self._journal.append(append)
                except (ConflictError, AppendUnknownError) as error:
                    _LOG.info("The lease records of slots %s were not confirmed, trying again: %s", [*wanted], error)
                    await asyncio.sleep(_ASK_AGAIN_SECONDS if isinstance(error, AppendUnknownError) else 0)
                    continue
                # Read after the record is there: nobody but its writer gives numbers from here on.
                numbers = await self._journal.entity_numbers(list(wanted))
                if lease.lost.done():
                    continue
                for row in append.events:
                    slot = wanted[row[0]]
                    slot.take(Head(row[1], row[-1], row[1]), numbers[slot.number], now)
                _LOG.debug("Took slots %s", [*wanted])
                return
        raise LeaseLostError(
            f"The slots {[*wanted]} could not be taken in {_ATTEMPTS} attempts, because others wrote to them or the "
            f"journal did not answer. Nothing of this command was written."
        )

    async def release(self) -> None:
        """Give the right to write back."""
        lease, self._lease = self._lease, None
        if lease is not None:
            try:
                await self._journal.forget_node(self._node_id)
            except JournalError as error:
                _LOG.warning("Node %s stays listed, which the next one mends: %s", self._node_id, error)
            await lease.release()

    def _lease_records(self, heads: dict[int, Head], now: int) -> Append:
        payload = msgspec.json.encode({"node": self._node_id}).decode()
        rows = [lease_row(number, heads[number], payload, now, LEASE_ACQUIRED) for number in sorted(heads)]
        return Append([(number, heads[number].position, heads[number].hash) for number in sorted(heads)], rows)

    async def _acquire(self, give_up_at: float) -> Lease:
        if self._lease is not None and not self._lease.lost.done():
            return self._lease
        loop = asyncio.get_running_loop()
        while (lease := await self._manager.try_acquire()) is None:
            if loop.time() >= give_up_at:
                raise await self._in_use()
            await asyncio.sleep(_ASK_AGAIN_SECONDS)  # no database tells when a lock becomes free
        try:
            await self._register()
        except BaseException:
            await lease.release()
            raise
        self._lease = lease
        lease.lost.add_done_callback(self._lost)
        _LOG.info("Acquired the right to write as node %s", self._node_id)
        return lease

    async def _register(self) -> None:
        for node in await self._journal.nodes():
            await self._journal.forget_node(node.node_id)  # they died without a word: this process has the lock
        now = self._runtime.now()
        await self._journal.register_node(NodeRow(self._node_id, socket.gethostname(), os.getpid(), None, now, now))

    def _lost(self, reason: asyncio.Future[str]) -> None:
        if not reason.cancelled():
            _LOG.warning("Lost the right to write: %s", reason.result())
            self._on_lost(reason.result())

    async def _in_use(self) -> JournalInUseError:
        nodes = await self._journal.nodes()
        holder = f"process {nodes[0].pid} on host {nodes[0].host}" if nodes else "a process that did not say its name"
        return JournalInUseError(
            f"The journal is being written by {holder}. Nothing was written here; reading goes on working. Stop that "
            f"process, or send the command to it."
        )
