"""``casty-es log``: the events of one entity, read from the journal alone."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any
from uuid import UUID

import typer

from casty_es.cli.common import Json, KeyType, NotThereError, dumps, parse_key
from casty_es.cli.reaching import inspect
from casty_es.cli.reading import events_of
from casty_es.cli.tables import Table, iso_time
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.domain.catalog import CATALOG
from casty_es.journal.port import EntityName, RecordedEvent
from casty_es.journal.sql import SqlJournal
from casty_es.names import check_name, encode_key

__all__ = ["log"]


def log(
    entity: Annotated[str, typer.Argument(help="KIND/NAME, such as counter/page-views or map/users with --key alice.")],
    *,
    key: Annotated[str | None, typer.Option("--key", help="The key, for a map: each key has its own log.")] = None,
    key_type: Annotated[KeyType, typer.Option("--key-type", help="What the map's keys are.")] = KeyType.STR,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many events at most.")] = 100,
    after: Annotated[int, typer.Option("--after", min=0, help="Begin after this sequence.")] = 0,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Print what happened to a structure, or to one key of a map, event by event: log counter/page-views.

    With --json every event is one line of JSON. A name is all that follows the first slash.
    """
    name = _entity(entity, key, key_type)

    async def work(journal: SqlJournal) -> list[dict[str, Any]]:
        if (await journal.entities([name]))[0] is None:
            raise NotThereError(f"The journal has no events of {_called(name, key)}.")
        rows = []
        async for event in events_of(journal, name, after=after, limit=limit):
            rows.append(_row(event))
            if json:
                typer.echo(dumps(rows.pop()))
        return rows

    rows = inspect(url, work)
    if not json:
        _print_table(rows, _called(name, key), limit)


def _entity(text: str, key: str | None, key_type: KeyType) -> EntityName:
    kind, slash, name = text.partition("/")
    if not slash or kind not in CATALOG:
        raise typer.BadParameter(f"{text!r} is not KIND/NAME, where KIND is one of {', '.join(CATALOG)}.")
    check_name(name)
    if kind != "map":
        if key is not None:
            raise typer.BadParameter(f"A {kind} has no keys. Leave out --key.")
        return EntityName(kind, name, "")
    if key is None:
        raise typer.BadParameter(
            f"Each key of a map has its own log: give --key KEY. `casty-es map keys {name}` lists the keys."
        )
    return EntityName(kind, name, encode_key(parse_key(key, key_type)[1]))


def _called(name: EntityName, key: str | None) -> str:
    return f"{name.kind}/{name.name}" + ("" if key is None else f" --key {key}")


def _row(event: RecordedEvent) -> dict[str, Any]:
    return {
        "sequence": event.sequence,
        "time": iso_time(event.recorded_at),
        "type": event.type,
        "payload": json_module.loads(event.payload),
        "command_id": None if event.command_id is None else str(UUID(bytes=event.command_id)),
        "slot": event.slot,
        "position": event.position,
        "epoch": event.epoch,
    }


def _print_table(rows: list[dict[str, Any]], called: str, limit: int) -> None:
    table = Table(called, ("sequence>", "time", "type", "payload", "command id", "slot", "position>", "epoch"))
    for row in rows:
        table.add(*(dumps(cell) if column == "payload" else cell for column, cell in row.items()))
    table.print()
    if len(rows) == limit:
        typer.echo(f"There may be more: add --after {rows[-1]['sequence']}")
