"""A queue's line as its events come and go, of which only the jobs that matter are kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from casty_es.audit.forensics.tracker import Caller, caller_of, event_of
from casty_es.domain import queue
from casty_es.errors import EntityQuarantinedError
from casty_es.format.redacted import redacted_digest
from casty_es.journal.port import EventJournal, RecordedEvent
from casty_es.replay import Unreadable, events, state_at

_ENQUEUED: Final = "queue.enqueued"
_GIVEN_BACK: Final = "queue.given_back"
_DEQUEUED: Final = "queue.dequeued"
COMING: Final = (_ENQUEUED, _GIVEN_BACK)
"""The events by which an item comes: to the end of the line, or back to its front."""
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
        When it came, or came back to the front; ``None`` when that event was cut, or lies further back than was looked.
    enqueued_by, left_by : Caller | None
        Who put it there or gave it back, and who took it, as far as the events are there.
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

    Of the ``length`` items that stand in line at first nothing is kept; with ``every`` they matter when they leave.
    What cannot be read goes to ``unreadable``; without that list it is an error.
    """

    def __init__(self, length: int = 0, *, every: bool = False, unreadable: list[Unreadable] | None = None) -> None:
        self._unreadable = unreadable
        self._front, self._back = 0, length  # the items that are in line have the numbers behind front, up to back
        self._jobs: deque[tuple[int, Job]] = deque()
        self._every = every

    @classmethod
    async def looking_back(
        cls, journal: EventJournal, entity: int, sequence: int, unreadable: list[Unreadable] | None = None
    ) -> JobLine:
        """Return the line as of a sequence, with all its jobs as far as the events that brought them are found."""
        length = await line_at(journal, entity, sequence)
        line = cls(length, every=True, unreadable=unreadable)
        first, _ = await journal.bounds(entity)
        lowest = max(first, sequence - _MOST_EVENTS_BACK + 1)
        # Back in time an enqueued item leaves at the end, and one given back at the front, among those taken since.
        front, back, taken = 0, length, 0
        while front < back and sequence >= lowest:
            low = max(lowest, sequence - _PAGE_EVENTS + 1)
            for record in reversed(await journal.history(entity, after=low - 1, limit=sequence - low + 1)):
                if record.type == _DEQUEUED:
                    taken += 1
                elif record.type == _GIVEN_BACK and taken:
                    taken -= 1
                elif record.type == _GIVEN_BACK and front < back:
                    front += 1
                    line._jobs.insert(front - 1, (front, line._job(record)))
                elif record.type == _ENQUEUED and front < back:
                    line._jobs.insert(front, (back, line._job(record)))
                    back -= 1
            sequence = low - 1
        return line

    def job_of(self, record: RecordedEvent) -> Job:
        """Return the job that an event brings to the line."""
        job = self._job(record)
        job.place_then = 1 if record.type == _GIVEN_BACK else self._back - self._front + 1
        return job

    def came(self, record: RecordedEvent, job: Job | None) -> None:
        """Count one item more, which an event brought; keep it if it is given."""
        if record.type == _GIVEN_BACK:
            if job is not None:
                self._jobs.appendleft((self._front, job))
            self._front -= 1
        else:
            self.came_before(job)

    def came_before(self, job: Job | None) -> None:
        """Count one item more at the end; keep it if it is given."""
        self._back += 1
        if job is not None:
            self._jobs.append((self._back, job))

    def take(self, record: RecordedEvent) -> Iterator[Job]:
        """Take an event by which items leave; give those that matter, the front first."""
        if record.type == _DEQUEUED:
            self._front += 1
            if self._jobs and self._jobs[0][0] == self._front:
                yield self._left(self._jobs.popleft()[1], record, "dequeued")
            elif self._every:
                yield self._left(Job(value=text_of(record, self._unreadable)), record, "dequeued")
        elif record.type in _ENDS_OF_ALL:
            for _, job in self._all():
                yield self._left(job, record, _ENDS_OF_ALL[record.type])
            self._front = self._back
            self._jobs.clear()

    def rest(self) -> Iterator[Job]:
        """Yield the jobs that are still in line, each with its place."""
        for number, job in self._all():
            job.place = number - self._front
            yield job

    def _job(self, record: RecordedEvent) -> Job:
        text, caller = text_of(record, self._unreadable), caller_of(record, self._unreadable)
        return Job(text, record.recorded_at, record.sequence, caller)

    def _left(self, job: Job, record: RecordedEvent, ending: str) -> Job:
        job.left_at, job.left_sequence, job.ending = record.recorded_at, record.sequence, ending
        job.left_by = caller_of(record, self._unreadable)
        return job

    def _all(self) -> Iterator[tuple[int, Job]]:
        number = self._front
        for known, job in self._jobs:
            number += 1
            if self._every:
                yield from ((unknown, Job()) for unknown in range(number, known))
            number = known
            yield known, job
        if self._every:
            yield from ((unknown, Job()) for unknown in range(number + 1, self._back + 1))


async def line_at(journal: EventJournal, entity: int, sequence: int) -> int:
    """Return how many items stood in line at a sequence.

    Raises ``EntityQuarantinedError`` where nobody can count any more: the values were redacted, or cannot be read,
    and the first events cut.
    """
    try:
        state: Any = await state_at(journal, entity, queue.QUEUE, sequence)
    except EntityQuarantinedError:  # redacted, or not to be read: the types of the events are enough to count
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
            length += {_ENQUEUED: 1, _GIVEN_BACK: 1, _DEQUEUED: -1}.get(record.type, 0)
    return length


def text_of(record: RecordedEvent, unreadable: list[Unreadable] | None = None) -> str | None:
    """Return the item of an event as JSON text; ``None`` when it was redacted, or cannot be read."""
    if redacted_digest(record.payload) is not None:
        return None
    event: Any = event_of(record, unreadable)
    return None if event is None else bytes(event.value).decode(errors="replace")
