"""``casty-es map``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from casty_es.cli.common import (
    FOUND,
    NEGATIVE_NUMBERS,
    AsText,
    Json,
    KeyType,
    Name,
    NotThereError,
    Value,
    dumps,
    parse_key,
    parse_value,
    say,
    show,
)
from casty_es.cli.reaching import change, look, read
from casty_es.cli.where import DEFAULT_URL, Url, Where, takes_where
from casty_es.errors import InvalidArgumentError
from casty_es.journal.sql import SqlJournal
from casty_es.names import check_name, decode_key

app = typer.Typer(help="Values by key; each key has a history of its own.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="The key.", show_default=False)]
KeyTypeOption = Annotated[KeyType, typer.Option("--key-type", help="What the map's keys are.")]

_PAGE_KEYS = 1_000


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def put(
    name: Name,
    key: Key,
    value: Value,
    *,
    text: AsText = False,
    key_type: KeyTypeOption = KeyType.STR,
    where: Where,
    json: Json = False,
) -> None:
    """Store a value under a key and print the value that was there before, as JSON."""
    kind, parsed_key = parse_key(key, key_type)
    parsed = parse_value(value, as_text=text)
    previous = change(where, lambda d: d.map[kind, Any](name).put(parsed_key, parsed))
    show({"previous": previous}, dumps(previous), json=json)


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def get(name: Name, key: Key, *, key_type: KeyTypeOption = KeyType.STR, where: Where, json: Json = False) -> None:
    """Print the value of a key as JSON; exit code 1 when the map has no such key."""
    kind, parsed_key = parse_key(key, key_type)

    nothing = object()
    value = read(where, lambda d: d.map[kind, Any](name).get(parsed_key, default=nothing))
    if value is nothing:
        raise NotThereError(f"The map {name!r} has no key {key!r}.")
    show({"value": value}, dumps(value), json=json)


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def delete(name: Name, key: Key, *, key_type: KeyTypeOption = KeyType.STR, where: Where, json: Json = False) -> None:
    """Delete a key."""
    kind, parsed_key = parse_key(key, key_type)
    deleted = change(where, lambda d: d.map[kind, Any](name).delete(parsed_key))
    show({"deleted": deleted}, "deleted" if deleted else "it was not there", json=json)


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def put_if_absent(
    name: Name,
    key: Key,
    value: Value,
    *,
    text: AsText = False,
    key_type: KeyTypeOption = KeyType.STR,
    where: Where,
    json: Json = False,
) -> None:
    """Store a value under a key that has none, and print whether it was."""
    kind, parsed_key = parse_key(key, key_type)
    parsed = parse_value(value, as_text=text)
    put_ = change(where, lambda d: d.map[kind, Any](name).put_if_absent(parsed_key, parsed))
    show({"put": put_}, "stored" if put_ else "it has a value", json=json)


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def replace(
    name: Name,
    key: Key,
    expected: Value,
    value: Value,
    *,
    text: AsText = False,
    key_type: KeyTypeOption = KeyType.STR,
    where: Where,
    json: Json = False,
) -> None:
    """Store a value under a key that has another one, and print whether it was."""
    kind, parsed_key = parse_key(key, key_type)
    values = [parse_value(one, as_text=text) for one in (expected, value)]
    replaced = change(where, lambda d: d.map[kind, Any](name).replace(parsed_key, *values))
    show({"replaced": replaced}, "replaced" if replaced else "it has another value, or none", json=json)


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def pop(name: Name, key: Key, *, key_type: KeyTypeOption = KeyType.STR, where: Where, json: Json = False) -> None:
    """Delete a key and print the value that it had, as JSON; exit code 1 when the map has no such key."""
    kind, parsed_key = parse_key(key, key_type)
    nothing = object()
    value = change(where, lambda d: d.map[kind, Any](name).pop(parsed_key, default=nothing))
    if value is nothing:
        raise NotThereError(f"The map {name!r} has no key {key!r}.")
    show({"value": value}, dumps(value), json=json)


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def contains(name: Name, key: Key, *, key_type: KeyTypeOption = KeyType.STR, where: Where, json: Json = False) -> None:
    """Print whether a map has a key: true or false."""
    kind, parsed_key = parse_key(key, key_type)
    there = read(where, lambda d: d.map[kind, Any](name).contains(parsed_key))
    show({"contains": there}, str(there).lower(), json=json)


@app.command()
def keys(name: Name, *, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Print a map's keys, one on a line; with --json, one JSON array (a UUID as its text)."""
    check_name(name)

    async def work(journal: SqlJournal) -> tuple[list[Any], list[str]]:
        found: list[Any] = []
        unreadable: list[str] = []
        after = ""
        while page := await journal.keys("map", name, after=after, limit=_PAGE_KEYS):
            for text in page:
                try:
                    found.append(decode_key(text))
                except InvalidArgumentError:
                    unreadable.append(text)
            after = page[-1]
        return found, unreadable

    (found, unreadable), damaged = look(url, work)
    if json:
        keys = [key if isinstance(key, str | int) else str(key) for key in found]
        say(dumps({"keys": keys, "unreadable": unreadable}))
    elif found:
        say(*map(str, found))
    if unreadable:
        say(
            f"casty-es: {len(unreadable)} keys are not ones that a map has, such as {unreadable[0][:80]!a}: `casty-es "
            f"verify` says what is wrong.",
            err=True,
        )
    if unreadable or damaged:
        raise typer.Exit(FOUND)
