"""``casty-es retention``: how long events are kept, and moving older ones into archives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from casty_es.audit.retention import (
    Retained,
    check_archive,
    keep_text,
    parse_keep,
    readable_policies,
    run_retention,
    set_retention,
)
from casty_es.cli.common import FOUND, Json, Name, dumps, say, show
from casty_es.cli.reaching import change, inspect, journal_at, look
from casty_es.cli.table import Table
from casty_es.cli.where import DEFAULT_URL, Url, Where, takes_where
from casty_es.domain.catalog import CATALOG
from casty_es.handles.distributed import Distributed
from casty_es.journal.sql import SqlJournal

app = typer.Typer(help="Say how long events are kept, and move older ones into archives.", no_args_is_help=True)


@app.command("set")
def set_(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(CATALOG)}.", show_default=False)],
    name: Name,
    *,
    keep: Annotated[
        str, typer.Option("--keep", help="all, an age such as 90d (s, m, h, d, w), or 1000: events of each entity.")
    ],
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Say how long the events of a structure are kept. Nothing is cut by it."""
    policy = parse_keep(keep)
    inspect(url, lambda journal: set_retention(journal, kind, name, policy))
    text = f"{kind}/{name} keeps {keep_text(policy)} from the next run of retention on."
    show({"kind": kind, "name": name, "keep": keep_text(policy)}, text, json=json)


@app.command("show")
def show_(*, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Show the structures that do not keep all events."""
    (found, wrong), damaged = look(url, readable_policies)
    rows = [{"kind": kind, "name": name, "keep": keep_text(keep)} for (kind, name), keep in found.items()]
    if json:
        say(dumps(rows))
    elif not rows and not wrong:
        say("All events of all structures are kept.")
    else:
        table = Table("what is kept", ("structure", "keep>"))
        for row in rows:
            table.add(f"{row['kind']}/{row['name']}", row["keep"])
        table.print()
    say(*(f"casty-es: {one}" for one in wrong), err=True)
    if wrong or damaged:
        raise typer.Exit(FOUND)


@app.command()
@takes_where
def run(
    *,
    archive: Annotated[Path, typer.Option("--archive", help="The folder for the archives.")],
    pace: Annotated[
        float, typer.Option("--pace", min=0, help="How long to rest after each step, in times of what it took.")
    ] = 1.0,
    where: Where,
    json: Json = False,
) -> None:
    """Move what is older than the policies say into archives, then cut it. May run while the program runs."""
    from rich.console import Console  # noqa: PLC0415 - takes as long to load as a small command runs
    from rich.progress import Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - likewise

    console = Console(stderr=True)
    columns = TextColumn("{task.completed:,} events cut"), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("cut", total=None)

        async def work(d: Distributed) -> Retained:
            async with journal_at(where.url) as journal:
                return await run_retention(
                    d.gateway, journal, archive, pace=pace, progress=lambda events: bar.advance(task, events)
                )

        done = change(where, work)
    lines = [
        f"{done.events:,} events of {done.entities:,} entities were cut.",
        *(f"They are in {archive / file}." for file in done.archives),
        *(f"Note: {note}" for note in done.notes),
    ]
    show(msgspec.to_builtins(done), *lines, json=json)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="The archives.", show_default=False)],
    *,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Check that archives hold what was cut, by the journal's hash chain. Exits with 1 if one does not."""

    async def work(journal: SqlJournal) -> dict[str, list[str]]:
        return {str(file): await check_archive(journal, file) for file in files}

    found = inspect(url, work)
    if json:
        say(dumps(found))
    else:
        for file, wrong in found.items():
            say(f"{file}: " + ("it holds what was cut." if not wrong else f"things that are wrong: {len(wrong)}."))
            for text in wrong:
                say(f"  {text}")
    if any(found.values()):
        raise typer.Exit(FOUND)
