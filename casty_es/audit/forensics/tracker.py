"""A request on a lock, semaphore or barrier from its first event to its last.

1. A request is asked for, may be granted, and ends. On a lock or semaphore it waits until the grant and holds until the
   end; on a barrier it waits until the round trips.
2. The first event of a request may be the grant itself: then it never waited.
3. Who asked stands in the metadata of the request's first event. The grant that ends a wait is caused by whoever let
   go before, so its metadata would name somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from casty_es.domain.catalog import BUILT_IN, CATALOG
from casty_es.domain.decider import Event, Story
from casty_es.errors import EntityQuarantinedError, JournalCorruptError, RedactedError
from casty_es.format.redacted import redacted_digest
from casty_es.journal.port import RecordedEvent
from casty_es.replay import Unreadable, caller_in, read_event

CLAIM_KINDS: Final = tuple(kind.name for kind in BUILT_IN if kind.story is not None)
"""The structures that can be held or waited for."""


class Caller(msgspec.Struct, frozen=True):
    """What is known of whoever caused an event; all ``None`` when the node's own program did and said nothing.

    Attributes
    ----------
    actor, reason, correlation_id : str | None
        As they were given to ``audit_context``.
    redacted : bool
        What the program said was redacted later.
    principal : str | None
        Who was proven to have sent it; ``None`` for the node that wrote it.
    """

    actor: str | None = None
    reason: str | None = None
    correlation_id: str | None = None
    redacted: bool = False
    principal: str | None = None


class Claim(msgspec.Struct):
    """A request: since when it was asked for and held, and what became of it. Times are microseconds since 1970.

    Attributes
    ----------
    owner : str
        Who asked: the id of the handle, or a barrier's participant.
    request : str
        The request's id.
    asked_at, asked_sequence : int | None
        When it was asked for; ``None`` when that event was cut, or lies further back than was looked.
    granted_at, token : int | None
        When it was granted, and the sequence of the grant, on which its fencing token ends.
    ended_at, ended_sequence : int | None
        When it ended; ``None`` for a request that had not ended in what was read.
    ending : str | None
        How it ended: ``released``, ``withdrawn``, ``expired``, ``destroyed`` or ``tripped``.
    round : int | None
        The round of a barrier.
    asked_by, ended_by : Caller | None
        Who caused the first and the last event, as far as the events are there.
    """

    owner: str
    request: str
    asked_at: int | None = None
    asked_sequence: int | None = None
    granted_at: int | None = None
    token: int | None = None
    ended_at: int | None = None
    ended_sequence: int | None = None
    ending: str | None = None
    round: int | None = None
    asked_by: Caller | None = None
    ended_by: Caller | None = None

    @property
    def waited(self) -> int | None:
        """How long it waited, in microseconds; ``None`` if that is not known, or not over."""
        until = self.granted_at if self.token is not None else self.ended_at
        return None if until is None or self.asked_at is None else until - self.asked_at


_STORIES: Final = [kind.story for kind in BUILT_IN if kind.story is not None]
_ASKED: Final[dict[type[Event], Story]] = {story.asked: story for story in _STORIES}
_GRANTED: Final[tuple[Any, ...]] = tuple(story.granted for story in _STORIES if story.granted is not None)

OPENINGS: Final = tuple(_ASKED)
"""Events that begin a request; so does a grant that nothing was asked for before."""

ENDINGS: Final[dict[type[Event], str]] = {cls: cls.__name__.lower() for story in _STORIES for cls in story.ends}
"""How an event ends the request that it names."""

ENDS_OF_ALL: Final[dict[type[Event], str]] = {cls: cls.__name__.lower() for story in _STORIES for cls in story.ends_all}
"""How an event ends every request that is there."""


def story_of(kind: str) -> Story:
    """Return what the events of one of these kinds tell."""
    story = CATALOG[kind].story
    assert story is not None  # noqa: S101 - they have one
    return story


def caller_of(record: RecordedEvent, unreadable: list[Unreadable] | None = None) -> Caller:
    """Return what an event's metadata says of its caller.

    A record whose metadata is nothing that the library writes goes to ``unreadable``; without that list it is an
    error.
    """
    if record.metadata is None:
        return Caller()
    if redacted_digest(record.metadata) is not None:
        return Caller(redacted=True)
    said, wrong = caller_in(record)
    if wrong is not None:
        if unreadable is None:
            raise JournalCorruptError(
                f"The record at position {record.position} of slot {record.slot} cannot be read: {wrong}. What was "
                f"asked for is not told. Verify the journal with `casty-es verify`."
            )
        unreadable.append(Unreadable.of(record, f"{wrong}."))
    return Caller(said.actor, said.reason, said.correlation_id, principal=said.principal)


def event_of(record: RecordedEvent, unreadable: list[Unreadable] | None = None) -> Event | None:
    """Return the event of a record; ``None`` for one that cannot be read, which the list is given.

    Without the list it is an ``EntityQuarantinedError``, or a ``RedactedError``.
    """
    try:
        return read_event(record)
    except RedactedError:
        raise
    except EntityQuarantinedError as error:
        if unreadable is None:
            raise
        unreadable.append(Unreadable.of(record, str(error)))
        return None


class Tracker:
    """Follows requests through the events of their structure, in order.

    What cannot be read goes to ``unreadable``; without that list it is an error.
    """

    def __init__(self, claims: dict[str, Claim], unreadable: list[Unreadable] | None = None) -> None:
        self.claims = claims  # those that wait or hold now
        self._unreadable = unreadable

    def take(self, record: RecordedEvent) -> Iterator[Claim]:
        """Take the next event; return the requests that end with it, in their order."""
        event: Any = event_of(record, self._unreadable)
        if (ending := ENDINGS.get(type(event))) is not None:
            claim = self.claims.pop(event.request, None)
            if claim is not None:
                yield self._ended(claim, record, ending)
        elif (ending := ENDS_OF_ALL.get(type(event))) is not None:
            all_there, self.claims = self.claims, {}
            for claim in all_there.values():
                yield self._ended(claim, record, ending)
        elif isinstance(event, _GRANTED) and event.request in self.claims:
            waiter = self.claims[event.request]
            waiter.granted_at, waiter.token = record.recorded_at, event.token
        else:
            claim = self._opening(event, record)
            if claim is not None:
                self.claims[claim.request] = claim

    def _opening(self, event: Any, record: RecordedEvent) -> Claim | None:
        """Return the request that an event begins, or grants without saying when it was asked for; else ``None``."""
        at, sequence = record.recorded_at, record.sequence
        story = _ASKED.get(type(event))
        if story is not None:
            owner, number = getattr(event, story.who), story.round_in(event)
            return Claim(owner, event.request, at, sequence, round=number, asked_by=self._caller(record))
        if isinstance(event, _GRANTED):
            by = self._caller(record)
            return Claim(event.owner, event.request, at, sequence, at, event.token, asked_by=by)
        return None

    def _ended(self, claim: Claim, record: RecordedEvent, ending: str) -> Claim:
        claim.ended_at, claim.ended_sequence, claim.ending = record.recorded_at, record.sequence, ending
        claim.ended_by = self._caller(record)
        return claim

    def _caller(self, record: RecordedEvent) -> Caller:
        return caller_of(record, self._unreadable)
