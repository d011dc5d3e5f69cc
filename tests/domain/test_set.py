"""The set: members are the same when their canonical JSON is the same bytes."""

from __future__ import annotations

from casty_es.domain.set import SET, Add, Contains, Destroy, Remove, Size

from .history import run, snapshot_bytes, value


def test_add_tells_whether_the_value_is_new() -> None:
    """Given an empty set, when a value is added twice, then the second changes and appends nothing."""
    ran = run(SET, Add(value(1)), Add(value(1)), Size(), Contains(value(1)))
    assert ran.told == [True, False, 1, True]
    assert len(ran.events) == 1


def test_remove_tells_whether_the_value_was_there() -> None:
    """Given one member, when it is removed twice, then the second changes and appends nothing."""
    ran = run(SET, Add(value(1)), Remove(value(1)), Remove(value(1)), Size(), Contains(value(1)))
    assert ran.told == [True, True, False, 0, False]
    assert len(ran.events) == 2


def test_an_emptied_set_still_exists_and_a_destroyed_one_does_not() -> None:
    """Given a set without members left, when it is destroyed, then it existed until then and is new after."""
    emptied = run(SET, Add(value(1)), Remove(value(1)))
    assert SET.exists(emptied.state)
    ran = run(SET, Destroy(), Destroy(), Size(), Add(value(1)), after=emptied)
    assert ran.told == [True, False, 0, True]
    assert run(SET, Destroy()).told == [False]


def test_values_of_other_types_are_other_members() -> None:
    """Given values that Python holds equal, when they are added, then each is a member of its own."""
    members = [value(plain) for plain in (1, "1", 1.0, True, None, "null")]
    assert run(SET, *map(Add, members), Size()).told[-1] == len(members)


def test_equal_sets_are_stored_as_equal_bytes() -> None:
    """Given two sets, when the same members came in another order, then the snapshots are the same bytes."""
    members = [Add(value(number)) for number in range(50)]
    there, back = run(SET, *members), run(SET, Add(value("x")), *reversed(members), Remove(value("x")))
    assert snapshot_bytes(SET, there.state) == snapshot_bytes(SET, back.state)
