"""Which slot an entity is in: by the number of shards that its structure was first written with.

1. Whoever writes a structure first records its number of shards, before anything of it is decided: an entity of a
   structure that is not recorded never gets into memory.
2. A number that is recorded never changes, so it is remembered. What is not recorded yet may be recorded by another
   process at any time, under another number, so it is looked up again for the next command.
"""

from __future__ import annotations

from typing import Final

from casty_es.hashes import shard_of, slot_of
from casty_es.journal.port import EventJournal
from casty_es.owner.entity import Cold
from casty_es.owner.slot import Slot
from casty_es.printing import log_of
from casty_es.replay import fitting_shards

_LOG: Final = log_of("casty_es.activation")

# They are a query away, so what is remembered of them may be forgotten.
_REMEMBERED: Final = 100_000


class Shards:
    """The recorded numbers of shards."""

    def __init__(self, journal: EventJournal, slots: list[Slot]) -> None:
        self._journal = journal
        self._slots = slots
        self._recorded: dict[tuple[str, str], int] = {}
        self._warned: set[tuple[str, str]] = set()

    def forget(self) -> None:
        """Look up again what is recorded, before anything else is decided: the database may not be the same."""
        self._recorded = {}
        self._warned.clear()

    def of(self, kind: str, name: str) -> int:
        """Return the number that is recorded of a structure, as far as it is remembered; else 0."""
        return self._recorded.get((kind, name), 0)

    async def locate(self, batch: list[Cold]) -> None:
        """Find each entity's slot, and record the structures that are written for the first time."""
        if len(self._recorded) > _REMEMBERED:
            self.forget()
        # Held here: while this waits, what is remembered may be forgotten.
        remembered = self._recorded
        known = {key: remembered[key] for key in (cold.name[:2] for cold in batch) if key in remembered}
        unknown = {cold.name[:2] for cold in batch} - known.keys()
        to_record: dict[tuple[str, str], int] = {}
        for cold in batch:
            if cold.name[:2] in unknown and (cold.populated or (cold.shards and cold.writes())):
                to_record.setdefault(cold.name[:2], cold.shards or 1)
        if to_record:
            known |= await self._record(to_record)
        if to_read := list(unknown - to_record.keys()):
            read = dict(zip(to_read, await self._journal.structures(to_read), strict=True))
            known |= {key: shards for key, shards in read.items() if shards is not None}
        remembered |= known
        for cold in batch:
            key = kind, name = cold.name[:2]
            cold.recorded = key in known
            cold.populated = cold.populated or (key in to_record and not cold.recorded)
            shards = known.get(key) or cold.shards or 1
            self._warn_once(cold, shards)
            cold.slot = self._slots[slot_of(kind, name, shard_of(kind, name, cold.name.key, shards), len(self._slots))]

    async def _record(self, structures: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
        """Record structures that are written for the first time; return the recorded numbers of shards.

        Older versions did not record every structure. Of such a one, the number is recorded that explains where its
        entities are; if none does, it stays unrecorded, and nothing of it is decided.
        """
        rows = [(kind, name, shards) for (kind, name), shards in structures.items()]
        numbers = dict(zip(structures, await self._journal.record_structures(rows), strict=True))
        for kind, name in [key for key, shards in numbers.items() if shards is None]:
            fitting = await fitting_shards(self._journal, kind, name, len(self._slots))
            if fitting is not None:
                found = [(kind, name, fitting)]
                [numbers[kind, name]] = await self._journal.record_structures(found, populated=True)
                _LOG.warning("The %s %r had entities and was not recorded; they have %d shards", kind, name, fitting)
        return {key: shards for key, shards in numbers.items() if shards is not None}

    def _warn_once(self, cold: Cold, recorded: int) -> None:
        kind, name, _ = cold.name
        if cold.recorded and cold.shards not in {0, recorded} and (kind, name) not in self._warned:
            self._warned.add((kind, name))
            _LOG.warning("The %s %r has %d shards; shards=%d is not used", kind, name, recorded, cold.shards)
