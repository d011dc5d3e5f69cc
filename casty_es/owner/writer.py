"""Group commit: everything that was decided while an append was in flight is the next append.

1. One task, one append in flight. No timer: an idle node commits at once, a busy one hundreds together.
2. A reply leaves after the commit of its events, never before.
3. When an append fails, what was decided on it is thrown away, and later decisions that stood on it are made again, in
   order. The callers of the failed append get an error that says whether their command happened; those whose slot is
   held no longer under their epoch are refused, and their gateways go on.
4. An append ends in one of three ways (``EventJournal.append``). *Committed.* *Certainly not written*: slots whose head
   moved belong to somebody else and are given up; the others are tried once more, each alone, and the one that is
   refused again is the culprit. *Unknown*: every slot of the batch is fenced by a new lease record, which settles what
   came before it, whoever writes it; then the commands are looked up by id. Reading alone would settle nothing: the
   append may still be on its way. When nobody waits for it any more, or that record ends in doubt as well, again and
   again, the slots are given up, and the callers are told that the outcome is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Final, TypeVar

from casty_es.background import Loop, being_cancelled
from casty_es.config import Settings
from casty_es.domain.decider import WAITING, Claim
from casty_es.errors import (
    AppendRejectedError,
    AppendUnknownError,
    CastyError,
    ClockAheadError,
    ConfigurationError,
    JournalError,
    JournalMovedError,
    JournalRegressedError,
    JournalUnavailableError,
)
from casty_es.journal.port import EventJournal, RecordedEvent
from casty_es.owner.batch import Batch
from casty_es.owner.entity import Entry
from casty_es.owner.pending import Stage
from casty_es.owner.ports import Commands, Node, Tenure
from casty_es.owner.proofs import Prover
from casty_es.owner.repeats import reply_from
from casty_es.owner.slot import Slot, left_alone
from casty_es.owner.slot_leases import SlotLeases
from casty_es.owner.snapshotting import Snapshotter
from casty_es.owner.waiters import Waiters
from casty_es.printing import log_of
from casty_es.runtime import Runtime
from casty_es.verdicts import Evidence, not_written, unsettled

T = TypeVar("T")

_LOG: Final = log_of("casty_es.writer")

_FIRST_PAUSE_SECONDS: Final = 0.05
# How long a server that is away is waited for is the journal's to say; this is for one that answers with an error.
_LONGEST_PAUSE_SECONDS: Final = 1.0
# Who closes a node must not wait for the patience of every caller that is in doubt.
_CLOSING_SECONDS: Final = 2.0


class Writer:
    """The node's one writer.

    Slots whose last append is in doubt are fenced by the leases. The waiters are told what each committed event
    means for them, the prover takes the replies that need a proof of their own, and the snapshotter hears of each
    entity whose tail has become long.
    """

    def __init__(
        self,
        journal: EventJournal,
        runtime: Runtime,
        settings: Settings,
        leases: SlotLeases,
        waiters: Waiters,
        prover: Prover,
        snapshotter: Snapshotter,
        commands: Commands,
        tenure: Tenure,
        node: Node,
    ) -> None:
        self._journal = journal
        self._runtime = runtime
        self._leases = leases
        self._waiters = waiters
        self._prover = prover
        self._snapshotter = snapshotter
        self._commands = commands
        self._tenure = tenure
        self._max_events = settings.max_batch_events
        self._max_bytes = settings.max_batch_bytes
        self._snapshot_events = settings.snapshot_events
        self._open: list[Entry] = []
        self._work = asyncio.Event()
        self._closing = asyncio.Event()
        self._closing_at: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._writing: list[Entry] = []
        self._node = node
        self._loop = Loop(self._turn, name="casty-writer", ended=self._broke_off)

    def add(self, entry: Entry) -> None:
        """Put a decided command, or an answer that stands on uncommitted state, into the next append."""
        # A timer that waits for more would delay every lone command, and gathers nothing that an append on its way
        # does not gather by itself.
        entry.pending.stage = Stage.DECIDED
        entry.entity.in_batch += 1
        self._open.append(entry)
        if not self._work.is_set():
            self._work.set()
            self._idle.clear()

    async def drain(self) -> None:
        """Wait until nothing is left to write."""
        await self._idle.wait()

    def close_soon(self) -> None:
        """Prepare to be closed: what is in doubt is settled within some seconds, or stays so."""
        if self._closing_at is None:
            self._closing_at = asyncio.get_running_loop().call_later(_CLOSING_SECONDS, self._closing.set)

    async def close(self) -> None:
        """Write what was decided, then stop. While the database is away, what is in doubt stays so."""
        self._closing.set()
        if self._closing_at is not None:
            self._closing_at.cancel()
        waiting = [asyncio.ensure_future(self.drain()), asyncio.ensure_future(self._loop.over())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
        await self._loop.stop()

    def recall(self, slots: Collection[Slot]) -> None:
        """Take back what was decided for these slots and is not on its way; it is decided again."""
        mine = [entry for entry in self._open if entry.entity.slot in slots]
        self._open = [entry for entry in self._open if entry.entity.slot not in slots]
        for entry in mine:
            entry.pending.stage = Stage.ARRIVED
            self._commands.again(entry.entity.name, entry.pending, first=True)

    def _drop(self, slots: Collection[Slot], entries: list[Entry], error: CastyError) -> None:
        """Tell who made the events of these entries an error, and decide what stood on them again, in order."""
        self._open[:0] = [entry for entry in entries if not entry.events]
        self._tenure.drop(slots)
        self._fail([entry for entry in entries if entry.events], error)

    async def _turn(self) -> None:
        if not self._open:
            self._idle.set()
            self._work.clear()
            await self._work.wait()
        self._writing = entries = self._take()
        if not entries:
            return
        try:
            await self._write(entries)
        except asyncio.CancelledError as error:
            if being_cancelled():
                raise
            self._give_up(entries, JournalUnavailableError(f"what the writer waited for was cancelled: {error!r}"))
        except Exception as error:  # noqa: BLE001 - a bug of ours must not leave a caller waiting for ever
            self._give_up(entries, error)
        self._writing = []

    def _give_up(self, entries: list[Entry], error: Exception) -> None:
        _LOG.error("The writer failed with %d commands on their way", len(entries), exc_info=error)
        self._tenure.lose({entry.entity.slot for entry in entries})
        self._fail(entries, error, in_doubt=error)

    def _broke_off(self, why: str) -> None:
        error = JournalUnavailableError(why)
        self._fail(self._writing, error, in_doubt=error)
        self._node.ended(why)

    def _take(self) -> list[Entry]:
        """Take the oldest entries that fit into one append."""
        count = events = size = 0
        for entry in self._open:
            events += len(entry.events)
            size += entry.size
            if count and (events > self._max_events or size > self._max_bytes):
                break
            count += 1
        entries, self._open = self._open[:count], self._open[count:]
        return entries

    async def _write(self, entries: list[Entry]) -> None:
        try:
            # A clock that is ahead keeps nobody from reading.
            now = self._runtime.now() if any(entry.events for entry in entries) else 0
        except ClockAheadError as error:
            self._drop({entry.entity.slot for entry in entries}, entries, error)
            return
        batch = Batch(entries, now)
        try:
            if batch.append.events:
                if not self._leases.stands():
                    self._overtaken(batch)
                    return
                await self._journal.append(batch.append)
        except (AppendRejectedError, JournalUnavailableError, ConfigurationError) as error:
            await self._rejected(batch, error)
        except Exception as error:  # noqa: BLE001 - what is not known to be harmless counts as unknown
            if not isinstance(error, AppendUnknownError):
                _LOG.exception("An append failed in a way that says nothing; its outcome counts as unknown")
            await self._unknown(batch, error)
        else:
            self._commit(batch)

    def _commit(self, batch: Batch) -> None:
        # The heads first: whoever is told something may look at them at once.
        for slot, head in batch.heads.items():
            slot.commit(head)
        for entry in batch.entries:
            entity, pending, reply = entry.entity, entry.pending, entry.reply
            before = entity.committed
            entity.commit(entry)
            if not entry.events and entity.slot not in batch.heads:
                self._prover.prove(entity.slot, entry.epoch, entity.name, pending, reply)
                continue
            # What is committed is told, whoever holds the slot by now. Who waits there is the next owner's.
            held = entry.epoch == entity.slot.epoch
            if held and entity.kind.effects is not None:
                self._waiters.apply(entity, before, entry)
            if reply is not WAITING:
                pending.settle(reply)
            elif held:
                self._waiters.wait(entity, pending)
            else:
                pending.fail(entity.slot.gone())
            if held and entity.tail_events >= self._snapshot_events:
                self._snapshotter.consider(entity)

    def _overtaken(self, batch: Batch) -> None:
        """Write nothing: this process stood still for so long that another may have had its slots.

        The predecessors would tell in a log that only grows. In one that went back meanwhile they may fit again.
        """
        self._tenure.lose(set(batch.by_slot()))
        self._refuse(batch.entries)

    async def _rejected(self, batch: Batch, error: CastyError) -> None:
        """Nothing was written: find out for whom that is final.

        The slots are tried alone, so that one command that no database takes costs its own slot and not the batch
        (``docs/explanation/safety.md``, H12).
        """
        moved = await self._moved(batch)
        for slot, entries in batch.by_slot().items():
            if slot not in batch.heads:
                await self._write(entries)
            elif moved is None:
                self._tenure.lose({slot})
                self._fail(entries, error)
            elif slot in moved:
                self._tenure.lose({slot})
                self._refuse(entries)
            elif slot.epoch != batch.heads[slot].epoch:
                self._refuse(entries)
            elif len(batch.heads) > 1:
                await self._write(entries)
            else:
                self._drop({slot}, entries, error)

    async def _moved(self, batch: Batch) -> set[Slot] | None:
        """Return the slots whose head is not the one this owner wrote; ``None`` when nobody can say.

        Only that costs a slot. A sequence that is there already is an error of another kind, with the same code in
        some databases (``docs/explanation/safety.md``, H3).
        """
        try:
            heads = await self._leases.comparing.compare(
                self._leases.comparing.own([slot.number for slot in batch.heads])
            )
        except (JournalError, ConfigurationError):
            return None
        before = {slot: hash_ for slot, (_, _, hash_) in zip(batch.heads, batch.append.predecessors, strict=True)}
        return {slot for slot, hash_ in before.items() if heads[slot.number].hash != hash_}

    async def _unknown(self, batch: Batch, error: Exception) -> None:
        """Settle the append's outcome by new lease records, then tell each caller what the journal has of it.

        Reading alone would settle nothing (``docs/explanation/safety.md``, H5): what is absent may be on its way.
        """
        for slot in batch.heads:
            slot.doubt()
        epochs = {slot: head.epoch for slot, head in batch.heads.items()}
        # Others were lost already, and maybe taken again behind this append.
        self._tenure.lose({slot for slot, epoch in epochs.items() if slot.epoch == epoch})
        named = zip(batch.heads, batch.append.predecessors, strict=True)
        positions = {slot: position for slot, (_, position, _) in named if not slot.left_alone()}
        given_up = batch.heads.keys() - positions.keys()
        if given_up:
            why = JournalUnavailableError("the appends of its slot ended in doubt again and again")
            self._fail([entry for entry in batch.entries if entry.entity.slot in given_up], error, in_doubt=why)
        entries = [entry for entry in batch.entries if entry.entity.slot not in given_up]
        try:
            found = await self._found(entries, positions, epochs)
        except JournalError as lost:
            self._fail(entries, error, in_doubt=lost)
            return
        for entry in entries:
            self._tell(entry, found.get(entry.pending.command_id))

    async def _found(
        self, entries: list[Entry], positions: dict[Slot, int], epochs: dict[Slot, int]
    ) -> dict[bytes, list[RecordedEvent]]:
        """Settle what became of an append, and return what is recorded of its commands."""
        await self._until_it_works(lambda: self._settled(positions, epochs), entries)
        found: dict[bytes, list[RecordedEvent]] = {}
        for slot, position in positions.items():
            ids = [entry.pending.command_id for entry in entries if entry.entity.slot is slot]
            for event in await self._until_it_works(partial(self._journal.find, slot.number, position, ids), entries):
                found.setdefault(event.command_id or b"", []).append(event)
        return found

    async def _settled(self, positions: Collection[Slot], epochs: dict[Slot, int]) -> None:
        if not await self._leases.settled(positions, epochs):
            raise JournalUnavailableError("another node holds the lock of a slot, and has not written its record yet")

    def _tell(self, entry: Entry, recorded: list[RecordedEvent] | None) -> None:
        """Tell a caller what became of its command, now that it is settled."""
        pending = entry.pending
        if recorded is None:  # not decided again here: its gateway sends it again, under the new term
            self._refuse([entry])
        elif (reply := reply_from(entry.entity, pending, recorded)) is WAITING or isinstance(pending.command, Claim):
            pending.fail(entry.entity.slot.gone())  # its owner knows whether what was granted is still held
        else:
            pending.settle(reply)

    async def _until_it_works(self, attempt: Callable[[], Awaitable[T]], entries: list[Entry]) -> T:
        """Settle what became of an append, for as long as somebody waits for it and its slots are not given up."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await attempt()
            except (JournalMovedError, JournalRegressedError):  # neither is over before the process is
                raise
            except Exception as error:  # whatever it is, trying again is what settles the outcome
                if self._closing.is_set():
                    raise JournalUnavailableError(f"the system is being closed: {error}") from error
                doubtful = left_alone(entry.entity.slot for entry in entries)
                if doubtful or not any(entry.events and entry.pending.awaited for entry in entries):
                    raise JournalUnavailableError(f"it was given up: {error}") from error
                _LOG.warning("The outcome of an append is still unknown, trying again in %.2f s: %r", pause, error)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _refuse(self, entries: list[Entry]) -> None:
        """Let commands go that certainly did not happen, because their slot is not held under their epoch any more."""
        for entry in entries:
            self._commands.again(entry.entity.name, entry.pending)

    def _fail(self, entries: list[Entry], error: Exception, *, in_doubt: Exception | None = None) -> None:
        for entry in entries:
            pending = entry.pending
            what = type(pending.command).__name__
            if not entry.events:
                pending.stage = Stage.ARRIVED
                self._commands.again(entry.entity.name, pending)
            elif in_doubt is not None:
                why = f"the answer was lost ({error}), and the journal could not be asked ({in_doubt})."
                pending.fail(unsettled(Evidence(what, pending.command_id, in_doubt=True, came_back=why)))
            elif isinstance(error, CastyError) and not isinstance(error, AppendUnknownError):
                pending.fail(error)
            else:
                pending.fail(not_written(what, error))
