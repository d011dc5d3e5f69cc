"""The line of requests: first in, first out, and anybody may step out."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from casty_es.domain.line import EMPTY, Line


class Watched:
    """A trie that counts what is asked of it, and cannot be walked."""

    def __init__(self, trie: Any, asked: list[str]) -> None:
        self.trie, self.asked = trie, asked

    def insert(self, key: Any, value: Any) -> Watched:
        """Count and do."""
        self.asked.append("insert")
        return Watched(self.trie.insert(key, value), self.asked)

    def remove(self, key: Any) -> Watched:
        """Count and do."""
        self.asked.append("remove")
        return Watched(self.trie.remove(key), self.asked)

    def get(self, key: Any) -> Any:
        """Count and do."""
        self.asked.append("get")
        return self.trie.get(key)

    def __getitem__(self, key: Any) -> Any:
        self.asked.append("get")
        return self.trie[key]

    def __contains__(self, key: Any) -> bool:
        self.asked.append("in")
        return key in self.trie

    def __bool__(self) -> bool:
        return bool(self.trie)

    def __len__(self) -> int:
        return len(self.trie)

    def __iter__(self) -> Any:
        raise AssertionError("The trie was walked.")


def test_an_empty_line_has_no_first() -> None:
    """Given nobody in line, when asked who is first, then there is nobody."""
    assert EMPTY.first() is None
    assert len(EMPTY) == 0
    assert list(EMPTY.items()) == []
    assert EMPTY.get("a") is None


def test_who_came_first_stands_first() -> None:
    """Given three who joined, when the line is read, then they stand in their order of arrival."""
    line = Line.of([("c", 1), ("a", 2), ("b", 3)])
    assert line.first() == ("c", 1)
    assert list(line.items()) == [("c", 1), ("a", 2), ("b", 3)]


def test_who_steps_out_of_the_middle_is_skipped_later() -> None:
    """Given one who left from the middle, when those before are gone, then the one behind is first."""
    line = Line.of([("a", 1), ("b", 2), ("c", 3)]).leave("b")
    assert line.first() == ("a", 1)
    assert line.leave("a").first() == ("c", 3)
    assert "b" not in line
    assert len(line) == 2


def test_who_joins_again_stands_at_the_end() -> None:
    """Given one who left, when the same request joins again, then it stands behind all others."""
    line = Line.of([("a", 1), ("b", 2)]).leave("a").join("a", 9)
    assert list(line.items()) == [("b", 2), ("a", 9)]
    assert line.get("a") == 9


def test_an_older_line_stays_as_it_was() -> None:
    """Given a line that somebody keeps, when others join and leave, then the kept one is unchanged."""
    kept = Line.of([("a", 1), ("b", 2)])
    kept.join("c", 3).leave("a").leave("b")
    assert list(kept.items()) == [("a", 1), ("b", 2)]
    assert kept.first() == ("a", 1)


steps = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), max_size=40)


@settings(deadline=None)
@given(steps=steps)
def test_a_line_is_a_list_of_pairs(steps: list[tuple[str, int]]) -> None:
    """Given any joining and leaving, when a plain list does the same, then both agree at every step."""
    line: Line[int] = Line.of(())
    plain: list[tuple[str, int]] = []
    for request, known in steps:
        if request in line:
            line = line.leave(request)
            plain = [pair for pair in plain if pair[0] != request]
        else:
            line = line.join(request, known)
            plain.append((request, known))
        assert list(line.items()) == plain
        assert line.first() == (plain[0] if plain else None)
        assert len(line) == len(plain)
        assert {each: line.get(each) for each in "abcdef"} == {each: dict(plain).get(each) for each in "abcdef"}
        assert list(Line.of(plain).items()) == plain


def test_places_that_were_left_are_skipped_once() -> None:
    """Given a long line that empties from the back of its front half, then the whole costs a few lookups a request."""
    count = 2_000
    asked: list[str] = []
    full: Line[int] = Line.of((str(number), number) for number in range(count))
    line: Any = Line(Watched(full.entries, asked), Watched(full.tickets, asked), 0, count)  # type: ignore[arg-type]
    # All but the first of a half leave before it, so that its leaving has a thousand empty places to skip.
    for number in [*range(count // 2 - 1, -1, -1), *range(count // 2, count)]:
        line = line.leave(str(number))
        line.first()
    assert line.first() is None
    assert asked.count("remove") == 2 * (count - 1)  # the last one leaves the empty line behind
    assert asked.count("in") <= 2 * count
    assert asked.count("get") <= 2 * count
