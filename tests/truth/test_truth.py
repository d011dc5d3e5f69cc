"""What a caller is told, what the journal holds and what is held by nobody agree, whatever interrupts an operation.

The whole table is run by ``python -m tests.truth --all``; this is a sample of it, under a fixed seed.
"""

from __future__ import annotations

from random import Random

import pytest

from .controls import CONTROLS, Control, assert_red
from .operations import ROWS, uncovered
from .runs import PLACES, Fresh, run, run_processes, sampled


def test_every_command_of_the_catalog_is_interrupted() -> None:
    """Given a command that changes something and can be asked for, then the table of operations has a row for it."""
    assert uncovered() == set()


def test_a_command_without_a_row_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a table without the rows of one command, then that command is named as not covered."""
    from . import operations

    gone = ROWS[0].command
    monkeypatch.setattr(operations, "ROWS", tuple(row for row in ROWS if row.command is not gone))
    assert uncovered() == {("counter", gone)}


# Calls from other processes are interrupted on one database each, and by CI on both.
_CI = {("sqlite", "client"), ("postgres", "routed")}


@pytest.mark.parametrize(
    "place", [pytest.param(place, id="-".join(place), marks=[pytest.mark.ci] * (place in _CI)) for place in PLACES]
)
def test_callers_are_told_the_truth(place: tuple[str, str], fresh: Fresh) -> None:
    """Given operations of every structure, when they are interrupted in every way, then all that is said is so."""
    dice = Random(1)  # noqa: S311 - a table, not a secret
    report = run(fresh, place, sampled(place[1], dice, 1), dice, times=1)
    assert not report.found, report.complaints()


_KILLED = [
    (("sqlite", "local"), "caller killed"),
    (("sqlite", "routed"), "caller killed"),
    (("sqlite", "client"), "caller killed"),
    (("sqlite", "routed"), "owner killed"),
    (("sqlite", "client"), "owner frozen"),
    (("postgres", "local"), "caller killed"),
    (("postgres", "routed"), "owner killed"),
]


@pytest.mark.parametrize(("place", "family"), _KILLED, ids=[f"{'-'.join(place)}-{by}" for place, by in _KILLED])
def test_a_process_that_is_gone_leaves_nothing_behind(place: tuple[str, str], family: str, fresh: Fresh) -> None:
    """Given operations in flight, when a process is killed or frozen, then what is said is so and nothing is stuck."""
    dice = Random(2)  # noqa: S311 - a table, not a secret
    report = run_processes(fresh, place, dice, rounds=1, times=1, families=[family])
    assert not report.found, report.complaints()


@pytest.mark.parametrize("control", CONTROLS, ids=lambda one: f"{one.title}-{one.place[0]}")
def test_without_a_safeguard_the_suite_is_red(control: Control, fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a safeguard that is taken out, when operations are interrupted, then the oracle says what belongs to it."""
    for name, instead in control.take_out:
        monkeypatch.setattr(name, instead)
    assert_red(fresh, control)
