"""Looking through a whole journal for events, in the order of their times.

1. Every slot is in order, so slots are merged: of each one a page is in memory, however long it is.
2. The first record after a moment is found by halving, because times within a slot never go back.
3. What is not wanted is dropped before it is merged. One entity, or a few, are read by themselves.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import Final

import msgspec

from casty_es.audit.history import HistoryEvent, history_event
from casty_es.hashes import shard_of, slot_of
from casty_es.journal.damaged import damage_of, lost_of
from casty_es.journal.port import ENTITY_NUMBER_BITS, LEASE_ACQUIRED, EntityName, EventJournal, RecordedEvent
from casty_es.replay import LeaseHolders, caller_in, events, refuse_ahead, sequence_stamped

__all__ = ["Wanted", "follow", "search"]

_RECORDS_IN_MEMORY: Final = 32_768
_LARGEST_PAGE: Final = 1_000
_SMALLEST_PAGE: Final = 8
_FEW_ENTITIES: Final = 32
_NAMES_IN_MEMORY: Final = 50_000


class Wanted(msgspec.Struct, frozen=True):
    """Which events are looked for; what is ``None`` or empty does not matter.

    Attributes
    ----------
    kind, name, key : str | None
        The structure, and a map's key as the journal has it (``names.encode_key``).
    types : frozenset[str]
        Types of events, such as ``counter.incremented``.
    actor : str | None
        Who was named with ``audit_context``.
    slot : int | None
        Where in the journal.
    after_sequence, until_sequence : int, int | None
        Of the entity; only where kind, name and key are given.
    after, until : int | None
        Later than this time and not later than that one, in microseconds since 1970.
    """

    kind: str | None = None
    name: str | None = None
    key: str | None = None
    types: frozenset[str] = frozenset()
    actor: str | None = None
    slot: int | None = None
    after_sequence: int = 0
    until_sequence: int | None = None
    after: int | None = None
    until: int | None = None


async def search(journal: EventJournal, wanted: Wanted, *, limit: int | None = None) -> AsyncIterator[HistoryEvent]:
    """Give the events that are wanted and committed now, by time; those of one time by slot and position.

    Parameters
    ----------
    journal : EventJournal
        An open journal; no node has to run.
    limit : int | None
        How many at most.

    Examples
    --------
    >>> from casty_es.audit.search import Wanted, search
    >>> await d.counter("seen").increment()
    1
    >>> [event.type async for event in search(journal, Wanted(kind="counter", name="seen"))]
    ['counter.incremented']
    """
    looking = _Looking(journal, wanted)
    async for event in looking.until(await looking.heads(), limit):
        yield event


async def follow(
    journal: EventJournal, wanted: Wanted, *, limit: int | None = None, seconds: float = 0.5
) -> AsyncIterator[HistoryEvent]:
    """Give the events that are wanted, those that are committed later too, until the caller has enough.

    Parameters
    ----------
    limit : int | None
        How many of the older events at most: the later ones come after them whatever was left out.
    seconds : float
        How long to wait between two looks.
    """
    looking = _Looking(journal, wanted)
    heads = await looking.heads()
    async for event in looking.until(heads, limit):
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

    def __init__(self, journal: EventJournal, wanted: Wanted) -> None:
        self._journal = journal
        self._wanted = wanted
        self._names: dict[int, EntityName] = {}
        self._holders = LeaseHolders(journal)

    async def heads(self) -> dict[int, int]:
        """Give how far every slot that matters is committed."""
        heads = await self._journal.heads(await self._slots())
        return {slot: head.position for slot, head in heads.items() if head.position}

    async def _slots(self) -> list[int]:
        wanted = self._wanted
        slots = (await self._journal.open()).slots
        if wanted.kind is not None and wanted.name is not None:
            [shards] = await self._journal.structures([(wanted.kind, wanted.name)])
            keyless = wanted.kind == "map" and wanted.key is None
            if shards is None:  # nothing is there, or its record is gone or damaged: then it can be anywhere
                among = set(range(slots))
            else:
                numbers = range(shards) if keyless else [shard_of(*self._entity(), shards)]
                among = {slot_of(wanted.kind, wanted.name, number, slots) for number in numbers}
        else:
            among = set(range(slots))
        return sorted(among if wanted.slot is None else among & {wanted.slot})

    def _entity(self) -> EntityName:
        return EntityName(self._wanted.kind or "", self._wanted.name or "", self._wanted.key or "")

    async def until(self, heads: Mapping[int, int], limit: int | None) -> AsyncIterator[HistoryEvent]:
        """Give what is wanted up to these positions."""
        few = await self._few()
        if few is None:
            after = {slot: await self._start(slot, head) for slot, head in heads.items()}
            merged = self.between(after, heads)
        else:
            merged = self._merged([self._of_entity(entity, heads) for entity in few])
        given = 0
        async for event in merged:
            if given == limit:
                break
            given += 1
            yield event
            if given == limit:
                break

    def between(self, after: Mapping[int, int], heads: Mapping[int, int]) -> AsyncIterator[HistoryEvent]:
        """Give what is wanted of each slot behind one position and up to another."""
        page = max(_SMALLEST_PAGE, min(_LARGEST_PAGE, _RECORDS_IN_MEMORY // max(1, len(heads))))
        return self._merged([self._of_slot(slot, after.get(slot, 0), head, page) for slot, head in heads.items()])

    async def _few(self) -> list[int] | None:
        """Give the entities that are wanted, if they are few."""
        wanted = self._wanted
        if wanted.kind is None or wanted.name is None:
            return None
        if wanted.kind != "map" or wanted.key is not None:
            [stored] = await self._journal.entities([self._entity()])
            if stored is not None:
                self._names[stored.id] = self._entity()
            return [] if stored is None else [stored.id]
        rows = await self._journal.directory(wanted.kind, wanted.name, limit=_FEW_ENTITIES + 1)
        if len(rows) > _FEW_ENTITIES:
            return None
        self._names.update({row.id: row.entity_name for row in rows})
        return [row.id for row in rows]

    async def _start(self, slot: int, head: int) -> int:
        """Give the position of a slot's last record that is not later than the moment to begin after."""
        moment = self._wanted.after
        low, high = 0, head if moment is not None else 0
        while low < high:
            middle = (low + high + 1) // 2
            records = await self._journal.records(slot, after=middle - 1, limit=1)
            if records and records[0].recorded_at <= (moment or 0):
                low = max(middle, min(records[0].position, high))  # what is missing in between was cut
            else:
                high = middle - 1
        return low

    async def _of_slot(self, slot: int, after: int, head: int, page: int) -> AsyncGenerator[RecordedEvent, None]:
        while after < head:
            records = await self._journal.records(slot, after=after, limit=min(page, head - after))
            records = [record for record in records if record.position <= head]
            if not records:
                return
            after = records[-1].position
            await self._learn(record.entity for record in records)
            for record in records:
                if await self._late(record):
                    return
                if self._is_wanted(record):
                    yield record

    async def _of_entity(self, entity: int, heads: Mapping[int, int]) -> AsyncGenerator[RecordedEvent, None]:
        wanted = self._wanted
        head = heads.get(entity >> ENTITY_NUMBER_BITS, 0)
        after = wanted.after_sequence
        if wanted.after is not None:
            after = max(after, await sequence_stamped(self._journal, entity, wanted.after))
        async for record in events(self._journal, entity, after=after, until=wanted.until_sequence):
            if record.position > head or await self._late(record):
                return
            if self._is_wanted(record):
                yield record

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
        if wanted.actor is not None:
            said, unreadable = caller_in(record)
            if unreadable is None and said.actor != wanted.actor:
                return False
        sequence = record.sequence or 0
        if sequence <= wanted.after_sequence or (
            wanted.until_sequence is not None and sequence > wanted.until_sequence
        ):
            return False
        name = self._names.get(record.entity or 0)
        if name is None:
            return True  # nobody can tell; that it has no name is told when it is shown
        return wanted.kind in {None, name.kind} and wanted.name in {None, name.name} and wanted.key in {None, name.key}

    async def _merged(self, streams: list[AsyncGenerator[RecordedEvent, None]]) -> AsyncIterator[HistoryEvent]:
        """Give the records of all streams by time, slot and position."""
        heap: list[tuple[tuple[int, int, int], int, RecordedEvent]] = []
        try:
            for number, stream in enumerate(streams):
                await _push(heap, number, stream, 0)
            while heap:
                (time, _, _), number, record = heapq.heappop(heap)
                await self._learn([record.entity])
                name = self._names.get(record.entity or 0)
                yield history_event(name, record, await self._holders.node(record.slot, record.epoch))
                await _push(heap, number, streams[number], time)
        finally:
            for stream in streams:
                await stream.aclose()


async def _push(
    heap: list[tuple[tuple[int, int, int], int, RecordedEvent]],
    number: int,
    stream: AsyncGenerator[RecordedEvent, None],
    since: int,
) -> None:
    async for record in stream:
        # One without a time stands behind the one before it in its slot.
        time = since if "time" in lost_of(record) else record.recorded_at
        heapq.heappush(heap, ((time, record.slot, record.position), number, record))
        return
