"""What a node or a client is made with, checked before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable
from ssl import SSLContext
from typing import Final, NamedTuple
from uuid import UUID

from casty_es import addresses
from casty_es.access import Token, check_secret, parse_token
from casty_es.config import Settings
from casty_es.domain.catalog import CATALOG
from casty_es.errors import ConfigurationError, InvalidArgumentError, InvalidTypeError, Sent
from casty_es.journal.port import EventJournal
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import database_url
from casty_es.names import check_sequence, check_text
from casty_es.printing import printed

_LARGEST_PORT: Final = 65_535
_DIGITS: Final = len(str(_LARGEST_PORT))
_LONGEST_HOST: Final = 253  # a name in the DNS
_LONGEST_ADDRESS: Final = _LONGEST_HOST + _DIGITS + len("[]:")
HOST_VARIABLE: Final = "CASTY_ES_HOST"
PORT_VARIABLE: Final = "CASTY_ES_PORT"
ADVERTISE_VARIABLE: Final = "CASTY_ES_ADVERTISE"
_CLOCKS: Final = ("now", "new_id", "salt", "offload")
# A holder takes its lease for lost when two thirds of it have passed without an answer, and an owner that fell silent
# is replaced when its session has ended: below this, every such end takes all locks and permits with it.
SESSIONS_PER_LEASE = 1.5


class Place(NamedTuple):
    """What was said of where a node listens."""

    host: str | None  # the address or name to listen at; ``None`` where nothing was said of it
    port: int  # the port; 0 for a free one
    # The host, or host and port, at which others reach the node; ``None`` when that is where it listens.
    advertise: str | tuple[str, int] | None


def check_system(
    *, journal: object, secret: object, ssl: object, session_url: object, settings: object, runtime: object
) -> None:
    """Refuse what a node cannot be made with, and settings that contradict each other."""
    if journal is not None and (isinstance(journal, type) or not isinstance(journal, EventJournal)):
        raise InvalidTypeError(
            f"journal must be an EventJournal such as SqlJournal(url), not {type(journal).__name__}. "
            f"Nothing was started."
        )
    if secret is not None:
        check_secret(secret)
    if ssl is not None and not (
        isinstance(ssl, tuple) and [isinstance(one, SSLContext) for one in ssl] == [True, True]
    ):
        raise InvalidTypeError(
            f"ssl must be two SSLContexts, for connections that come in and that go out, not {type(ssl).__name__}. "
            f"Nothing was started."
        )
    if session_url is not None:
        database_url(session_url)  # type: ignore[arg-type]
    _check_common(settings, runtime)
    if isinstance(journal, SqlJournal) and journal.file is None:
        _check_lease(settings if isinstance(settings, Settings) else Settings())


def check_client(
    *, contact_points: object, secret: object, token: object, ssl: object, settings: object, runtime: object
) -> tuple[list[str], bytes | Token]:
    """Return the addresses of the contact points and what to prove oneself by, of which there must be one."""
    points = [_address(point) for point in contact_points] if isinstance(contact_points, Iterable) else []
    if not points:
        raise InvalidArgumentError(
            f"A client needs contact points such as [('10.0.0.5', 7400)], not {printed(contact_points)}. "
            f"Nothing was started."
        )
    if (secret is None) is (token is None):
        raise ConfigurationError(
            "A client needs the cluster's secret or a token, and not both. Nothing was started. Give token= with what "
            "`casty-es token create` printed, or secret=."
        )
    credential = check_secret(secret) if token is None else parse_token(token)
    if ssl is not None and not isinstance(ssl, SSLContext):
        raise InvalidTypeError(f"ssl must be an SSLContext, not {type(ssl).__name__}. Nothing was started.")
    _check_common(settings, runtime)
    return points, credential


def check_question(command_id: object, sent: object, slots: int | None = None) -> None:
    """Refuse to look for what cannot be a command, or went nowhere."""
    if not isinstance(command_id, UUID) or not isinstance(sent, Sent):
        raise InvalidTypeError(
            f"outcome takes the error's command_id and sent, not {type(command_id).__name__} and "
            f"{type(sent).__name__}. Nothing was read."
        )
    if check_text(sent.kind, "kind", _LONGEST_HOST) not in CATALOG:
        raise InvalidArgumentError(f"There is no structure of kind {printed(sent.kind)}. Nothing was read.")
    for name in ("slot", "after", "term"):
        check_sequence(getattr(sent, name), name)
    if slots is not None and sent.slot >= slots:
        raise InvalidArgumentError(f"The journal has {slots} slots, and no slot {sent.slot}. Nothing was read.")


def _check_common(settings: object, runtime: object) -> None:
    if settings is not None and not isinstance(settings, Settings):
        raise InvalidTypeError(f"settings must be Settings(…), not {type(settings).__name__}. Nothing was started.")
    if runtime is not None and not all(callable(getattr(runtime, name, None)) for name in _CLOCKS):
        raise InvalidTypeError(
            f"runtime must have the methods {', '.join(_CLOCKS)}; a {type(runtime).__name__} has not. Nothing was "
            f"started."
        )


def _check_lease(settings: Settings) -> None:
    if settings.lease_seconds < SESSIONS_PER_LEASE * settings.session_seconds:
        raise ConfigurationError(
            f"lease_seconds is {settings.lease_seconds:g}, and session_seconds {settings.session_seconds:g}: when a "
            f"node falls silent, every lock and permit would be lost before another takes over. Nothing was started. "
            f"Make lease_seconds at least {SESSIONS_PER_LEASE:g} times session_seconds."
        )


def check_place(host: object, port: object, advertise: object) -> Place:
    """Return where a node is to listen and to be reached, from the environment what is ``None``."""
    host, host_name = _said(host, "host", HOST_VARIABLE)
    port, port_name = _said(port, "port", PORT_VARIABLE)
    if port_name == PORT_VARIABLE and str(port).isascii() and str(port).isdecimal() and len(str(port)) <= _DIGITS:
        port = int(str(port))
    advertise, advertise_name = _said(advertise, "advertise", ADVERTISE_VARIABLE)
    return Place(
        None if host is None else check_text(host, host_name, _LONGEST_HOST),
        0 if port is None else _port(port, port_name),
        None if advertise is None else _advertised(advertise, advertise_name),
    )


def _said(given: object, name: str, variable: str) -> tuple[object, str]:
    """Return what was given, or what the environment says in place of it, and what an error calls that."""
    if given is not None:
        return given, name
    text = os.environ.get(variable)
    return (text, variable) if text else (None, name)  # what is empty says nothing


def _advertised(given: object, what: str) -> str | tuple[str, int]:
    if isinstance(given, tuple):
        place: object = given
    else:
        place = addresses.advertised(check_text(given, what, _LONGEST_ADDRESS))
        if isinstance(place, str):
            return _reachable(place, what)
    if not isinstance(place, tuple) or len(place) != 2:  # noqa: PLR2004 - a host and a port
        raise InvalidArgumentError(
            f"{what} is a host, or a host and a port, not {printed(given)}. Nothing was started."
        )
    return _reachable(place[0], what), _port(place[1], f"the port of {what}", lowest=1)


def _reachable(host: object, what: str) -> str:
    name = check_text(host, f"the host of {what}", _LONGEST_HOST)
    if addresses.is_wildcard(name):
        raise InvalidArgumentError(
            f"{what} is {printed(name)}, which stands for every address of a host. Nothing was started. Give one that "
            f"others reach."
        )
    return name


def _port(port: object, what: str, *, lowest: int = 0) -> int:
    if isinstance(port, bool) or not isinstance(port, int):
        raise InvalidTypeError(f"{what} must be an int, not {type(port).__name__}. Nothing was started.")
    if not lowest <= int.__int__(port) <= _LARGEST_PORT:
        raise InvalidArgumentError(
            f"{what} must be from {lowest} to {_LARGEST_PORT}, not {printed(port)}. Nothing was started."
        )
    return int.__int__(port)


def _address(point: object) -> str:
    match point:
        case (str(host), int(port)) if host and not isinstance(port, bool) and 0 < port <= _LARGEST_PORT:
            return addresses.joined(check_text(host, "the host of a contact point", _LONGEST_HOST), int.__int__(port))
        case _:
            raise InvalidArgumentError(
                f"A contact point is a host and a port such as ('10.0.0.5', 7400), not {printed(point)}. "
                f"Nothing was started."
            )
