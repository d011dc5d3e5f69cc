"""Testing a structure of one's own without a database: given what happened, when a command comes, then this happens."""

from __future__ import annotations

from typing import Any, Self

import msgspec

from casty_es.domain.catalog import CATALOG, AnyKind
from casty_es.domain.decider import Command, Event
from casty_es.errors import CastyError, UsageError
from casty_es.format.codec import decode_event, decode_state, encode_event, encode_state

__all__ = ["Given", "Then", "given"]


def given(*events: Event) -> Given:
    """Begin with what happened before.

    Events go through their JSON, and states through a snapshot's, as in a journal. A ``decide`` or ``evolve`` that
    changes the state it is given, instead of returning another, is an ``AssertionError``.

    Parameters
    ----------
    events : Event
        In order; none for a structure that nobody has changed.

    Returns
    -------
    Given

    Examples
    --------
    >>> from casty_es.testing import given
    >>> from bank_account import Deposit, Deposited, RefusedError, Withdraw
    >>> _ = given(Deposited(50, 50)).when(Deposit(7)).then(Deposited(7, 57)).replies(57)
    >>> _ = given(Deposited(50, 50)).when(Withdraw(51)).then(RefusedError)
    """
    return Given(events)


class Given:
    """What happened before; see :func:`given`."""

    def __init__(self, events: tuple[Event, ...]) -> None:
        self._events = events

    def when(self, command: Command[Any]) -> Then:
        """Decide a command after that.

        Raises
        ------
        UsageError
            No kind that is registered has the command.
        """
        kind = next((kind for kind in CATALOG.values() if type(command) in kind.commands), None)
        if kind is None:
            raise UsageError(
                f"No registered kind has the command {type(command).__name__}. Register its kind: casty_es.register(…)."
            )
        state = kind.initial
        for event in self._events:
            state = _after(kind, state, event)
        return Then(kind, state, command)


class Then:
    """What a command caused; see :func:`given`."""

    def __init__(self, kind: AnyKind, state: Any, command: Command[Any]) -> None:
        before = encode_state(kind, state)
        self._refusal: CastyError | None = None
        self._events: tuple[Event, ...] = ()
        try:
            self._events = kind.decide(state, command)
        except CastyError as error:
            self._refusal = error
        self._reply = kind.reply(command, self._events) if self._events else None
        if not self._events and self._refusal is None:
            self._reply = kind.answer(state, command)
        assert encode_state(kind, state) == before, f"Deciding {command!r} changed the state that it was given."
        for event in self._events:
            state = _after(kind, state, event)
        self._command = command

    def then(self, *expected: Event | type[CastyError]) -> Self:
        """Check what the command caused: these events in this order, none, or an error of this class.

        Raises
        ------
        AssertionError
            It caused something else.
        """
        got = self._events if self._refusal is None else self._refusal
        if len(expected) == 1 and isinstance(expected[0], type):
            assert isinstance(got, expected[0]), f"{self._command!r} caused {got!r}, not a {expected[0].__name__}."
        else:
            assert got == expected, f"{self._command!r} caused {got!r}, not {expected!r}."
        return self

    def replies(self, expected: object) -> Self:
        """Check what the caller is told, as JSON has it.

        Raises
        ------
        AssertionError
            It is told something else, or the command was refused.
        """
        assert self._refusal is None, f"{self._command!r} was refused: {self._refusal}"
        told = msgspec.json.decode(msgspec.json.encode(self._reply))
        wanted = msgspec.json.decode(msgspec.json.encode(expected))
        assert told == wanted, f"{self._command!r} is told {told!r}, not {wanted!r}."
        return self


def _after(kind: AnyKind, state: Any, event: Event) -> Any:
    before = encode_state(kind, state)
    after = kind.evolve(state, decode_event(*encode_event(event)))
    assert encode_state(kind, state) == before, f"Evolving by {event!r} changed the state that it was given."
    return decode_state(kind, kind.state_version, encode_state(kind, after))
