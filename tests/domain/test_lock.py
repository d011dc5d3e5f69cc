"""The lock: one holder, a fair line, tokens that only grow, and no grant to those who went away."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from casty_es.domain.decider import WAITING
from casty_es.domain.lock import (
    LOCK,
    Acquire,
    Destroy,
    Destroyed,
    Expire,
    Expired,
    GetHolder,
    Granted,
    Holder,
    Release,
    Released,
    Renew,
    TryAcquire,
    Withdraw,
    Withdrawn,
)
from casty_es.errors import DestroyedError, NotDoneError

from .history import Ran, attempt, run, settled
from .strategies import commands_of

HELD = run(LOCK, Acquire("ann", "a1"))
QUEUED = run(LOCK, Acquire("bob", "b1"), Acquire("cat", "c1"), after=HELD)


def holder(ran: Ran) -> str | None:
    """Return the request that holds the lock."""
    held: Holder | None = run(LOCK, GetHolder(), after=ran).told[0]
    return None if held is None else held.request


def test_a_free_lock_is_granted_at_once() -> None:
    """Given a new lock, when it is acquired either way, then the caller holds it with the first token."""
    for command in (Acquire("ann", "a1"), TryAcquire("ann", "a1")):
        ran = run(LOCK, command, GetHolder())
        assert ran.told == [1, Holder("ann", "a1", 1)]
        assert LOCK.exists(ran.state)


def test_a_new_lock_is_nobodys() -> None:
    """Given a new lock, when it is read, released and destroyed, then there is nothing and nothing is appended."""
    ran = run(LOCK, GetHolder(), Release("ann"), Destroy())
    assert (ran.told, ran.events) == ([None, False, False], ())


def test_a_held_lock_makes_acquire_wait_and_refuses_try() -> None:
    """Given a held lock, when another acquires and a third tries, then one stands in line and one appends nothing."""
    ran = run(LOCK, Acquire("bob", "b1"), TryAcquire("cat", "c1"), after=HELD)
    assert ran.told == [WAITING, None]
    assert len(ran.events) == 1
    assert holder(ran) == "a1"


def test_waiters_are_granted_in_the_order_in_which_they_came() -> None:
    """Given two in line, when each holder releases, then the next in line holds the lock by the same decision."""
    first = run(LOCK, Release("ann"), after=QUEUED)
    assert [type(event) for event in first.events] == [Released, Granted]
    assert (holder(first), settled(LOCK, QUEUED, first.events)) == ("b1", {"b1": 5})
    second = run(LOCK, Release("bob"), after=first)
    assert (holder(second), settled(LOCK, first, second.events)) == ("c1", {"c1": 7})
    last = run(LOCK, Release("cat"), TryAcquire("dan", "d1"), after=second)
    assert last.told == [True, 9]


def test_the_lock_is_not_reentrant() -> None:
    """Given its holder, when the same owner acquires again, then that request waits, and trying is refused."""
    again = run(LOCK, Acquire("ann", "a2"), TryAcquire("ann", "a3"), after=HELD)
    assert again.told == [WAITING, None]
    assert holder(run(LOCK, Release("ann"), after=again)) == "a2"


def test_a_release_by_another_owner_has_no_effect() -> None:
    """Given a held lock, when somebody else releases it, waiting in line or not, then nothing is appended."""
    ran = run(LOCK, Release("bob"), Release("nobody"), after=QUEUED)
    assert (ran.told, ran.events) == ([False, False], ())
    assert holder(ran) == "a1"


def test_a_repeated_request_never_enters_twice() -> None:
    """Given one who holds and one who waits, when both send again, then they are told the same and nothing is added."""
    ran = run(LOCK, Acquire("ann", "a1"), TryAcquire("ann", "a1"), Acquire("bob", "b1"), after=QUEUED)
    assert (ran.told, ran.events) == ([1, 1, WAITING], ())


def test_a_withdrawn_request_is_never_granted() -> None:
    """Given two in line, when the first withdraws, then the lock goes to the second and never to the first."""
    withdrawn = run(LOCK, Withdraw("b1", keep_grant=True), after=QUEUED)
    assert withdrawn.events == (Withdrawn("bob", "b1"),)
    assert withdrawn.told == [None]
    assert settled(LOCK, QUEUED, withdrawn.events) == {"b1": NotDoneError}
    after = run(LOCK, Release("ann"), Release("bob"), Release("cat"), GetHolder(), after=withdrawn)
    assert after.told == [True, False, True, None]


def test_who_withdraws_too_late_may_keep_the_grant() -> None:
    """Given a request granted meanwhile, when it withdraws and wants to keep, then it is told its token."""
    ran = run(LOCK, Withdraw("a1", keep_grant=True), after=QUEUED)
    assert (ran.told, ran.events) == ([1], ())
    assert holder(ran) == "a1"


def test_who_withdraws_too_late_may_give_the_grant_back() -> None:
    """Given a request granted meanwhile, when it withdraws and gives back, then the next in line has the lock."""
    ran = run(LOCK, Withdraw("a1", keep_grant=False), after=QUEUED)
    assert ran.told == [None]
    assert ran.events == (Released("ann", "a1", 1), Granted("bob", "b1", 5))


def test_withdrawing_an_unknown_request_does_nothing() -> None:
    """Given a lock, when a request that is not there withdraws, then nothing is appended."""
    ran = run(LOCK, Withdraw("x", keep_grant=False), Withdraw("x", keep_grant=True), after=QUEUED)
    assert (ran.told, ran.events) == ([None, None], ())


def test_those_who_expire_together_leave_before_anybody_is_granted() -> None:
    """Given the holder and the first in line expire together, then only the one who lives is granted."""
    for requests in (("a1", "b1"), ("b1", "a1"), ("a1", "a1", "b1")):
        ran = run(LOCK, Expire(requests), after=QUEUED)
        assert sorted(event.request for event in ran.events if isinstance(event, Expired)) == ["a1", "b1"]
        assert [event for event in ran.events if isinstance(event, Granted)] == [Granted("cat", "c1", 6)]
        assert ran.events[-1] == Granted("cat", "c1", 6)


def test_all_can_expire_at_once() -> None:
    """Given a full line, when everybody expires, then the lock is free and granted to nobody."""
    ran = run(LOCK, Expire(("a1", "b1", "c1")), GetHolder(), TryAcquire("dan", "d1"), after=QUEUED)
    assert ran.told == [True, None, 7]


def test_a_waiter_who_expires_leaves_the_holder_alone() -> None:
    """Given a holder, when one in line expires, then that one is told and the lock stays where it is."""
    ran = run(LOCK, Expire(("b1", "unknown")), after=QUEUED)
    assert ran.events == (Expired("bob", "b1"),)
    assert settled(LOCK, QUEUED, ran.events) == {"b1": NotDoneError}
    assert holder(ran) == "a1"
    assert run(LOCK, Expire(("unknown",)), after=QUEUED)[1:] == ((), [False])


def test_renewing_tells_which_requests_are_still_there() -> None:
    """Given a holder and a waiter, when they and one who is gone renew, then the gone one is missing in the answer."""
    ran = run(LOCK, Renew(("c1", "gone", "a1")), after=QUEUED)
    assert (ran.told, ran.events) == ([("c1", "a1")], ())


def test_destroy_tells_every_waiter() -> None:
    """Given two in line, when the lock is destroyed, then both are told so, and the next grant starts a new line."""
    ran = run(LOCK, Destroy(), after=QUEUED)
    assert settled(LOCK, QUEUED, ran.events) == {"b1": DestroyedError, "c1": DestroyedError}
    assert not LOCK.exists(ran.state)
    assert run(LOCK, GetHolder(), Release("ann"), Destroy(), after=ran).told == [None, False, False]


def test_tokens_grow_across_destroy() -> None:
    """Given a lock destroyed while held, when granted again, then the new token is larger than every earlier."""
    ran = run(LOCK, Destroy(), Acquire("dan", "d1"), after=HELD)
    assert ran.told == [True, 3]


@settings(deadline=None)
@given(commands=commands_of(LOCK))
def test_a_token_is_the_sequence_of_its_event(commands: list[Any]) -> None:
    """Given any history, when its grants are read, then each token is the number of its event, so it only grows."""
    events = attempt(LOCK, *commands).events
    for sequence, event in enumerate(events, start=1):
        if isinstance(event, Granted):
            assert event.token == sequence


@settings(deadline=None)
@given(commands=commands_of(LOCK))
def test_nobody_waits_for_a_free_lock_and_two_never_hold_it(commands: list[Any]) -> None:
    """Given any history, when its events are read alone, then each grant finds the lock free, and no line is left."""
    holding: str | None = None
    for event in attempt(LOCK, *commands).events:
        match event:
            case Granted(request=request):
                assert holding is None
                holding = request
            case Released(request=request):
                assert holding == request
                holding = None
            case Expired(request=request) if request == holding:
                holding = None
            case Destroyed():
                holding = None
            case _:
                pass
    end = attempt(LOCK, *commands).state
    assert [holding] * (holding is not None) == [request for request, _ in end.holders.items()]
    assert holding is not None or len(end.line) == 0
