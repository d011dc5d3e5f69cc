"""The barrier: everybody of a round goes on together."""

from __future__ import annotations

import pytest

from casty_es.domain.barrier import (
    BARRIER,
    Arrive,
    Destroy,
    Expire,
    Expired,
    GetRound,
    Renew,
    Round,
    Tripped,
    Withdraw,
)
from casty_es.domain.decider import WAITING
from casty_es.errors import ConfigurationError, DestroyedError

from .history import run, settled

ONE = run(BARRIER, Arrive("ann", "a1", 3))
TWO = run(BARRIER, Arrive("bob", "b1", 3), after=ONE)
TRIPPED = run(BARRIER, Arrive("cat", "c1", 3), after=TWO)


def test_everybody_waits_until_the_last_one_comes() -> None:
    """Given a barrier for three, when three arrive, then two wait and the last one's arrival releases all of them."""
    assert (ONE.told, TWO.told, TRIPPED.told) == ([WAITING], [WAITING], [0])
    assert settled(BARRIER, TWO, TRIPPED.events) == {"a1": 0, "b1": 0, "c1": 0}


def test_a_barrier_for_one_trips_at_once() -> None:
    """Given a barrier for one, when one arrives, twice, then each arrival is a round of its own."""
    assert run(BARRIER, Arrive("ann", "a1", 1), Arrive("ann", "a2", 1)).told == [0, 1]


def test_a_participant_counts_once_a_round() -> None:
    """Given one participant with two requests, when another arrives, then they are two participants and not three."""
    ran = run(BARRIER, Arrive("ann", "a2", 3), Arrive("bob", "b1", 3), GetRound(), after=ONE)
    assert ran.told == [WAITING, WAITING, Round(0, 3, ("ann", "bob"))]
    last = run(BARRIER, Arrive("cat", "c1", 3), Withdraw("a2"), after=ran)
    assert last.told == [0, 0]


def test_after_a_trip_the_next_round_begins() -> None:
    """Given a tripped barrier, when others arrive, with another number, then it is a new round with its own number."""
    ran = run(BARRIER, GetRound(), Arrive("ann", "a2", 2), GetRound(), Arrive("bob", "b2", 2), after=TRIPPED)
    assert ran.told == [Round(1, 0, ()), WAITING, Round(1, 2, ("ann",)), 1]


def test_another_number_in_the_same_round_is_refused() -> None:
    """Given a round for three, when somebody expects two, then that is refused and nobody was counted."""
    with pytest.raises(ConfigurationError, match="expects 3 participants"):
        run(BARRIER, Arrive("bob", "b1", 2), after=ONE)
    assert run(BARRIER, GetRound(), after=ONE).told == [Round(0, 3, ("ann",))]


def test_who_withdraws_does_not_count() -> None:
    """Given two of three, when one withdraws and another comes, then the barrier does not trip until a third does."""
    ran = run(BARRIER, Withdraw("a1"), Arrive("cat", "c1", 3), GetRound(), Arrive("dan", "d1", 3), after=TWO)
    assert ran.told == [None, WAITING, Round(0, 3, ("bob", "cat")), 0]


def test_a_participant_counts_until_its_last_request_left() -> None:
    """Given a participant with two requests, when one withdraws, then it still counts, and after both no more."""
    both = run(BARRIER, Arrive("ann", "a2", 3), Withdraw("a1"), GetRound(), after=ONE)
    assert both.told[-1] == Round(0, 3, ("ann",))
    assert run(BARRIER, Withdraw("a2"), GetRound(), after=both).told == [None, Round(0, 0, ())]


def test_a_round_that_everybody_left_may_start_with_another_number() -> None:
    """Given a round whose only participant withdrew, when one arrives with another number, then that number holds."""
    assert run(BARRIER, Withdraw("a1"), Arrive("bob", "b1", 1), after=ONE).told == [None, 0]


def test_a_withdrawal_after_the_trip_is_told_that_it_was_released() -> None:
    """Given a tripped barrier, when a released request withdraws, then it is told so, and an unknown one is not."""
    ran = run(BARRIER, Withdraw("a1"), Withdraw("unknown"), after=TRIPPED)
    assert (ran.told, ran.events) == ([0, None], ())


def test_a_repeat_after_the_trip_is_answered_for_its_own_round() -> None:
    """Given a tripped barrier with a new round begun, when a released request comes again, then it gets its round."""
    begun = run(BARRIER, Arrive("dan", "d1", 2), after=TRIPPED)
    ran = run(BARRIER, Arrive("ann", "a1", 3), Arrive("cat", "c1", 3), Arrive("dan", "d1", 2), GetRound(), after=begun)
    assert ran.told == [0, 0, WAITING, Round(1, 2, ("dan",))]
    assert ran.events == ()


def test_those_who_expire_do_not_count() -> None:
    """Given two in a round, when they expire, one named twice, then each leaves once and the round is empty."""
    ran = run(BARRIER, Expire(("b1", "a1", "b1", "unknown")), GetRound(), after=TWO)
    assert ran.events == (Expired("bob", "b1"), Expired("ann", "a1"))
    assert ran.told == [True, Round(0, 0, ())]
    assert run(BARRIER, Expire(("unknown",)), after=TWO)[1:] == ((), [False])


def test_renewing_tells_which_requests_are_still_there() -> None:
    """Given a waiter, when it and one who is gone renew, then the gone one is missing in the answer."""
    assert run(BARRIER, Renew(("gone", "a1")), after=ONE).told == [("a1",)]


def test_destroy_tells_every_waiter_and_a_new_round_begins() -> None:
    """Given two waiting, when the barrier is destroyed, then both are told so and nobody counts any more."""
    destroyed = run(BARRIER, Destroy(), after=TWO)
    assert settled(BARRIER, TWO, destroyed.events) == {"a1": DestroyedError, "b1": DestroyedError}
    ran = run(BARRIER, Destroy(), Destroy(), Arrive("cat", "c1", 2), GetRound(), after=TWO)
    assert ran.told == [True, False, WAITING, Round(0, 2, ("cat",))]


def test_rounds_are_numbered_on_after_destroy() -> None:
    """Given a barrier that tripped once, when it is destroyed and trips again, then the number is not used twice."""
    ran = run(BARRIER, Destroy(), Arrive("ann", "a9", 1), after=TRIPPED)
    assert ran.events[-1] == Tripped(1)
