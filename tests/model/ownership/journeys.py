"""The journey of a gateway's operation: the library's own code, kept as a plain value between two steps.

A rule of the gateway's is switched off by a journey that lacks it, and is otherwise the real one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from casty_es.domain.decider import Command, Query
from casty_es.errors import NotDoneError, NotOwnerError, OutcomeUnknownError, PeerLostError
from casty_es.gateway import ShardEnvelope
from casty_es.gateway.journey import Journey
from casty_es.gateway.routing import Route
from casty_es.gateway.steps import ANSWER, Closed, Done, Ended, Event, Expired, Found, Late, Replied, Send, Step, Wait
from casty_es.journal.port import EntityName
from casty_es.verdicts import Evidence

from .rules import Rule

__all__ = ["Kept", "Travelled", "closed", "expired", "replied", "sent"]

_NAME: Final = EntityName("queue", "model", "")
_CHANGES: Final = ShardEnvelope("", Command())
_READS: Final = ShardEnvelope("", Query())
_NOW: Final = 0.0
_DEADLINE: Final = 10.0
_LOST: Final = PeerLostError("The connection was lost.", sent=True)
_REFUSED: Final = NotOwnerError("The slot is not held under that term.", slot=0)
_TOLD: Final = Late(NotDoneError("The caller was told before."))


class Kept(NamedTuple):
    """What a journey is made of, as far as it makes a difference."""

    attempt: int = 0
    under_way: bool = False
    doubt: bool = False
    slot: int = -1
    after: int | None = None
    sent_under: int = 0
    over: bool = False  # the caller was told


class Travelled(NamedTuple):
    """What a journey said, and what it is then."""

    step: Step
    kept: Kept

    @property
    def denies(self) -> bool:
        """Whether the caller is told that the command did not happen."""
        return isinstance(self.step, Late) and not isinstance(self.step.error, OutcomeUnknownError)

    @property
    def settled(self) -> int:
        """The term behind which a lease record settles a command whose caller was told that nobody knows."""
        assert isinstance(self.step, Late)
        assert isinstance(self.step.error, OutcomeUnknownError)
        assert self.step.error.sent is not None
        return self.step.error.sent.term

    @property
    def heard(self) -> bool:
        """Whether what came in was taken for the command, not dropped as late."""
        return isinstance(self.step, Done | Wait) and self.step is not ANSWER


def sent(off: frozenset[Rule], kind: str, kept: Kept, route: Route) -> tuple[Send, Kept] | None:
    """Send an operation; one that is on its way is taken for lost. ``None`` if its journey does not do that."""
    events: list[Event] = [Found(route, _NOW)]
    if kept.under_way:
        events.insert(0, Ended(kept.attempt, _LOST, _NOW))
    travelled = _travelled(off, kind, kept, *events)
    return (travelled.step, travelled.kept) if isinstance(travelled.step, Send) else None


def replied(off: frozenset[Rule], kind: str, kept: Kept, attempt: int, reply: str) -> Travelled:
    """Hear a reply, or a refusal."""
    event = Ended(attempt, _REFUSED, _NOW) if reply == "refused" else Replied(attempt, reply)
    return _travelled(off, kind, kept, event)


def expired(off: frozenset[Rule], kind: str, kept: Kept) -> Travelled:
    """Reach the deadline."""
    return _travelled(off, kind, kept, Expired())


def closed(off: frozenset[Rule], kind: str, kept: Kept) -> Travelled:
    """Be closed, which ends everything that callers wait for."""
    ends = Ended(kept.attempt, _LOST, _NOW) if kept.under_way else Found(None, _NOW)
    return _travelled(off, kind, kept, Closed(), ends)


def _travelled(off: frozenset[Rule], kind: str, kept: Kept, *events: Event) -> Travelled:
    lacking = next((_LACKING[rule] for rule in off if rule in _LACKING), Journey)
    one = lacking(_NAME, 1, _READS if kind == "read" else _CHANGES, bytes(16), _DEADLINE)
    one.attempt, one._under_way, one._doubt, one.slot, one.after, one.sent_under, over = kept
    one._end = _TOLD if over else None
    step: Step = ANSWER
    for event in events:
        step = one.next(event)
    return Travelled(
        step,
        Kept(one.attempt, one._under_way, one._doubt, one.slot, one.after, one.sent_under, one._end is not None),
    )


class _TakesAnyAnswer(Journey):
    def _counts(self, attempt: int) -> bool:  # noqa: ARG002 - that is what it lacks
        return True


class _LooksFromNow(Journey):
    def note(self, slot: int, term: int, position: int) -> int | None:
        return None if super().note(slot, term, position) is None else position


class _LooksWithinTheLogThatIsGone(Journey):
    def note(self, slot: int, term: int, position: int) -> int | None:
        before = self.after
        after = super().note(slot, term, position)
        self.after = position if before is None else before
        return None if after is None else before


class _KnowsTheFirstTerm(Journey):
    def note(self, slot: int, term: int, position: int) -> int | None:
        first = self.sent_under
        after = super().note(slot, term, position)
        self.sent_under = first or term
        return after


class _KnowsTheLastTerm(Journey):
    def note(self, slot: int, term: int, position: int) -> int | None:
        after = super().note(slot, term, position)
        self.sent_under = term
        return after


class _ForgetsEarlierSends(Journey):
    def note(self, slot: int, term: int, position: int) -> int | None:
        self._doubt = False
        return super().note(slot, term, position)


class _DeniesWhenClosed(Journey):
    def _evidence(self, came_back: object = None) -> Evidence:
        return super()._evidence(came_back)._replace(in_doubt=self._doubt and not self._closed)


class _NeverSilent(Journey):
    def next(self, event: Event) -> Step:
        told, self._end = self._end, None if isinstance(event, Found | Ended) else self._end
        step = super().next(event)
        self._end = told or self._end
        return step


_LACKING: Final[dict[Rule, type[Journey]]] = {
    Rule.NEWEST_ATTEMPT: _TakesAnyAnswer,
    Rule.LOOK_FROM_FIRST: _LooksFromNow,
    Rule.LOOK_WITHIN_INCARNATION: _LooksWithinTheLogThatIsGone,
    Rule.OUTCOME_EVERY_EPOCH: _KnowsTheFirstTerm,
    Rule.OUTCOME_HIGHEST_EPOCH: _KnowsTheLastTerm,
    Rule.TIMEOUT_EVERY_SEND: _ForgetsEarlierSends,
    Rule.CLOSING_EVERY_SEND: _DeniesWhenClosed,
    Rule.SILENT_AFTER_UNKNOWN: _NeverSilent,
}
