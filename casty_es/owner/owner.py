"""The owner of slots: every command for them comes in here, in order, and leaves as a reply after its commit.

1. A command is addressed to a slot and the term under which this node holds it. Under another one it is refused, at
   its arrival or later: a command never makes a node take a slot. ``locate`` does, and nothing else.
2. A command for an entity in memory is decided at once, on the speculative state. One for a cold entity waits until the
   entity is in memory; what comes after it waits behind it. ``entity.py`` tells an entity's life.
3. Events go to the writer. A reply without events leaves when the state that it was built on is committed and proven.
4. Every command is in the pending table from its arrival until its outcome is known. A repeat of one that is there
   joins it; another repeat, and one with an idempotency key, looks into the journal before it is decided
   (``looking.py``), and what comes for that entity meanwhile waits.
5. For an entity with requests of other processes nothing is decided before it is known which of those are gone, and
   their requests are over. Of those that die later the owner learns when it is told to look (``mourn``).
6. A slot that is handed over is drained first: what was decided is written, what comes meanwhile is refused afterwards
   and told where to go.

The parts call back through ``ports.py`` alone: ``Commands`` and ``Tenure`` are the owner's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, Final

from casty_es.background import looked_at
from casty_es.config import Settings
from casty_es.domain.decider import WAITING, Command, Request
from casty_es.errors import CastyError
from casty_es.journal.port import EntityName, EventJournal, Meta
from casty_es.journal.remembered import Remembered
from casty_es.leases.port import LeaseManager
from casty_es.owner.activation import Activator
from casty_es.owner.comparing import Comparing
from casty_es.owner.deaths import Deaths, Mourning
from casty_es.owner.entity import Entities, Entity
from casty_es.owner.locating import Locating
from casty_es.owner.looking import Looks
from casty_es.owner.pending import Marker, Pending, Stage
from casty_es.owner.ports import Node
from casty_es.owner.proofs import Prover
from casty_es.owner.slot import Slot
from casty_es.owner.slot_leases import SlotLeases
from casty_es.owner.snapshotting import Snapshotter
from casty_es.owner.waiters import Waiters
from casty_es.owner.writer import Writer
from casty_es.printing import log_of
from casty_es.runtime import Runtime
from casty_es.verdicts import Evidence, closed, not_taken_in

_LOG: Final = log_of("casty_es.leases")


class Owner:
    """Everything that one node does for the slots it owns. Made inside a running event loop.

    ``remembered`` is what this process was told, which may be more than what it writes from now on. ``process`` is
    what it is called in its requests (``processes.py``); the lease records carry its id.
    """

    def __init__(
        self,
        journal: EventJournal,
        meta: Meta,
        manager: LeaseManager,
        runtime: Runtime,
        settings: Settings,
        remembered: Remembered,
        node: Node,
        *,
        node_id: str,
        process: str,
    ) -> None:
        self._runtime = runtime
        self._process = process
        self._settings = settings
        self.closing = False  # whether no slot is taken any more
        self.slots = slots = [Slot(number, node_id) for number in range(meta.slots)]
        remembered.follow([slot.mark for slot in slots])
        self._entities = Entities()
        self._table: dict[bytes, Pending] = {}
        self._draining: dict[Slot, list[Pending]] = {}
        self.comparing = comparing = Comparing(
            journal, remembered, runtime, node_id=node_id, incarnation=meta.incarnation
        )
        self.leases = leases = SlotLeases(
            journal, manager, runtime, comparing, self, node, node_id=node_id, process=process
        )
        self._waiters = waiters = Waiters(settings.lease_seconds, self)
        self._prover = prover = Prover(journal, leases, self, self, node)
        self._snapshotter = snapshotter = Snapshotter(journal, runtime, settings.snapshot_events, node)
        self._writer = Writer(journal, runtime, settings, leases, waiters, prover, snapshotter, self, self, node)
        self._activator = Activator(journal, runtime, slots, comparing, self, node)
        self._looks = looks = Looks(journal, self, node)
        self._mourning = Mourning(Deaths(leases, node, process), waiters, looks, self)
        self.mourn = self._mourning.mourn
        locating = Locating(journal, slots, leases, self)
        self.locate, self.look = locating.locate, locating.look

    # Commands

    def in_memory(self, name: EntityName) -> Slot | None:
        """Return the slot of an entity that is in memory here, which means that this node owns it."""
        entity = self._entities.get(name)
        return None if entity is None else entity.slot

    def submit(
        self,
        name: EntityName,
        shards: int,
        command: Command,
        command_id: bytes,
        *,
        slot: Slot | None,
        term: int,
        local: bool = False,
        repeat_after: int | None = None,
        idempotency_key: str | None = None,
        metadata: str | None = None,
        process: str | None = None,
    ) -> Pending:
        """Take a command in; its pending's future gets the reply, or the error.

        Parameters
        ----------
        name : EntityName
            The entity that the command is for.
        shards : int
            The number of shards that the caller's handle has; what is recorded wins.
        command_id : bytes
            A UUID of 16 bytes; the same one again for a repeat.
        slot, term : Slot | None, int
            What the command is addressed to. Only a query may go without: it is answered from the journal.
        local : bool
            Answer a query without proof that this node is still the owner.
        repeat_after : int | None
            For a repeat: the slot's position that was known when the command was first sent.
        idempotency_key : str | None
            The caller's own name for the operation.
        metadata : str | None
            What the caller said of itself, as JSON text (``context.py``).
        process : str | None
            What the caller's process is called; this one's own callers need not say so.

        Raises
        ------
        NotOwnerError
            This node does not hold the slot under that term.
        OverloadedError
            Too many commands wait. This one was not accepted.
        """
        if slot is not None and (slot.term != term or not term):
            # Never taken because of a command: it may have lain in a buffer since another owner's time.
            raise slot.refusal()
        if len(self._table) - self._waiters.in_line >= self._settings.max_pending:
            self._waiters.hear(name, command)
            self._refuse_at_the_door(relieving=command.relieves or repeat_after is not None)
        if isinstance(command, Request):
            # Under a key it is whoever has the key that asks, after a restart, too.
            command = command.made_by("" if idempotency_key is not None else process or self._process)
        pending = Pending(
            command,
            command_id,
            asyncio.get_running_loop().create_future(),
            self._table,
            shards=shards,
            local=local,
            repeat_after=repeat_after,
            slot=slot,
            term=term,
            idempotency_key=idempotency_key,
            metadata=metadata,
            looks=repeat_after is not None or idempotency_key is not None,
        )
        first = self._table.get(command_id)
        if first is not None:
            self._looks.join(first, pending, partial(self._enter, name, pending))
            return pending
        self._table[command_id] = pending  # before anything is awaited, so that no repeat can pass its first attempt
        if self._draining and slot in self._draining:
            self._draining[slot].append(pending)
        else:
            self._submit(name, pending)
        return pending

    def _enter(self, name: EntityName, pending: Pending) -> None:
        """Take a command in that waited behind another operation under its key."""
        first = self._table.get(pending.command_id)
        if first is not None:
            self._looks.join(first, pending, partial(self._enter, name, pending))
        else:
            self._table[pending.command_id] = pending
            self.again(name, pending)

    def _refuse_at_the_door(self, *, relieving: bool) -> None:
        """Refuse a command, unless it relieves, or settles what is open, and there is room for as many again."""
        bound = self._settings.max_pending
        if not relieving or len(self._table) - self._waiters.in_line >= 2 * bound:
            raise not_taken_in(bound)

    def _submit(self, name: EntityName, pending: Pending, *, first: bool = False) -> None:
        """Let a command take its turn, which is behind those that are held for a look.

        Also where their entity is not in memory any more, unless it came before them (``first``).
        """
        entity = self._entities.get(name)
        if entity is not None:
            self._entities.move_to_end(name)
            if not pending.looks and name not in self._looks.held:
                self._decide(entity, pending)
                return
        self._waiters.hear(name, pending.command)
        if entity is None and (first or name not in self._looks.held):
            self._activator.add(name, pending)
        else:
            self._looks.hold(name, entity, pending)

    def again(self, name: EntityName, pending: Pending, *, first: bool = False) -> None:
        """Decide a command that certainly did not happen yet, from the beginning; or refuse it, if its term is over."""
        pending.stage = Stage.ARRIVED
        if pending.abandoned():
            return
        if pending.slot is not None and pending.misses(pending.slot):
            pending.fail(pending.slot.refusal())
        else:
            self._submit(name, pending, first=first)

    def activated(self, entity: Entity, pendings: list[Pending]) -> None:
        """Take an entity that is in memory now, and the commands that waited for it."""
        self._entities[entity.name] = entity
        held = self._looks.release(entity.name)  # since it was in memory last; whoever waited for it came before them
        self._waiters.reconcile(entity)
        self._mourning.begin(entity)  # before its commands: none is decided on what a dead process holds
        for pending in (*pendings, *(one for one in held if not one.settled)):
            self._submit(entity.name, pending)
        self._entities.passivate(self._settings.max_entities, self._looks.held)

    def turn(self, name: EntityName, pending: Pending) -> None:
        """Decide a command that has looked into the journal, or that waited for one that did."""
        entity = self._entities.get(name)
        if entity is None:
            self.again(name, pending, first=True)
        else:
            self._decide(entity, pending)

    def _decide(self, entity: Entity, pending: Pending) -> None:
        if pending.abandoned():
            return
        if pending.misses(entity.slot):
            pending.fail(entity.slot.refusal())
            return
        kind, command = entity.kind, pending.command
        if kind.renewed is not None:
            self._waiters.hear(entity.name, command)
        try:
            entry = None if pending.found else entity.decide(pending)
            reply = None if entry is not None else kind.answer(entity.state, command)
        except Exception as error:  # noqa: BLE001 - a refusal, or a bug: it is the caller's to see, and changed nothing
            entry, reply = None, error
        if entry is not None:
            self._writer.add(entry)
            return
        if pending.found:
            reply = self._looks.last_word(pending, reply)
        if reply is WAITING:
            self._waiters.wait(entity, pending)
        elif entity.in_batch:  # it stands on what may never be committed, so it leaves after that, and not before
            self._writer.add(entity.answer(pending, reply))
        elif pending.local:
            pending.settle(reply)
        else:
            pending.stage = Stage.DECIDED
            self._prover.prove(entity.slot, entity.slot.epoch, entity.name, pending, reply)

    def own(self, slot: Slot, command: Command) -> Pending:
        """Make a command of this owner's own, for the term that it holds the slot under and for no other."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.add_done_callback(looked_at)  # it may concern nobody
        pending = Pending(command, self._runtime.new_id(), future, self._table, slot=slot, term=slot.term)
        self._table[pending.command_id] = pending
        return pending

    # Slots

    async def hand_over(self, slots: Collection[Slot], node_id: str | None = None, address: str | None = None) -> None:
        """Give slots up: write what was decided for them, release them, send those who come meanwhile elsewhere."""
        await self._give_up(slots, self.leases.release, node_id, address)

    async def fence(self, slot: Slot, term: int) -> None:
        """Hold a slot under a later term, if it is held under this one: what was sent under it is settled then."""
        if slot.term == term:
            await self._give_up([slot], self.leases.take)

    async def _give_up(
        self,
        slots: Collection[Slot],
        then: Callable[[Collection[Slot]], Awaitable[None]],
        node_id: str | None = None,
        address: str | None = None,
    ) -> None:
        slots = [slot for slot in slots if slot.epoch and slot not in self._draining]
        for slot in slots:
            self._draining[slot] = []
            slot.point(node_id, address)
        try:
            await self._drained(slots)  # before the lock goes: the next owner would find a record it has to wait for
            self._lose(slots)
            try:
                await then(slots)
            except BaseException:
                self.leases.give_back(slots)
                raise
        finally:
            for slot in slots:
                for pending in self._draining.pop(slot):
                    if not pending.abandoned():
                        pending.fail(slot.refusal())

    async def drained(self) -> None:
        """Wait until everything that was decided so far is settled, before this owner is closed."""
        self._writer.close_soon()
        await self._drained(self.slots)

    async def _drained(self, slots: Collection[Slot]) -> None:
        busy = self._entities.busy(slots)
        if busy is not None:  # entries are written in order, so behind this one all of them are settled
            marker = Marker.new()
            self._writer.add(busy.answer(marker, None))
            await marker.reached.wait()

    def lose(self, slots: Collection[Slot]) -> None:
        """Stop owning slots at once: whatever was not on its way to the journal is refused.

        They may be written down for somebody else by now, whom everybody asks, and who cannot take them before their
        locks are given back. Nobody asks this node.
        """
        self._lose(slots)
        self.leases.give_back(slots)

    def _lose(self, slots: Collection[Slot]) -> None:
        for slot in slots:
            slot.lose()
        self._waiters.lose(slots)
        self.drop(slots)
        self._looks.lose(slots)

    def lose_all(self) -> None:
        """Stop owning every slot, because the lease session is over, and believe nothing that was read under it."""
        self._activator.shards.forget()
        self._lose([slot for slot in self.slots if slot.epoch])

    def drop(self, slots: Collection[Slot]) -> None:
        """Throw away what was decided for these slots; what was not on its way is decided again."""
        self._entities.forget(slots)
        self._writer.recall(slots)
        for name in self._waiters.names(slots):
            self._activator.add(name, None)  # read again, what it says of those who wait is told to them

    def stop(self) -> None:
        """Own nothing any more, and take nothing."""
        self.closing = True
        self.lose([slot for slot in self.slots if slot.epoch])

    async def close(self) -> None:
        """Write what was decided, refuse what is not, give every slot back and end the lease session."""
        self.closing = True
        # What may still give the writer something to do is closed before it, and what it tells after it.
        self._writer.close_soon()
        await self._mourning.close()
        try:
            await self.hand_over(self.slots)
        except CastyError as error:
            _LOG.warning("The slots were not released one by one, the session's end does it: %s", error)
            self._lose([slot for slot in self.slots if slot.epoch])
        await self._activator.settled()
        await self._looks.settled()
        await self._writer.close()
        self._waiters.close()
        await self._prover.close()
        await self._activator.settled()
        for pending in list(self._table.values()):  # decided again too late, after an append that was refused
            in_doubt = pending.stage is not Stage.ARRIVED
            pending.fail(closed(Evidence(type(pending.command).__name__, pending.command_id, in_doubt)))
        await self._snapshotter.close()
        await self.leases.close()
