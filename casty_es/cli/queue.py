"""``casty-es queue``."""

from __future__ import annotations

from typing import Any

import typer

from casty_es.cli.common import NEGATIVE_NUMBERS, AsText, Json, Name, NotThereError, Value, dumps, parse_value, show
from casty_es.cli.reaching import change, read
from casty_es.cli.where import Where, takes_where
from casty_es.handles.distributed import Distributed

app = typer.Typer(help="First in, first out.", no_args_is_help=True)


@app.command(context_settings=NEGATIVE_NUMBERS)
@takes_where
def enqueue(name: Name, value: Value, *, text: AsText = False, where: Where, json: Json = False) -> None:
    """Append a value to the back of a queue."""
    parsed = parse_value(value, as_text=text)
    change(where, lambda d: d.queue[Any](name).enqueue(parsed))
    show({"enqueued": True}, "enqueued", json=json)


@app.command()
@takes_where
def dequeue(name: Name, *, where: Where, json: Json = False) -> None:
    """Take the front value of a queue and print it as JSON; exit code 1 when the queue is empty."""

    async def work(d: Distributed) -> tuple[int, Any]:
        queue = d.queue[Any](name)
        # The size tells a queue without items from the item null.
        return await queue.size(), await queue.dequeue()

    _show(name, *change(where, work), json=json)


@app.command()
@takes_where
def peek(name: Name, *, where: Where, json: Json = False) -> None:
    """Print the front value of a queue as JSON and leave it there; exit code 1 when the queue is empty."""

    async def work(d: Distributed) -> tuple[int, Any]:
        queue = d.queue[Any](name)
        return await queue.size(), await queue.peek()

    _show(name, *read(where, work), json=json)


@app.command()
@takes_where
def size(name: Name, *, where: Where, json: Json = False) -> None:
    """Print how many values are in a queue."""
    number = read(where, lambda d: d.queue[Any](name).size())
    show({"size": number}, str(number), json=json)


@app.command()
@takes_where
def destroy(name: Name, *, where: Where, json: Json = False) -> None:
    """Destroy a queue and what is in it. Its events stay in the journal."""
    destroyed = change(where, lambda d: d.queue[Any](name).destroy())
    show({"destroyed": destroyed}, "destroyed" if destroyed else "there was nothing to destroy", json=json)


def _show(name: str, size_before: int, value: Any, *, json: bool) -> None:
    if value is None and not size_before:
        raise NotThereError(f"The queue {name!r} is empty.")
    show({"value": value}, dumps(value), json=json)
