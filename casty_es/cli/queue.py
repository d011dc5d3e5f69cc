"""``casty-es queue``."""

from __future__ import annotations

from typing import Any

import typer

from casty_es.cli.common import (
    DEFAULT_URL,
    NEGATIVE_NUMBERS,
    AsText,
    Json,
    Name,
    NotThereError,
    Url,
    Value,
    change,
    dumps,
    parse_value,
    read,
    show,
)
from casty_es.handles.distributed import Distributed

app = typer.Typer(help="First in, first out.", no_args_is_help=True)


@app.command(context_settings=NEGATIVE_NUMBERS)
def enqueue(name: Name, value: Value, *, text: AsText = False, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Append a value to the back of a queue."""
    parsed = parse_value(value, as_text=text)
    change(url, lambda d: d.queue[Any](name).enqueue(parsed))
    show({"enqueued": True}, "enqueued", json=json)


@app.command()
def dequeue(name: Name, *, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Take the front value of a queue and print it as JSON; exit code 3 when the queue is empty."""

    async def work(d: Distributed) -> tuple[int, Any]:
        queue = d.queue[Any](name)
        # The size tells a queue without items from the item null.
        return await queue.size(), await queue.dequeue()

    _show(name, *change(url, work), json=json)


@app.command()
def peek(name: Name, *, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Print the front value of a queue as JSON and leave it there; exit code 3 when the queue is empty."""

    async def work(d: Distributed) -> tuple[int, Any]:
        queue = d.queue[Any](name)
        return await queue.size(), await queue.peek()

    _show(name, *read(url, work), json=json)


@app.command()
def size(name: Name, *, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Print how many values are in a queue."""
    number = read(url, lambda d: d.queue[Any](name).size())
    show({"size": number}, str(number), json=json)


@app.command()
def destroy(name: Name, *, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Destroy a queue and what is in it. Its events stay in the journal."""
    destroyed = change(url, lambda d: d.queue[Any](name).destroy())
    show({"destroyed": destroyed}, "destroyed" if destroyed else "there was nothing to destroy", json=json)


def _show(name: str, size_before: int, value: Any, *, json: bool) -> None:
    if value is None and not size_before:
        raise NotThereError(f"The queue {name!r} is empty.")
    show({"value": value}, dumps(value), json=json)
