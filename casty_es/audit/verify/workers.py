"""Verifying slots in several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from casty_es.audit import processes as several
from casty_es.audit.processes import Walked, serve
from casty_es.audit.verify.findings import SlotResult
from casty_es.audit.verify.slot import verify_slot
from casty_es.journal.port import Head
from casty_es.journal.sql import SqlJournal

__all__ = ["Job", "in_processes", "work"]


class Job(msgspec.Struct):
    """A slot to verify, behind a record."""

    slot: int
    start: Head


async def in_processes(
    url: str, jobs: Sequence[Job], processes: int, finished: Callable[[SlotResult], None], walked: Walked
) -> None:
    """Verify slots in processes, and tell of each that is done.

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
        lambda result: finished(msgspec.json.decode(result, type=SlotResult)),
        walked,
    )


def work() -> None:
    """Serve as such a process, until there is nothing more to do."""
    serve(_verified)


async def _verified(journal: SqlJournal, line: bytes, walked: Walked) -> SlotResult:
    job, meta = msgspec.json.decode(line, type=Job), await journal.open()
    return await verify_slot(journal, job.slot, meta, start=job.start, read_ahead=journal.file is None, progress=walked)
