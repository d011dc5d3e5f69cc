"""What is refused of a structure of one's own, and how it is told; and the given, when, then of its tests."""

# ruff: noqa: ARG001, D101 - commands, events and functions of a kind, as in casty_es/domain

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, assert_never

import msgspec
import pytest

import casty_es
from casty_es import ConfigurationError, InvalidTypeError, InvalidValueError, UsageError, structures
from casty_es.commands import decode_command
from casty_es.domain.counter import COUNTER, Get, Increment, Incremented
from casty_es.domain.upkeep import Redact
from casty_es.format.codec import decode_event, decode_state, encode_event, encode_state
from casty_es.structures import Command, Destroy, Event, Query, RefusedError, kind
from casty_es.testing import given
from tests.own_kinds import own_kinds


class Mark(Command[None], frozen=True):
    text: str
    weight: float = 1.0


class GetWeight(Query[float], frozen=True):
    pass


class Marked(Event, frozen=True):
    text: str
    weight: float


class WipedOut(Event, frozen=True):
    stored_as = "mark.gone"


class Forgotten(Event, frozen=True):
    pass


class Marks(msgspec.Struct, frozen=True):
    texts: dict[str, float] = {}


def decide(_marks: Marks, command: Mark | GetWeight | Destroy) -> list[Marked | WipedOut]:
    match command:
        case Mark(text="forget"):
            return [Forgotten()]  # type: ignore[list-item]  # what mypy says, and what a journal says
        case Mark(text="refuse"):
            raise RefusedError("Not this one.")
        case Mark(text=text, weight=weight):
            return [Marked(text, weight * 1e200)]
        case GetWeight():
            return []
        case Destroy():
            return [WipedOut()]
        case _:
            assert_never(command)


def evolve(marks: Marks, event: Marked | WipedOut) -> Marks:
    return Marks() if isinstance(event, WipedOut) else Marks({**marks.texts, event.text: event.weight})


def unannotated(marks, command):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    return ()


class Loose(Event, frozen=True, array_like=True):
    """Written as an array, which no view and no upcaster reads."""


class Sets(Event, frozen=True):
    names: frozenset[str]


class Untyped(Event, frozen=True):
    value: Any


class Born(Event, frozen=True):
    alive: bool  # type: ignore[misc]  # what mypy says, and what a kind says


class Nested(Event, frozen=True):
    parts: tuple[dict[str, list[Sets]], ...]


class GetState(Query[int], frozen=True):
    pass


class Maintain(Redact, frozen=True):
    pass


def into_loose(marks: Marks, event: Loose) -> Marks:
    return marks


def into_sets(marks: Marks, event: Sets) -> Marks:
    return marks


def into_untyped(marks: Marks, event: Untyped) -> Marks:
    return marks


def into_born(marks: Marks, event: Born) -> Marks:
    return marks


def into_nested(marks: Marks, event: Nested) -> Marks:
    return marks


def on_a_taken_name(_marks: Marks, command: GetState) -> list[Marked]:
    return []


def on_maintenance(_marks: Marks, command: Maintain) -> list[Marked]:
    return []


MARKS = kind("mark", initial=Marks(), decide=decide, evolve=evolve)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """A kind that this process knows."""
    with own_kinds():
        casty_es.register(MARKS)
        yield


def test_names_are_made_by_a_rule_or_said_by_the_class() -> None:
    """Given a kind, when its events are named, then after kind and class, and as the class says where it does."""
    assert sorted(MARKS.events) == ["entity.redacted", "mark.gone", "mark.marked"]


def test_registering_again_changes_nothing() -> None:
    """Given a kind that is registered, when it is registered again, then nothing happens; another one is refused."""
    casty_es.register(MARKS)
    with pytest.raises(ConfigurationError, match="another kind of that name"):
        casty_es.register(kind("mark", initial=Marks(), decide=decide, evolve=evolve))


@pytest.mark.parametrize("name", ["", "Mark", "1st", "a b", "a.b", "x" * 41, "counter", "entity", "command", "lease"])
def test_names_that_no_kind_can_have(name: str) -> None:
    """Given a name that is taken or that a table, a view or a command line could misread, then it is refused."""
    with pytest.raises(ConfigurationError, match="cannot be registered"):
        casty_es.register(kind(name, initial=Marks(), decide=decide, evolve=evolve))


def test_an_event_of_another_kinds_name() -> None:
    """Given a class that says a name of another kind's, when its kind is registered, then it is refused."""
    with pytest.raises(ConfigurationError, match=r"'mark.gone' is not called after the kind"):
        casty_es.register(kind("other", initial=Marks(), decide=decide, evolve=evolve))


@pytest.mark.parametrize(
    ("evolve", "wrong"),
    [
        (into_loose, "no frozen msgspec.Struct"),
        (into_sets, "field of type frozenset"),
        (into_nested, "field of type frozenset"),
        (into_untyped, "field of type any"),
        (into_born, "has a field 'alive'"),
        (unannotated, "does not say what it takes"),
    ],
)
def test_events_that_cannot_be_kept(evolve: Any, wrong: str) -> None:
    """Given an event whose bytes would differ or not come back, when a kind is made of it, then it is told."""
    with pytest.raises(ConfigurationError, match=wrong):
        kind("mark", initial=Marks(), decide=decide, evolve=evolve)


@pytest.mark.parametrize(
    ("decide", "wrong"),
    [
        (on_a_taken_name, "a command that every kind has"),
        (on_maintenance, "derived from something else"),
        (unannotated, "does not say what it takes"),
    ],
)
def test_commands_that_cannot_be(decide: Any, wrong: str) -> None:
    """Given a command that would be taken for another, when a kind is made of it, then it is told."""
    with pytest.raises(ConfigurationError, match=wrong):
        kind("mark", initial=Marks(), decide=decide, evolve=evolve)


def test_an_event_that_was_forgotten_in_the_union() -> None:
    """Given an event that ``decide`` gives and ``evolve`` does not take, when it comes up, then that is told."""
    with pytest.raises(UsageError, match="'Forgotten': the union that `evolve` takes lacks it"):
        given().when(Mark("forget"))


def test_a_built_in_event_that_was_forgotten_in_the_union() -> None:
    """Given a built-in kind whose union lacks an event, when it is written, then it is a sentence and no KeyError."""

    class Doubled(Event, frozen=True):
        pass

    with pytest.raises(UsageError, match="No registered kind has an event 'Doubled'"):
        encode_event(Doubled())
    assert set(COUNTER.commands) >= {Increment, Get}
    assert COUNTER.events["counter.incremented"] is Incremented


def test_older_versions_are_lifted() -> None:
    """Given a kind with functions for older shapes, when events and states of these are read, then they are lifted."""
    lifts = {"other.mutated": (lambda fields: {"text": fields["name"]},)}
    state_lifts = (lambda fields: {"texts": fields["all"]},)
    with own_kinds():
        other = kind(
            "other",
            initial=Marks(),
            decide=only_marks,
            evolve=only_marked,
            upcasters=lifts,
            state_lifts=state_lifts,
        )
        casty_es.register(other)
        assert encode_event(Mutated("a")) == ("other.mutated", 2, '{"text":"a"}')
        assert decode_event("other.mutated", 1, '{"name":"a"}') == Mutated("a")
        assert decode_state(other, 1, '{"all":{"a":1.0}}') == Marks({"a": 1.0})
    with pytest.raises(ConfigurationError, match=r"no event 'other.gone' to lift"):
        kind("other", initial=Marks(), decide=only_marks, evolve=only_marked, upcasters={"other.gone": ()})


def test_what_would_not_come_back_is_refused() -> None:
    """Given a number that JSON has not, when it is to be kept in a command, an event or a state, then it is refused."""
    with pytest.raises(InvalidValueError, match="cannot be kept"):
        structures.check_command(Mark("a", float("nan")), 1_000)
    with pytest.raises(InvalidValueError, match="cannot be kept"):
        structures.check_command(Mark("\ud800"), 1_000)
    given().when(Mark("a", 1e200)).then(InvalidValueError)
    with pytest.raises(InvalidValueError, match=r"A state .* cannot be kept"):
        encode_state(MARKS, Marks({"a": float("inf")}))


def test_what_comes_from_elsewhere_is_held_to_its_type_and_size() -> None:
    """Given commands from another process, when they are decoded, then by their type, and by their bytes."""
    assert decode_command("mark", "Mark", b'{"text":"a"}') == Mark("a")
    for body in (b'{"text":1}', b'{"text":"a","more":1}', b"[]", b'{"text":"\\ud800"}', b'{"text":"\xff"}'):
        with pytest.raises(InvalidValueError):
            decode_command("mark", "Mark", body)
    with pytest.raises(InvalidValueError, match="has 211 bytes, and may have 200"):
        decode_command("mark", "Mark", b'{"text":"' + b"a" * 200 + b'"}', max_value_bytes=200)
    with pytest.raises(InvalidTypeError, match="There is no command 'Nothing'"):
        decode_command("mark", "Nothing", b"{}")
    with pytest.raises(InvalidValueError, match="may have 200"):
        structures.check_command(Mark("a" * 200), 200)


def test_given_when_then() -> None:
    """Given events, when a command is decided, then events, refusals and replies are compared and differences told."""
    given(Marked("a", 1.0)).when(Mark("b")).then(Marked("b", 1e200)).replies(None)
    given(Marked("a", 1.0)).when(GetWeight()).then()
    given().when(Mark("refuse")).then(RefusedError)
    given(Incremented(5, 5)).when(Increment(2)).then(Incremented(2, 7)).replies(7)
    for wrong in ((), (Marked("c", 1.0),), (RefusedError,)):
        with pytest.raises(AssertionError, match="caused"):
            given().when(Mark("b")).then(*wrong)
    with pytest.raises(AssertionError, match="is told"):
        given(Incremented(5, 5)).when(Get()).replies(6)
    with pytest.raises(AssertionError, match="was refused"):
        given().when(Mark("refuse")).replies(None)


def test_a_state_that_is_changed_in_place_is_noticed() -> None:
    """Given an evolve that changes the state it is given, when it is tested, then that is told."""
    with own_kinds():
        casty_es.register(kind("other", initial=Marks(), decide=only_marks, evolve=only_marked))
        with pytest.raises(AssertionError, match="changed the state that it was given"):
            given(Mutated("a")).when(Mutate("b"))


class Mutate(Command[None], frozen=True):
    text: str


class Mutated(Event, frozen=True):
    text: str


def only_marks(_marks: Marks, command: Mutate) -> list[Mutated]:
    return [Mutated(command.text)]


def only_marked(marks: Marks, event: Mutated) -> Marks:
    marks.texts[event.text] = 1.0
    return marks


def test_only_what_is_named_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given names, when they are loaded, then those kinds are known, and what is no kind is refused."""
    structures.load("bank_account:ACCOUNT, leaderboard:LEADERBOARD")
    assert structures.named().split(",")[1:] == ["bank_account:ACCOUNT", "leaderboard:LEADERBOARD"]
    for names in ("nothing.there:ACCOUNT", "bank_account", "bank_account:", "bank_account:Account", ":", "json:dumps"):
        with pytest.raises(ConfigurationError, match=r"names no kind|is no kind"):
            structures.load(names)
    monkeypatch.setattr(sys.modules[__name__], "MARKS", None)
    with pytest.raises(ConfigurationError, match="No other process can import the kind 'mark'"):
        structures.named()
