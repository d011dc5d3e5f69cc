"""Who does something and why, for the journal: set around the calls, written down with the events that they cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Final

import msgspec

from casty_es.errors import InvalidArgumentError
from casty_es.names import check_text

__all__ = [
    "MAX_CONTEXT_BYTES",
    "Recorded",
    "Stated",
    "audit_context",
    "checked",
    "current_metadata",
    "metadata_in",
    "stamped",
]

MAX_CONTEXT_BYTES: Final = 512
"""How long ``actor``, ``reason`` and ``correlation_id`` may be, each, in bytes of UTF-8."""


class Stated(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a program said of itself with :func:`audit_context`; ``None`` where it said nothing."""

    actor: str | None = None
    reason: str | None = None
    correlation_id: str | None = None


class Recorded(Stated, frozen=True, omit_defaults=True):
    """What stands in the journal: what the program said, and who was proven to have sent it, which it cannot say."""

    principal: str | None = None


class _Strict(Stated, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The same, from somebody who is not trusted."""


# Ready JSON text, so that a command only has to take it along.
_current: Final[ContextVar[str | None]] = ContextVar("casty_es_audit_context", default=None)

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Stated).decode
_decode_recorded: Final = msgspec.json.Decoder(Recorded).decode
_decode_strictly: Final = msgspec.json.Decoder(_Strict).decode

current_metadata: Final = _current.get
"""Return what is stated around here, as JSON text; ``None`` when nothing is."""


@contextmanager
def audit_context(
    *, actor: str | None = None, reason: str | None = None, correlation_id: str | None = None
) -> Iterator[None]:
    """Record who does what follows, and why. The journal keeps it with the first event of each operation inside.

    It holds for the task that enters it and for the tasks that are started inside. A context within another one adds to
    it; where both say something, the inner one counts. What one operation causes for another caller (a lock that passes
    to whoever waited for it) has the words of the operation that caused it.

    Parameters
    ----------
    actor : str | None
        Who: a user, a service, a job. Each of the three is 1 to 512 bytes of UTF-8, without control characters.
    reason : str | None
        Why.
    correlation_id : str | None
        Your own id of the request, to find it in other logs.

    Raises
    ------
    InvalidTypeError
        One of them is not a str.
    InvalidArgumentError
        One is empty, too long, or not printable.

    Examples
    --------
    >>> from casty_es import audit_context
    >>> with audit_context(actor="alice", reason="refund of order 4711"):
    ...     await d.counter("refunds").increment()
    1
    >>> [event.actor async for event in d.counter("refunds").history()]
    ['alice']
    """
    around = _current.get()
    outer = Stated() if around is None else _decode(around)
    inner = Stated(
        _checked(actor, "actor") or outer.actor,
        _checked(reason, "reason") or outer.reason,
        _checked(correlation_id, "correlation_id") or outer.correlation_id,
    )
    token = _current.set(None if inner == Stated() else _encode(inner).decode())
    try:
        yield
    finally:
        _current.reset(token)


def metadata_in(metadata: str | None) -> Recorded:
    """Return what an event's metadata says; everything else in it is left aside."""
    return Recorded() if metadata is None else _decode_recorded(metadata)


def stamped(words: str | None, principal: str) -> str:
    """Return what is said of a command from another process, with who was proven to have sent it.

    Examples
    --------
    >>> stamped(None, "token:dashboard"), stamped('{"actor":"alice"}', "secret")
    ('{"principal":"token:dashboard"}', '{"actor":"alice","principal":"secret"}')
    """
    proven = _proven(principal)
    return proven if words is None or words == "{}" else f"{words[:-1]},{proven[1:]}"


@lru_cache(maxsize=1_024)  # of a connection it is always the same
def _proven(principal: str) -> str:
    return _encode(Recorded(principal=principal)).decode()


def checked(text: str | None) -> str | None:
    """Return what another process says of a command's caller, as this process would have written it.

    Anything else is an ``InvalidArgumentError``.
    """
    if text is None:
        return None
    try:
        there = _decode_strictly(text)
    except (msgspec.DecodeError, UnicodeError):
        raise InvalidArgumentError("The audit context is not one. The command was not taken.") from None
    for name in Stated.__struct_fields__:
        _checked(getattr(there, name), name)
    return _encode(Stated(there.actor, there.reason, there.correlation_id)).decode()


def _checked(text: str | None, what: str) -> str | None:
    if text is None:
        return None
    plain = check_text(text, what, MAX_CONTEXT_BYTES)
    if not plain.isprintable():
        raise InvalidArgumentError(f"{what} holds a control character. Nothing was sent. Leave it out.")
    return plain
