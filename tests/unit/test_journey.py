"""What is decided of a command on its way: every event that can come, without a clock, a network or a loop."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import pytest

from casty_es.domain.decider import Command, Query
from casty_es.errors import (
    BoundsError,
    CastyError,
    ConfigurationError,
    InvalidValueError,
    JournalMovedError,
    JournalUnavailableError,
    LeaseLostError,
    NotAllowedError,
    NotDoneError,
    NotOwnerError,
    OutcomeUnknownError,
    OverloadedError,
    PeerLostError,
    PeerRefusedError,
    Sent,
    StillInLineError,
    UsageError,
)
from casty_es.gateway import CARRIED, ShardEnvelope, Undo
from casty_es.gateway import journey as journey_module
from casty_es.gateway import steps as steps_module
from casty_es.gateway.journey import Journey
from casty_es.gateway.routing import Route
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
    Unreadable,
    Wait,
)
from casty_es.journal.port import EntityName
from casty_es.owner.slot import term_of

_NAME = EntityName("counter", "hits", "")
_DEADLINE = 30.0
_LOST = PeerLostError("The connection was lost.", sent=True)
_REFUSED = NotOwnerError("The slot is not held under that term.", slot=7)
_DOWN = JournalUnavailableError("The database is away.")


def _journey(command: Command | None = None, *, undo: Undo | None = None, **how: Any) -> Journey:
    return Journey(_NAME, 1, ShardEnvelope("", command or Command(), undo=undo), bytes(16), _DEADLINE, **how)


def _route(position: int = 41, *, slot: int = 7, term: int = term_of(1, 5)) -> Route:
    return Route(slot, term, position)


def _sent(journey: Journey, *before: Event, route: Route | None = None) -> Send:
    for event in before:
        journey.next(event)
    step = journey.next(Found(route or _route(), 0.0))
    assert isinstance(step, Send)
    return step


def _told(step: object) -> CastyError:
    assert isinstance(step, Done | Late), step
    assert step.error is not None
    return step.error


def test_a_command_is_sent_and_its_reply_is_the_last_word() -> None:
    """Given a route, when the attempt is answered, then that is what the caller is told, whatever else comes."""
    journey = _journey()
    assert _sent(journey)[1:] == (1, None)
    assert journey.next(Replied(1, 5)) == Done(5)
    assert journey.next(Expired()) == Done(5)
    assert journey.next(Found(_route(), 1.0)) == Done(5)


def test_only_the_newest_attempt_is_heard() -> None:
    """Given a second attempt, when the first one is answered, refused or ends, then that is dropped."""
    journey = _journey()
    _sent(journey)
    _sent(journey, Ended(1, _LOST, 0.1))
    late = InvalidValueError("?")
    for event in (Replied(1, 5), Ended(1, _REFUSED, 0.2), Ended(1, BoundsError("!"), 0.2), Unreadable(1, late, 0.2)):
        assert journey.next(event) is ANSWER
    assert journey.next(Replied(2, 6)) == Done(6)


def test_a_repeat_carries_where_the_slot_was_at_first() -> None:
    """Given a command that was sent, when it is sent again, then with its first position, and its highest term."""
    journey = _journey()
    _sent(journey, route=_route(41, term=term_of(1, 9)))
    assert _sent(journey, Ended(1, _LOST, 0.1), route=_route(60, term=term_of(1, 5))).after == 41
    error = _told(journey.next(Expired()))
    assert isinstance(error, OutcomeUnknownError)
    assert error.sent == Sent("counter", 7, 41, term_of(1, 9))


def test_a_repeat_in_another_incarnation_looks_at_the_whole_log() -> None:
    """Given a command that was sent, when a loss of records was accepted since, then its position says nothing."""
    journey = _journey()
    _sent(journey)
    assert _sent(journey, Ended(1, _LOST, 0.1), route=_route(20, term=term_of(2, 6))).after == 0


def test_another_slot_is_a_new_beginning() -> None:
    """Given a refusal that corrects the shards, when the command goes to another slot, then it is no repeat there."""
    journey = _journey()
    _sent(journey)
    assert _sent(journey, Ended(1, _REFUSED, 0.1), route=_route(3, slot=9)).after is None


@pytest.mark.parametrize(
    ("ended", "error"),
    [
        (_REFUSED, NotDoneError),
        (PeerLostError("It cannot be dialled.", sent=False), NotDoneError),
        (_LOST, OutcomeUnknownError),
        (LeaseLostError("Another owner took over."), OutcomeUnknownError),
        (None, OutcomeUnknownError),
    ],
    ids=["refused", "never left", "lost", "lease lost", "not answered"],
)
def test_a_denial_needs_every_attempt_to_have_come_to_nothing(
    ended: CastyError | None, error: type[CastyError]
) -> None:
    """Given an attempt that ended somehow, when the time is up, then only what is known is denied."""
    journey = _journey()
    _sent(journey)
    if ended is not None:
        journey.next(Ended(1, ended, 0.1))
    assert type(_told(journey.next(Expired()))) is error
    query = _journey(Query())
    _sent(query)
    assert type(_told(query.next(Expired()))) is NotDoneError


def test_doubt_stays_when_a_later_attempt_is_refused() -> None:
    """Given a lost attempt, when the next one is refused, then the time's being up does not deny the first one."""
    journey = _journey()
    _sent(journey)
    _sent(journey, Ended(1, _LOST, 0.1))
    journey.next(Ended(2, _REFUSED, 0.2))
    assert isinstance(_told(journey.next(Expired())), OutcomeUnknownError)


def test_pauses_grow_and_the_last_one_ends_with_the_time() -> None:
    """Given nobody who holds the slot, when it is looked for again and again, then ever later, never past the time."""
    journey = _journey()
    why = NotOwnerError("Nobody may take it.", slot=7)
    pauses = [journey.next(Found(None, 0.0, why)) for _ in range(7)]
    assert pauses == [Wait(seconds) for seconds in (0.01, 0.02, 0.04, 0.08, 0.16, 0.25, 0.25)]
    assert journey.next(Found(None, _DEADLINE - 0.1)) == Wait(pytest.approx(0.1), last=True)
    assert "Nobody may take it." in str(_told(journey.next(Expired())))


def test_a_hint_is_followed_at_once_three_times() -> None:
    """Given nodes that each point to the other, when their hints were followed in vain, then there is a pause."""
    journey = _journey()
    hint = NotOwnerError("Ask the other one.", slot=7, node_id="other")
    steps = []
    for attempt in range(1, 6):
        _sent(journey)
        steps.append(journey.next(Ended(attempt, hint, 0.1)))
    assert steps == [AT_ONCE, AT_ONCE, AT_ONCE, Wait(0.01), AT_ONCE]


def test_a_query_reads_without_an_owner_until_the_journal_cannot_tell() -> None:
    """Given a process that can read the journal, when that refers to an owner, then it is not read again."""
    journey = _journey(Query(), reads=True)
    assert journey.next(Found(None, 0.0)) == Send(None, 1, None)
    assert journey.next(Ended(1, _REFUSED, 0.1)) == Wait(0.01)
    assert not journey.reads
    assert isinstance(journey.next(Found(None, 0.2)), Wait)
    assert isinstance(_journey(reads=True).next(Found(None, 0.0)), Wait)


@pytest.mark.parametrize(
    "error", [_DOWN, OverloadedError("Too many."), BoundsError("Too far."), PeerRefusedError("No.")]
)
def test_what_an_owner_says_of_a_command_without_doubt_is_the_last_word(error: CastyError) -> None:
    """Given one attempt, when the owner refuses it, then the caller is told just that."""
    journey = _journey()
    _sent(journey)
    assert journey.next(Ended(1, error, 0.1)) == Done(error=error)


@pytest.mark.parametrize("error", [_DOWN, OverloadedError("Too many.")])
def test_what_passes_is_waited_for_where_giving_up_would_leave_something(error: CastyError) -> None:
    """Given a command in doubt, or one that persists, when what stands in its way passes, then it is sent again."""
    doubted = _journey()
    _sent(doubted)
    _sent(doubted, Ended(1, _LOST, 0.1))
    persists = _journey(undo=CARRIED)
    _sent(persists)
    assert isinstance(doubted.next(Ended(2, error, 0.2)), Wait)
    assert isinstance(persists.next(Ended(1, error, 0.2)), Wait)


def test_what_an_owner_decides_after_a_look_settles_a_doubt() -> None:
    """Given a command in doubt, when an owner that looked refuses it, then it is denied; nobody else can."""
    said = BoundsError("Too far."), StillInLineError("It waits."), NotDoneError("Withdrawn.")
    for error in said:
        assert _told(_in_doubt().next(Ended(2, error, 0.2))) is error
    for other in (PeerRefusedError("No."), CastyError("A new one."), JournalMovedError("Another file.")):
        told = _told(_in_doubt().next(Ended(2, other, 0.2)))
        assert isinstance(told, OutcomeUnknownError)
        assert told.__cause__ is other


def test_an_attempt_that_was_dropped_in_time_says_nothing_of_an_earlier_one() -> None:
    """Given a command in doubt, when its last attempt runs out of time at the owner, then it is not denied."""
    step = _in_doubt().next(Ended(2, NotDoneError("Dropped."), _DEADLINE - 0.01))
    assert isinstance(_told(step), OutcomeUnknownError)


def test_a_search_that_is_refused_says_nothing_of_what_was_sent() -> None:
    """Given a command in doubt, when the search for its owner is refused or lost, then the doubt is what it was."""
    for error in (ConfigurationError("Another cluster."), NotAllowedError("Not any more."), NotDoneError("Too late.")):
        assert _told(_journey().next(Ended(0, error, 0.1))) is error
        assert isinstance(_told(_in_doubt().next(Ended(0, error, 0.1))), OutcomeUnknownError)
    searching = _journey()
    assert isinstance(searching.next(Ended(0, _LOST, 0.1)), Wait)
    assert isinstance(_told(searching.next(Expired())), NotDoneError)


def test_an_error_that_tells_nothing_leaves_doubt() -> None:
    """Given an attempt, when its answer is too long or unreadable, then nobody knows what became of it."""
    for event in (
        Ended(1, PeerRefusedError("Too long."), 0.1, unclear=True),
        Unreadable(1, InvalidValueError("Not JSON."), 0.1),
    ):
        journey = _journey()
        _sent(journey)
        assert isinstance(_told(journey.next(event)), OutcomeUnknownError)


def test_nothing_leaves_once_the_system_is_closed() -> None:
    """Given a closed system, when an owner is found, or an attempt is lost, then the caller is told what is known."""
    closed = _journey()
    closed.next(Closed())
    assert isinstance(_told(closed.next(Found(_route(), 0.1))), UsageError)
    for ended, error in ((_REFUSED, UsageError), (_LOST, OutcomeUnknownError)):
        journey = _journey()
        _sent(journey)
        assert journey.next(Closed()) is ANSWER
        assert isinstance(_told(journey.next(Ended(1, ended, 0.1))), error)
    answered = _journey()
    _sent(answered)
    answered.next(Closed())
    assert answered.next(Replied(1, 5)) == Done(5)


def test_a_command_whose_caller_is_gone_goes_on_while_the_system_closes() -> None:
    """Given a caller that was cancelled, when the system is closed, then it is still found out what became of it."""
    journey = _journey()
    _sent(journey)
    assert journey.next(Cancelled(35.0)) is AT_ONCE
    assert journey.deadline == 35.0
    journey.next(Closed())
    assert _sent(journey).after == 41
    assert journey.next(Replied(2, 5)) == Done(5)
    undoing = _journey(undoes=True)
    undoing.next(Closed())
    assert _sent(undoing).after is None
    assert isinstance(undoing.next(Ended(1, _DOWN, 0.1)), Wait)


def test_a_caller_that_waits_longer_gets_the_late_reply() -> None:
    """Given a command whose time was up in doubt, when its caller waits longer, then it is sent again as a repeat."""
    journey = _journey()
    _sent(journey)
    assert isinstance(journey.next(Expired()), Late)
    assert journey.next(Extended(35.0)) is AT_ONCE
    assert _sent(journey).after == 41
    assert journey.next(Replied(2, 5)) == Done(5)


@pytest.mark.parametrize("module", [journey_module, steps_module], ids=lambda module: module.__name__)
def test_nothing_in_it_waits_or_asks_for_the_time(module: Any) -> None:
    """Given the source of the journey, when its imports are read, then none is of a clock, of chance or of a loop."""
    tree = ast.parse(inspect.getsource(module))
    names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not names & {"asyncio", "time", "random", "datetime", "socket", "os", "secrets", "casty_es.runtime"}
    assert not any(isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in ast.walk(tree))


def _in_doubt() -> Journey:
    journey = _journey()
    _sent(journey)
    _sent(journey, Ended(1, _LOST, 0.1))
    return journey
