"""The structures by name. What is not in here does not exist, whatever the database or a peer says.

There is one door, for the seven and for those of programs: :func:`register`. Whoever keeps tables of what kinds have
makes them with :func:`each_kind`, which goes through the kinds that are here and through those that come later.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from casty_es.domain.barrier import BARRIER
from casty_es.domain.counter import COUNTER
from casty_es.domain.decider import Kind
from casty_es.domain.flag import FLAG
from casty_es.domain.lock import LOCK
from casty_es.domain.map_entry import MAP
from casty_es.domain.queue import QUEUE
from casty_es.domain.semaphore import SEMAPHORE
from casty_es.domain.set import SET
from casty_es.domain.upkeep import Redacted
from casty_es.errors import ConfigurationError, InvalidTypeError

AnyKind: TypeAlias = Kind[Any, Any, Any]

BUILT_IN: Final[tuple[AnyKind, ...]] = (COUNTER, MAP, SET, QUEUE, LOCK, SEMAPHORE, BARRIER, FLAG)
"""The kinds that are always there."""

CATALOG: Final[dict[str, AnyKind]] = {}

KEYED: Final[set[str]] = set()
"""The kinds whose structures are no entities: each of their keys is."""

# Short enough for what travels beside it (``bounds.Kind``); SQL and the command line take it as it is.
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
# What the names of events begin with that belong to no kind.
_TAKEN: Final = frozenset(("entity", "command", "lease"))

_takers: Final[list[Callable[[AnyKind], None]]] = []


def register(kind: AnyKind) -> None:
    """Let a kind be one that this process knows: before anything of it is opened, on every node that is to own it.

    Registering the same kind again changes nothing.

    Parameters
    ----------
    kind : Kind
        The structure.

    Raises
    ------
    InvalidTypeError
        It is no kind.
    ConfigurationError
        Its name cannot be one, or is another kind's; two of its commands or events have one name. Nothing was
        registered.
    """
    if not isinstance(kind, Kind):
        raise InvalidTypeError(f"register takes a kind, not {type(kind).__name__}. Nothing was registered.")
    if CATALOG.get(kind.name) is kind:
        return
    _check(kind)
    CATALOG[kind.name] = kind
    if kind.keyed:
        KEYED.add(kind.name)
    for take in _takers:
        take(kind)


def each_kind(take: Callable[[AnyKind], None]) -> Callable[[AnyKind], None]:
    """Call a function for every kind: for each that is registered, now, and for each later one as it comes."""
    _takers.append(take)
    for kind in CATALOG.values():
        take(kind)
    return take


def kind_of(name: str) -> AnyKind:
    """Return the kind of this name; ``ConfigurationError`` if this process does not know it."""
    try:
        return CATALOG[name]
    except KeyError:
        raise ConfigurationError(
            f"There is no structure of kind {name[:80]!a} here; there are {', '.join(CATALOG)}. Nothing was done. If "
            f"it is a program's own, register it (casty_es.register)."
        ) from None


def _check(kind: AnyKind) -> None:
    wrong = None
    commands = [command.__name__ for command in kind.commands]
    if not _NAME.fullmatch(kind.name) or kind.name in _TAKEN:
        wrong = f"its name is not 1 to 40 of a-z, 0-9 and _, beginning with a letter, and none of {sorted(_TAKEN)}"
    elif kind.name in CATALOG:
        wrong = "another kind of that name is registered"
    elif len(set(commands)) < len(commands):
        wrong = "two of its commands have the same name"
    elif foreign := [name for name, cls in kind.events.items() if not _own(kind, name, cls)]:
        wrong = f"its event {foreign[0]!r} is not called after the kind"
    if wrong is not None:
        raise ConfigurationError(f"The kind {kind.name[:80]!a} cannot be registered: {wrong}. Nothing was registered.")


def _own(kind: AnyKind, name: str, cls: type[Any]) -> bool:
    return name.partition(".")[0] == kind.name or cls is Redacted


for _kind in BUILT_IN:
    register(_kind)
