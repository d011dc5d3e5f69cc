"""Events and states as tagged, versioned JSON.

1. An event is stored under a stable name and the version of its payload's shape; a state under its structure's state
   version. The names are in ``domain/catalog.py``; nothing that is read is ever imported, evaluated or unpickled.
2. An older version is lifted, one version at a time, by the upcaster registered for it in ``UPCASTERS``.
3. What is not known is an ``EntityQuarantinedError``: never skipped, never deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Event, Kind
from casty_es.errors import EntityQuarantinedError

__all__ = ["UPCASTERS", "VERSIONS", "decode_event", "decode_state", "encode_event", "encode_state"]

VERSIONS: Final[dict[str, int]] = {name: 1 for kind in CATALOG.values() for name in kind.events}
"""The version that this code writes, by event name."""

UPCASTERS: Final[dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""By event name and version: the function that turns a payload of that version into one of the next."""

_NAMES: Final = {cls: (name, VERSIONS[name]) for kind in CATALOG.values() for name, cls in kind.events.items()}
_CLASSES: Final = {name: cls for kind in CATALOG.values() for name, cls in kind.events.items()}
_DECODERS: Final = {
    (name, VERSIONS[name]): msgspec.json.Decoder(cls).decode
    for kind in CATALOG.values()
    for name, cls in kind.events.items()
}
_STATES: Final = {kind.name: msgspec.json.Decoder(kind.snapshot).decode for kind in CATALOG.values()}
_encode: Final = msgspec.json.Encoder().encode


def encode_event(event: Event) -> tuple[str, int, str]:
    """Give an event's stable name, the version of its payload, and the payload as JSON text."""
    name, version = _NAMES[type(event)]
    return name, version, _encode(event).decode()


def decode_event(name: str, version: int, payload: str | bytes) -> Event:
    """Give the event that was stored under this name and version.

    Raises
    ------
    EntityQuarantinedError
        The name or version is not known to this code, or the payload does not fit it.
    """
    try:
        decoder = _DECODERS.get((name, version))
        return decoder(payload) if decoder is not None else _upcast(name, version, payload)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise EntityQuarantinedError(
            f"The payload of an event {name!r}, version {version}, does not have that event's shape: {error}."
        ) from error


def encode_state(kind: Kind[Any, Any, Any], state: object) -> str:
    """Give a state as the JSON text of a snapshot."""
    return _encode(kind.to_snapshot(state)).decode()


def decode_state(kind: Kind[Any, Any, Any], version: int, text: str | bytes) -> object:
    """Give the state that a snapshot holds.

    Raises
    ------
    EntityQuarantinedError
        The snapshot was written by another version of the code, or does not have the state's shape.
    """
    if version != kind.state_version:
        raise EntityQuarantinedError(
            f"A snapshot of a {kind.name} has state version {version}; this code reads version {kind.state_version}."
        )
    try:
        return kind.from_snapshot(_STATES[kind.name](text))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise EntityQuarantinedError(
            f"A snapshot of a {kind.name} does not have the state's shape: {error}."
        ) from error


def _upcast(name: str, version: int, payload: str | bytes) -> Event:
    if name not in VERSIONS:
        raise EntityQuarantinedError(f"The event type {name!r} is not known to this code.")
    if not 1 <= version < VERSIONS[name]:
        raise EntityQuarantinedError(
            f"The event type {name!r} has version {version}; this code knows versions 1 to {VERSIONS[name]}."
        )
    fields: dict[str, Any] = msgspec.json.decode(payload, type=dict[str, Any])
    while version < VERSIONS[name]:
        try:
            fields = UPCASTERS[name, version](fields)
        except Exception as error:  # an upcaster is given to us; whatever it does, the event is not lost
            raise EntityQuarantinedError(
                f"An event {name!r} of version {version} cannot be lifted to version {version + 1}: {error!r}."
            ) from error
        version += 1
    event: Event = msgspec.convert(fields, _CLASSES[name])
    return event
