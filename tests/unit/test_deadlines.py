"""The time of many callers rests on few timers, and each caller is told in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from casty_es.domain.counter import Get
from casty_es.errors import NotDoneError
from casty_es.owner.pending import Deadlines, Pending


class Timer:
    """A timer of the loop below."""

    def __init__(self, when: float, ring: Callable[[], None]) -> None:
        self.when = when
        self.ring = ring
        self.cancelled = False

    def cancel(self) -> None:
        """Do not ring."""
        self.cancelled = True


class Loop:
    """The clock and the timers of an event loop whose time goes on when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self.set = 0

    def time(self) -> float:
        """Tell the time."""
        return self.now

    def call_at(self, when: float, function: Callable[..., None], *arguments: object) -> Timer:
        """Set a timer."""
        self.set += 1
        timer = Timer(when, lambda: function(*arguments))
        self.timers.append(timer)
        return timer

    def ticking(self) -> list[float]:
        """Return when those that are set ring."""
        return sorted(timer.when for timer in self.timers if not timer.cancelled)

    def go_on(self, now: float) -> None:
        """Let the time go on, and each timer ring at its time."""
        while self.ticking() and self.ticking()[0] <= now:
            timer = min((one for one in self.timers if not one.cancelled), key=lambda one: one.when)
            self.timers.remove(timer)
            self.now = timer.when
            timer.ring()
        self.now = now


@pytest.fixture
def loop() -> Loop:
    """A loop at time 0."""
    return Loop()


@pytest.fixture
def deadlines(loop: Loop) -> Deadlines:
    """The deadlines of one gateway."""
    return Deadlines(cast("asyncio.AbstractEventLoop", loop))


def ask(deadlines: Deadlines, loop: Loop, timeout: float) -> tuple[Pending, Callable[[], None]]:
    """Wait for a command; return it, and what to call when nobody waits any more."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    pending = Pending(Get(), b"", future, {})
    line = deadlines.line(timeout, loop.now + timeout)
    line.add(pending, loop.now + timeout)
    return pending, lambda: line.leave(pending)


def told(*pendings: Pending) -> list[bool]:
    """Tell of each whether its time was up."""
    return [one.future.done() and isinstance(one.future.exception(), NotDoneError) for one in pendings]


async def test_each_is_told_at_its_time_by_one_timer(deadlines: Deadlines, loop: Loop) -> None:
    """Commands of one timeout that come one after the other run out of time one after the other."""
    waiting = []
    for _ in range(4):
        waiting.append(ask(deadlines, loop, 5.0)[0])
        loop.go_on(loop.now + 1.0)
    assert loop.ticking() == [5.0]
    for now, expected in ((4.99, 0), (5.0, 1), (6.5, 2), (7.0, 3), (8.0, 4)):
        loop.go_on(now)
        assert told(*waiting) == [True] * expected + [False] * (4 - expected)
    assert loop.ticking() == []


async def test_another_timeout_has_a_line_of_its_own(deadlines: Deadlines, loop: Loop) -> None:
    """A shorter timeout that came later is up earlier."""
    long, _ = ask(deadlines, loop, 5.0)
    loop.go_on(1.0)
    short, _ = ask(deadlines, loop, 0.5)
    loop.go_on(1.5)
    assert told(long, short) == [False, True]
    loop.go_on(5.0)
    assert told(long, short) == [True, True]


async def test_what_was_answered_is_not_told(deadlines: Deadlines, loop: Loop) -> None:
    """Whoever left is told nothing, and whoever came later is told at the right time and not at the first one's."""
    first, leave = ask(deadlines, loop, 5.0)
    leave()
    leave()
    loop.go_on(3.0)
    second, _ = ask(deadlines, loop, 5.0)
    loop.go_on(7.9)
    assert told(first, second) == [False, False]
    loop.go_on(8.0)
    assert told(first, second) == [False, True]
    third, _ = ask(deadlines, loop, 5.0)
    loop.go_on(13.0)
    assert told(third) == [True]


async def test_a_thousand_callers_in_turn_set_few_timers(deadlines: Deadlines, loop: Loop) -> None:
    """One that is answered at once costs no timer."""
    for number in range(1_000):
        loop.go_on(number / 100)
        ask(deadlines, loop, 5.0)[1]()
    assert loop.set <= 3


async def test_timeouts_that_never_come_again_leave_nothing_behind(deadlines: Deadlines, loop: Loop) -> None:
    """A program that computes each timeout has no more timers than with one of its own for each command."""
    leaving = [ask(deadlines, loop, 3_600.0 + number)[1] for number in range(1_000)]
    for leave in leaving[:900]:
        leave()
    assert len(loop.ticking()) <= 100 + 16
    last, _ = ask(deadlines, loop, 1.0)
    for leave in leaving:
        leave()
    assert len(loop.ticking()) <= 17
    deadlines.close()
    assert loop.ticking() == [1.0]
    loop.go_on(1.0)
    assert told(last) == [True]
    assert loop.ticking() == []


async def test_a_line_that_others_pushed_out_still_rings(deadlines: Deadlines, loop: Loop) -> None:
    """Whoever waits in it is told in time, also the second one."""
    first, _ = ask(deadlines, loop, 5.0)
    loop.go_on(1.0)
    second, _ = ask(deadlines, loop, 5.0)
    for number in range(100):
        ask(deadlines, loop, 100.0 + number)[1]()
    loop.go_on(5.5)
    assert told(first, second) == [True, False]
    loop.go_on(6.0)
    assert told(first, second) == [True, True]
