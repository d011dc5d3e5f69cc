"""The flag: up or down."""

from __future__ import annotations

from casty_es.domain.flag import FLAG, Destroy, IsUp, Lower, Raise

from .history import run


def test_it_is_up_between_raising_and_lowering() -> None:
    """Given a flag, when it is raised and lowered twice, then only the first of each did something."""
    ran = run(FLAG, IsUp(), Raise(), Raise(), IsUp(), Lower(), Lower(), IsUp())
    assert ran.told == [False, True, False, True, True, False, False]
    assert len(ran.events) == 2


def test_destroyed_it_is_down_and_counts_again() -> None:
    """Given a flag that was up twice, when it is destroyed, then it is as new."""
    ran = run(FLAG, Raise(), Lower(), Raise(), Destroy(), Destroy(), Raise())
    assert ran.told == [True, True, True, True, False, True]
    assert ran.state.times == 1
