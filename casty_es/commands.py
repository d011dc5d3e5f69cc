"""Commands as they come from other processes: decoded, and held to what a handle would have sent.

1. What has bounds is held to them by its type, while it is decoded (``bounds.py``).
2. What a bound cannot say is looked at by the function that the handles use: the bytes of a text, how far a counter may
   step, the form and the length of a value.
3. A command that only maintenance may give needs a warrant: a digest that nobody can make who cannot read the entity's
   salt in the journal. Knowing the cluster's secret is not enough for it.

A command of this process's own comes from its handles, which have checked it: nothing of this is done to it again.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, TypeAlias, TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from casty_es.bounds import Amount
from casty_es.domain.catalog import CATALOG, AnyKind, each_kind
from casty_es.domain.counter import check_step
from casty_es.domain.decider import Command, Internal, Query, Request, TakenValue, Value, Warranted
from casty_es.domain.upkeep import Seal
from casty_es.errors import InvalidArgumentError, InvalidTypeError, InvalidValueError
from casty_es.format.codec import encode_command
from casty_es.format.values import MAX_VALUE_BYTES, check_canonical, check_readable
from casty_es.names import check_text

Check: TypeAlias = Callable[[Any, int], object]
"""Refuses a field's value that its bounds let pass, given the most bytes that a user's value may have."""

W = TypeVar("W", bound=Warranted)


def checks_of(cls: type[msgspec.Struct]) -> tuple[tuple[str, Check], ...]:
    """Return the fields of a message that need a look besides their bounds, each with who looks.

    A field with neither is a ``TypeError``.
    """
    hints = get_type_hints(cls, include_extras=True)
    checks = [(name, _check_of(f"{cls.__name__}.{name}", hints[name])) for name in cls.__struct_fields__]
    return tuple((name, check) for name, check in checks if check is not None)


_LOOKS: Final[dict[Any, Check]] = {
    Value: check_canonical,
    TakenValue: check_readable,
    Amount: lambda amount, _: check_step(amount),
}


def _check_of(field: str, hint: Any) -> Check | None:
    options = [option for option in get_args(hint) if option is not type(None)]
    if len(options) < len(get_args(hint)):  # it may be left out
        check = _check_of(field, options[0])
        return None if check is None else partial(_unless_none, check)
    if hint in _LOOKS:
        return _LOOKS[hint]
    bounds = options[0] if get_origin(hint) is tuple else hint
    if bounds is not bool and get_origin(bounds) is not Annotated:
        raise TypeError(f"The field {field} has no bounds. Give it a type of casty_es/bounds.py.")
    most = None if bounds is bool else bounds.__metadata__[0].max_length
    return partial(_check_bytes, field, most) if most and bounds.__origin__ is str else None


def _check_bytes(field: str, most: int, text: object, _max_value_bytes: int) -> None:
    check_text(text, field, most)


def _unless_none(check: Check, value: object, max_value_bytes: int) -> None:
    if value is not None:
        check(value, max_value_bytes)


SENDABLE: Final[dict[str, dict[str, type[Command]]]] = {}
"""By kind and by name, the commands that may come from another process."""

# Requests are called after their commands, maintenance's commands need a warrant, and those of a program's own kind are
# bounded as a whole; most are none of these.
_TAKERS: Final[dict[str, dict[str, tuple[Callable[[bytes], Command], tuple[tuple[str, Check], ...], bool]]]] = {}


@each_kind
def _take(kind: AnyKind) -> None:
    classes: list[type[Command]] = [Seal, *(cls for cls in kind.commands if not issubclass(cls, Internal))]
    SENDABLE[kind.name] = {cls.__name__: cls for cls in classes}
    _TAKERS[kind.name] = {
        cls.__name__: (
            msgspec.json.Decoder(cls).decode,
            () if kind.foreign and not issubclass(cls, Warranted) else checks_of(cls),
            bool(kind.foreign) or issubclass(cls, Request | Warranted),
        )
        for cls in classes
    }


def is_query(kind: str, name: str) -> bool:
    """Return whether a command that another process sent only reads."""
    cls = SENDABLE.get(kind, {}).get(name)
    return cls is not None and issubclass(cls, Query)


def is_upkeep(kind: str, name: str) -> bool:
    """Return whether a command that another process sent belongs to retention or redaction."""
    cls = SENDABLE.get(kind, {}).get(name)
    return cls is not None and issubclass(cls, Warranted)


def decode_command(
    kind: str, name: str, body: bytes, command_id: bytes | None = None, *, max_value_bytes: int = MAX_VALUE_BYTES
) -> Command:
    """Return the command that another process sent for a structure of this kind.

    A request is called by the id that it was sent under; a query has none. ``InvalidTypeError`` if the structure
    has no such command that may come from elsewhere, ``InvalidArgumentError`` for what no handle would have sent.
    """
    taker = _TAKERS.get(kind, {}).get(name)
    if taker is None:
        raise InvalidTypeError(f"There is no command {name[:80]!a} of a {kind[:80]!a} to be sent. Nothing was done.")
    decode, checks, special = taker
    try:
        if not body.isascii():
            body.decode()  # a user's value is taken as it is, and what is no text could not be stored
        command = decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"A command {name!r} of a {kind} does not have that command's shape: {error}. Nothing was done."
        ) from error
    for field, check in checks:
        check(getattr(command, field), max_value_bytes)
    if special:
        _check_special(command, name, command_id)
        if CATALOG[kind].foreign and len(body) > max_value_bytes:
            raise InvalidValueError(
                f"{name!r} of a {kind} has {len(body)} bytes, and may have {max_value_bytes}. Nothing was done."
            )
    return command


def _check_special(command: Any, name: str, command_id: bytes | None) -> None:
    if isinstance(command, Warranted):
        if command.warrant is None:
            raise InvalidArgumentError(
                f"A command {name!r} is maintenance's to give, and came without a warrant. Nothing was done. Use "
                f"`casty-es retention` or `casty-es redact` with access to the database."
            )
    elif issubclass(type(command), Request) and (command_id is None or command.request != str(UUID(bytes=command_id))):
        raise InvalidArgumentError(
            f"A request is called after the command that makes it, and not {command.request}. Nothing was done."
        )


def warranted(command: W, salt: bytes, entity: tuple[str, str, str], command_id: bytes) -> W:
    """Return a command with its warrant.

    It is made with the entity's salt, out of the journal, for its kind, name and key, and for the id that the
    command is sent under: with another one it is worth nothing.
    """
    return msgspec.structs.replace(command, warrant=_warrant(command, salt, entity, command_id))


def has_warrant(command: Warranted, salt: bytes, entity: tuple[str, str, str], command_id: bytes) -> bool:
    """Return whether a command's warrant is the one that belongs to it. Without a salt, none does."""
    expected = _warrant(command, salt, entity, command_id)
    return bool(salt) and command.warrant is not None and hmac.compare_digest(command.warrant, expected)


def _warrant(command: Warranted, salt: bytes, entity: tuple[str, str, str], command_id: bytes) -> str:
    # An array: what else is digested under the salt are JSON objects.
    name, body = encode_command(command.essence())
    text = msgspec.json.encode([*entity, command_id.hex(), name, msgspec.Raw(body)])
    return hmac.digest(salt, text, "sha256").hex()
