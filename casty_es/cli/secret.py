"""``casty-es secret``: what nodes know each other by, and how it is replaced while they run."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from casty_es.cli.common import FOUND, Json, say, show
from casty_es.cli.reaching import inspect, look
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.journal.access_tables import AccessTables

app = typer.Typer(help="Print the cluster's secret, or replace it while the nodes run.")

_BEGUN: Final = (
    "A new secret is valid beside the old one. Nodes that read theirs from the journal accept both within two seconds. "
    "Give the new one to every client and node that was given the old one, then run `casty-es secret rotate --finish`; "
    "`--cancel` takes the new one back."
)


@app.callback(invoke_without_command=True)
def secret(context: typer.Context, *, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Print the cluster's secret in hexadecimal, for clients and commands that cannot read the database.

    Whoever has it can read and change every structure: hand it on as you would a password. For less, make a token.
    """
    if context.invoked_subcommand is not None:
        if (source := context.get_parameter_source("url")) is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"Put --url behind {context.invoked_subcommand}. Nothing was done.")
    else:
        secrets, damaged = look(url, lambda journal: AccessTables(journal).secrets())
        found = secrets[0].hex()
        show({"secret": found}, found, json=json)
        if damaged:
            raise typer.Exit(FOUND)


@app.command()
def rotate(
    *,
    finish: Annotated[bool, typer.Option("--finish", help="Let the old secret go.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Let the new secret go again.")] = False,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Replace the cluster's secret: make a new one that is valid beside the old one, then let the old one go.

    No node has to be started again, unless it was given its secret with secret=.
    """
    if finish and cancel:
        raise typer.BadParameter("--finish keeps the new secret, --cancel the old one. Nothing was done. Give one.")
    if not finish and not cancel:
        new = inspect(url, lambda journal: AccessTables(journal).begin_rotation()).hex()
        if not json:
            say(_BEGUN, err=True)
        show({"secret": new, "valid": 2}, new, json=json)
        return
    inspect(url, lambda journal: AccessTables(journal).end_rotation(keep_new=finish))
    gone = "old" if finish else "new"
    text = f"The {gone} secret is valid no more. Nodes follow within two seconds, and end connections made with it."
    show({"valid": 1, "gone": gone}, text, json=json)
