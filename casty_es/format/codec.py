"""Events and states as tagged, versioned JSON; commands, replies and errors as they go from node to node.

1. An event is stored under a stable name and the version of its payload's shape; a state under its structure's state
   version. The names are in ``domain/catalog.py``; nothing that is read is ever imported, evaluated or unpickled.
2. An older version is lifted, one version at a time, by the functions that ``upcasting.py`` has for it.
3. What is not known is an ``EntityQuarantinedError``: never skipped, never deleted.
4. A command travels as its class's name and JSON (``commands.py`` reads it), a reply as one byte that says what it is
   and JSON. Both are looked up in closed tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import msgspec

from casty_es.domain.catalog import AnyKind, each_kind
from casty_es.domain.decider import Command, Concluded, Event, Upkeep, Value
from casty_es.domain.upkeep import OF_EVERY_KIND
from casty_es.errors import (
    CastyError,
    EntityQuarantinedError,
    InvalidTypeError,
    InvalidValueError,
    RedactedError,
    UsageError,
)
from casty_es.format.codec_errors import decode_error, encode_error
from casty_es.format.redacted import redacted_digest
from casty_es.format.upcasting import VERSIONS, lift_event, lift_state

__all__ = [
    "concluded",
    "decode_error",
    "decode_event",
    "decode_reply",
    "decode_state",
    "encode_command",
    "encode_error",
    "encode_event",
    "encode_reply",
    "encode_state",
    "upkeep_reply",
]

_Decode: TypeAlias = Callable[[str | bytes], Any]

# By class, by name and version, and by kind: what is made for every command and every event is one look into a table.
_NAMES: Final[dict[type[Event], tuple[str, int]]] = {}
_DECODERS: Final[dict[tuple[str, int], _Decode]] = {}
_STATES: Final[dict[str, _Decode]] = {}
_REPLY_TAGS: Final[dict[type, bytes]] = {}
_REPLY_DECODERS: Final[dict[int, _Decode]] = {}
_encode: Final = msgspec.json.Encoder().encode


def _take_events(events: Iterable[tuple[str, type[Event]]]) -> None:
    for name, cls in events:
        _NAMES[cls] = (name, VERSIONS[name])
        _DECODERS[name, VERSIONS[name]] = msgspec.json.Decoder(cls).decode


def _take_reply(tag: str, type_: Any, *classes: type) -> None:
    _REPLY_TAGS.update(dict.fromkeys(classes or (type_,), tag.encode()))
    _REPLY_DECODERS[ord(tag)] = msgspec.json.Decoder(type_).decode


@each_kind
def _take(kind: AnyKind) -> None:
    _take_events(kind.events.items())
    _STATES[kind.name] = msgspec.json.Decoder(kind.snapshot).decode
    for tag, cls in kind.replies.items():
        _take_reply(tag, cls)


_take_events((str(cls.stored_as), cls) for cls in OF_EVERY_KIND)
# What any kind may reply; the last is what a user's value is without its declared type.
for _tag, _type, *_classes in (
    ("i", int),
    ("b", bool),
    ("n", None, type(None)),
    ("s", str),
    ("v", Value),
    ("t", tuple[str, ...], tuple),
    ("j", Any, dict, list, float),
):
    _take_reply(_tag, _type, *_classes)

# What decoding raises for what is no JSON of the right shape, or no text at all: a database can hold anything.
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, TypeError, ValueError)


def encode_event(event: Event) -> tuple[str, int, str]:
    """Return an event's stable name, the version of its payload, and the payload as JSON text."""
    try:
        name, version = _NAMES[type(event)]
    except KeyError:
        raise UsageError(
            f"No registered kind has an event {type(event).__name__!r}: the union that `evolve` takes lacks it. "
            f"Nothing was appended. Add the class to that union, and to `evolve` what it means."
        ) from None
    return name, version, _encode(event).decode()


def decode_event(name: str, version: int, payload: str | bytes) -> Event:
    """Return the event that was stored under this name and version.

    Raises ``EntityQuarantinedError`` for what this code does not know or cannot read, ``RedactedError`` for a
    payload that was redacted.
    """
    try:
        decoder = _DECODERS.get((name, version))
        return decoder(payload) if decoder is not None else _lifted(name, version, payload)
    except _UNREADABLE as error:
        if isinstance(error, CastyError):
            raise
        if redacted_digest(payload) is not None:
            raise _redacted(name) from error
        raise EntityQuarantinedError(
            f"The payload of an event {name!r}, version {version}, does not have that event's shape: {error}."
        ) from error


def encode_state(kind: AnyKind, state: object) -> str:
    """Return a state as the JSON text of a snapshot."""
    return _encode(kind.to_snapshot(state)).decode()


def decode_state(kind: AnyKind, version: int, text: str | bytes) -> object:
    """Return the state that a snapshot holds; ``EntityQuarantinedError`` if this code cannot read it."""
    try:
        if version != kind.state_version:
            text = lift_state(kind, version, text)
        return kind.from_snapshot(_STATES[kind.name](text))
    except (*_UNREADABLE, LookupError, AttributeError) as error:
        if isinstance(error, CastyError):
            raise
        raise EntityQuarantinedError(
            f"A snapshot of a {kind.name} does not have the state's shape: {error}."
        ) from error


def encode_command(command: Command) -> tuple[str, bytes]:
    """Return the name of a command's class, and the command as JSON."""
    return type(command).__name__, _encode(command)


def encode_reply(reply: object) -> bytes:
    """Return what a caller is told as a byte that says what it is, and JSON.

    Examples
    --------
    >>> encode_reply(5), encode_reply(None), encode_reply(msgspec.Raw(b"null"))
    (b'i5', b'nnull', b'vnull')
    """
    tag = _REPLY_TAGS.get(type(reply))
    if tag is None:
        raise InvalidTypeError(f"A reply of type {type(reply).__name__} cannot be written down.")
    return tag + _encode(reply)


def decode_reply(body: bytes) -> Any:
    """Return the reply that :func:`encode_reply` wrote, equal to what it was, or ``InvalidValueError``."""
    try:
        if not body.isascii():
            body.decode()
        return _REPLY_DECODERS[body[0]](body[1:])
    except (LookupError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"{bytes(body[:80])!r} is not a reply that this code knows: {error!r}.") from error


def concluded(reply: object) -> Concluded:
    """Return the event of a command that has a key and nothing to do, and whose caller is told this."""
    body = encode_reply(reply)
    return Concluded(chr(body[0]), Value(body[1:]))


def upkeep_reply(event: Upkeep) -> Any:
    """Return what the caller of a command was told whose event changed nothing, or ``InvalidValueError``."""
    return decode_reply(event.tag.encode() + bytes(event.reply)) if isinstance(event, Concluded) else None


def _lifted(name: str, version: int, payload: str | bytes) -> Event:
    """Return the event of an older version; none was ever written that looks like what is left of a redacted one."""
    if redacted_digest(payload) is not None:
        raise _redacted(name)
    lifted = lift_event(name, version, payload)
    event: Event = _DECODERS[name, VERSIONS[name]](lifted)
    return event


def _redacted(name: str) -> RedactedError:
    return RedactedError(
        f"The value in this event {name!r} was redacted: only its digest is kept. Nothing can bring it back."
    )
