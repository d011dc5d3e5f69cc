"""Looking through a whole journal for events, in the order of their times.

1. Every slot is in order, so slots are merged: of each one a page is in memory, however long it is. So it is backwards.
2. The first record after a moment is found by halving, because times within a slot never go back.
3. What is not wanted is dropped before it is merged. One entity, or a few, are read by themselves.
4. A page ends at a place, which is a time, a slot and a position, and the next one begins behind it in every slot.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from casty_es.audit.page_tokens import Place, last_until, place_in, timed
from casty_es.audit.wanted import Wanted
from casty_es.domain.catalog import KEYED
from casty_es.errors import ArchivedError
from casty_es.hashes import shard_of, slot_of, slots_of
from casty_es.journal.damaged import damage_of, lost_of
from casty_es.journal.port import ENTITY_NUMBER_BITS, LEASE_ACQUIRED, EntityName, EventJournal, RecordedEvent
from casty_es.replay import (
    HistoryEvent,
    LeaseHolders,
    caller_in,
    events,
    history_event,
    refuse_ahead,
    sequence_at_position,
    sequence_stamped,
)

__all__ = ["Wanted", "follow", "search"]

_RECORDS_IN_MEMORY: Final = 32_768
_LARGEST_PAGE: Final = 1_000
_SMALLEST_PAGE: Final = 8
_FEW_ENTITIES: Final = 32
_NAMES_IN_MEMORY: Final = 50_000
_ENTITY_PAGE: Final = 200

# Records with the times that they are listed by.
_Stream: TypeAlias = AsyncGenerator[tuple[int, RecordedEvent], None]


async def search(
    journal: EventJournal,
    wanted: Wanted,
    *,
    limit: int | None = None,
    behind: str | None = None,
    newest_first: bool = False,
) -> AsyncIterator[HistoryEvent]:
    """Yield the events that are wanted and committed now, by time; those of one time by slot and position.

    Parameters
    ----------
    journal : EventJournal
        An open journal; no node has to run.
    limit : int | None
        How many at most.
    behind : str | None
        Where a page ended, by :func:`casty_es.audit.page_tokens.page_token`: what comes behind it in the same order. No
        event is left out or comes twice, however many have one time.
    newest_first : bool
        Begin with the newest.

    Raises
    ------
    InvalidArgumentError
        ``behind`` is not such a token, or one of another journal.

    Examples
    --------
    >>> from casty_es.audit.page_tokens import page_token
    >>> from casty_es.audit.search import Wanted, search
    >>> seen = Wanted(kind="counter", name="seen")
    >>> [await d.counter("seen").increment() for _ in range(3)]
    [1, 2, 3]
    >>> page = [event async for event in search(journal, seen, limit=2)]
    >>> [event.sequence async for event in search(journal, seen, behind=page_token(page[-1]))]
    [3]
    >>> [event.sequence async for event in search(journal, seen, newest_first=True)]
    [3, 2, 1]
    """
    looking = _Looking(journal, wanted, newest_first=newest_first)
    async for event in looking.until(await looking.heads(), limit, behind):
        yield event


async def follow(
    journal: EventJournal, wanted: Wanted, *, limit: int | None = None, behind: str | None = None, seconds: float = 0.5
) -> AsyncIterator[HistoryEvent]:
    """Yield the events that are wanted, those that are committed later too, until the caller has enough.

    Parameters
    ----------
    limit : int | None
        How many of the older events at most: the later ones come after them whatever was left out.
    behind : str | None
        Where to begin, as for :func:`search`.
    seconds : float
        How long to wait between two looks.

    Raises
    ------
    InvalidArgumentError
        ``behind`` is not such a token, or one of another journal.
    """
    looking = _Looking(journal, wanted)
    heads = await looking.heads()
    async for event in looking.until(heads, limit, behind):
        yield event
    while True:
        reached, heads = heads, await looking.heads()
        grown = {slot: head for slot, head in heads.items() if head > reached.get(slot, 0)}
        async for event in looking.between(reached, grown):
            yield event
        if not grown:
            await asyncio.sleep(seconds)


class _Looking:
    """One search: its journal, its filter, and the names that it has met."""

    def __init__(self, journal: EventJournal, wanted: Wanted, *, newest_first: bool = False) -> None:
        self._journal = journal
        self._wanted = wanted
        self._backwards = newest_first
        self._names: dict[int, EntityName] = {}
        self._holders = LeaseHolders(journal)

    async def heads(self) -> dict[int, int]:
        """Return how far every slot that matters is committed."""
        heads = await self._journal.heads(await self._slots())
        return {slot: head.position for slot, head in heads.items() if head.position}

    async def _slots(self) -> list[int]:
        wanted = self._wanted
        meta = await self._journal.open()
        slots = meta.slots
        if damage_of(meta) is not None:  # nobody knows where an entity belongs
            among = set(range(slots))
        elif wanted.kind is not None and wanted.name is not None:
            [shards] = await self._journal.structures([(wanted.kind, wanted.name)])
            keyless = wanted.kind in KEYED and wanted.key is None
            if shards is None:  # nothing is there, or its record is gone or damaged: then it can be anywhere
                among = set(range(slots))
            elif keyless:
                among = slots_of(wanted.kind, wanted.name, shards, slots)
            else:
                among = {slot_of(wanted.kind, wanted.name, shard_of(*self._entity(), shards), slots)}
        else:
            among = set(range(slots))
        return sorted(among if wanted.slot is None else among & {wanted.slot})

    def _entity(self) -> EntityName:
        return EntityName(self._wanted.kind or "", self._wanted.name or "", self._wanted.key or "")

    async def until(
        self, heads: Mapping[int, int], limit: int | None, behind: str | None = None
    ) -> AsyncIterator[HistoryEvent]:
        """Yield what is wanted up to these positions, and behind where a page ended."""
        place = None if behind is None else await place_in(self._journal, behind)
        few = await self._few()
        if few is None:
            spans = {slot: await self._span(slot, head, place, self._wanted.after) for slot, head in heads.items()}
            streams = self._streams(spans)
        else:  # a time to begin after is looked for in the entity
            places = await self._heads_of(few, heads)
            spans = {slot: await self._span(slot, head, place, None) for slot, head in places.items()}
            of_entity = self._entity_back if self._backwards else self._of_entity
            streams = [of_entity(entity, spans[entity >> ENTITY_NUMBER_BITS]) for entity in few]
        given = 0
        async for event in self._merged(streams):
            if given == limit:
                break
            given += 1
            yield event
            if given == limit:
                break

    async def _heads_of(self, entities: Sequence[int], heads: Mapping[int, int]) -> dict[int, int]:
        """Return how far the slots are committed in which entities are, also where none of their names belongs."""
        slots = {entity >> ENTITY_NUMBER_BITS for entity in entities}
        elsewhere = sorted(slots - heads.keys()) if self._wanted.slot is None else []
        found = await self._journal.heads(elsewhere) if elsewhere else {}
        return {slot: found[slot].position if slot in found else heads.get(slot, 0) for slot in slots}

    def between(self, after: Mapping[int, int], heads: Mapping[int, int]) -> AsyncIterator[HistoryEvent]:
        """Return what is wanted of each slot behind one position and up to another."""
        return self._merged(self._streams({slot: (after.get(slot, 0), head) for slot, head in heads.items()}))

    def _streams(self, spans: Mapping[int, tuple[int, int]]) -> list[_Stream]:
        page = max(_SMALLEST_PAGE, min(_LARGEST_PAGE, _RECORDS_IN_MEMORY // max(1, len(spans))))
        of_slot = self._back if self._backwards else self._of_slot
        return [of_slot(slot, after, last, page) for slot, (after, last) in spans.items()]

    async def _span(self, slot: int, head: int, place: Place | None, moment: int | None) -> tuple[int, int]:
        """Return the position to begin behind in a slot, and the last one."""
        after = 0 if moment is None else await last_until(self._journal, slot, head, moment)
        last = head
        if self._backwards and self._wanted.until is not None:
            last = await last_until(self._journal, slot, head, self._wanted.until)
            for left_out in await self._journal.records(slot, after=last, limit=1):
                if left_out.position <= head:
                    await self._late(left_out)
        if place is None:
            return after, last
        if slot == place.slot:
            ended = place.position - self._backwards
        else:  # what has the time of the place comes before it in the slots before its own, and after it in those after
            ended = await last_until(self._journal, slot, head, place.time - (slot > place.slot))
        return (after, min(last, ended)) if self._backwards else (max(after, ended), last)

    async def _few(self) -> list[int] | None:
        """Return the entities that are wanted, if they are few."""
        wanted = self._wanted
        if wanted.kind is None or wanted.name is None:
            return None
        if wanted.kind not in KEYED or wanted.key is not None:
            [stored] = await self._journal.entities([self._entity()])
            if stored is not None:
                self._names[stored.id] = self._entity()
            return [] if stored is None else [stored.id]
        rows = await self._journal.directory(wanted.kind, wanted.name, limit=_FEW_ENTITIES + 1)
        if len(rows) > _FEW_ENTITIES:
            return None
        self._names.update({row.id: row.entity_name for row in rows})
        return [row.id for row in rows]

    async def _of_slot(self, slot: int, after: int, last: int, page: int) -> _Stream:
        while after < last:
            records = await self._journal.records(slot, after=after, limit=min(page, last - after))
            records = [record for record in records if record.position <= last]
            if not records:
                return
            after = records[-1].position
            await self._learn(record.entity for record in records)
            for time, record in await timed(self._journal, records):
                if await self._late(record):
                    return
                if self._is_wanted(record):
                    yield time, record

    async def _back(self, slot: int, after: int, last: int, page: int) -> _Stream:
        width = page
        while after < last:
            begin = max(after, last - width)
            records = await self._journal.records(slot, after=begin, limit=page)
            if width > page and len(records) == page:  # there is more than a page of them here
                width = page
                continue
            records = [record for record in records if record.position <= last]
            await self._learn(record.entity for record in records)
            for time, record in reversed(await timed(self._journal, records)):
                if self._is_wanted(record):
                    yield time, record
            last = begin
            width = page if records else 2 * width  # where retention has cut, nothing is for long

    async def _of_entity(self, entity: int, span: tuple[int, int]) -> _Stream:
        wanted, (begin, last) = self._wanted, span
        after = wanted.after_sequence
        if wanted.after is not None:
            after = max(after, await sequence_stamped(self._journal, entity, wanted.after))
        if begin:
            with contextlib.suppress(ArchivedError):  # then all that is kept comes behind it
                after = max(after, await sequence_at_position(self._journal, entity, begin))
        async for record in events(self._journal, entity, after=after, until=wanted.until_sequence):
            if record.position > last or await self._late(record):
                return
            if self._is_wanted(record) and record.position > begin:
                [(time, _)] = await timed(self._journal, [record])
                yield time, record

    async def _entity_back(self, entity: int, span: tuple[int, int]) -> _Stream:
        slot, wanted = entity >> ENTITY_NUMBER_BITS, self._wanted
        begin, last = span
        if wanted.after is not None:
            begin = max(begin, await last_until(self._journal, slot, last, wanted.after))
        lowest, highest = await self._journal.bounds(entity)
        if 0 < lowest <= highest < lowest + last:
            try:
                highest = await sequence_at_position(self._journal, entity, last)
            except ArchivedError:
                return  # nothing is kept of what was asked for
            stream = self._sequences_back(entity, max(lowest - 1, wanted.after_sequence), highest)
        else:  # no events, or sequences that nobody wrote: then positions can be trusted
            stream = self._back(slot, begin, last, _LARGEST_PAGE)
        async for time, record in stream:
            if record.position <= begin:
                return
            if record.entity == entity and record.position <= last:
                yield time, record

    async def _sequences_back(self, entity: int, after: int, last: int) -> _Stream:
        while after < last:
            begin = max(after, last - _ENTITY_PAGE)
            records = await self._journal.history(entity, after=begin, limit=last - begin)
            for time, record in reversed(await timed(self._journal, records)):
                if self._is_wanted(record) and (record.sequence or 0) <= last:
                    yield time, record
            last = begin

    async def _learn(self, entities: Iterable[int | None]) -> None:
        unknown = {entity for entity in entities if entity is not None and entity not in self._names}
        if not unknown:
            return
        if len(self._names) > _NAMES_IN_MEMORY:
            self._names.clear()
        self._names.update({row.id: row.entity_name for row in await self._journal.entity_rows(sorted(unknown))})

    async def _late(self, record: RecordedEvent) -> bool:
        until = self._wanted.until
        if until is None or record.recorded_at <= until or damage_of(record) is not None:
            return False
        await refuse_ahead(self._journal, record, until)
        return True

    def _is_wanted(self, record: RecordedEvent) -> bool:
        wanted = self._wanted
        lost = lost_of(record)
        if record.entity is None and (not lost or record.type == LEASE_ACQUIRED):
            return False
        if wanted.types and record.type not in wanted.types and "type" not in lost:
            return False
        if wanted.actor is not None or wanted.principal is not None:
            said, unreadable = caller_in(record)
            if unreadable is None and not (
                wanted.actor in {None, said.actor} and wanted.principal in {None, said.principal}
            ):
                return False
        sequence = record.sequence
        if sequence is not None and sequence > 0 and not wanted.has_sequence(sequence):  # others are nobody's
            return False
        name = self._names.get(record.entity or 0)
        if name is None:
            return True  # nobody can tell; that it has no name is told when it is shown
        return wanted.kind in {None, name.kind} and wanted.name in {None, name.name} and wanted.key in {None, name.key}

    async def _merged(self, streams: list[_Stream]) -> AsyncIterator[HistoryEvent]:
        """Yield the records of all streams by time, slot and position, or the other way round."""
        heap: list[tuple[tuple[int, int, int], int, RecordedEvent]] = []
        try:
            for number, stream in enumerate(streams):
                await self._push(heap, number, stream)
            while heap:
                _, number, record = heapq.heappop(heap)
                await self._learn([record.entity])
                name = self._names.get(record.entity or 0)
                yield history_event(name, record, await self._holders.node(record.slot, record.epoch))
                await self._push(heap, number, streams[number])
        finally:
            for stream in streams:
                await stream.aclose()

    async def _push(
        self, heap: list[tuple[tuple[int, int, int], int, RecordedEvent]], number: int, stream: _Stream
    ) -> None:
        sign = -1 if self._backwards else 1
        async for time, record in stream:
            heapq.heappush(heap, ((sign * time, sign * record.slot, sign * record.position), number, record))
            return
