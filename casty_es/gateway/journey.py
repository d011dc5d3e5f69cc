"""One command on its way, under one id and until its caller's deadline: what happened goes in, what is done comes out.

1. A command is addressed to the term of a route. One for an entity in memory here goes straight to the owner.
2. Every sending after the first is a repeat, and carries the slot's position that was known when the command was first
   sent: the owner looks behind it before it acts. Only the newest attempt's answer counts.
3. A refusal says that its attempt came to nothing. A lost link, or an owner that lost its lease in between, says
   nothing: from then on the command is in doubt, and only an answer settles it.
4. When the deadline ends first, or the system is closed, a command in doubt has an ``OutcomeUnknownError``; every other
   certainly did not happen (``verdicts.py``). After it nothing is sent any more.
5. A command in doubt is denied only by an owner that looked into the journal before it refused it.

Nothing here waits, sends or asks for the time: ``asking.py`` does what is said here, and ``tests/model`` searches all
that can happen to it.
"""

from __future__ import annotations

from typing import Final, TypeVar

from casty_es import verdicts
from casty_es.domain.decider import Command, Query
from casty_es.errors import (
    CastyError,
    JournalError,
    JournalMovedError,
    JournalRegressedError,
    JournalUnavailableError,
    LeaseLostError,
    NotDoneError,
    NotOwnerError,
    OutcomeUnknownError,
    OverloadedError,
    PeerError,
    PeerLostError,
    Sent,
    StillInLineError,
    UsageError,
)
from casty_es.gateway.port import ShardEnvelope
from casty_es.gateway.steps import (
    ANSWER,
    AT_ONCE,
    Cancelled,
    Closed,
    Done,
    Ended,
    Event,
    Expired,
    Extended,
    Found,
    Late,
    Replied,
    Send,
    Step,
    Unreadable,
    Wait,
)
from casty_es.journal.port import EntityName
from casty_es.owner.slot import split_term
from casty_es.verdicts import Evidence

E = TypeVar("E", bound=CastyError)

_FIRST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.25

# Two nodes may each point to the other one for a moment.
_HINTS_IN_A_ROW: Final = 3

# The owner's timer, which drops a command in time, may ring a little before this one's.
_ROUNDING_SECONDS: Final = 0.05


class Journey:
    """One command on its way, under one id for every attempt.

    ``shards`` is the number that the caller's handle has, ``deadline`` a time of the event loop, ``metadata`` what the
    caller said of itself, and ``reads`` whether this process can read the journal itself. A journey that ``undoes``
    takes back what a caller asked for that has gone, whatever stands in the way for a while.

    Examples
    --------
    >>> from casty_es.domain.counter import Increment
    >>> from casty_es.gateway.routing import Route
    >>> journey = Journey(EntityName("counter", "hits", ""), 1, ShardEnvelope("", Increment(1)), bytes(16), 30.0)
    >>> first = journey.next(Found(Route(7, term=1, position=41), now=0.0))
    >>> first.attempt, first.after
    (1, None)
    >>> journey.next(Ended(1, PeerLostError("The connection was lost.", sent=True), now=0.1))
    Wait(seconds=0.01, last=False)
    >>> again = journey.next(Found(Route(7, term=1, position=43), now=0.2))
    >>> again.attempt, again.after
    (2, 41)
    >>> type(journey.next(Expired()).error).__name__
    'OutcomeUnknownError'
    """

    __slots__ = (
        "_closed",
        "_doubt",
        "_end",
        "_hints",
        "_pause_seconds",
        "_persists",
        "_query",
        "_under_way",
        "_undoes",
        "_unowned",
        "_why",
        "after",
        "attempt",
        "command_id",
        "deadline",
        "envelope",
        "metadata",
        "name",
        "reads",
        "sent_under",
        "shards",
        "slot",
        "term",
    )

    def __init__(
        self,
        name: EntityName,
        shards: int,
        envelope: ShardEnvelope,
        command_id: bytes,
        deadline: float,
        metadata: str | None = None,
        *,
        reads: bool = False,
        undoes: bool = False,
    ) -> None:
        self.name = name
        self.shards = shards
        self.envelope = envelope
        self.command_id = command_id
        self.deadline = deadline
        self.metadata = metadata
        self._query = isinstance(envelope.command, Query)
        self.reads = reads and self._query  # the journal itself can answer, without an owner
        self.attempt = 0  # the newest one's number
        self.slot = -1
        self.after: int | None = None  # where the slot was when the command was first sent
        self.sent_under = 0  # the highest term
        if envelope.behind is not None:  # what is looked for stands behind where the other command was sent
            _, self.slot, self.after, self.sent_under = envelope.behind
        self.term = 0  # the newest attempt's
        self._under_way = False  # the newest attempt has neither been answered nor come to an end
        self._unowned = False  # it reads the journal without an owner
        self._doubt = False
        self._undoes = undoes
        self._persists = undoes or (envelope.undo is not None and envelope.undo.persists)
        self._closed = False
        self._why: CastyError | None = None
        self._end: Done | Late | None = None
        self._hints = _HINTS_IN_A_ROW
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    @property
    def command(self) -> Command:
        """What is asked."""
        return self.envelope.command

    @property
    def incarnation(self) -> int:
        """The journal's incarnation under which the newest attempt was made: the only one whose answer counts."""
        return split_term(self.term)[0]

    def next(self, event: Event) -> Step:
        """Take in what happened, and return what has to be done now."""
        match event:
            case Extended() | Cancelled():
                return self._resumed(event)
            case _ if self._end is not None:
                return self._end  # nothing is sent any more, and what was told is not taken back
            case Found():
                step = self._found(event)
            case Replied():
                step = Done(event.reply) if self._counts(event.attempt) else ANSWER
            case Ended():
                step = self._ended(event)
            case Unreadable():
                step = self._unreadable(event)
            case Expired():
                self._doubt = self._doubt or self._under_way
                step = _late(verdicts.out_of_time(self._evidence()), self._why)
            case Closed():
                self._closed = True
                return ANSWER
        if isinstance(step, Done | Late):
            self._end = step
        return step

    def note(self, slot: int, term: int, position: int) -> int | None:
        """Note that the command is being sent; return the position that a repeat carries, ``None`` the first time."""
        self.attempt += 1
        self.term = term
        self._under_way, self._unowned = True, False
        if self.slot != slot:  # refused by another slot, where it certainly did not happen
            self.slot, self.after, self.sent_under = slot, None, 0
        after = self.after
        if after is None:
            self.after = position
        elif split_term(self.sent_under)[0] != split_term(term)[0]:
            after = self.after = 0  # the log is not the one that it was sent to
        # Not the last one: an owner that was frozen may still have answered with its old term.
        self.sent_under = max(self.sent_under, term)
        return after

    def _counts(self, attempt: int) -> bool:
        """Return whether an answer is to the newest attempt."""
        return attempt == self.attempt

    def _resumed(self, event: Extended | Cancelled) -> Wait:
        self.deadline, self._end = event.deadline, None
        self._hints, self._pause_seconds = _HINTS_IN_A_ROW, _FIRST_PAUSE_SECONDS
        if isinstance(event, Cancelled):
            self._doubt = self._undoes = True
        return AT_ONCE

    def _found(self, event: Found) -> Step:
        route = event.route
        if self._shut():  # nothing leaves any more, also where an owner was just found
            return _late(verdicts.closed(self._evidence()), self._why)
        if route is not None:
            return Send(route, self.attempt + 1, self.note(route.slot, route.term, route.position))
        if self.reads:
            self.attempt += 1
            self._under_way = self._unowned = True
            return Send(None, self.attempt, None)
        self._why = event.why or self._why
        return self._pause(event.now)

    def _shut(self) -> bool:
        return self._closed and not self._undoes

    def _pause(self, now: float) -> Wait:
        """Let others finish what stands in the way."""
        seconds, left = self._pause_seconds, self.deadline - now
        self._hints, self._pause_seconds = _HINTS_IN_A_ROW, min(2 * seconds, _LONGEST_PAUSE_SECONDS)
        return Wait(seconds) if left > seconds else Wait(max(0.0, left), last=True)

    def _ended(self, event: Ended) -> Step:
        attempt, error, _, unclear = event
        if attempt:
            if not self._counts(attempt):
                return ANSWER
            self._under_way = False
            # A search sends nothing, however it ends.
            self._doubt = self._doubt or unclear or verdicts.leaves_doubt(error)
        if isinstance(error, UsageError):
            return _late(verdicts.closed(self._evidence()), self._why)
        if self._shut() and isinstance(error, JournalError | PeerError):
            return _late(verdicts.closed(self._evidence()), error)
        return self._judged(event)

    def _unreadable(self, event: Unreadable) -> Step:
        if not self._counts(event.attempt):
            return ANSWER
        unsettled = _caused(verdicts.unsettled(self._evidence(event.error)), event.error)
        return self._ended(Ended(event.attempt, unsettled, event.now))

    def _judged(self, event: Ended) -> Step:
        """Decide whether an error is the last word on the command."""
        attempt, error, now, _ = event
        self._why = error
        match error:
            case NotOwnerError():
                if self._unowned:
                    self.reads = False  # the journal does not tell whether those live who hold something
                if attempt and error.node_id is not None and self._hints:
                    self._hints -= 1
                    return AT_ONCE  # it said where to go
            case LeaseLostError() | PeerLostError():
                pass
            case _:
                said = self._last_word(event)
                if said is not None:
                    return said
        return self._pause(now)

    def _last_word(self, event: Ended) -> Done | Late | None:
        """Return what an owner said of the command, unless it only says that it could not find out."""
        attempt, error, now, _ = event
        if isinstance(error, OutcomeUnknownError):
            return self._unknown(error)
        doubted = self._doubt and not self._query
        passing = JournalError if doubted else JournalUnavailableError
        if (doubted or self._persists) and isinstance(error, (passing, OverloadedError)) and not _stays(error):
            return None
        if not doubted:
            return Done(error=error)
        if (
            isinstance(error, NotDoneError)
            and not isinstance(error, StillInLineError)
            and now >= self.deadline - _ROUNDING_SECONDS
        ):
            # This attempt was dropped in time; an earlier one may not have been.
            return _late(verdicts.out_of_time(self._evidence(error)), error)
        # Who refuses a search says nothing of what was sent before.
        if attempt and isinstance(error, verdicts.DECIDED):
            return Done(error=error)
        return Done(error=_caused(verdicts.unsettled(self._evidence(error)), error))

    def _unknown(self, error: OutcomeUnknownError) -> Done | Late:
        if self._query:
            return _late(verdicts.out_of_time(self._evidence(error)), error)
        error.sent = error.sent or self.sent
        return Done(error=error)

    def _evidence(self, came_back: object = None) -> Evidence:
        """Return what is known of the command by now."""
        last = self._why if came_back is None else came_back
        said = "" if last is None else str(last)
        return Evidence(type(self.command).__name__, self.command_id, self._doubt, not self._query, self.sent, said)

    @property
    def sent(self) -> Sent | None:
        """Where it was sent, for asking later."""
        return None if self.after is None else Sent(self.name.kind, self.slot, self.after, self.sent_under)


def _caused(error: E, cause: CastyError | None) -> E:
    error.__cause__ = cause
    return error


def _late(error: CastyError, cause: CastyError | None) -> Late:
    return Late(_caused(error, cause))


def _stays(error: CastyError) -> bool:
    """Return whether what stands in the way stays there for as long as the process lives."""
    return isinstance(error, JournalMovedError | JournalRegressedError)
