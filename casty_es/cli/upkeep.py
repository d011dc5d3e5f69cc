"""``casty-es accept-loss``: what an operator needs rarely."""

from __future__ import annotations

from typing import Annotated

import typer

from casty_es.cli.common import Json, show
from casty_es.cli.reaching import inspect
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.journal.urls import shown

_MEANING = (
    "Accepting a loss means: records that the database had acknowledged and has lost stay lost, and what callers were "
    "told about them is no longer true. Slots that were closed over it open again where the log ends now. The journal "
    "gets its next incarnation, so that every fencing token from now on is higher than any that was ever given out. "
    "It cannot be taken back. If the records can still be restored, restore them instead."
)


def accept_loss(
    *, yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False, url: Url = DEFAULT_URL, json: Json = False
) -> None:
    """Open slots again that were closed because the database has lost records. Without --yes, only explain that."""
    if not yes:
        raise typer.BadParameter(f"{_MEANING} Nothing was done. Add --yes to accept it.")
    incarnation = inspect(url, lambda journal: journal.raise_incarnation())
    text = (
        f"The loss is accepted: {shown(url)} is at incarnation {incarnation}. Nodes that run see it by themselves; "
        f"slots that were closed open with their next command."
    )
    show({"url": shown(url), "incarnation": incarnation}, text, json=json)
