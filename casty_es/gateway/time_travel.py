"""What was, for callers: an entity's history, and a gateway that answers queries as of some point of the past."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from casty_es.domain.catalog import KEYED
from casty_es.domain.decider import Query
from casty_es.errors import InvalidArgumentError, InvalidTypeError, NotDoneError, ReadOnlyError, UsageError
from casty_es.gateway.cursor import decode_cursor, encode_cursor
from casty_es.gateway.port import (
    CommandContext,
    EntityGateway,
    HistoryReader,
    PastReader,
    RegionRef,
    ShardEnvelope,
    StructureFactory,
)
from casty_es.journal.port import EntityName, RecordedEvent
from casty_es.names import check_at_least_one, check_sequence
from casty_es.replay import (
    HistoryEvent,
    HistoryPage,
    Positions,
    Then,
    history_event,
    refuse_ahead_of_here,
    to_microseconds,
)

R = TypeVar("R")

_NO_COMMAND: Final = bytes(16)
_PAGE_EVENTS: Final = 1_000  # asked for at once; whoever answers may give fewer


class PastGateway:
    """A gateway to what was, by one that can read the past. It answers queries and refuses everything else.

    A sequence belongs to ``only`` one entity.
    """

    def __init__(self, present: EntityGateway, then: Then | Positions, only: EntityName | None = None) -> None:
        if not isinstance(present, PastReader):
            if isinstance(present, PastGateway):
                raise UsageError("This is the past already. Nothing was read. Call at() on the present.")
            raise UsageError(f"{type(present).__name__} cannot read the past. Nothing was read.")
        self._present = present
        self._then = then
        self._only = only
        self.settings = getattr(present, "settings", None)
        self.self_node = getattr(present, "self_node", None)

    def region_ref(self, key: str, factory: StructureFactory, *, num_shards: int) -> RegionRef:
        """Return a ref to the named structure, as the present gives it."""
        present: Any = self._present
        ref: RegionRef = present.region_ref(key, factory, num_shards=num_shards)
        return ref

    async def entity_ask(
        self,
        ref: RegionRef,
        msg_factory: Callable[[CommandContext], ShardEnvelope[R]],
        *,
        timeout: float,  # noqa: ASYNC109 - the seed's name
    ) -> R:
        """Answer a query as of then; ``ReadOnlyError`` if it is none, ``NotDoneError`` if the time was up."""
        envelope = msg_factory(CommandContext(_NO_COMMAND, asyncio.get_running_loop().time() + timeout))
        what = type(envelope.command).__name__
        if not isinstance(envelope.command, Query):
            raise ReadOnlyError(
                f"This is the past: it is read and cannot be changed. {what} was not done. Ask the structures of the "
                f"present."
            )
        name = EntityName(ref.kind, ref.name, envelope.entity_id if ref.kind in KEYED else "")
        try:
            async with asyncio.timeout(timeout):
                reply: R = await self._present.read_past(name, envelope.command, await self._point(name))
        except TimeoutError:
            raise NotDoneError(f"{what} of the past was not answered within {timeout:g} s. Nothing was read.") from None
        return reply

    async def read_history(self, name: EntityName, *, after: int, after_time: int | None, limit: int) -> HistoryPage:
        """Return an entity's next events, as far as they had happened then."""
        present = self._present
        if not isinstance(present, HistoryReader):
            raise UsageError(f"{type(present).__name__} cannot read histories. Nothing was read.")
        point = await self._point(name)
        page = await present.read_history(name, after=after, after_time=after_time, limit=limit)
        kept = tuple(record for record in page.records if _until(record, point))
        if point.time is not None and len(kept) < len(page.records):
            refuse_ahead_of_here(page.records[len(kept)], point.time)
        return HistoryPage(kept, page.nodes)

    async def _point(self, name: EntityName) -> Then:
        """Return the point in an entity's log."""
        if self._only is not None and name != self._only:
            raise InvalidArgumentError(
                f"A sequence belongs to one entity, and this one to {self._only}. Nothing was read of {name}."
            )
        if isinstance(self._then, Then):
            return self._then
        present = self._present
        assert isinstance(present, HistoryReader)  # noqa: S101 - whoever reads positions reads histories
        page = await present.read_history(name, after=0, after_time=None, limit=1)
        if not page.records:
            return Then(position=0, journal=self._then.journal)
        slot = page.records[0].slot
        if slot >= len(self._then.positions):
            raise InvalidArgumentError("The cursor is of another journal. Nothing was read. Take one with d.cursor().")
        return Then(position=self._then.positions[slot], journal=self._then.journal)


def past_of(gateway: EntityGateway, moment: datetime | str) -> PastGateway:
    """Return the gateway to a moment or to a cursor; see ``Distributed.at``."""
    if isinstance(moment, str):
        return PastGateway(gateway, decode_cursor(str.__str__(moment)))
    if not isinstance(moment, datetime):
        raise InvalidTypeError(
            f"A moment is a datetime with a time zone, or a cursor, not {type(moment).__name__}. Nothing was read."
        )
    time = to_microseconds(moment)
    if moment > datetime.now(UTC):
        raise InvalidArgumentError(f"{moment} has not come yet. Nothing was read. Give a moment of the past.")
    return PastGateway(gateway, Then(time=time))


def past_sequence(gateway: EntityGateway, name: EntityName, sequence: object) -> PastGateway:
    """Return the gateway to the state after one event of an entity; see ``at`` of the handles."""
    return PastGateway(gateway, Then(sequence=check_sequence(sequence, "sequence")), name)


async def take_cursor(gateway: EntityGateway) -> str:
    """Return the point that the whole journal has reached; see ``Distributed.cursor``."""
    if not isinstance(gateway, PastReader):
        raise UsageError(f"{type(gateway).__name__} cannot give a cursor. Nothing was read.")
    return encode_cursor(await gateway.read_positions())


def _until(record: RecordedEvent, point: Then) -> bool:
    if point.time is not None:
        return record.recorded_at <= point.time
    if point.position is not None:
        return record.position <= point.position
    return point.sequence is None or (record.sequence or 0) <= point.sequence


async def history_of(
    gateway: EntityGateway, name: EntityName, *, after: int | datetime, until: int | datetime | None, limit: int | None
) -> AsyncIterator[HistoryEvent]:
    """Yield an entity's events; see ``history`` of the handles."""
    if not isinstance(gateway, HistoryReader):
        raise UsageError(f"{type(gateway).__name__} cannot read histories. Nothing was read.")
    left = None if limit is None else check_at_least_one(limit, "limit")
    after_time = to_microseconds(after) if isinstance(after, datetime) else None
    sequence = 0 if isinstance(after, datetime) else check_sequence(after, "after")
    last_time = to_microseconds(until) if isinstance(until, datetime) else None
    last = None if until is None or isinstance(until, datetime) else check_sequence(until, "until")
    while left is None or left > 0:
        page = await gateway.read_history(
            name, after=sequence, after_time=after_time, limit=_PAGE_EVENTS if left is None else min(left, _PAGE_EVENTS)
        )
        after_time = None
        for record in page.records:
            sequence = record.sequence or sequence
            if last is not None and sequence > last:
                return
            if last_time is not None and record.recorded_at > last_time:
                refuse_ahead_of_here(record, last_time)
                return
            yield history_event(name, record, page.nodes.get(record.epoch))
        if not page.records:
            return
        left = None if left is None else left - len(page.records)
