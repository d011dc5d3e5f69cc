"""Controls: with a safeguard taken out, the suite has to turn red, in the way that belongs to it.

A control names what is taken out, by the name of a function, and what stands in its place. One whose function is not
there any more fails, so that it is not forgotten when the code moves on.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from casty_es.domain.queue import Peek
from casty_es.errors import NotDoneError
from casty_es.gateway.asking import Gateway
from casty_es.gateway.journey import Journey
from casty_es.handles.renewals import Renewals
from casty_es.verdicts import Evidence

from .operations import ROWS
from .report import UNHEARD
from .runs import Fresh, of_way, run, run_processes

if TYPE_CHECKING:
    from .report import Report

__all__ = ["CONTROLS", "Control", "assert_red"]

_TRIES: Final = 40  # most moments of a close come before anything has left
_SOON_SECONDS: Final = 0.5


class Control(NamedTuple):
    """A safeguard, and what is seen without it.

    Attributes
    ----------
    title : str
        What is taken out.
    take_out : tuple[tuple[str, Any], ...]
        The dotted names of functions, and what stands in their places.
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
    take_out: tuple[tuple[str, Any], ...]
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


def _never_a_repeat(journey: Journey, slot: int, term: int, _: int) -> None:
    journey.attempt += 1
    journey.slot, journey.after, journey.sent_under = slot, 0, term


def _deny(evidence: Evidence) -> NotDoneError:
    return NotDoneError(f"{evidence.what} did not happen.")


async def _hang_up(gateway: Gateway) -> None:
    """Close without waiting for the answers to what was sent."""
    gateway.closed = True


async def _undo_nothing(*_: object) -> None:
    """Leave what a cancelled caller asked for as it is."""


async def _give_nothing_back(renewals: Renewals) -> None:
    """Close without withdrawing what stands in line or is held."""
    await renewals.stop()


def _look(*_: object) -> Peek:
    """Return a command that changes nothing."""
    return Peek()


def _look_away(*_: object) -> None:
    """Leave an error where nobody retrieves it."""


def _nobodys_business(*_: object) -> bool:
    """Tell that no process needs to be looked after."""
    return False


_ALWAYS_SURE: Final = ("casty_es.verdicts.Evidence.denies", property(lambda _: True))
_NO_UNDO: Final = ("casty_es.gateway.asking.Gateway._undone", _undo_nothing)
_NO_GIVING_BACK: Final = ("casty_es.handles.renewals.Renewals.close", _give_nothing_back)
_LATER: Final = "cancelled after a time"
_STUCK: Final = "held or in line by nobody"
_FALSE: Final = "told not done, and it was"

CONTROLS: Final = (
    Control("doubt, when the time is up", (_ALWAYS_SURE,), ("memory", "local"), "slow commits", "counter.", _FALSE),
    Control(
        "doubt, when the caller is closed",
        (("casty_es.verdicts.closed", _deny), ("casty_es.gateway.asking.Gateway.close", _hang_up)),
        ("sqlite", "client"),
        "caller closed",
        "counter.",
        _FALSE,
    ),
    Control(
        "doubt, when a reply cannot be read",
        (("casty_es.verdicts.unsettled", _deny),),
        ("sqlite", "client"),
        "reply garbled",
        "set.",
        _FALSE,
    ),
    Control(
        "giving items back",
        (_NO_UNDO,),
        ("sqlite", "local"),
        "cancelled at a turn",
        "queue.dequeue",
        "an item is gone",
    ),
    Control(
        "withdrawing for the cancelled", (_NO_UNDO,), ("memory", "local"), _LATER, "lock.acquire of a held", _STUCK
    ),
    Control(
        "undoing what was granted",
        (_NO_UNDO,),
        ("memory", "local"),
        "asyncio.timeout around it",
        "semaphore.try",
        _STUCK,
    ),
    Control("withdrawing at the close", (_NO_GIVING_BACK,), ("sqlite", "client"), "caller closed", "lock.acq", _STUCK),
    Control(
        "leaving a barrier at the close",
        (_NO_GIVING_BACK,),
        ("sqlite", "client"),
        "caller closed",
        "barrier.arrive alone",
        "a barrier for two lets one through alone",
    ),
    Control(
        "parting with the dead",
        (("casty_es.owner.deaths.Deaths.concern", _nobodys_business),),
        ("sqlite", "local"),
        "caller killed",
        "lock.acquire of a held",
        _STUCK,
    ),
    Control(
        "giving back what cannot be read",
        (("casty_es.handles.queue.GiveBack", _look),),
        ("memory", "local"),
        "read as another type",
        "queue.dequeue",
        "an item is gone",
    ),
    Control(
        "the look behind a repeated command",
        (("casty_es.gateway.journey.Journey.note", _never_a_repeat),),
        ("sqlite", "client"),
        "link cut, replies lost",
        "queue.enqueue",
        "it happened twice",
    ),
    Control(
        "looking at searches that nobody waits for",
        (("casty_es.gateway.routing.looked_at", _look_away),),
        ("sqlite", "client"),
        "reply frame spoiled",
        "set.",
        UNHEARD,
    ),
)
