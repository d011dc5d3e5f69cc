"""``casty-es show``: the state of one entity, now or then, read from the journal alone."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any, Final

import typer

from casty_es.cli.common import FOUND, Json, KeyType, Name, dumps, entity_name, say
from casty_es.cli.reaching import look
from casty_es.cli.spans import unreadable_rows
from casty_es.cli.table import Table, iso_time, short_time
from casty_es.cli.times import At, parse_time
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.domain.catalog import CATALOG
from casty_es.format.codec import encode_state
from casty_es.journal.sql import SqlJournal
from casty_es.replay import Then, Unreadable, state_then, to_microseconds, told_unreadable

_SHOWN_OF_MANY: Final = 20


def show(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(CATALOG)}.", show_default=False)],
    name: Name,
    *,
    key: Annotated[str | None, typer.Option("--key", help="The key, for a map.")] = None,
    key_type: Annotated[KeyType, typer.Option("--key-type", help="What the map's keys are.")] = KeyType.STR,
    at: At = None,
    sequence: Annotated[
        int | None, typer.Option("--sequence", min=0, help="After this event of it, instead of a moment.")
    ] = None,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Show a structure, or one key of a map, as it is or was: show counter hits --at '2026-11-17 12:00'."""
    if at is not None and sequence is not None:
        raise typer.BadParameter("A moment or a sequence, not both. Nothing was read.")
    entity = entity_name(kind, name, key, key_type)
    moment = None if at is None else to_microseconds(parse_time(at))

    unreadable: list[Unreadable] = []

    async def work(journal: SqlJournal) -> tuple[Any, int]:
        return await state_then(journal, entity, Then(time=moment, sequence=sequence), unreadable)

    (state, reached), damaged = look(url, work)
    found = CATALOG[kind]
    # As a snapshot would have it: plain JSON, whatever the structure keeps it in.
    plain = json_module.loads(encode_state(found, state))
    shown = {
        "kind": kind,
        "name": name,
        "key": key,
        "at": None if moment is None else iso_time(moment),
        "sequence": reached,
        "exists": found.exists(state),
        "state": plain,
        "unreadable": unreadable_rows(unreadable),
    }
    if json:
        say(dumps(shown))
    else:
        _print(shown, moment)
        for one in unreadable:
            say(f"{told_unreadable(one)} What came after it is not in the state above.")
    if unreadable or damaged:
        raise typer.Exit(FOUND)


def _print(shown: dict[str, Any], moment: int | None) -> None:
    kind, name, key, reached, plain = (shown[what] for what in ("kind", "name", "key", "sequence", "state"))
    called = f"{kind}/{name}" + ("" if key is None else f" {key}")
    when = f"after its event {reached}" if moment is None else f"at {short_time(moment)}, after its event {reached}"
    table = Table(f"{called} {when}", ("what", "value"))
    table.add("exists", "yes" if shown["exists"] else "no")
    for what, value in (plain if isinstance(plain, dict) else {"value": plain}).items():
        if what in {"exists", "sequence"} and not CATALOG[kind].foreign:
            continue
        table.add(what.replace("_", " "), _text(value))
    table.print()


def _text(value: Any) -> str:
    """Return a part of a state as people read it: of a long list its beginning."""
    if isinstance(value, list):
        more = f", and {len(value) - _SHOWN_OF_MANY} more" if len(value) > _SHOWN_OF_MANY else ""
        return f"{len(value)}: {', '.join(map(dumps, value[:_SHOWN_OF_MANY]))}{more}" if value else "none"
    return "none" if value is None else dumps(value)
