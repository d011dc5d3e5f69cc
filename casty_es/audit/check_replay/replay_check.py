"""Folding all logs of a journal, slot by slot or in several processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from casty_es.audit.check_replay.differences import Difference, ReplayReport
from casty_es.audit.check_replay.slot_replay import WORK, Job
from casty_es.audit.opening import chosen_slots, opened
from casty_es.domain.catalog import CATALOG
from casty_es.errors import InvalidArgumentError
from casty_es.hashes import slots_of
from casty_es.journal.port import EventJournal, Meta


async def check_replay(
    journal: str | EventJournal,
    *,
    kind: str | None = None,
    name: str | None = None,
    slots: Iterable[int] | None = None,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> ReplayReport:
    """Fold every stored log with the installed code, and compare with the stored snapshots and the directory.

    It is for before a release: it reads the live database or a copy, changes nothing, and needs no more than the right
    to read.

    Parameters
    ----------
    journal : str | EventJournal
        A URL, or a journal; a journal that is not open yet is opened, and stays open.
    kind, name : str | None
        Only structures of this kind, of this name, or both.
    slots : Iterable[int] | None
        Only these slots.
    processes : int
        How many processes to fold in; 1 folds in this one.
    progress : Callable[[int], None] | None
        Is told how many events were folded since it was told last.

    Returns
    -------
    ReplayReport
        What is not the same, and what was looked at.

    Raises
    ------
    InvalidArgumentError
        A kind or a slot that is not there, or several processes for a journal that only this one can read.
    JournalUnavailableError
        The database cannot be read.

    Examples
    --------
    >>> import asyncio
    >>> from casty_es import InMemoryJournal
    >>> report = asyncio.run(check_replay(InMemoryJournal(slots=16)))
    >>> report.ok, report.slots
    (True, 16)
    """
    started = time.perf_counter()
    if kind is not None and kind not in CATALOG:
        raise InvalidArgumentError(f"There is no kind {kind[:80]!r}; there are {', '.join(CATALOG)}. Nothing was read.")
    async with opened(journal) as (source, meta):
        chosen = chosen_slots(slots, meta, source, processes, "checked")
        if kind is not None and name is not None:
            chosen = await _slots_of(source, meta, kind, name, chosen)
        report = ReplayReport()
        await WORK.run(source, [Job(slot, kind, name) for slot in chosen], processes, report.add, progress)
    report.differences.sort(key=_in_order)
    if report.unread_snapshots:
        report.notes.append(
            f"{report.unread_snapshots} snapshots have a version that the installed code does not read. They are "
            f"passed over, and their entities take longer to be read."
        )
    report.seconds = time.perf_counter() - started
    return report


async def _slots_of(journal: EventJournal, meta: Meta, kind: str, name: str, chosen: list[int]) -> list[int]:
    """Return those of some slots that a structure can be in."""
    [shards] = await journal.structures([(kind, name)])
    if shards is None:
        return chosen  # it has no entities, unless its row is gone
    mine = slots_of(kind, name, shards, meta.slots)
    return [slot for slot in chosen if slot in mine]


def _in_order(difference: Difference) -> tuple[int, int, int]:
    return difference.slot, difference.entity, difference.sequence or 0
