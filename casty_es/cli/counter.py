"""``casty-es counter``."""

from __future__ import annotations

from typing import Annotated

import typer

from casty_es.cli.common import DEFAULT_URL, NEGATIVE_NUMBERS, Json, Name, Url, change, read, show

app = typer.Typer(help="Exact integers within ±10**4000.", no_args_is_help=True)

Amount = Annotated[int, typer.Argument(help="A whole number of any size.")]


@app.command(context_settings=NEGATIVE_NUMBERS)
def increment(name: Name, amount: Amount = 1, *, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Add to a counter and print its new value."""
    value = change(url, lambda d: d.counter(name).increment(amount))
    show({"value": value}, str(value), json=json)


@app.command(context_settings=NEGATIVE_NUMBERS)
def decrement(name: Name, amount: Amount = 1, *, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Subtract from a counter and print its new value."""
    value = change(url, lambda d: d.counter(name).decrement(amount))
    show({"value": value}, str(value), json=json)


@app.command()
def get(name: Name, *, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Print a counter's value: 0 for one that nobody has changed."""
    value = read(url, lambda d: d.counter(name).get())
    show({"value": value}, str(value), json=json)


@app.command()
def destroy(name: Name, *, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Destroy a counter. Its events stay in the journal; the next change begins at 0."""
    destroyed = change(url, lambda d: d.counter(name).destroy())
    show({"destroyed": destroyed}, "destroyed" if destroyed else "there was nothing to destroy", json=json)
