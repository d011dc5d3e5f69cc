"""What the commands share: their options, and the ways out to the reader."""

from __future__ import annotations

import json as json_module
from enum import StrEnum
from typing import Annotated, Any, Final, NoReturn
from uuid import UUID

import typer

from casty_es.config import STRUCTURES_VARIABLE
from casty_es.domain.catalog import CATALOG, KEYED
from casty_es.journal.port import EntityName
from casty_es.names import check_name, encode_key
from casty_es.printing import visible

# Otherwise the amount -5 would be taken for an option of that name.
NEGATIVE_NUMBERS: Final = {"ignore_unknown_options": True}

# What every command exits with; see casty_es/cli/__init__.py.
DONE: Final = 0
FOUND: Final = 1
USAGE: Final = 2
COULD_NOT: Final = 3

Json = Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")]
Name = Annotated[str, typer.Argument(help="The structure's name.", show_default=False)]
Value = Annotated[str, typer.Argument(help="The value as JSON; with --text, as it stands.", show_default=False)]
AsText = Annotated[bool, typer.Option("--text", help="Take the value as a string instead of as JSON.")]


class NotThereError(Exception):
    """What was asked for is not there. Nothing is wrong with the journal; the exit code is 1."""


class KeyType(StrEnum):
    """The types of a map's keys, as ``--key-type`` names them."""

    STR = "str"
    INT = "int"
    UUID = "uuid"


def entity_name(kind: str, name: str, key: str | None, key_type: KeyType) -> EntityName:
    """Return the entity that a user named: a structure, or one key of a map."""
    if kind not in CATALOG:
        raise typer.BadParameter(no_kind(kind))
    check_name(name)
    if kind not in KEYED:
        if key is not None:
            raise typer.BadParameter(f"A {kind} has no keys. Leave out --key.")
        return EntityName(kind, name, "")
    if key is None:
        raise typer.BadParameter(
            f"Each key of a {kind} has a log and a state of its own: give --key KEY. `casty-es {kind} keys {name}` "
            f"lists the keys, and `casty-es log --kind {kind} --name {name}` prints the logs of all."
        )
    return EntityName(kind, name, encode_key(parse_key(key, key_type)[1]))


def no_kind(kind: str) -> str:
    """Return what is told of a kind that this process does not know."""
    return (
        f"There is no kind {kind[:80]!r}; there are {', '.join(CATALOG)}. One of a program's own is named by "
        f"{STRUCTURES_VARIABLE}=MODULE:NAME."
    )


def say(*lines: str, err: bool = False) -> None:
    """Print lines: all that a command ever says goes through here or through a table, which let nobody forge one."""
    for line in lines:
        typer.echo(visible(line), err=err)  # noqa: TID251 - the one place


def show(result: object, *lines: str, json: bool) -> None:
    """Print a result: as JSON for programs, or as lines for people."""
    say(*([dumps(result)] if json else lines))


def dumps(value: object) -> str:
    """Return JSON on one line, in which everything can be seen."""
    return visible(json_module.dumps(value, ensure_ascii=False))


def parse_value(text: str, *, as_text: bool) -> Any:
    """Return the value that a user typed."""
    if as_text:
        return text
    try:
        return json_module.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(
            f"The value {text[:80]!r} is not JSON ({str(error) or type(error).__name__}). Nothing was sent. Write a "
            f"string as '\"text\"', or give --text."
        ) from None


def parse_key(text: str, key_type: KeyType) -> tuple[type[Any], Any]:
    """Return a map's type of keys, and the key that a user typed."""
    kind: type[Any] = {KeyType.STR: str, KeyType.INT: int, KeyType.UUID: UUID}[key_type]
    try:
        return kind, kind(text)
    except ValueError:
        raise typer.BadParameter(f"The key {text[:80]!r} is not of type {key_type.value}. Nothing was sent.") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
