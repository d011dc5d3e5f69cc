"""The check of one slot: its entities one after the other, each from its first event to its last.

An entity is folded from its beginning; one that was redacted, from there; one whose first events were cut, from the
snapshot that took their place. What others append, cut or redact meanwhile is no difference: before something is called
one, it is read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from casty_es.audit.check_replay.differences import Difference, Problem, SlotReplay, first_difference
from casty_es.audit.readahead import ReadAhead
from casty_es.audit.workers import Walked, Work
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Kind
from casty_es.errors import EntityQuarantinedError
from casty_es.format.codec import decode_state, encode_state
from casty_es.format.upcasting import state_readable
from casty_es.journal.damaged import damage_of
from casty_es.journal.port import DirectoryRow, EventJournal, TailEvent
from casty_es.replay.fold import Fold, Passed, fold

_PAGE_ENTITIES: Final = 500
_PAGE_EVENTS: Final = 2_000
_ATTEMPTS: Final = 20  # at catching up with an entity that is written to all the time


class Job(msgspec.Struct):
    """A slot to check, and of which entities: all, or those of a kind, of a name, or both."""

    slot: int
    kind: str | None = None
    name: str | None = None

    def wants(self, row: DirectoryRow) -> bool:
        """Return whether an entity is to be checked."""
        return self.kind in {None, row.kind} and self.name in {None, row.name}


async def check_slot(journal: EventJournal, job: Job, walked: Walked) -> SlotReplay:
    """Fold a slot's entities; ``walked`` is told how many events were folded since it was told last."""
    check = _Check(journal, SlotReplay(job.slot), walked)
    after = 0
    while not check.result.full and (page := await journal.slot_directory(job.slot, after=after, limit=_PAGE_ENTITIES)):
        await check.entities([row for row in page if job.wants(row)])
        after = page[-1].id
    return check.result


WORK: Final = Work(__name__, check_slot, Job, SlotReplay)


class _Stream(Fold):
    """An entity on its way."""

    __slots__ = ("differs", "row")

    def __init__(self, row: DirectoryRow, kind: Kind[Any, Any, Any], due: Iterable[int]) -> None:
        super().__init__(kind, due, row.salted_from)
        self.row = row
        self.differs = False  # a snapshot of it differed; that was told, and the later ones would say the same again


class _Check:
    def __init__(self, journal: EventJournal, result: SlotReplay, walked: Walked) -> None:
        self._journal = journal
        self.result = result
        self._walked = walked

    async def entities(self, rows: Sequence[DirectoryRow]) -> None:
        """Check some entities."""
        due: dict[int, list[int]] = {}
        for id_, sequence in await self._journal.snapshot_sequences([row.id for row in rows]):
            due.setdefault(id_, []).append(sequence)
        streams: dict[int, _Stream] = {}
        for row in rows:
            self.result.entities += 1
            damage = damage_of(row)
            if damage is not None:
                await self._tell(row, None, Problem.QUARANTINED, f"Its row in the directory cannot be read: {damage}.")
            elif row.kind in CATALOG:
                stream = streams[row.id] = _Stream(row, CATALOG[row.kind], due.get(row.id, ()))
                if stream.next == stream.sequence:  # where it begins after a redaction
                    await self._compare([Passed(stream, stream.sequence, stream.passed())])
            else:
                await self._tell(row, 1, Problem.QUARANTINED, f"The kind {row.kind!r} is not known to this code.")
        await self._fold_all(streams)

    async def _fold_all(self, streams: dict[int, _Stream]) -> None:
        after = {id_: stream.sequence for id_, stream in streams.items()}
        pages = ReadAhead(self._journal, self._read)
        try:
            while after and not self.result.full:
                page = await pages.page(after)
                done = self._advance(after, page)
                if after:
                    await pages.prepare(dict(after))
                await self._fold(streams, page)
                for id_ in done:
                    await self._finish(streams.pop(id_))
        finally:
            await pages.close()

    async def _read(self, after: Mapping[int, int]) -> list[TailEvent]:
        return await self._journal.tails(after, limit=_PAGE_EVENTS)

    @staticmethod
    def _advance(after: dict[int, int], page: Sequence[TailEvent]) -> list[int]:
        """Return where the next page begins; return the entities that end with this one."""
        last = page[-1][0] if len(page) == _PAGE_EVENTS else None
        done = [id_ for id_ in after if last is None or id_ < last]
        for id_ in done:
            del after[id_]
        if last is not None:
            after[last] = page[-1][1]
        return done

    async def _fold(self, streams: dict[int, _Stream], page: Sequence[TailEvent]) -> None:
        passed: list[Passed[_Stream]] = []
        index = 0
        while (index := fold(streams, page, index, passed)) < len(page) and not self.result.full:
            event = TailEvent(*page[index])  # a journal may give plain rows
            stream = streams[event.entity]
            if stream.error is not None:
                await self._unfoldable(stream, event)
            else:
                await self._gap(stream, event.sequence)
        await self._compare(passed)
        self.result.events += len(page)
        self._walked(len(page))

    async def _unfoldable(self, stream: _Stream, event: TailEvent) -> None:
        """Tell of an event that cannot be folded, unless it was redacted meanwhile."""
        error, stream.error = stream.error, None
        row = await self._row(stream)
        if row is not None and row.salted_from >= event.sequence > stream.row.salted_from:
            stream.row = row
            stream.begin(stream.kind.initial, row.salted_from)
            return
        stream.broken = True
        text = str(error) if isinstance(error, EntityQuarantinedError) else f"Folding this event fails: {error!r}."
        await self._tell(stream.row, event.sequence, Problem.QUARANTINED, text)

    async def _gap(self, stream: _Stream, sequence: int) -> None:
        """Go on behind a cut, from the snapshot that stands there; without one, events are missing."""
        base = await self._journal.snapshot_before(stream.row.id, sequence - 1)
        if base is None or base.sequence != sequence - 1:
            stream.broken = True
            text = f"Event {stream.sequence + 1} is missing, and no snapshot stands before event {sequence}."
            await self._tell(stream.row, sequence, Problem.MISSING, text)
            return
        try:
            state = decode_state(stream.kind, base.version, base.state)
        except EntityQuarantinedError as error:
            stream.broken = True
            text = f"{error} The events that it stands for were cut."
            await self._tell(stream.row, sequence, Problem.QUARANTINED, text)
            return
        stream.begin(state, base.sequence)
        if stream.next == base.sequence:
            # What is read from it must be written the same.
            await self._compare([Passed(stream, stream.sequence, stream.passed())])

    async def _compare(self, passed: Iterable[Passed[_Stream]]) -> None:
        """Compare snapshots. One that is gone by now was thinned out or redacted."""
        for stream, sequence, folded in passed:
            stored = await self._journal.snapshot_before(stream.row.id, sequence)
            if stored is None or stored.sequence != sequence:
                continue
            text = stored.state
            damage = damage_of(stored)
            if damage is not None:
                await self._differs(stream, sequence, f"The snapshot cannot be read: {damage}.")
                continue
            if stored.version != stream.kind.state_version:
                if not state_readable(stream.kind, stored.version):
                    self.result.unread_snapshots += 1
                    continue
                try:
                    text = encode_state(stream.kind, decode_state(stream.kind, stored.version, stored.state))
                except EntityQuarantinedError as error:
                    await self._differs(stream, sequence, str(error))
                    continue
            self.result.snapshots += 1
            if text != folded:
                await self._differs(stream, sequence, f"In the state here, {first_difference(text, folded)}.")

    async def _differs(self, stream: _Stream, sequence: int, text: str) -> None:
        if not stream.differs and not self.result.full:
            stream.differs = True
            await self._tell(stream.row, sequence, Problem.SNAPSHOT, text)

    async def _finish(self, stream: _Stream) -> None:
        """Compare what the directory says of an entity; while it is written to, catch up first."""
        if stream.broken or self.result.full:
            return
        if stream.sequence and stream.row.alive == stream.kind.exists(stream.state):
            return
        for _ in range(_ATTEMPTS):
            row = await self._row(stream)
            if row is None:
                return
            page = await self._read({row.id: stream.sequence})
            if page:
                await self._fold({row.id: stream}, page)
                if stream.broken:
                    return
                continue
            exists = stream.kind.exists(stream.state)
            if not stream.sequence:
                await self._tell(row, None, Problem.MISSING, "The directory has this entity, and it has no events.")
            elif row.alive != exists:
                says = ("exists", "it does not") if row.alive else ("does not exist", "it does")
                text = f"The directory says that it {says[0]}; by its events {says[1]}."
                await self._tell(row, stream.sequence, Problem.ALIVE, text)
            return

    async def _row(self, stream: _Stream) -> DirectoryRow | None:
        return next(iter(await self._journal.entity_rows([stream.row.id])), None)

    async def _tell(self, row: DirectoryRow, sequence: int | None, problem: Problem, text: str) -> None:
        position = None
        if sequence:
            for record in await self._journal.history(row.id, after=sequence - 1, limit=1):
                position = record.position if record.sequence == sequence else None
        self.result.differences.append(
            Difference(self.result.slot, position, row.id, row.kind, row.name, row.key, sequence, problem, text)
        )
