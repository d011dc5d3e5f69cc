"""``casty-es export``, ``import`` and ``copy``: taking a journal elsewhere with its whole history."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from casty_es.audit.transfer import Filter, TransferReport, copy_journal, export_journal, import_journal
from casty_es.cli.common import FOUND, Json, say, show
from casty_es.cli.times import parse_time
from casty_es.cli.walking import progress_bar
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.journal.urls import shown
from casty_es.replay import to_microseconds

_Migrate = Annotated[
    bool,
    typer.Option(
        "--migrate/--no-migrate", help="Make the tables where there are none, with as many slots as the journal has."
    ),
]


def export(
    target: Annotated[
        Path, typer.Argument(help="A new .jsonl or .jsonl.gz file, or a .parquet folder.", show_default=False)
    ],
    *,
    kind: Annotated[str | None, typer.Option("--kind", help="Only events of this kind of structure.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only events of structures of this name.")] = None,
    after: Annotated[str | None, typer.Option("--from", help="Only events after this time.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Only events until this time.")] = None,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Write the journal into a file or folder. Run it again after an interruption, and it goes on.

    The program may run. With a filter the file is one to look at, and cannot be imported.
    """
    wanted = Filter(kind, name, _moment(after), _moment(until))
    with progress_bar("exporting") as tell:
        report = asyncio.run(export_journal(url, target, wanted=None if wanted == Filter() else wanted, progress=tell))
    _show(report, {"url": shown(url), "target": str(target)}, f"{target} holds", json=json)


def import_command(
    source: Annotated[Path, typer.Argument(help="What `casty-es export` wrote.", show_default=False)],
    *,
    migrate: _Migrate = True,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Make a journal of an export, in an empty database. Run it again after an interruption, and it goes on."""
    with progress_bar("importing") as tell:
        report = asyncio.run(import_journal(source, url, migrate=migrate, progress=lambda records: tell(records, 0)))
    _show(report, {"url": shown(url), "source": str(source)}, f"{shown(url)} holds", json=json)


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The URL of a journal.", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="TO", help="The URL of an empty database.", show_default=False)],
    *,
    migrate: _Migrate = True,
    json: Json = False,
) -> None:
    """Copy a journal into another database. Run it again after an interruption, and it goes on.

    End the programs that use it first, if they are to go on with the copy: what they do meanwhile is not copied.
    """
    with progress_bar("copying") as tell:
        report = asyncio.run(copy_journal(source, target, migrate=migrate, progress=tell))
    _show(report, {"from": shown(source), "to": shown(target)}, f"{shown(target)} holds", json=json)


def _moment(text: str | None) -> int | None:
    return None if text is None else to_microseconds(parse_time(text))


def _show(report: TransferReport, where: dict[str, Any], text: str, *, json: bool) -> None:
    row = {**where, **msgspec.structs.asdict(report), "seconds": round(report.seconds, 3)}
    went_on = " It went on where an earlier run had ended." if report.resumed else ""
    show(
        row,
        f"{text} {report.records:,} records of {report.entities:,} entities in {report.slots} slots, and "
        f"{report.snapshots:,} snapshots.{went_on}",
        json=json,
    )
    if report.damaged:
        say(
            f"casty-es: {report.damaged:,} rows could not be written down, and have a line that says why: what was "
            f"written is to be looked at, and cannot be imported. `casty-es verify` says more.",
            err=True,
        )
        raise typer.Exit(FOUND)
