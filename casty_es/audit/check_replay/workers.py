"""Checking slots in several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from casty_es.audit import processes as several
from casty_es.audit.check_replay.findings import SlotReplay
from casty_es.audit.check_replay.slot import Job, check_slot
from casty_es.audit.processes import Walked, serve
from casty_es.journal.sql import SqlJournal

__all__ = ["in_processes", "work"]


async def in_processes(
    url: str, jobs: Sequence[Job], processes: int, finished: Callable[[SlotReplay], None], walked: Walked
) -> None:
    """Check slots in processes, and tell of each that is done.

    Raises
    ------
    JournalUnavailableError
        A process could not read the database, or ended.
    """
    await several.in_processes(
        __name__,
        url,
        jobs,
        processes,
        lambda result: finished(msgspec.json.decode(result, type=SlotReplay)),
        walked,
    )


def work() -> None:
    """Serve as such a process, until there is nothing more to do."""
    serve(_checked)


async def _checked(journal: SqlJournal, line: bytes, walked: Walked) -> SlotReplay:
    job = msgspec.json.decode(line, type=Job)
    return await check_slot(journal, job, read_ahead=journal.file is None, progress=walked)
