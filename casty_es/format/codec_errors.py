"""Errors as they go from node to node: a name out of ``errors.py``, the message, and what else the error knows.

What a peer calls an error by is looked up in one closed table. A name that is not in it comes from a newer version, or
from nobody who means well: it becomes a ``CastyError`` that says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import msgspec

from casty_es import errors
from casty_es.bounds import Address, Name, Number, ShardsOrNone, SlotNumber
from casty_es.errors import CastyError, ConflictError, NotOwnerError, OutcomeUnknownError, PeerLostError

_CLASSES: Final[dict[str, type[CastyError]]] = {
    name: cls for name in errors.__all__ if issubclass(cls := getattr(errors, name), CastyError)
}


class _Owner(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a ``NotOwnerError`` knows."""

    slot: SlotNumber
    node_id: Name | None
    address: Address | None
    epoch: Number
    shards: ShardsOrNone


def _owner_detail(error: NotOwnerError) -> str:
    return msgspec.json.encode(_Owner(error.slot, error.node_id, error.address, error.epoch, error.shards)).decode()


def _owner_error(message: str, detail: str) -> NotOwnerError:
    owner = msgspec.json.decode(detail, type=_Owner)
    return NotOwnerError(message, **msgspec.structs.asdict(owner))


def _unknown_error(message: str, detail: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(message, command_id=UUID(detail) if detail else None)


# Per class that knows more than its message: how that is written, and how the error is made of it.
_DETAILS: Final[dict[type[CastyError], tuple[Callable[[Any], str], Callable[[str, str], CastyError]]]] = {
    OutcomeUnknownError: (lambda error: str(error.command_id or ""), _unknown_error),
    ConflictError: (
        lambda error: str(error.constraint),
        lambda message, detail: ConflictError(message, constraint=detail),
    ),
    PeerLostError: (
        lambda error: "sent" if error.sent else "",
        lambda message, detail: PeerLostError(message, sent=detail == "sent"),
    ),
    NotOwnerError: (_owner_detail, _owner_error),
}


def encode_error(error: BaseException) -> tuple[str, str, str]:
    """Return an error's name, its message, and what else it knows as text.

    Examples
    --------
    >>> encode_error(ConflictError("The head moved.", constraint="predecessor"))
    ('ConflictError', 'The head moved.', 'predecessor')
    """
    # A class of nobody's table goes by the nearest one that is in it.
    for cls in type(error).__mro__:
        if _CLASSES.get(cls.__name__) is cls:
            write = _DETAILS[cls][0] if cls in _DETAILS else None
            return cls.__name__, str(error), "" if write is None else write(error)
    return "CastyError", f"The node failed in a way that it does not know: {error!r}", ""


def decode_error(name: str, message: str, detail: str = "") -> CastyError:
    """Return the error that another node ended a command with; one that is not known here says so."""
    cls = _CLASSES.get(name)
    if cls is None:
        return CastyError(f"Another node failed with {name[:80]!a}, which this version does not know: {message}")
    if cls not in _DETAILS:
        return cls(message)
    try:
        return _DETAILS[cls][1](message, detail)
    except (ValueError, msgspec.MsgspecError):
        return CastyError(f"Another node failed with {name} and details that cannot be read: {message}")
