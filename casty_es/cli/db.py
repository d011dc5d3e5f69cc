"""``casty-es db``: the schema of the journal."""

from __future__ import annotations

from typing import Annotated

import typer

from casty_es.cli.common import Json, show
from casty_es.cli.grants import grants
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.errors import SchemaError
from casty_es.journal import schema
from casty_es.journal.urls import shown

app = typer.Typer(help="Make, bring up to date and check the journal's tables.", no_args_is_help=True)
app.command()(grants)

Slots = Annotated[
    int | None,
    typer.Option("--slots", help="How many slots a new journal has, 1 to 8192. It never changes afterwards."),
]


@app.command()
def upgrade(*, slots: Slots = None, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Bring the tables to the newest revision; a new journal gets its number of slots here."""
    from casty_es.journal import migrating  # noqa: PLC0415 - alembic is slow to import, and other commands need none

    before = schema.current(url)
    migrating.upgrade(url, slots=slots)
    after = schema.current(url)
    text = f"{shown(url)} was at revision {after} already." if before == after else f"{shown(url)} is now at {after}."
    show({"url": shown(url), "before": before, "revision": after}, text, json=json)


@app.command()
def current(*, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Show the revision of the tables and the one that this program needs."""
    revision = schema.current(url)
    text = f"{revision or 'no journal'} (needed: {schema.EXPECTED_REVISION})"
    show({"url": shown(url), "revision": revision, "needed": schema.EXPECTED_REVISION}, text, json=json)


@app.command()
def check(*, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Exit with an error unless the tables are the ones that this program needs."""
    schema.check(url)
    show({"url": shown(url), "revision": schema.EXPECTED_REVISION, "ok": True}, f"{shown(url)} is ready.", json=json)


@app.command()
def sql(*, slots: Slots = None, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Print the SQL that makes the tables, for somebody else to read and run. Connects to nothing."""
    from casty_es.journal import migrating  # noqa: PLC0415 - alembic is slow to import, and other commands need none

    statements = migrating.sql(url, slots=slots)
    if not statements.strip():
        raise SchemaError(f"There is no SQL for {shown(url)}. Nothing was done.")
    show({"url": shown(url), "sql": statements}, *statements.rstrip().split("\n"), json=json)
