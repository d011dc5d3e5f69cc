"""A page of an entity's history, with the names of the nodes that wrote it."""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from casty_es.bounds import TAGS
from casty_es.journal.damaged import damage_of
from casty_es.journal.port import EntityName, EventJournal, RecordedEvent
from casty_es.replay.history import archived, sequence_stamped

_PAGE_EVENTS: Final = 200
_LAST_POSITION: Final = 2**63 - 1
_PAGE_BYTES: Final = 1_048_576  # of payloads; the last event goes beyond it, by as much as a value may be long


class HistoryPage(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__):
    """Events of one entity in order, and who wrote under which epoch. An empty one is the end."""

    records: tuple[RecordedEvent, ...] = ()
    nodes: dict[int, str] = {}

    def sendable(self) -> HistoryPage:
        """Return the page as it can go to another process: of a damaged record, its payload says what is wrong."""
        return HistoryPage(tuple(map(_sendable, self.records)), self.nodes)


class _Lease(msgspec.Struct):
    node: str | None = None


class LeaseHolders:
    """Which node wrote under which epoch, from the lease records; each is read once."""

    _MOST: Final = 4_096

    def __init__(self, journal: EventJournal) -> None:
        self._journal = journal
        self._known: dict[tuple[int, int], str | None] = {}

    async def node(self, slot: int, epoch: int) -> str | None:
        """Return the node that held the slot under this epoch; ``None`` if the journal does not say."""
        if (slot, epoch) in self._known:
            return self._known[slot, epoch]
        name = None
        if 0 < epoch <= _LAST_POSITION:
            records = await self._journal.records(slot, after=epoch - 1, limit=1)
            if records and records[0].position == epoch:
                # One that cannot be read says nothing; it is `verify` that names it.
                with contextlib.suppress(msgspec.MsgspecError, RecursionError, ValueError):
                    name = msgspec.json.decode(records[0].payload, type=_Lease).node
        if len(self._known) >= self._MOST:
            self._known.clear()
        self._known[slot, epoch] = name
        return name


async def history_page(
    journal: EventJournal, name: EntityName, *, after: int, after_time: int | None, limit: int
) -> HistoryPage:
    """Return an entity's next events, behind a sequence or behind the last event of a time in microseconds.

    There may be fewer than ``limit`` although more follow. ``ArchivedError`` if the events at the place asked for
    were cut.
    """
    [stored] = await journal.entities([name])
    if stored is None or limit <= 0:
        return HistoryPage()
    if after_time is not None:
        after = max(after, await sequence_stamped(journal, stored.id, after_time))
    records = await journal.history(stored.id, after=after, limit=min(limit, _PAGE_EVENTS), most_bytes=_PAGE_BYTES)
    if after and records and records[0].sequence != after + 1:
        raise archived((records[0].sequence or 1) - 1)
    holders = LeaseHolders(journal)
    nodes: dict[int, str] = {}
    for record in records:
        if record.epoch not in nodes:
            node = await holders.node(record.slot, record.epoch)
            if node is not None:
                nodes[record.epoch] = node
    return HistoryPage(tuple(records), nodes)


def _sendable(record: RecordedEvent) -> RecordedEvent:
    damage = damage_of(record)
    if damage is None:
        return record
    fields = msgspec.structs.astuple(record)[: len(RecordedEvent.__struct_fields__)]
    return msgspec.structs.replace(RecordedEvent(*fields), payload=damage, metadata=None)
