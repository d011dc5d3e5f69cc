"""What a node reads of an entity's past, for itself and for clients: not from a log that lacks what is remembered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from casty_es.hashes import shard_of, slot_of
from casty_es.journal.port import EntityName, EventJournal
from casty_es.owner.comparing import Comparing
from casty_es.replay import HistoryPage, Then, answer_then, history_page

T = TypeVar("T")


class Past:
    """The past, from the journal."""

    def __init__(self, journal: EventJournal, comparing: Comparing, slots: int) -> None:
        self._journal = journal
        self._comparing = comparing
        self._slots = slots

    async def history(self, name: EntityName, *, after: int, after_time: int | None, limit: int) -> HistoryPage:
        """Return an entity's next events; see ``history_page``. Refuses a slot with a loss."""
        return await self._whole(
            name, lambda: history_page(self._journal, name, after=after, after_time=after_time, limit=limit)
        )

    async def answer(self, name: EntityName, query: object, then: Then) -> Any:
        """Answer a query as an owner would have done then; see ``answer_then``. Refuses a slot with a loss."""
        return await self._whole(name, lambda: answer_then(self._journal, name, query, then))

    async def _whole(self, name: EntityName, read: Callable[[], Awaitable[T]]) -> T:
        kind, structure, key = name
        [shards] = await self._journal.structures([(kind, structure)])
        if shards is None:  # nobody has written it
            return await read()
        slot = slot_of(kind, structure, shard_of(kind, structure, key, shards), self._slots)
        marks = await self._comparing.recollect([slot])
        found = await read()
        await self._comparing.compare(marks)
        self._comparing.refuse(slot)
        return found
