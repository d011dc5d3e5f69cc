"""The owner of slots: every command of this node comes in here, in order, and leaves as a reply after its commit.

1. A command for an entity in memory is decided at once, on the speculative state. One for a cold entity waits until the
   entity is in memory; what comes after it waits behind it.
2. Events go to the writer. A reply without events leaves when the state that it was built on is committed and proven.
3. Every command is in the pending table from its arrival until its outcome is known. A repeat of one that is there
   joins it; another repeat looks into the journal before it is decided (``repeats.py``).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from typing import Any, Final

from casty_es.actors.activation import Activator
from casty_es.actors.entity import Entity, Entry
from casty_es.actors.pending import Marker, Pending, Stage
from casty_es.actors.proofs import Prover
from casty_es.actors.slot import Slot
from casty_es.actors.slot_leases import SlotLeases
from casty_es.actors.snapshotting import Snapshotter
from casty_es.actors.waiters import Waiters
from casty_es.actors.writer import Writer
from casty_es.config import Settings
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import WAITING, Command
from casty_es.errors import OverloadedError, UsageError
from casty_es.journal.port import EntityName, EventJournal, Meta
from casty_es.leases.port import LeaseManager
from casty_es.runtime import Runtime

__all__ = ["Owner"]

# How many of the least recently used entities are looked at, at most, to find one that may leave memory.
_EVICTION_TRIES: Final = 16


class Owner:
    """Everything that one node does for the slots it owns. Made inside a running event loop.

    Parameters
    ----------
    journal : EventJournal
        An open journal.
    meta : Meta
        What ``journal.open`` gave.
    """

    def __init__(
        self,
        journal: EventJournal,
        meta: Meta,
        manager: LeaseManager,
        runtime: Runtime,
        settings: Settings,
        *,
        node_id: str,
    ) -> None:
        self._journal = journal
        self._runtime = runtime
        self._settings = settings
        self._slots = [Slot(number) for number in range(meta.slots)]
        self._entities: OrderedDict[EntityName, Entity] = OrderedDict()
        self._table: dict[bytes, Pending] = {}
        self._held: dict[EntityName, list[Pending]] = {}
        self._leases = SlotLeases(
            journal, manager, runtime, node_id=node_id, wait_seconds=settings.writer_wait_seconds, lost=self._lost
        )
        self._waiters = Waiters(lease_seconds=settings.lease_seconds, expire=self._expire, look_again=self._look_again)
        self._prover = Prover(journal, lost=lambda slot: self._writer.lose({slot}), again=self._again)
        self._snapshotter = Snapshotter(journal, runtime, settings.snapshot_events)
        self._writer = Writer(
            journal,
            runtime,
            self._leases,
            self._waiters,
            self._prover,
            max_events=settings.max_batch_events,
            max_bytes=settings.max_batch_bytes,
            forget=self._forget,
            again=self._again,
            committed=self._snapshotter.consider,
        )
        self._activator = Activator(journal, runtime, self._leases, self._slots, activated=self._activated)

    # Commands

    def submit(
        self,
        name: EntityName,
        shards: int,
        command: Command,
        command_id: bytes,
        *,
        local: bool = False,
        repeat_after: int | None = None,
    ) -> Pending:
        """Take a command in; its pending's future gets the reply, or the error.

        Parameters
        ----------
        name : EntityName
            The entity that the command is for.
        shards : int
            The number of shards that the caller's handle has; what is recorded wins.
        command_id : bytes
            A UUIDv7 of 16 bytes; the same one again for a repeat.
        local : bool
            Answer a query without proof that this node is still the owner.
        repeat_after : int | None
            For a repeat: the slot's position that was known when the command was first sent.

        Raises
        ------
        OverloadedError
            Too many commands wait. This one was not accepted.
        """
        if len(self._table) - self._waiters.in_line >= self._settings.max_pending:
            raise OverloadedError(
                f"{self._settings.max_pending} commands are waiting already. This one was not accepted; it did "
                f"not happen. Try again later, with fewer at once, or raise the setting max_pending."
            )
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        pending = Pending(
            command, command_id, future, self._table, shards=shards, local=local, repeat_after=repeat_after
        )
        if repeat_after is not None or command_id in self._table:
            self._repeat(name, pending)
            return pending
        self._table[command_id] = pending
        self._submit(name, pending)
        return pending

    def _submit(self, name: EntityName, pending: Pending) -> None:
        entity = self._entities.get(name)
        if entity is None or self._held:
            self._submit_cold(name, pending)
        else:
            self._entities.move_to_end(name)
            self._decide(entity, pending)

    def _submit_cold(self, name: EntityName, pending: Pending) -> None:
        held = self._held.get(name)
        entity = self._entities.get(name)
        if held is not None:
            held.append(pending)
        elif entity is not None:
            self._decide(entity, pending)
        else:
            self._activator.add(name, pending.shards, pending)

    def _again(self, name: EntityName, pending: Pending) -> None:
        pending.stage = Stage.ARRIVED
        if not pending.abandoned():
            self._submit_cold(name, pending)

    def _activated(self, entity: Entity, pendings: list[Pending]) -> None:
        self._entities[entity.name] = entity
        self._waiters.reconcile(entity)
        for pending in pendings:
            self._decide(entity, pending)
        self._evict()

    def _decide(self, entity: Entity, pending: Pending) -> None:
        if pending.abandoned():
            return
        if pending.epoch is not None and pending.epoch != entity.slot.epoch:
            pending.resolve(None)
            return
        kind, command = entity.kind, pending.command
        try:
            entry = entity.decide(pending)
            reply = None if entry is not None else kind.answer(entity.state, command)
        except Exception as error:  # noqa: BLE001 - a refusal, or a bug: it is the caller's to see, and changed nothing
            entry, reply = None, error
        if entry is not None:
            self._writer.add(entry)
            return
        if kind.renewed is not None and (renewed := kind.renewed(command)):
            self._waiters.renew(renewed)
        if reply is WAITING:
            self._waiters.wait(entity, pending)
        elif entity.in_batch:
            self._writer.add(Entry(entity, pending, (), [], entity.state, reply))
        elif pending.local:
            pending.settle(reply)
        else:
            pending.stage = Stage.DECIDED
            self._prover.prove(entity.slot, entity.slot.epoch, entity.name, pending, reply)

    def _evict(self) -> None:
        for _ in range(_EVICTION_TRIES):
            if len(self._entities) <= self._settings.max_entities:
                return
            name, entity = self._entities.popitem(last=False)
            if entity.in_batch:
                self._entities[name] = entity

    # Repeats

    def _repeat(self, name: EntityName, pending: Pending) -> None:
        first = self._table.get(pending.command_id)
        if first is not None:
            first.joined += (pending,)
            return
        self._table[pending.command_id] = pending
        entity = self._entities.get(name)
        if entity is not None and name not in self._held:
            # It is read from the journal anew, once all that was decided of it is there; what comes later waits.
            self._held[name] = [pending]
            marker = Marker(lambda: self._release(name))
            self._writer.add(Entry(entity, marker, (), [], entity.state, None))
        else:
            self._submit_cold(name, pending)

    def _release(self, name: EntityName) -> None:
        self._entities.pop(name, None)
        for pending in self._held.pop(name, ()):
            self._activator.add(name, pending.shards, pending)

    # What the parts ask for

    def _expire(self, name: EntityName, slot: Slot, requests: tuple[str, ...]) -> asyncio.Future[Any]:
        expire = CATALOG[name.kind].expire
        assert expire is not None  # noqa: S101 - only kinds that have it know leases
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # Leases are counted afresh in every epoch: what ran out in this one says nothing about the next.
        pending = Pending(expire(requests), self._runtime.new_id(), future, self._table, epoch=slot.epoch)
        self._table[pending.command_id] = pending
        self._submit(name, pending)
        return future

    def _look_again(self, name: EntityName) -> None:
        entity = self._entities.get(name)
        if entity is None:
            self._activator.add(name, 0, None)
        else:
            self._waiters.reconcile(entity)

    def _forget(self, slots: Collection[Slot]) -> None:
        for name in [name for name, entity in self._entities.items() if entity.slot in slots]:
            del self._entities[name]

    def _lost(self, _reason: str) -> None:
        self._writer.lose({slot for slot in self._slots if slot.epoch})

    async def close(self) -> None:
        """Write what was decided, tell those who wait that nothing will come, give everything back."""
        closed = UsageError("The system was closed while the caller stood in line. Nothing was granted.")
        await self._activator.close()
        await self._writer.close()
        self._waiters.close(closed)
        await self._prover.close()
        await self._activator.close()
        for pending in list(self._table.values()):  # decided again too late, after an append that was refused
            pending.fail(UsageError("The system was closed before the command was written. It did not happen."))
        await self._snapshotter.close()
        await self._leases.release()
