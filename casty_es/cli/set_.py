"""``casty-es set``."""

from __future__ import annotations

from typing import Any

import typer

from casty_es.cli.common import NEGATIVE_NUMBERS, AsText, Json, Name, Value, parse_value, show
from casty_es.cli.reaching import change, read
from casty_es.cli.where import Where, takes_where

app = typer.Typer(help="Values that are in a set once, or not at all.", no_args_is_help=True)


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def add(name: Name, value: Value, *, text: AsText = False, where: Where, json: Json = False) -> None:
    """Add a value to a set."""
    parsed = parse_value(value, as_text=text)
    added = change(where, lambda d: d.set[Any](name).add(parsed))
    show({"added": added}, "added" if added else "it was there already", json=json)


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def remove(name: Name, value: Value, *, text: AsText = False, where: Where, json: Json = False) -> None:
    """Remove a value from a set."""
    parsed = parse_value(value, as_text=text)
    removed = change(where, lambda d: d.set[Any](name).remove(parsed))
    show({"removed": removed}, "removed" if removed else "it was not there", json=json)


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def contains(name: Name, value: Value, *, text: AsText = False, where: Where, json: Json = False) -> None:
    """Print whether a value is in a set: true or false."""
    parsed = parse_value(value, as_text=text)
    there = read(where, lambda d: d.set[Any](name).contains(parsed))
    show({"contains": there}, str(there).lower(), json=json)


@app.command()
@takes_where
def size(name: Name, *, where: Where, json: Json = False) -> None:
    """Print how many values are in a set."""
    number = read(where, lambda d: d.set[Any](name).size())
    show({"size": number}, str(number), json=json)


@app.command()
@takes_where
def destroy(name: Name, *, where: Where, json: Json = False) -> None:
    """Destroy a set. Its events stay in the journal."""
    destroyed = change(where, lambda d: d.set[Any](name).destroy())
    show({"destroyed": destroyed}, "destroyed" if destroyed else "there was nothing to destroy", json=json)
