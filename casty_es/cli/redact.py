"""``casty-es redact``: the right to be forgotten."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from casty_es.audit.redaction import REDACTABLE, Redaction, finish_redactions, redact
from casty_es.cli.common import Json, KeyType, dumps, entity_name, say
from casty_es.cli.reaching import change, inspect, journal_at
from casty_es.cli.where import Where, takes_where
from casty_es.handles.distributed import Distributed
from casty_es.printing import visible

_REMAINS = (
    "The bytes of the old values stay in freed space of the database until it is vacuumed (--vacuum), and in its log, "
    "its replicas and its backups until those are gone."
)


@takes_where
def redact_command(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(REDACTABLE)}.", show_default=False)] = None,
    name: Annotated[str | None, typer.Argument(help="The structure's name.", show_default=False)] = None,
    *,
    key: Annotated[str | None, typer.Option("--key", help="The key, for a map.")] = None,
    key_type: Annotated[KeyType, typer.Option("--key-type", help="What the map's keys are.")] = KeyType.STR,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; the journal keeps it.")] = None,
    archive: Annotated[
        list[Path] | None, typer.Option("--archive", help="An archive with events of it; may be repeated.")
    ] = None,
    without_archives: Annotated[
        bool, typer.Option("--without-archives", help="Leave archives that are not given as they are.")
    ] = False,
    finish: Annotated[bool, typer.Option("--finish", help="Only finish redactions that were interrupted.")] = False,
    vacuum: Annotated[bool, typer.Option("--vacuum", help="Wipe the freed space of the database, too.")] = False,
    vacuum_full: Annotated[
        bool, typer.Option("--vacuum-full", help="On Postgres, to the last byte: locks the tables meanwhile.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    where: Where,
    json: Json = False,
) -> None:
    """Forget every value that a set, a queue or a key of a map ever held. It cannot be undone.

    Values, and what callers said of themselves, are replaced by digests that nobody can guess. The journal still
    verifies. Names, keys and idempotency keys stay.
    """
    archives = archive or []
    if finish:
        done = inspect(
            where.url, lambda journal: finish_redactions(journal, archives=archives, without_archives=without_archives)
        )
    else:
        if kind is None or name is None or reason is None:
            raise typer.BadParameter("Name what to redact: KIND NAME [--key KEY] --reason WHY. Nothing was changed.")
        entity = entity_name(kind, name, key, key_type)
        if not yes and sys.stdin.isatty():
            typer.confirm(visible(f"Forget everything that {kind}/{name} {key or ''} ever held?"), abort=True)

        async def work(d: Distributed) -> Redaction:
            async with journal_at(where.url) as journal:
                return await redact(
                    d.gateway, journal, entity, reason=reason, archives=archives, without_archives=without_archives
                )

        done = [change(where, work)]
    if vacuum or vacuum_full:
        inspect(where.url, lambda journal: journal.vacuum(full=vacuum_full))
    _print(done, vacuumed=vacuum or vacuum_full, json=json)


def _print(done: list[Redaction], *, vacuumed: bool, json: bool) -> None:
    if json:
        say(dumps([msgspec.to_builtins(one) for one in done]))
        return
    for one in done:
        called = f"{one.kind}/{one.name}" + (f" {one.key[2:]}" if one.key else "")
        say(f"{called} is redacted by its event {one.sequence}: {one.events} events lost their values.")
        for file in one.archives:
            say(f"The archive {file} was written anew without them.")
        for file in one.left:
            say(f"The archive {file} still holds them.")
    if not done:
        say("No redaction was interrupted.")
    elif not vacuumed:
        say(_REMAINS)
