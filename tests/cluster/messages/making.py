"""Messages with one field that is wrong, and all others as they should be."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, get_args
from uuid import UUID, uuid4

import msgspec

from casty_es.commands import SENDABLE
from casty_es.replay import Then
from casty_es.transport.wire import Ask, FindOutcome, FindShards, Locate, ReadHistory, ReadPast, Recall, Request

from .limits import COMMANDS, FIELDS, HEX, REQUEST, Row, as_json

__all__ = ["GOOD", "REQUESTS", "Places", "Wrong", "ask_of", "body_of", "every", "fields_of", "good", "random_ones"]

REQUESTS: Final[tuple[type[msgspec.Struct], ...]] = get_args(Request)

Places: TypeAlias = Mapping[str, tuple[int, int]]
"""By kind, the slot of its structure and the term that it is held under: what is sent there could be done."""

NOWHERE: Final[Places] = dict.fromkeys(SENDABLE, (0, 1))

# By its name, what a field of a command holds when it is right.
GOOD: Final[dict[str, Any]] = {
    "amount": 1,
    "value": 1,
    "taken": REQUEST,
    "owner": "an owner",
    "request": REQUEST,
    "requests": [REQUEST],
    "permits": 1,
    "keep_grant": False,
    "participant": "somebody",
    "digest": HEX,
    "expected": 1,
    "through": 1,
    "events": 1,
    "rows": HEX,
    "state": HEX,
    "archive": "a.jsonl.gz",
    "archive_sha256": HEX,
    "reason": "because",
}


class Wrong(NamedTuple):
    """A request with a wrong field, as what is encoded, and what is wrong with it."""

    what: str
    message: list[Any]


def fields_of(kind: str, command: str) -> tuple[str, ...]:
    """Return the fields of a command."""
    return SENDABLE[kind][command].__struct_fields__


def body_of(kind: str, command: str, **other: object) -> bytes:
    """Write a command as JSON; a field that may be left out is, unless it is given."""
    given = {name: GOOD[name] for name in fields_of(kind, command) if name in GOOD} | other
    members = [msgspec.json.encode(name) + b":" + bytes(as_json(value)) for name, value in given.items()]
    return b"{" + b",".join(members) + b"}"


def ask_of(kind: str, command: str, body: bytes, places: Places = NOWHERE) -> list[Any]:
    """Make a command's message, as a list that can hold anything."""
    key = "s:k" if kind == "map" else ""
    # A request is called after its command; any other command has an id of its own.
    command_id = UUID(REQUEST) if "request" in fields_of(kind, command) else uuid4()
    where = [*places[kind], kind, "victim", key, 100]
    return [1, *where, command, body, command_id.bytes, 5.0, False, None, None, None]


def good(cls: type[msgspec.Struct], kind: str, places: Places = NOWHERE) -> list[Any]:
    """Make a message in which nothing is wrong."""
    entity = [kind, "victim", "s:k" if kind == "map" else ""]
    command = {"map": ("Put", b'{"value":1}'), "counter": ("Increment", b'{"amount":1}')}[kind]
    slot, term = places[kind]
    made: dict[type[msgspec.Struct], list[Any]] = {
        Ask: ask_of(kind, *command, places),
        Locate: [2, slot, None],
        FindShards: [3, kind, "victim"],
        FindOutcome: [5, kind, slot, 0, term, UUID(REQUEST).bytes],
        ReadHistory: [6, *entity, 0, None, 10],
        ReadPast: [7, *entity, "Get", b"{}", list(msgspec.structs.astuple(Then()))],
        Recall: [9, [slot]],
    }
    return made[cls]


_Maker: TypeAlias = Callable[[object], Wrong]


def _in_message(places: Places, cls: type[msgspec.Struct], field: str, kind: str, value: object) -> Wrong:
    message = good(cls, kind, places)
    message[1 + cls.__struct_fields__.index(field)] = value
    return Wrong(f"{cls.__name__}.{field} = {value!r:.80} of a {kind}", message)


def _in_command(places: Places, kind: str, command: str, field: str, value: object) -> Wrong:
    message = ask_of(kind, command, body_of(kind, command, **{field: value}), places)
    return Wrong(f"{command}.{field} = {value!r:.80} of a {kind}", message)


def _makers(places: Places) -> list[tuple[Row, _Maker]]:
    """Return every field of every request and command, with what makes a wrong request of a value."""
    messages = [
        (FIELDS[cls, field], partial(_in_message, places, cls, field, kind))
        for cls in REQUESTS
        for field in cls.__struct_fields__
        for kind in (("map",) if field == "key" else ("map", "counter"))
    ]
    commands = [
        (COMMANDS[command, field], partial(_in_command, places, kind, command, field))
        for kind, names in SENDABLE.items()
        for command in names
        for field in fields_of(kind, command)
    ]
    return messages + commands


def every(places: Places = NOWHERE) -> Iterator[Wrong]:
    """Yield every field of every request and command with every value that is always tried."""
    for row, make in _makers(places):
        for value in row.wrong:
            yield make(value)


def random_ones(rng: random.Random, places: Places) -> Iterator[Wrong]:
    """Yield wrong requests without end."""
    makers = _makers(places)
    while True:
        row, make = rng.choice(makers)
        yield make(row.more(rng))
