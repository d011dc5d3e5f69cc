"""The semaphore: never more held than there are permits, and a fair line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from casty_es.domain.decider import WAITING
from casty_es.domain.semaphore import (
    SEMAPHORE,
    Acquire,
    Destroy,
    Destroyed,
    Expire,
    Expired,
    GetUsage,
    Granted,
    Release,
    Released,
    Renew,
    TryAcquire,
    Usage,
    Withdraw,
    Withdrawn,
)
from casty_es.errors import ConfigurationError, DestroyedError

from .history import attempt, run, settled
from .strategies import commands_of

FULL = run(SEMAPHORE, Acquire("ann", "a1", 2), Acquire("ann", "a2", 2))
QUEUED = run(SEMAPHORE, Acquire("bob", "b1", 2), Acquire("cat", "c1", 2), Acquire("dan", "d1", 2), after=FULL)


def granted(events: tuple[Any, ...]) -> list[str]:
    """Return the requests that the events grant, in order."""
    return [event.request for event in events if isinstance(event, Granted)]


def test_permits_are_granted_until_none_is_free() -> None:
    """Given two permits, when four ask, then two hold, one waits, and one who only tries is refused."""
    ran = run(
        SEMAPHORE,
        *(Acquire("ann", "a1", 2), TryAcquire("bob", "b1", 2), Acquire("cat", "c1", 2), TryAcquire("dan", "d1", 2)),
        GetUsage(),
    )
    assert ran.told == [1, 2, WAITING, None, Usage(permits=2, held=2, waiting=1)]


def test_an_unopened_semaphore_has_no_permits() -> None:
    """Given a new semaphore, when it is read, released and destroyed, then there is nothing and nothing is appended."""
    ran = run(SEMAPHORE, GetUsage(), Release("ann"), Destroy())
    assert (ran.told, ran.events) == ([Usage(0, 0, 0), False, False], ())
    assert not SEMAPHORE.exists(ran.state)


def test_a_released_permit_goes_to_the_front_of_the_line() -> None:
    """Given three in line, when permits come back one by one, then they are granted in order of arrival."""
    first = run(SEMAPHORE, Release("ann"), after=QUEUED)
    assert [type(event) for event in first.events] == [Released, Granted]
    assert granted(first.events) == ["b1"]
    assert granted(run(SEMAPHORE, Release("ann"), Release("bob"), after=first).events) == ["c1", "d1"]


def test_an_owner_gives_back_what_it_held_longest() -> None:
    """Given an owner with two permits, when it releases three times, then the elder goes first and the third fails."""
    ran = run(SEMAPHORE, Release("ann"), Release("ann"), Release("ann"), after=FULL)
    assert ran.told == [True, True, False]
    assert ran.events == (Released("ann", "a1", 1), Released("ann", "a2", 2))


def test_a_release_by_another_owner_has_no_effect() -> None:
    """Given permits held by one owner, when one who waits releases, then nothing is appended."""
    ran = run(SEMAPHORE, Release("bob"), after=QUEUED)
    assert (ran.told, ran.events) == ([False], ())


@pytest.mark.parametrize("command", [Acquire("eve", "e1", 3), TryAcquire("eve", "e1", 1)])
def test_another_number_of_permits_is_refused(command: Acquire | TryAcquire) -> None:
    """Given a semaphore of two, when it is asked for with another number, then it is refused and nothing changed."""
    with pytest.raises(ConfigurationError, match="opened with 2 permits"):
        run(SEMAPHORE, command, after=FULL)
    assert run(SEMAPHORE, GetUsage(), after=FULL).told == [Usage(2, 2, 0)]


def test_the_number_stays_when_everything_was_released() -> None:
    """Given a semaphore that nobody holds any more, when it is asked for with another number, then it is refused."""
    empty = run(SEMAPHORE, Release("ann"), Release("ann"), after=FULL)
    with pytest.raises(ConfigurationError):
        run(SEMAPHORE, Acquire("eve", "e1", 5), after=empty)


def test_a_destroyed_semaphore_opens_with_another_number() -> None:
    """Given a destroyed semaphore, when another number opens it, then it has that many, and tokens still grow."""
    ran = run(SEMAPHORE, Destroy(), Acquire("eve", "e1", 1), Acquire("fay", "f1", 1), GetUsage(), after=QUEUED)
    assert ran.told == [True, 7, WAITING, Usage(1, 1, 1)]


def test_destroy_tells_every_waiter() -> None:
    """Given three in line, when the semaphore is destroyed, then each of them is told so, and the holders are not."""
    destroyed = run(SEMAPHORE, Destroy(), after=QUEUED)
    told = settled(SEMAPHORE, QUEUED, destroyed.events)
    assert told == {"b1": DestroyedError, "c1": DestroyedError, "d1": DestroyedError}


def test_a_withdrawn_request_is_never_granted() -> None:
    """Given three in line, when the first withdraws, then the permits go to the others."""
    withdrawn = run(SEMAPHORE, Withdraw("b1", keep_grant=True), after=QUEUED)
    assert withdrawn.events == (Withdrawn("bob", "b1"),)
    after = run(SEMAPHORE, Release("ann"), Release("ann"), Release("bob"), Release("cat"), after=withdrawn)
    assert after.told == [True, True, False, True]
    assert granted(after.events) == ["c1", "d1"]


def test_who_withdraws_too_late_chooses_what_becomes_of_the_grant() -> None:
    """Given a granted request, when it withdraws, then it keeps its token or gives the permit to the next in line."""
    kept = run(SEMAPHORE, Withdraw("a2", keep_grant=True), after=QUEUED)
    assert (kept.told, kept.events) == ([2], ())
    back = run(SEMAPHORE, Withdraw("a2", keep_grant=False), after=QUEUED)
    assert back.told == [None]
    assert back.events == (Released("ann", "a2", 2), Granted("bob", "b1", 7, 2))


def test_those_who_expire_together_leave_before_anybody_is_granted() -> None:
    """Given both holders and the first in line expire together, then the two who live are granted, in order."""
    for requests in (("a1", "b1", "a2"), ("b1", "a2", "a1"), ("a1", "a2", "a1", "b1")):
        ran = run(SEMAPHORE, Expire(requests), after=QUEUED)
        assert [type(event) for event in ran.events] == [Expired] * 3 + [Granted] * 2
        assert granted(ran.events) == ["c1", "d1"]


def test_a_repeated_request_never_enters_twice() -> None:
    """Given one who holds and one who waits, when both send again, then they are told the same and nothing is added."""
    ran = run(SEMAPHORE, Acquire("ann", "a2", 2), Acquire("bob", "b1", 2), after=QUEUED)
    assert (ran.told, ran.events) == ([2, WAITING], ())


def test_a_repeated_try_takes_no_second_permit() -> None:
    """Given a free permit and one who holds another, when its request is tried again, then it is told its token."""
    ran = run(SEMAPHORE, *[TryAcquire("ann", "a1", 2)] * 2, Acquire("ann", "a1", 2), GetUsage())
    assert ran.told == [1, 1, 1, Usage(2, 1, 0)]


def test_renewing_tells_which_requests_are_still_there() -> None:
    """Given holders and waiters, when they and one who is gone renew, then the gone one is missing in the answer."""
    assert run(SEMAPHORE, Renew(("d1", "gone", "a2")), after=QUEUED).told == [("d1", "a2")]


@settings(deadline=None)
@given(commands=commands_of(SEMAPHORE))
def test_never_more_is_held_than_there_are_permits(commands: list[Any]) -> None:
    """Given any history, when its events are read alone, then holders fit the permits and tokens are sequences."""
    holding: dict[str, str] = {}
    for sequence, event in enumerate(attempt(SEMAPHORE, *commands).events, start=1):
        match event:
            case Granted(owner=owner, request=request, token=token, permits=permits):
                assert token == sequence
                assert request not in holding
                holding[request] = owner
                assert len(holding) <= permits
            case Released(request=request) | Expired(request=request):
                holding.pop(request, None)
            case Destroyed():
                holding.clear()
            case _:
                pass
    end = attempt(SEMAPHORE, *commands).state
    assert len(end.holders) == len(holding)
    assert len(end.holders) == end.permits or len(end.line) == 0
