"""Events and states as tagged, versioned JSON; commands, replies and errors as they go from node to node.

1. An event is stored under a stable name and the version of its payload's shape; a state under its structure's state
   version. The names are in ``domain/catalog.py``; nothing that is read is ever imported, evaluated or unpickled.
2. An older version is lifted, one version at a time, by the functions that ``upcasting.py`` has for it.
3. What is not known is an ``EntityQuarantinedError``: never skipped, never deleted.
4. A command travels as its class's name and JSON (``commands.py`` reads it), a reply as one byte that says what it is
   and JSON. Both are looked up in closed tables.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from casty_es.domain.barrier import Round
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Command, Concluded, Event, Kind, Upkeep, Value
from casty_es.domain.lock import Holder
from casty_es.domain.semaphore import Usage
from casty_es.errors import CastyError, EntityQuarantinedError, InvalidTypeError, InvalidValueError, RedactedError
from casty_es.format.codec_errors import decode_error, encode_error
from casty_es.format.redacted import redacted_digest
from casty_es.format.upcasting import CLASSES, VERSIONS, lift_event, lift_state

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

_NAMES: Final = {cls: (name, VERSIONS[name]) for name, cls in CLASSES.items()}
_DECODERS: Final = {(name, VERSIONS[name]): msgspec.json.Decoder(cls).decode for name, cls in CLASSES.items()}
_STATES: Final = {kind.name: msgspec.json.Decoder(kind.snapshot).decode for kind in CATALOG.values()}


# The reply of each type by its tag; the last is what a user's value is without its declared type.
_REPLIES: Final[list[tuple[bytes, Any, tuple[type, ...]]]] = [
    (b"i", int, (int,)),
    (b"b", bool, (bool,)),
    (b"n", None, (type(None),)),
    (b"s", str, (str,)),
    (b"v", Value, (Value,)),
    (b"t", tuple[str, ...], (tuple,)),
    (b"h", Holder, (Holder,)),
    (b"u", Usage, (Usage,)),
    (b"r", Round, (Round,)),
    (b"j", Any, (dict, list, float)),
]
_REPLY_TAGS: Final = {cls: tag for tag, _, classes in _REPLIES for cls in classes}
_REPLY_DECODERS: Final = {tag[0]: msgspec.json.Decoder(type_).decode for tag, type_, _ in _REPLIES}
_encode: Final = msgspec.json.Encoder().encode

# What decoding raises for what is no JSON of the right shape, or no text at all: a database can hold anything.
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, TypeError, ValueError)


def encode_event(event: Event) -> tuple[str, int, str]:
    """Return an event's stable name, the version of its payload, and the payload as JSON text."""
    name, version = _NAMES[type(event)]
    return name, version, _encode(event).decode()


def decode_event(name: str, version: int, payload: str | bytes) -> Event:
    """Return the event that was stored under this name and version.

    Raises
    ------
    EntityQuarantinedError
        The name or version is not known to this code, or the payload does not fit it.
    RedactedError
        The payload was redacted.
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


def encode_state(kind: Kind[Any, Any, Any], state: object) -> str:
    """Return a state as the JSON text of a snapshot."""
    return _encode(kind.to_snapshot(state)).decode()


def decode_state(kind: Kind[Any, Any, Any], version: int, text: str | bytes) -> object:
    """Return the state that a snapshot holds.

    Raises
    ------
    EntityQuarantinedError
        The snapshot has a version that this code does not read, or does not have the state's shape.
    """
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

    Raises
    ------
    InvalidTypeError
        No caller is ever told something of this type.

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
    """Return the reply that :func:`encode_reply` wrote, equal to what it was.

    Raises
    ------
    InvalidValueError
        These bytes are no reply.
    """
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
    """Return what the caller of a command was told whose event changed nothing.

    Raises
    ------
    InvalidValueError
        The event does not hold a reply that this code knows.
    """
    return decode_reply(event.tag.encode() + bytes(event.reply)) if isinstance(event, Concluded) else None


def _lifted(name: str, version: int, payload: str | bytes) -> Event:
    """Return the event of an older version; none was ever written that looks like what is left of a redacted one."""
    if redacted_digest(payload) is not None:
        raise _redacted(name)
    lifted = lift_event(name, version, payload)
    return _DECODERS[name, VERSIONS[name]](lifted)


def _redacted(name: str) -> RedactedError:
    return RedactedError(
        f"The value in this event {name!r} was redacted: only its digest is kept. Nothing can bring it back."
    )
