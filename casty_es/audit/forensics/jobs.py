"""Where a queue's jobs were: when each was enqueued and dequeued, by whom, and how many stand before it.

A queue is first in, first out, so within a life of the queue (until it is destroyed or redacted) the n-th item that was
enqueued is the n-th that is dequeued; one that reached nobody and was given back comes again, to the front. One walk
over the events that counts them follows a job, with nothing in memory but the jobs that were asked for and are still in
line. It needs the types of the events only: redacted values do not stop it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

from casty_es.audit.forensics.holders import find_entity, span
from casty_es.audit.forensics.joblines import COMING, Job, JobLine, line_at, text_of
from casty_es.domain import queue
from casty_es.errors import ArchivedError, InvalidArgumentError, JournalCorruptError
from casty_es.format.values import ValueCodec
from casty_es.journal.port import EventJournal
from casty_es.names import check_at_least_one
from casty_es.replay import Unreadable, events, refuse_ahead, sequence_at_time, state_at, to_microseconds

_QUEUE: Final = ("queue",)


async def find_job(
    journal: EventJournal,
    name: str,
    value: Any,
    *,
    at: datetime | None = None,
    unreadable: list[Unreadable] | None = None,
) -> AsyncIterator[Job]:
    """Yield every time that a value was in a queue: those that left as they left, then those that are in line.

    Parameters
    ----------
    journal : EventJournal
        The journal; no node has to run.
    name : str
        The queue's name.
    value : Any
        The value, equal as the queue takes values to be equal: by its canonical JSON.
    at : datetime | None
        As of this moment, with a time zone; now when it is not given.
    unreadable : list[Unreadable] | None
        Is given the records of the queue that cannot be read; what they would have said is missing in the answer.
        Without it they are an error.

    Raises
    ------
    ArchivedError
        Events were cut, and no snapshot stands before those that are left; or the moment lies before the cut.
    RedactedError
        Events were cut, and what stood in line at the cut was redacted.

    Examples
    --------
    >>> from casty_es.audit.forensics import find_job
    >>> jobs = d.queue[str]("mails")
    >>> await jobs.enqueue("hello")
    >>> await jobs.enqueue("bye")
    >>> [(job.ending, job.place) async for job in find_job(journal, "mails", "bye")]
    [(None, 2)]
    """
    entity = await find_entity(journal, "queue", name, _QUEUE)
    if entity is None:
        return
    until = None if at is None else await sequence_at_time(journal, entity, to_microseconds(at))
    wanted = bytes(ValueCodec(Any).encode(value)).decode()
    first, _ = await journal.bounds(entity)
    line = JobLine(unreadable=unreadable)
    if first > 1:
        # What stood in line at a cut came before it, nobody can say when.
        state: Any = await state_at(journal, entity, queue.QUEUE, first - 1)
        for number in range(state.front, state.back):
            text = bytes(state.items[number]).decode()
            line.came_before(Job(value=text) if text == wanted else None)
    async for record in events(journal, entity, after=max(first - 1, 0), until=until):
        if record.type in COMING:
            line.came(record, line.job_of(record) if text_of(record, unreadable) == wanted else None)
        else:
            for job in line.take(record):
                yield job
    for job in line.rest():
        yield job


async def find_job_by_sequence(
    journal: EventJournal,
    name: str,
    sequence: int,
    *,
    at: datetime | None = None,
    unreadable: list[Unreadable] | None = None,
) -> Job | None:
    """Return what became of the job that one event of a queue enqueued.

    Parameters
    ----------
    journal, name, at, unreadable
        As for :func:`find_job`.
    sequence : int
        The event's sequence in the queue's log.

    Returns
    -------
    Job | None
        ``None`` when the queue has no such event, or had none at that moment.

    Raises
    ------
    InvalidArgumentError
        The event enqueued nothing.
    ArchivedError
        The event was cut, or the moment lies before the cut.
    """
    check_at_least_one(sequence, "sequence")
    entity = await find_entity(journal, "queue", name, _QUEUE)
    if entity is None:
        return None
    until = None if at is None else await sequence_at_time(journal, entity, to_microseconds(at))
    first, last = await journal.bounds(entity)
    if sequence < first:
        raise ArchivedError(f"The events up to sequence {first - 1} were cut by retention. Nothing was read.")
    if sequence > last or (until is not None and sequence > until):
        return None
    found = await journal.history(entity, after=sequence - 1, limit=1)
    if not found or found[0].sequence != sequence:
        raise JournalCorruptError(f"Event {sequence} of the queue is missing. Verify it with `casty-es verify`.")
    record = found[0]
    if record.type not in COMING:
        raise InvalidArgumentError(f"Event {sequence} of the queue is {record.type}: it enqueued nothing.")
    line = JobLine(await line_at(journal, entity, sequence - 1), unreadable=unreadable)
    line.came(record, line.job_of(record))
    async for later in events(journal, entity, after=sequence, until=until):
        for job in line.take(later):
            return job
        if later.type in COMING:
            line.came(later, None)
    return next(line.rest())


async def queue_timeline(
    journal: EventJournal, name: str, start: datetime, end: datetime, *, unreadable: list[Unreadable] | None = None
) -> AsyncIterator[Job]:
    """Yield every job that was in line between two moments, as it leaves; those that had not left come last.

    Parameters
    ----------
    journal, name, unreadable
        As for :func:`find_job`.
    start, end : datetime
        The moments, with a time zone; events at ``end`` belong to it.

    Raises
    ------
    InvalidArgumentError
        A moment has no zone, or the first is not before the last.
    ArchivedError
        The events before ``start`` were cut.
    """
    first, last = span(start, end)
    entity = await find_entity(journal, "queue", name, _QUEUE)
    if entity is None:
        return
    sequence = await sequence_at_time(journal, entity, first)
    line = await JobLine.looking_back(journal, entity, sequence, unreadable)
    async for record in events(journal, entity, after=sequence):
        if record.recorded_at > last:
            await refuse_ahead(journal, record, last)
            break
        if record.type in COMING:
            line.came(record, line.job_of(record))
        for job in line.take(record):
            yield job
    for job in line.rest():
        yield job
