"""Verifying a journal: its database, its slots one by one or in several processes, and the anchors that were given."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from casty_es.audit.anchor import Anchor
from casty_es.audit.opening import chosen_slots, opened
from casty_es.audit.verify.anchors import check_anchor
from casty_es.audit.verify.database import check_database
from casty_es.audit.verify.findings import NOT_SHOWN, Finding, Report, SlotResult, Wrong
from casty_es.audit.verify.looked_at import look_at
from casty_es.audit.verify.progress import Progress
from casty_es.audit.verify.slot_walk import WORK, Job
from casty_es.audit.verify.whole import check_whole
from casty_es.errors import JournalCorruptError, JournalError
from casty_es.journal.damaged import damage_of
from casty_es.journal.port import EventJournal, Meta
from casty_es.journal.sql import SqlJournal
from casty_es.replay import slots_ahead, told_ahead


async def verify(
    journal: str | EventJournal,
    *,
    slots: Iterable[int] | None = None,
    anchors: Sequence[Anchor] = (),
    processes: int = 1,
    resume: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Walk through a journal and find what was edited, deleted, inserted or put in another order.

    Every record's hash, position, sequence, epoch and time, every snapshot, the directory, and the database's own
    guards are looked at. It runs beside live traffic: each slot is read up to the head that it has when its turn comes.

    Parameters
    ----------
    journal : str | EventJournal
        A URL, or a journal; a journal that is not open yet is opened, and stays open.
    slots : Iterable[int] | None
        The slots to verify; all of them if none are given.
    anchors : Sequence[Anchor]
        What the slots must still hold (:func:`read_anchor`). Only an anchor shows a cut tail, or a chain that was
        written anew.
    processes : int
        How many processes to walk in; 1 walks in this one.
    resume : Path | None
        A file that says what is done. If a verification was interrupted, the slots that it had done are not walked
        again. If it was complete, only what came since is.
    progress : Callable[[int], None] | None
        Is told how many records were walked since it was told last.

    Returns
    -------
    Report
        What is wrong, what was counted, and what cannot be shown.

    Raises
    ------
    ConfigurationError
        The file to take up is one of another journal.
    InvalidArgumentError
        A slot that the journal does not have, or several processes for a journal that only this one can read.
    JournalUnavailableError
        The database cannot be read.

    Examples
    --------
    >>> import asyncio
    >>> from casty_es import InMemoryJournal
    >>> report = asyncio.run(verify(InMemoryJournal(slots=16)))
    >>> report.ok, report.slots
    (True, 16)
    """
    started = time.perf_counter()
    async with opened(journal, despite_damage=True) as (source, meta):
        chosen = chosen_slots(slots, meta, source, processes, "verified")
        report = Report(looked_at=await look_at(source, meta))
        if (damage := damage_of(meta)) is not None:
            report.findings.append(Finding(None, None, None, Wrong.GUARD, damage))
        done = Progress(resume, meta)
        await done.load(source)
        for slot in set(chosen) & done.done.keys():
            report.add(done.done[slot])

        def finished(result: SlotResult) -> None:
            done.finished(result)
            report.add(result)

        async with _beside(source, meta, same_file=done.same_file) as database:
            as_it_was = await done.unchanged(source, chosen)
            for result in as_it_was:
                report.add(result)
            known = done.done.keys() | {result.slot for result in as_it_was}
            left = [Job(slot, done.start(slot)) for slot in chosen if slot not in known]
            await WORK.run(source, left, processes, finished, progress)
            findings, notes = await database
        report.findings += findings
        report.notes += notes
        if len(chosen) == meta.slots:
            await done.complete(source, ok=report.ok)
        report.notes += await _ahead(source, chosen)
        for anchor in anchors:
            findings, notes = await _told(check_anchor(source, meta, anchor, chosen))
            report.findings += findings
            report.notes += notes
    report.findings.sort(key=_in_order)
    report.notes += _notes(anchored=bool(anchors), resumed=bool(done.starts), chosen=len(chosen), meta=meta)
    report.notes += _unseen(report)
    report.seconds = time.perf_counter() - started
    return report


@contextlib.asynccontextmanager
async def _beside(
    journal: EventJournal, meta: Meta, *, same_file: bool
) -> AsyncIterator[Awaitable[tuple[list[Finding], list[str]]]]:
    """Check the database beside the walk."""

    async def check() -> tuple[list[Finding], list[str]]:
        if not isinstance(journal, SqlJournal):
            return [], []
        findings, notes = await _told(check_database(journal, meta.slots))
        if journal.file is not None and not same_file:
            findings += await check_whole(journal.file)
        return findings, notes

    task = asyncio.create_task(check(), name="casty-verify-database")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _told(check: Awaitable[tuple[list[Finding], list[str]]]) -> tuple[list[Finding], list[str]]:
    """Return what a check finds; where the database itself is damaged, that is the finding."""
    try:
        return await check
    except JournalCorruptError as error:
        return [Finding(None, None, None, Wrong.FILE, str(error))], []


def _notes(*, anchored: bool, resumed: bool, chosen: int, meta: Meta) -> list[str]:
    notes = [] if anchored else [NOT_SHOWN]
    if resumed:
        notes.append("Of slots that an earlier verification had walked through, only what came since was looked at.")
    if chosen < meta.slots:
        notes.append(f"{chosen} of {meta.slots} slots were looked at.")
    return notes


async def _ahead(journal: EventJournal, slots: Sequence[int]) -> list[str]:
    try:
        ahead = await slots_ahead(journal, slots)
    except JournalError as error:  # what is damaged is among the findings
        return [f"Whether times are in the future could not be looked at: {error}"]
    why = "A clock that was far ahead wrote there, and they say nothing of when those records were written."
    return [f"{told_ahead(ahead)}. {why}"] if ahead else []


def _unseen(report: Report) -> list[str]:
    notes = []
    if report.unread_snapshots:
        notes.append(
            f"{report.unread_snapshots} snapshots were not compared: the installed code does not read their version."
        )
    if report.unfinished_redactions:
        notes.append(
            f"{report.unfinished_redactions} redactions are not finished, and snapshots from before them were not "
            f"compared. If none is under way, finish them by redacting once more."
        )
    return notes


def _in_order(finding: Finding) -> tuple[bool, int, int]:
    """Return the key to sort by: no slot first, then slot and position, what an anchor says behind the rest."""
    slot = -1 if finding.slot is None else finding.slot
    return finding.wrong is Wrong.ANCHOR, slot, finding.position or 0
