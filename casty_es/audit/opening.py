"""A journal to be read as a whole, and which of its slots."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable

from casty_es.errors import InvalidArgumentError
from casty_es.journal.port import EventJournal, Meta
from casty_es.journal.sql import SqlJournal


@contextlib.asynccontextmanager
async def opened(
    journal: str | EventJournal, *, despite_damage: bool = False
) -> AsyncIterator[tuple[EventJournal, Meta]]:
    """Yield the journal, open: one that was given by its URL is closed again.

    With ``despite_damage`` it is one to read in, and what is given may be a ``DamagedMeta``.
    """
    if not isinstance(journal, str):
        yield journal, await journal.open()
        return
    # Nothing is acknowledged here, so a database that could lose commits is read all the same.
    own = SqlJournal(journal, unsafe_durability=True)
    try:
        yield own, await (own.open_to_read() if despite_damage else own.open())
    finally:
        await own.close()


def chosen_slots(
    slots: Iterable[int] | None, meta: Meta, journal: EventJournal, processes: int, what: str
) -> list[int]:
    """Return the slots that were asked for, in order; all of them for ``None``.

    Refuses a slot that the journal does not have, and several processes for one that only this process can read.
    """
    chosen = sorted(set(range(meta.slots) if slots is None else slots))
    if chosen and not 0 <= chosen[0] <= chosen[-1] < meta.slots:
        raise InvalidArgumentError(f"The journal has slots 0 to {meta.slots - 1}. Nothing was {what}.")
    if processes > 1 and not isinstance(journal, SqlJournal):
        raise InvalidArgumentError(f"A journal in memory is {what} by its own process. Nothing was {what}.")
    return chosen
