"""Which versions of events and states this code reads, and how an older one is lifted to the newest.

To change the shape of an event:

1. Change its class in ``domain/``.
2. Beside it, append to its name in the ``upcasters`` of its kind (``UPCASTERS`` of ``domain/upkeep.py`` for events that
   every kind has) a function that makes a payload of the new version out of one of the version before.

The version that is written is one more than the number of functions, so none can be forgotten: every version from 1 on
is lifted, one at a time. For the shape of a state it is ``state_lifts`` of the kind; there ``None`` says that snapshots
of that version are not read, because a state can be had from the events.

A function is given the fields as they are stored: each value is its JSON bytes (``msgspec.Raw``). What it hands on
untouched comes out byte for byte; what it makes anew may be anything that msgspec writes as JSON.
"""

from __future__ import annotations

from typing import Final

import msgspec

from casty_es.domain import upkeep
from casty_es.domain.catalog import AnyKind, each_kind
from casty_es.domain.decider import Event, Lift
from casty_es.errors import EntityQuarantinedError

CLASSES: Final[dict[str, type[Event]]] = {str(cls.stored_as): cls for cls in upkeep.OF_EVERY_KIND}
"""The class of each event, by its stable name."""

UPCASTERS: Final[dict[str, tuple[Lift, ...]]] = dict(upkeep.UPCASTERS)
"""By event name: the functions that lift version 1 to 2, 2 to 3, and so on."""

VERSIONS: Final[dict[str, int]] = {name: 1 + len(UPCASTERS.get(name, ())) for name in CLASSES}
"""The version that this code writes, by event name."""


@each_kind
def _take(kind: AnyKind) -> None:
    CLASSES.update(kind.events)
    UPCASTERS.update(kind.upcasters)
    VERSIONS.update({name: 1 + len(UPCASTERS.get(name, ())) for name in kind.events})


_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def readable(name: str, version: int) -> bool:
    """Return whether this code reads a version of an event.

    Examples
    --------
    >>> readable("counter.incremented", 1), readable("counter.incremented", 99), readable("counter.unheard_of", 1)
    (True, False, False)
    """
    return 1 <= version <= VERSIONS.get(name, 0)


def state_readable(kind: AnyKind, version: int) -> bool:
    """Return whether this code reads snapshots of a state version: all functions from it on are there."""
    return 1 <= version <= kind.state_version and None not in kind.state_lifts[version - 1 :]


def lift_event(name: str, version: int, payload: str | bytes) -> bytes:
    """Return the payload of an older version as one of the version that this code writes.

    Raises ``EntityQuarantinedError`` if the name or version is not known or a function failed,
    ``msgspec.MsgspecError`` if the payload is no JSON object.
    """
    if name not in VERSIONS:
        raise EntityQuarantinedError(f"The event type {name!r} is not known to this code.")
    if not readable(name, version):
        raise EntityQuarantinedError(
            f"The event type {name!r} has version {version}; this code knows versions 1 to {VERSIONS[name]}."
        )
    return _lifted(f"An event {name!r}", version, UPCASTERS.get(name, ()), payload)


def lift_state(kind: AnyKind, version: int, text: str | bytes) -> bytes:
    """Return the text of a snapshot of an older version as one of the version that this code writes.

    Raises what :func:`lift_event` does.
    """
    if not state_readable(kind, version):
        raise EntityQuarantinedError(
            f"A snapshot of a {kind.name} has state version {version}; this code reads version {kind.state_version}"
            + (" and those that it has functions for." if kind.state_version > 1 else ".")
        )
    return _lifted(f"A snapshot of a {kind.name}", version, kind.state_lifts, text)


def _lifted(what: str, version: int, lifts: tuple[Lift | None, ...], text: str | bytes) -> bytes:
    for number, lift in enumerate(lifts[version - 1 :], start=version):
        assert lift is not None  # noqa: S101 - a version that is read has all of them
        fields = _decode(text)
        try:
            text = _encode(lift(fields))
        except Exception as error:  # a function is given to us; whatever it does, what is stored is not lost
            raise EntityQuarantinedError(
                f"{what} of version {number} cannot be lifted to version {number + 1}: {error!r}."
            ) from error
    return text if isinstance(text, bytes) else text.encode()
