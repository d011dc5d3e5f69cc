"""A queue's line as its events come and go, of which only the jobs that matter are kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from casty_es.audit.forensics.claims import Caller, caller_of
from casty_es.domain import queue
from casty_es.errors import RedactedError
from casty_es.journal.port import EventJournal, RecordedEvent
from casty_es.redacted import redacted_digest
from casty_es.replay import events, read_event, state_at

__all__ = ["ENQUEUED", "Job", "JobLine", "line_at", "text_of"]

ENQUEUED: Final = "queue.enqueued"
_DEQUEUED: Final = "queue.dequeued"
_ENDS_OF_ALL: Final = {"queue.destroyed": "destroyed", "entity.redacted": "redacted"}
_PAGE_EVENTS: Final = 1_000
_MOST_EVENTS_BACK: Final = 100_000


class Job(msgspec.Struct):
    """One item of a queue. Times are microseconds since 1970.

    Attributes
    ----------
    value : str | None
        The item as JSON text; ``None`` when it was redacted, or when its events were cut.
    enqueued_at, enqueued_sequence : int | None
        When it came; ``None`` when that event was cut, or lies further back than was looked.
    enqueued_by, left_by : Caller | None
        Who put it there and who took it, as far as the events are there.
    place_then : int | None
        Its place in line when it came, 1 at the front; ``None`` as for the time.
    left_at, left_sequence : int | None
        When it left; ``None`` while it is in line.
    ending : str | None
        ``dequeued``, ``destroyed`` or ``redacted``; ``None`` while it is in line.
    place : int | None
        Its place in line at the end of what was read, 1 at the front; ``None`` when it had left.
    """

    value: str | None = None
    enqueued_at: int | None = None
    enqueued_sequence: int | None = None
    enqueued_by: Caller | None = None
    place_then: int | None = None
    left_at: int | None = None
    left_sequence: int | None = None
    left_by: Caller | None = None
    ending: str | None = None
    place: int | None = None

    @property
    def waited(self) -> int | None:
        """How long it was in line, in microseconds; ``None`` if that is not known, or not over."""
        if self.left_at is None or self.enqueued_at is None:
            return None
        return self.left_at - self.enqueued_at


class JobLine:
    """Counts what comes and goes, and keeps the jobs that matter.

    Parameters
    ----------
    length : int
        How many items stand in line at first, of which nothing is kept.
    every : bool
        Whether a job that was in line at first matters too, when it leaves.
    """

    def __init__(self, length: int = 0, *, every: bool = False) -> None:
        self._front, self._back = 0, length  # the items that are in line have the numbers behind front, up to back
        self._jobs: deque[tuple[int, Job]] = deque()
        self._unknown = length if every else 0

    @classmethod
    async def looking_back(cls, journal: EventJournal, entity: int, sequence: int) -> JobLine:
        """Give the line as of a sequence, with all its jobs as far as the events that brought them are found."""
        length = await line_at(journal, entity, sequence)
        line = cls(length, every=True)
        first, _ = await journal.bounds(entity)
        lowest = max(first, sequence - _MOST_EVENTS_BACK + 1)
        number = length
        while number and sequence >= lowest:
            low = max(lowest, sequence - _PAGE_EVENTS + 1)
            for record in reversed(await journal.history(entity, after=low - 1, limit=sequence - low + 1)):
                if number and record.type == ENQUEUED:
                    line._jobs.appendleft((number, _job(record)))
                    number -= 1
            sequence = low - 1
        line._unknown = number
        return line

    def job_of(self, record: RecordedEvent) -> Job:
        """Give the job that an event brings to the end of the line."""
        job = _job(record)
        job.place_then = self._back - self._front + 1
        return job

    def came(self, job: Job | None) -> None:
        """Count one item more; keep it if it is given."""
        self._back += 1
        if job is not None:
            self._jobs.append((self._back, job))

    def take(self, record: RecordedEvent) -> Iterator[Job]:
        """Take an event by which items leave; give those that matter, the front first."""
        if record.type == _DEQUEUED:
            self._front += 1
            if self._jobs and self._jobs[0][0] == self._front:
                yield _left(self._jobs.popleft()[1], record, "dequeued")
            elif self._unknown:
                self._unknown -= 1
                yield _left(Job(value=text_of(record)), record, "dequeued")
        elif record.type in _ENDS_OF_ALL:
            for job in self._all():
                yield _left(job, record, _ENDS_OF_ALL[record.type])
            self._front, self._unknown = self._back, 0
            self._jobs.clear()

    def rest(self) -> Iterator[Job]:
        """Give the jobs that are still in line, each with its place."""
        for number in range(1, self._unknown + 1):
            yield Job(place=number)
        for number, job in self._jobs:
            job.place = number - self._front
            yield job

    def _all(self) -> Iterator[Job]:
        yield from (Job() for _ in range(self._unknown))
        yield from (job for _, job in self._jobs)


async def line_at(journal: EventJournal, entity: int, sequence: int) -> int:
    """Give how many items stood in line at a sequence.

    Raises
    ------
    RedactedError
        The values were redacted and the first events cut, so nobody can count any more.
    """
    try:
        state: Any = await state_at(journal, entity, queue.QUEUE, sequence)
    except RedactedError:
        first, _ = await journal.bounds(entity)
        if first > 1:
            raise
    else:
        return int(state.back - state.front)
    length = 0
    async for record in events(journal, entity, until=sequence):
        if record.type in _ENDS_OF_ALL:
            length = 0
        else:
            length += {ENQUEUED: 1, _DEQUEUED: -1}.get(record.type, 0)
    return length


def text_of(record: RecordedEvent) -> str | None:
    """Give the item of an event as JSON text; ``None`` when it was redacted."""
    if redacted_digest(record.payload) is not None:
        return None
    event: Any = read_event(record)
    return bytes(event.value).decode()


def _job(record: RecordedEvent) -> Job:
    return Job(text_of(record), record.recorded_at, record.sequence, caller_of(record))


def _left(job: Job, record: RecordedEvent, ending: str) -> Job:
    job.left_at, job.left_sequence, job.ending = record.recorded_at, record.sequence, ending
    job.left_by = caller_of(record)
    return job
