"""Where a queue's jobs were: when each was enqueued and dequeued, by whom, and how many stand before it.

A queue is first in, first out, so within a life of the queue (until it is destroyed or redacted) the n-th item that was
enqueued is the n-th that is dequeued. One walk over the events that counts both follows a job, with nothing in memory
but the jobs that were asked for and are still in line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from casty_es.audit.forensics.claims import Caller, caller_of
from casty_es.audit.forensics.holders import find_entity
from casty_es.codec import decode_event
from casty_es.domain import queue
from casty_es.journal.port import EventJournal, RecordedEvent
from casty_es.redacted import redacted_digest
from casty_es.replay import events, state_at
from casty_es.values import ValueCodec

__all__ = ["Job", "find_job"]

_ENDS: Final = {"queue.destroyed": "destroyed", "entity.redacted": "redacted"}


class Job(msgspec.Struct):
    """One item of a queue. Times are microseconds since 1970.

    Attributes
    ----------
    number : int
        Its place among all that were enqueued in this life of the queue, from 1, as far as the log goes back.
    enqueued_at, enqueued_sequence : int | None
        When it came; ``None`` when that event was cut.
    enqueued_by, left_by : Caller | None
        Who put it there and who took it, as far as the events are there.
    left_at, left_sequence : int | None
        When it left; ``None`` while it is in line.
    ending : str | None
        ``dequeued``, ``destroyed`` or ``redacted``; ``None`` while it is in line.
    place : int | None
        Its place in line now, 1 at the front.
    """

    number: int
    enqueued_at: int | None = None
    enqueued_sequence: int | None = None
    enqueued_by: Caller | None = None
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


async def find_job(journal: EventJournal, name: str, value: Any) -> AsyncIterator[Job]:
    """Give every time that a value was in a queue: those that left as they left, then those that are in line.

    Parameters
    ----------
    journal : EventJournal
        The journal; no node has to run.
    name : str
        The queue's name.
    value : Any
        The value, equal as the queue takes values to be equal: by its canonical JSON.

    Raises
    ------
    ArchivedError
        Events were cut, and no snapshot stands before those that are left.
    """
    entity = await find_entity(journal, "queue", name, ("queue",))
    if entity is None:
        return
    wanted = bytes(ValueCodec(Any).encode(value))
    first, _ = await journal.bounds(entity)
    state: Any = await state_at(journal, entity, queue.QUEUE, max(first - 1, 0))
    # What stood in line at a cut came before it, nobody can say when.
    back = state.back - state.front
    front = 0
    line = deque(Job(number) for number in range(1, back + 1) if bytes(state.items[state.front + number - 1]) == wanted)
    async for record in events(journal, entity, after=max(first - 1, 0)):
        if record.type == "queue.enqueued":
            back += 1
            if _holds(record, wanted):
                line.append(Job(back, record.recorded_at, record.sequence, caller_of(record)))
        elif record.type == "queue.dequeued":
            front += 1
            if line and line[0].number == front:
                yield _left(line.popleft(), record, "dequeued")
        elif record.type in _ENDS:
            front = back = 0
            while line:
                yield _left(line.popleft(), record, _ENDS[record.type])
    while line:
        job = line.popleft()
        job.place = job.number - front
        yield job


def _holds(record: RecordedEvent, wanted: bytes) -> bool:
    """Tell whether an item is the one that is looked for; a redacted one is nobody's."""
    if redacted_digest(record.payload) is not None:
        return False
    event: Any = decode_event(record.type, record.version, record.payload)
    return bytes(event.value) == wanted


def _left(job: Job, record: RecordedEvent, ending: str) -> Job:
    job.left_at, job.left_sequence, job.ending = record.recorded_at, record.sequence, ending
    job.left_by = caller_of(record)
    return job
