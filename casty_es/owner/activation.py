"""Bringing cold entities into memory: all that arrive together by one query for the directory and one for their tails.

1. Commands for a cold entity wait in order of arrival. Those that arrive in one turn of the event loop form a batch.
2. A batch resolves the shards of its structures (``shards.py``), reads the newest snapshots and the events after them
   in pages, and folds. Sequences must follow each other without a gap.
3. An entity whose log cannot be read is quarantined: its callers get the reason and the place, everything else goes
   on. A snapshot that cannot be read, or that the log does not speak of, is passed over while the events are there
   (``snapshotting.py``).
4. Queries of a structure that is not recorded are answered from what was just read, as nobody can have written it.
5. A slot is never taken here. A command whose slot is not held, or is another one by the recorded number of shards, is
   refused. A query that is addressed to nobody is answered from what was just read, unless somebody holds something
   there or stands in line, and if the log has, after that, all that anybody remembered of it before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from casty_es.background import Errands
from casty_es.domain.decider import Query
from casty_es.errors import CastyError, EntityQuarantinedError, JournalCorruptError, JournalUnavailableError
from casty_es.format.codec import decode_event
from casty_es.journal.port import ENTITY_NUMBER_BITS, EntityName, EventJournal, StoredSnapshot
from casty_es.owner.comparing import Comparing, Marks
from casty_es.owner.entity import Cold, Entity
from casty_es.owner.pending import Pending
from casty_es.owner.ports import Commands, Node
from casty_es.owner.shards import Shards
from casty_es.owner.slot import Slot
from casty_es.owner.snapshotting import Unpacking
from casty_es.printing import log_of
from casty_es.replay import place_of
from casty_es.runtime import Runtime

_LOG: Final = log_of("casty_es.activation")

# Folding a page of this many events takes about five milliseconds, which the event loop can spare.
_PAGE_EVENTS: Final = 2_000

_UNREADABLE: Final = "Install the version of the code that wrote it, and look at it with `casty-es log`."
_MISPLACED: Final = "`casty-es doctor` tells what is recorded wrongly, and with --repair mends what can be mended."


class Activator:
    """Reads entities from the journal.

    Before a query is answered from a slot that nobody holds, that is compared with what is remembered of it.
    """

    def __init__(
        self,
        journal: EventJournal,
        runtime: Runtime,
        slots: list[Slot],
        comparing: Comparing,
        commands: Commands,
        node: Node,
    ) -> None:
        self._journal = journal
        self._runtime = runtime
        self._comparing = comparing
        self._commands = commands
        self._unpacking = Unpacking(journal)
        self.shards = Shards(journal, slots)
        self._cold: dict[EntityName, Cold] = {}
        self._arrived: list[Cold] = []
        self._errands = Errands(node.ended)

    def add(self, name: EntityName, pending: Pending | None) -> None:
        """Let a command wait until its entity is in memory; ``None`` only brings the entity in."""
        cold = self._cold.get(name)
        if cold is None:
            cold = self._cold[name] = Cold(name)
            self._enqueue(cold)
        if pending is not None:
            cold.pendings.append(pending)

    async def settled(self) -> None:
        """Wait until nothing is on its way into memory."""
        while self._errands or self._arrived:
            await self._errands.settled()
            await asyncio.sleep(0)

    def _enqueue(self, cold: Cold) -> None:
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._start)
        self._arrived.append(cold)
        cold.batch = self._arrived

    def _start(self) -> None:
        batch, self._arrived = self._arrived, []
        self._errands.begin(self._activate(batch), name="casty-activation")

    async def _activate(self, batch: list[Cold]) -> None:
        try:
            await self.shards.locate(batch)
            self._refuse(batch)
            await self._load(batch)
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait and to nobody else
            if not isinstance(error, CastyError):
                _LOG.exception("Activating %d entities failed", len(batch))
                error = JournalUnavailableError(f"The entity could not be read: {error!r}. Nothing was done.")
            for cold in batch:
                if cold.batch is batch and self._cold.get(cold.name) is cold:
                    del self._cold[cold.name]
                    cold.fail(error)

    def _refuse(self, batch: list[Cold]) -> None:
        """Send away who came to the wrong slot, or under a term that is over."""
        for cold in batch:
            slot = cold.slot
            refused = [pending for pending in cold.pendings if pending.misses(slot)]
            if not refused:
                continue
            cold.asked = sum(not pending.misses(slot) for pending in cold.pendings[: cold.asked])
            cold.pendings = [pending for pending in cold.pendings if not pending.misses(slot)]
            for pending in refused:
                pending.fail(slot.refusal(shards=0 if pending.slot is slot else self.shards.of(*cold.name[:2])))

    async def _load(self, batch: list[Cold]) -> None:
        epochs = {cold.name: cold.slot.epoch for cold in batch}
        for cold in batch:
            cold.asked = len(cold.pendings)
        # Before the log is read: what is remembered later may stand behind what was read.
        marks = await self._comparing.recollect({cold.slot.number for cold in batch if not cold.slot.epoch})
        read: list[Cold] = []  # to the end, in slots that nobody holds
        tails, unbound = await self._unpack(batch, epochs, read)
        after = {id_: cold.entity.sequence for id_, cold in tails.items() if cold.entity is not None}
        # The entities of a page come in order of their ids, so all but its last one are read to the end.
        while after:
            page = await self._journal.tails(after, limit=_PAGE_EVENTS)
            broken: dict[int, tuple[int, Exception]] = {}
            for part in self._unpacking.parts(page, unbound):
                self._fold(tails, part, broken)
            for id_, (sequence, why) in broken.items():
                await self._doubt(tails[id_], sequence, why)
            # What is read once more is another batch's from here on.
            after = {id_: at for id_, at in after.items() if tails[id_].batch is batch}
            full = len(page) == _PAGE_EVENTS
            last = page[-1][0] if full else None
            for id_ in [id_ for id_ in after if last is None or id_ < last]:
                del after[id_]
                if id_ in unbound:
                    self._unpacking.ended(*unbound.pop(id_))
                self._finish(tails[id_], epochs[tails[id_].name], read)
            if last in after:
                after[last] = page[-1][1]
        await self._answer_unheld(read, marks)

    async def _unpack(
        self, batch: list[Cold], epochs: dict[EntityName, int], read: list[Cold]
    ) -> tuple[dict[int, Cold], dict[int, tuple[Entity, StoredSnapshot]]]:
        """Return the entities whose events are to be folded, and the snapshots that are to be compared with them."""
        tails: dict[int, Cold] = {}
        unbound: dict[int, tuple[Entity, StoredSnapshot]] = {}
        stored = await self._journal.entities([cold.name for cold in batch])
        for cold, found in zip(batch, stored, strict=True):
            entity = cold.begin(found)
            if await self._misplaced(cold):
                continue
            if found is None:
                self._finish(cold, epochs[cold.name], read)
                continue
            try:
                snapshot = await self._unpacking.unpack(entity, found)
            except (EntityQuarantinedError, JournalCorruptError) as error:
                await self._doubt(cold, 0 if found.snapshot is None else found.snapshot.sequence, error)
                continue
            tails[found.id] = cold
            if snapshot is not None:
                unbound[found.id] = entity, snapshot
        return tails, unbound

    async def _misplaced(self, cold: Cold) -> bool:
        """Return whether an entity is not to be read, for where it is or because nobody knows where it belongs."""
        found = cold.stored
        if cold.recorded:
            if found is None or found.id >> ENTITY_NUMBER_BITS == cold.slot.number:
                return False
            error = JournalCorruptError("it is recorded in another slot than its structure's shards lead to.")
            await self._quarantine(cold, 0, error, advice=_MISPLACED)
        elif cold.populated:
            error = JournalCorruptError("its structure is not recorded, and no number of shards explains its entities.")
            await self._quarantine(cold, 0, error, advice=_MISPLACED)
        elif found is None:
            return False
        else:  # its structure is to be recorded, unless another process just did that
            cold.populated, cold.entity = True, None
            self._enqueue(cold)
        return True

    @staticmethod
    def _fold(
        tails: dict[int, Cold],
        page: Iterable[tuple[int, int, str, int, str]],
        broken: dict[int, tuple[int, Exception]],
    ) -> None:
        """Replay a page: the hot loop of every start. Note the entities that cannot be folded, where and why."""
        current = 0
        entity: Entity | None = None
        for id_, sequence, type_, version, payload in page:
            if id_ != current:
                current = id_
                entity = tails[id_].entity
            if entity is None or id_ in broken:
                continue
            try:
                if sequence != entity.sequence + 1:
                    raise JournalCorruptError(f"event {entity.sequence + 1} is missing before {sequence}")  # noqa: TRY301
                entity.state = entity.kind.evolve(entity.state, decode_event(type_, version, payload))
            except Exception as error:  # noqa: BLE001 - a log that cannot be folded closes its entity, no matter why
                broken[id_] = (sequence, error)
                continue
            entity.sequence = sequence
            entity.tail_events += 1
            entity.tail_bytes += len(payload)

    async def _doubt(self, cold: Cold, sequence: int, error: Exception) -> None:
        """Read once more what cannot be folded: it may have been cut or redacted behind its snapshot meanwhile."""
        if cold.again:
            await self._quarantine(cold, sequence, error)
            return
        cold.again, cold.entity = True, None
        self._enqueue(cold)

    async def _quarantine(self, cold: Cold, sequence: int, error: Exception, *, advice: str = _UNREADABLE) -> None:
        place = await self._place(cold, sequence)
        self._cold.pop(cold.name, None)
        cold.quarantine(place, error, advice)

    async def _place(self, cold: Cold, sequence: int) -> str:
        """Return where an event stands; of one that was cut, only its slot is known."""
        if cold.stored is not None and sequence:
            for record in await self._journal.history(cold.stored.id, after=sequence - 1, limit=1):
                if record.sequence == sequence:
                    return place_of(record)
        return f"slot {cold.slot.number}, sequence {sequence}"

    def _finish(self, cold: Cold, epoch: int, read: list[Cold]) -> None:
        """Hand an entity that is read to the end over to its commands, or put it to those that nobody holds."""
        entity, slot = cold.entity, cold.slot
        if entity is None:
            return
        entity.warm()
        if not slot.epoch:
            read.append(cold)
            return
        if not cold.recorded:  # another node may record it, under another number: it is not kept
            self._answer(cold, entity)
            return
        if slot.epoch != epoch:
            cold.entity = None
            self._refuse([cold])
            self._enqueue(cold)  # taken, or lost and taken again, while this was read: read it again
            return
        if not entity.recorded:
            entity.id, entity.salt = slot.new_entity_id(), self._runtime.salt()
        del self._cold[cold.name]
        self._commands.activated(entity, cold.pendings)

    async def _answer_unheld(self, read: list[Cold], marks: Marks) -> None:
        """Answer from what was read, unless the log lacks, after that, what was remembered of it before."""
        heads = await self._comparing.compare(marks) if read and marks else {}
        for cold in read:
            entity, slot = cold.entity, cold.slot
            if entity is None:
                continue
            if slot.number not in marks:  # given up while this was read: whoever is not refused reads again
                cold.asked = 0
                self._answer(cold, entity)
            elif self._comparing.closed(slot.number):
                del self._cold[cold.name]
                cold.fail(self._comparing.error(slot.number))
            else:
                self._comparing.seen(slot.number, heads[slot.number])
                self._answer(cold, entity)

    def _answer(self, cold: Cold, entity: Entity) -> None:
        """Answer queries from a state that was read after they arrived; nothing else is decided on it.

        What the dead hold is free: of requests only an owner can tell.
        """
        self._refuse([cold])
        claims = entity.kind.claims
        owned = claims is not None and any(True for _ in claims(entity.committed))
        later = []
        for number, pending in enumerate(cold.pendings):
            if not isinstance(pending.command, Query) and not pending.shards:
                pending.fail(entity.slot.refusal())  # nobody can say where it belongs
            elif number < cold.asked and owned:
                pending.fail(entity.slot.unowned())
            elif number < cold.asked and isinstance(pending.command, Query):
                pending.settle(entity.kind.answer(entity.committed, pending.command))
            elif not pending.abandoned():
                later.append(pending)
        cold.pendings = later
        if later:
            cold.entity = None
            self._enqueue(cold)
        else:
            del self._cold[cold.name]
