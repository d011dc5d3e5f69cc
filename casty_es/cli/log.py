"""``casty-es log``: what happened, read from the journal alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, NamedTuple

import typer

from casty_es.audit.page_tokens import is_page_token, page_token
from casty_es.audit.search import Wanted, follow, search
from casty_es.cli.common import FOUND, Json, KeyType, NotThereError, dumps, entity_name, no_kind, parse_key, say
from casty_es.cli.reaching import look
from casty_es.cli.table import Table
from casty_es.cli.times import parse_time
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.domain.catalog import CATALOG, KEYED
from casty_es.journal.port import EntityName, EventJournal
from casty_es.journal.sql import SqlJournal
from casty_es.names import encode_key
from casty_es.replay import HistoryEvent, to_microseconds

_PAGE: int = 100


def log(
    entity: Annotated[
        str | None,
        typer.Argument(help="KIND/NAME, such as counter/page-views or map/users with --key alice; all without it."),
    ] = None,
    *,
    key: Annotated[str | None, typer.Option("--key", help="The key, for a map: each key has its own log.")] = None,
    key_type: Annotated[KeyType, typer.Option("--key-type", help="What the map's keys are.")] = KeyType.STR,
    kind: Annotated[str | None, typer.Option("--kind", help="Only structures of this kind.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only structures of this name.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only events of this type; may be given several times.")
    ] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this actor did (audit_context).")] = None,
    principal: Annotated[
        str | None,
        typer.Option(
            "--principal", help="Only what was proven to come from token:NAME, node:NAME, or secret (a client with it)."
        ),
    ] = None,
    slot: Annotated[int | None, typer.Option("--slot", min=0, help="Only this slot.")] = None,
    after: Annotated[
        str | None,
        typer.Option(
            "--after", help="Begin after this time, after this sequence of the one entity, or where a page ended."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="End with this time, or with this sequence of the one entity.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help=f"How many at most; {_PAGE} without --follow and --json.")
    ] = None,
    last: Annotated[int | None, typer.Option("--last", min=1, help="Only the last so many.")] = None,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Begin with the newest.")] = False,
    follow_on: Annotated[bool, typer.Option("--follow", help="Go on with what happens, until Ctrl-C.")] = False,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Print what happened: to everything, to a structure, or to one key of a map: log counter/page-views.

    With --json every event is one line of JSON, with the token that --after takes. A name is all that follows the first
    slash. A time without a zone is local time.
    """
    page = _page(after, limit, last, newest_first=newest_first, follow_on=follow_on, json=json)
    one = None if entity is None else _entity(entity, key, key_type)
    wanted = _wanted(
        one, kind, name, key, key_type, types or [], actor, principal, slot, None if page.behind else after, until
    )

    async def work(journal: SqlJournal) -> tuple[list[HistoryEvent], int]:
        if one is not None and not follow_on and (await journal.entities([one]))[0] is None:
            raise NotThereError(f"The journal has no events of {_called(one, key)}.")
        return await _print_or_collect(journal, wanted, page, follow_on=follow_on, json=json)

    (rows, unreadable), damaged = look(url, work)
    if not json and not follow_on:
        _print_table(rows, "journal" if one is None else _called(one, key), one, page)
        if unreadable:
            say(f"Records that cannot be read: {unreadable}. `casty-es verify` says what else is wrong.")
    if unreadable or damaged:
        raise typer.Exit(FOUND)


class _Page(NamedTuple):
    """What of all that is wanted is printed: how many at most, behind which page, from which end, in which order."""

    limit: int | None
    behind: str | None
    newest_first: bool
    turned: bool  # found from the newest on, and printed from the oldest on


def _page(
    after: str | None, limit: int | None, last: int | None, *, newest_first: bool, follow_on: bool, json: bool
) -> _Page:
    behind = after if after is not None and is_page_token(after) else None
    if last is not None and (limit is not None or newest_first or follow_on or behind is not None):
        raise typer.BadParameter(
            "--last says how many, and from where. Leave out --limit, --newest-first, --follow and a page's end as "
            "--after. Nothing was read."
        )
    if newest_first and follow_on:
        raise typer.BadParameter("--follow ends with the newest. Leave it out, or --newest-first. Nothing was read.")
    most = last or limit or (None if follow_on or json else _PAGE)
    return _Page(most, behind, newest_first or last is not None, last is not None)


def _found(journal: EventJournal, wanted: Wanted, page: _Page, *, follow_on: bool) -> AsyncIterator[HistoryEvent]:
    if follow_on:
        return follow(journal, wanted, limit=page.limit, behind=page.behind)
    found = search(journal, wanted, limit=page.limit, behind=page.behind, newest_first=page.newest_first)
    return _turned(found) if page.turned else found


async def _turned(found: AsyncIterator[HistoryEvent]) -> AsyncIterator[HistoryEvent]:
    for event in reversed([event async for event in found]):
        yield event


async def _print_or_collect(
    journal: EventJournal, wanted: Wanted, page: _Page, *, follow_on: bool, json: bool
) -> tuple[list[HistoryEvent], int]:
    """Print events as they come, or give them for a table; return also how many could not be read."""
    rows, unreadable = [], 0
    async for event in _found(journal, wanted, page, follow_on=follow_on):
        unreadable += event.unreadable is not None
        if json:
            say(dumps(_row(event)))
        elif follow_on:
            say(_line(event))
        else:
            rows.append(event)
    return rows, unreadable


def _entity(text: str, key: str | None, key_type: KeyType) -> EntityName:
    kind, slash, name = text.partition("/")
    if not slash:
        raise typer.BadParameter(f"{text!r} is not KIND/NAME, where KIND is one of {', '.join(CATALOG)}.")
    return entity_name(kind, name, key, key_type)


def _wanted(
    one: EntityName | None,
    kind: str | None,
    name: str | None,
    key: str | None,
    key_type: KeyType,
    types: list[str],
    actor: str | None,
    principal: str | None,
    slot: int | None,
    after: str | None,
    until: str | None,
) -> Wanted:
    if one is not None and (kind is not None or name is not None):
        raise typer.BadParameter("KIND/NAME says it all. Leave out --kind and --name, or KIND/NAME.")
    if kind is not None and kind not in CATALOG:
        raise typer.BadParameter(no_kind(kind))
    after_sequence, after_time = _bound(after, "--after", one)
    until_sequence, until_time = _bound(until, "--until", one)
    if one is not None:
        kind, name, encoded = one.kind, one.name, one.key if one.kind in KEYED else None
    else:
        encoded = None if key is None else encode_key(parse_key(key, key_type)[1])
    return Wanted(
        kind=kind,
        name=name,
        key=encoded,
        types=frozenset(types),
        actor=actor,
        principal=_principal(principal),
        slot=slot,
        after_sequence=after_sequence or 0,
        until_sequence=until_sequence,
        after=after_time,
        until=until_time,
    )


def _principal(text: str | None) -> str | None:
    """Return a principal that somebody could be: a name alone would find nothing, and say that nothing happened."""
    if text is None or text == "secret":
        return text
    kind, _, name = text.partition(":")
    if kind not in {"token", "node"} or not name:
        raise typer.BadParameter(
            f"{text[:80]!r} is no principal. Give --principal token:NAME, node:NAME or secret. Nothing was read."
        )
    return text


def _bound(text: str | None, option: str, one: EntityName | None) -> tuple[int | None, int | None]:
    """Return the sequence or the time that a user typed."""
    if text is None:
        return None, None
    if not text.isdecimal():
        return None, to_microseconds(parse_time(text))
    if one is None:
        raise typer.BadParameter(f"{option} {text} is a sequence, and needs the KIND/NAME that it belongs to.")
    return int(text), None


def _called(name: EntityName, key: str | None) -> str:
    return f"{name.kind}/{name.name}" + ("" if key is None else f" --key {key}")


def _row(event: HistoryEvent) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "name": event.name,
        "key": event.key if event.key is None or isinstance(event.key, int) else str(event.key),
        "sequence": event.sequence,
        "time": _time(event),
        "type": event.type,
        "payload": event.payload,
        "redacted": event.redacted,
        "actor": event.actor,
        "reason": event.reason,
        "correlation_id": event.correlation_id,
        "principal": event.principal,
        "command_id": None if event.command_id is None else str(event.command_id),
        "idempotency_key": event.idempotency_key,
        "slot": event.slot,
        "position": event.position,
        "epoch": event.epoch,
        "node": event.node,
        "unreadable": event.unreadable,
        "token": page_token(event),
    }


def _time(event: HistoryEvent) -> str | None:
    """Return an event's time; ``None`` for one that has none."""
    if event.unreadable is not None and "its time" in event.unreadable:
        return None
    return event.recorded_at.isoformat(timespec="microseconds")


def _entity_text(event: HistoryEvent) -> str:
    return f"{event.kind}/{event.name}" + ("" if event.key is None else f" {event.key}")


def _payload(event: HistoryEvent) -> str:
    if event.unreadable is not None:
        return f"(unreadable: {event.unreadable})"
    return "(redacted)" if event.redacted else dumps(event.payload)


def _line(event: HistoryEvent) -> str:
    """Return an event as one line, for whoever watches."""
    words = (("actor", event.actor), ("reason", event.reason), ("principal", event.principal))
    said = "".join(f" {what}={dumps(text)}" for what, text in words if text)
    return f"{_time(event) or '?'} {_entity_text(event)} {event.sequence} {event.type} {_payload(event)}{said}"


def _print_table(rows: list[HistoryEvent], called: str, one: EntityName | None, page: _Page) -> None:
    proven = ("principal",) if any(event.principal for event in rows) else ()
    said = ("actor", "reason", *proven)
    columns = ("sequence>", "time", "type", "payload", *said, "command id", "slot", "position>", "node")
    table = Table(called, columns if one is not None else ("entity", *columns))
    for event in rows:
        cells = (
            event.sequence,
            _time(event) or "?",
            event.type,
            _payload(event),
            event.actor,
            event.reason,
            *((event.principal,) if proven else ()),
            event.command_id,
            event.slot,
            event.position,
            event.node,
        )
        table.add(*cells if one is not None else (_entity_text(event), *cells))
    table.print()
    if rows and len(rows) == page.limit:
        if page.turned:
            say(f"There may be earlier ones: --newest-first --after {page_token(rows[0])}")
        else:
            say(f"There may be more: add --after {page_token(rows[-1])}")
