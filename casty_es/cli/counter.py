"""``casty-es counter``."""

from __future__ import annotations

from typing import Annotated

import typer

from casty_es.cli.common import NEGATIVE_NUMBERS, Json, Name, show
from casty_es.cli.reaching import change, read
from casty_es.cli.where import Where, takes_where

app = typer.Typer(help="Exact integers within ±10**4000.", no_args_is_help=True)

Amount = Annotated[int, typer.Argument(help="A whole number of any size.")]
Most = Annotated[int | None, typer.Option("--max", help="Refuse, if the new value would be above this one.")]
Least = Annotated[int | None, typer.Option("--min", help="Refuse, if the new value would be below this one.")]


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def increment(
    name: Name, amount: Amount = 1, *, most: Most = None, least: Least = None, where: Where, json: Json = False
) -> None:
    """Add to a counter and print its new value."""
    value = change(where, lambda d: d.counter(name).increment(amount, max=most, min=least))
    show({"value": value}, str(value), json=json)


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def decrement(
    name: Name, amount: Amount = 1, *, most: Most = None, least: Least = None, where: Where, json: Json = False
) -> None:
    """Subtract from a counter and print its new value."""
    value = change(where, lambda d: d.counter(name).decrement(amount, max=most, min=least))
    show({"value": value}, str(value), json=json)


@app.command(name="set", context_settings=NEGATIVE_NUMBERS)
@takes_where
def set_(name: Name, value: Amount, *, where: Where, json: Json = False) -> None:
    """Set a counter to a value and print what it was at before."""
    previous = change(where, lambda d: d.counter(name).get_and_set(value))
    show({"previous": previous}, str(previous), json=json)


@app.command(name="compare-and-set", context_settings=NEGATIVE_NUMBERS)
@takes_where
def compare_and_set(name: Name, expected: Amount, value: Amount, *, where: Where, json: Json = False) -> None:
    """Set a counter to a value if it is at another one, and print whether it was."""
    done = change(where, lambda d: d.counter(name).compare_and_set(expected, value))
    show({"set": done}, "set" if done else "it is at another value", json=json)


@app.command()
@takes_where
def get(name: Name, *, where: Where, json: Json = False) -> None:
    """Print a counter's value: 0 for one that nobody has changed."""
    value = read(where, lambda d: d.counter(name).get())
    show({"value": value}, str(value), json=json)


@app.command()
@takes_where
def destroy(name: Name, *, where: Where, json: Json = False) -> None:
    """Destroy a counter. Its events stay in the journal; the next change begins at 0."""
    destroyed = change(where, lambda d: d.counter(name).destroy())
    show({"destroyed": destroyed}, "destroyed" if destroyed else "there was nothing to destroy", json=json)
