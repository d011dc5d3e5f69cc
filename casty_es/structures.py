"""Structures of one's own: a program's functions, made into a kind like the seven.

A program writes its commands, events and state as frozen msgspec structs, and pure functions over them by the rules in
``domain/decider.py``. What it need not write is added here: upkeep and redaction, a query for the whole state, replies
as JSON. What it must not do is refused here, because a journal keeps it for years: an event that would not come back
equal, a state whose bytes depend on the process that writes them.

Nothing that comes from the wire or out of a database is ever imported: only what whoever runs a process names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec.inspect import AnyType, CustomType, FrozenSetType, SetType, StructType, Type, type_info

from casty_es.config import STRUCTURES_VARIABLE
from casty_es.domain.catalog import CATALOG, register
from casty_es.domain.decider import (
    Command,
    Destroy,
    Event,
    Harmless,
    Internal,
    Kind,
    Lift,
    Query,
    Request,
    Upkeep,
    Warranted,
    taken_by,
)
from casty_es.domain.upkeep import Redact, Redacted, Seal
from casty_es.errors import ConfigurationError, InvalidTypeError, InvalidValueError, RefusedError, UsageError

__all__ = [
    "Command",
    "Destroy",
    "Event",
    "GetState",
    "Kind",
    "Query",
    "RefusedError",
    "kind",
    "load",
    "named",
    "register",
]

C = TypeVar("C", bound=Command[Any])
E = TypeVar("E", bound=Event)
S = TypeVar("S", bound=msgspec.Struct)

_encode: Final = msgspec.json.Encoder().encode


class GetState(Query[Any], frozen=True, gc=False):
    """Ask for the whole state; every kind from outside answers it."""


def kind(
    name: str,
    *,
    initial: S,
    decide: Callable[[S, C], Sequence[E]],
    evolve: Callable[[S, E], S],
    reply: Callable[[C, tuple[E, ...]], object] | None = None,
    answer: Callable[[S, C], object] | None = None,
    upcasters: Mapping[str, tuple[Lift, ...]] = {},
    state_lifts: tuple[Lift | None, ...] = (),
) -> Kind[C, E, S]:
    """Make a kind of a program's functions. It is known once it is registered: ``casty_es.register``.

    Commands and events are the unions that ``decide`` and ``evolve`` are annotated to take. An entity exists while its
    state is another one than ``initial``.

    Parameters
    ----------
    name : str
        What it is called in the journal for ever: 1 to 40 of a-z, 0-9 and _, beginning with a letter.
    initial : S
        The state before the first event.
    decide : Callable[[S, C], Sequence[E]]
        Return the events that a command causes in a state, or none. To refuse it, raise a ``RefusedError``.
    evolve : Callable[[S, E], S]
        Return the state after an event. It never refuses.
    reply : Callable[[C, tuple[E, ...]], object] | None
        Return what the caller of a command with events is told, from these alone; ``None`` without it.
    answer : Callable[[S, C], object] | None
        Return what the caller of a query, or of a command that had nothing to do, is told; ``None`` without it.
    upcasters : Mapping[str, tuple[Lift, ...]]
        By event name, the functions that lift stored fields from version 1 to 2, from 2 to 3, and so on.
    state_lifts : tuple[Lift | None, ...]
        Such functions for the state of snapshots; ``None`` lets snapshots of that version be passed over.

    Returns
    -------
    Kind

    Raises
    ------
    ConfigurationError
        A function does not say what it takes, or a class cannot be stored the way it is. Nothing was made.

    Examples
    --------
    >>> from bank_account import ACCOUNT
    >>> ACCOUNT.name, sorted(ACCOUNT.events)
    ('account', ['account.deposited', 'account.withdrawn', 'entity.redacted'])
    """
    commands = taken_by(name, decide, "a union of commands", Command)
    events = taken_by(name, evolve, "a union of events", Event)
    for cls in (*commands, *events, type(initial)):
        _check(name, cls)
    names = Kind.named(name, (*events, Redacted))
    if unknown := sorted(upcasters.keys() - names.keys()):
        raise ConfigurationError(f"The kind {name!r} has no event {unknown[0]!r} to lift. Nothing was made.")
    own: _Own[S] = _Own(name, initial, decide, evolve, reply, answer)
    return Kind(
        name=name,
        initial=initial,
        decide=own.decide,
        evolve=own.evolve,
        reply=own.reply,
        answer=own.answer,
        exists=own.exists,
        commands=(*commands, GetState, Redact),
        events=names,
        to_snapshot=own.store,
        upcasters=dict(upcasters),
        state_lifts=state_lifts,
        foreign=decide.__module__,
    )


class _Own(msgspec.Struct, Generic[S], frozen=True):
    """A program's functions, with what every kind has besides."""

    name: str
    initial: S
    own_decide: Callable[[S, Any], Sequence[Any]]
    own_evolve: Callable[[S, Any], S]
    own_reply: Callable[[Any, tuple[Any, ...]], object] | None
    own_answer: Callable[[S, Any], object] | None

    def decide(self, state: S, command: Any) -> tuple[Any, ...]:
        if type(command) is Redact:
            return (Redacted(command.reason),)
        if type(command) is GetState:
            return ()
        events = tuple(self.own_decide(state, command))
        if events and isinstance(command, Query):
            raise UsageError(
                f"decide of the kind {self.name!r} gave events for {type(command).__name__}, which is a query. Nothing "
                f"was appended."
            )
        for event in events:
            _check_kept(event, "An event")
        return events

    def evolve(self, state: S, event: Any) -> S:
        if isinstance(event, Upkeep):
            return state
        return self.initial if type(event) is Redacted else self.own_evolve(state, event)

    def reply(self, command: Any, events: tuple[Any, ...]) -> object:
        if type(events[0]) is Redacted:
            return True
        # Who asks later what became of a command has its events alone, and is told that it was done, without a reply.
        return _raw(None if self.own_reply is None or command is None else self.own_reply(command, events))

    def answer(self, state: S, command: Any) -> object:
        if type(command) is GetState:
            return _raw(state)
        return _raw(None if self.own_answer is None else self.own_answer(state, command))

    def exists(self, state: S) -> bool:
        return state != self.initial

    def store(self, state: S) -> msgspec.Raw:
        """Return a state as the JSON of a snapshot, if it comes back from there as it is."""
        return msgspec.Raw(_check_kept(state, "A state"))


def load(names: str | None = None) -> None:
    """Import and register kinds by their names.

    Parameters
    ----------
    names : str | None
        ``MODULE:NAME``, and more after commas; without it, what ``CASTY_ES_STRUCTURES`` says.

    Raises
    ------
    ConfigurationError
        There is no such module, or no kind of that name in it.
    """
    names = os.environ.get(STRUCTURES_VARIABLE, "") if names is None else names
    for spec in filter(None, map(str.strip, names.split(","))):
        if os.getcwd() not in sys.path:  # noqa: PTH109 - as it stands in sys.path; last, so that it hides nothing
            sys.path.append(os.getcwd())  # noqa: PTH109 - likewise
        module, _, attribute = spec.partition(":")
        try:
            found = getattr(import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(
                f"{spec!r} in {STRUCTURES_VARIABLE} names no kind: {error}. Nothing was read. Give MODULE:NAME."
            ) from error
        if not isinstance(found, Kind):
            raise ConfigurationError(f"{spec!r} in {STRUCTURES_VARIABLE} is no kind, but a {type(found).__name__}.")
        register(found)


def named() -> str:
    """Return the registered kinds from outside as :func:`load` takes them, for another process of this program.

    Raises ``ConfigurationError`` if one stands where no other process can import it from.
    """
    specs = []
    for one in CATALOG.values():
        if one.foreign:
            module = sys.modules.get(one.foreign)
            variables = () if module is None or one.foreign == "__main__" else vars(module).items()
            found = next((name for name, value in variables if value is one), None)
            if found is None:
                raise ConfigurationError(
                    f"No other process can import the kind {one.name!r}: it is no variable of the module of its "
                    f"functions, {one.foreign!r}. Nothing was read. Use one process, or put the kind in a module."
                )
            specs.append(f"{one.foreign}:{found}")
    return ",".join(specs)


def _raw(value: object) -> msgspec.Raw:
    try:
        return msgspec.Raw(_encode(value))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InvalidTypeError(f"A reply cannot be written as JSON: {error}.") from error


def _check_kept(said: msgspec.Struct, what: str) -> bytes:
    """Return a struct as JSON, if it comes back from there as it is."""
    try:
        text = _encode(said)
        same = msgspec.json.decode(text, type=type(said)) == said
    except (msgspec.MsgspecError, TypeError, ValueError, NotImplementedError) as error:
        raise InvalidValueError(f"{what} {said!r:.200} cannot be kept: {error}. Nothing was done.") from error
    if not same:
        raise InvalidValueError(f"{what} {said!r:.200} would not come back equal. Nothing was done.")
    return text


def check_command(command: Command[Any], max_bytes: int) -> None:
    """Refuse a command that would not arrive equal, or has more than ``max_bytes`` bytes as JSON."""
    size = len(_check_kept(command, "A command"))
    if size > max_bytes:
        raise InvalidValueError(
            f"{type(command).__name__} has {size} bytes as JSON, and may have {max_bytes}. Nothing was sent."
        )


def _check(name: str, cls: type[Any]) -> None:
    wrong = None
    if not (issubclass(cls, msgspec.Struct) and cls.__struct_config__.frozen and not cls.__struct_config__.array_like):
        wrong = "is no frozen msgspec.Struct that is written as an object"
    elif taken := _OURS.intersection(cls.__struct_fields__):
        wrong = f"has a field {min(taken)!r}, which means something else in every command or event"
    elif cls.__name__ in {GetState.__name__, Redact.__name__, Seal.__name__}:
        wrong = "is called as a command that every kind has"
    elif issubclass(cls, Upkeep | Redacted | Request | Harmless | Internal | Warranted):
        wrong = "is derived from something else than Command, Query or Event"
    else:
        try:
            unfit = next((part for part in _parts(type_info(cls), set()) if isinstance(part, _UNFIT)), None)
        except (TypeError, NameError) as error:
            wrong = f"has a field that JSON cannot hold: {error}"
        else:
            if unfit is not None:
                wrong = (
                    f"has a field of type {type(unfit).__name__.removesuffix('Type').lower()}: a set has another order "
                    f"in every process, and what has no type does not come back as it was; use a tuple or a dict"
                )
    if wrong is not None:
        raise ConfigurationError(f"{cls.__name__} of the kind {name!r} {wrong}. Nothing was made.")


_OURS: Final = frozenset(("alive", "stored_as", "relieves", "essence", "made_by"))
_UNFIT: Final = (SetType, FrozenSetType, AnyType, CustomType)


def _parts(part: Any, seen: set[type]) -> Iterator[Type]:
    """Yield a type and those that its values are made of."""
    yield part
    if isinstance(part, StructType):
        if part.cls in seen:
            return
        seen.add(part.cls)
    inner = [getattr(part, field) for field in getattr(part, "__struct_fields__", ())]
    for one in inner:
        for each in one if isinstance(one, tuple) else (one,):
            found = getattr(each, "type", each)  # of a field of a struct, its type
            if isinstance(found, Type):
                yield from _parts(found, seen)
