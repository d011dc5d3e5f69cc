"""Controls: with a safeguard taken out, the suite has to turn red, in the way that belongs to it.

A control names what is taken out, by the name of a function, and what stands in its place. One whose function is not
there any more fails, so that it is not forgotten when the code moves on.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from casty_es.actors.pending import Pending
from casty_es.errors import NotDoneError
from casty_es.gateway.journey import Journey
from casty_es.gateway.routing import Route

from .operations import ROWS
from .runs import Fresh, of_way, run, run_processes

if TYPE_CHECKING:
    from .report import Report

__all__ = ["CONTROLS", "Control", "assert_red"]

_TRIES: Final = 12
_SOON_SECONDS: Final = 0.5


class Control(NamedTuple):
    """A safeguard, and what is seen without it.

    Attributes
    ----------
    title : str
        What is taken out.
    take_out : tuple[str, Any]
        The dotted name of a function, and what stands in its place.
    place : tuple[str, str]
        The journal, and the way to the owner.
    family : str
        The interruption.
    operation : str
        How the titles of the operations begin on which it is seen.
    fault : str
        What the oracle says.
    """

    title: str
    take_out: tuple[str, Any]
    place: tuple[str, str]
    family: str
    operation: str
    fault: str


def assert_red(fresh: Fresh, control: Control, *, seed: int = 1) -> None:
    """Run trials of one family until the oracle says what it has to say.

    Raises
    ------
    AssertionError
        It never does, so that a green suite would mean nothing.
    """
    dice = Random(seed)  # noqa: S311 - a table, not a secret
    rows = [row for row in ROWS if row.title.startswith(control.operation)]
    moments = [one for one in of_way(control.place[1]) if one.family == control.family]
    interrupted = 0
    for _ in range(_TRIES):
        report: Report
        if moments:
            report = run(fresh, control.place, [dice.choice(moments)], dice, times=4, rows=rows, patience=_SOON_SECONDS)
        else:
            families = [control.family]
            report = run_processes(fresh, control.place, dice, rounds=1, times=4, families=families, rows=rows)
        if any(finding.fault == control.fault for finding in report.findings):
            return
        interrupted += report.interrupted
    raise AssertionError(f"{control.title}: nothing was found in {interrupted} interrupted operations")


def _time_out_of_doubt(pending: Pending) -> None:
    """Tell every caller whose time is up that it did not happen."""
    if not pending.future.done():
        pending.future.set_exception(NotDoneError("It did not happen."))


async def _step_out_in_silence(*_: object) -> None:
    """Withdraw nothing."""


def _never_a_repeat(journey: Journey, route: Route | None) -> None:
    journey.route = route
    if route is not None:
        journey.slot, journey.after, journey.sent_under = route.slot, 0, route.term


CONTROLS: Final = (
    Control(
        "doubt when the time is up",
        ("casty_es.actors.pending.Pending.time_out", _time_out_of_doubt),
        ("memory", "local"),
        "slow commits",
        "counter.",
        "told not done, and it was",
    ),
    Control(
        "the withdrawal of who waits no more",
        ("casty_es.handles.waiting.WaitingHandle._stepped_out", _step_out_in_silence),
        ("memory", "local"),
        "cancelled after a time",
        "lock.acquire of a held",
        "held or in line by nobody",
    ),
    Control(
        "the look behind a repeated command",
        ("casty_es.gateway.journey.Journey._note", _never_a_repeat),
        ("sqlite", "client"),
        "link cut, replies lost",
        "queue.enqueue",
        "it happened twice",
    ),
)
