"""What the doctor says of structures whose record does not say where their entities are, and how it mends them."""

from __future__ import annotations

from typing import Any

import typer

from casty_es.audit.misrecorded import Misrecorded, find_misrecorded, record_fitting
from casty_es.cli.common import FOUND, dumps, say
from casty_es.cli.reaching import inspect, living
from casty_es.errors import CastyError, NotDoneError
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import shown
from casty_es.leases.checks import Check


async def examined(journal: SqlJournal, slots: int) -> Check:
    """Whether every structure is recorded as its entities are placed."""
    found = await find_misrecorded(journal, slots)
    texts = [
        f"{len(some)} {'structure' if len(some) == 1 else 'structures'} {what}, such as {some[0].kind} {some[0].name!r}"
        for some, what in (
            ([one for one in found if one.recorded is None], "with entities and without a record"),
            ([one for one in found if one.recorded is not None], "recorded with shards that lead elsewhere"),
            ([one for one in found if one.fitting is None], "that no number of shards explains"),
        )
        if some
    ]
    return Check(
        "structures",
        not found,
        "; ".join(texts) or "each is recorded as its entities are placed",
        "Run `casty-es doctor --repair`: it records the number of shards that explains where the entities are.",
        required=False,
    )


def repaired(url: str, session_url: str | None, *, json: bool) -> None:
    """Record what explains where entities are, and say what was done; exit with an error if something was refused."""
    done = inspect(url, lambda journal: _repair(journal, session_url))
    ok = all(refusal is None for _, refusal in done)
    if json:
        say(dumps({"url": shown(url), "ok": ok, "structures": [_row(one, refusal) for one, refusal in done]}))
    else:
        for one, refusal in done:
            say(_text(one) if refusal is None else refusal, err=refusal is not None)
        if not done:
            say("Every structure is recorded as its entities are placed. Nothing was changed.")
    if not ok:
        raise typer.Exit(FOUND)


async def _repair(journal: SqlJournal, session_url: str | None) -> list[tuple[Misrecorded, str | None]]:
    found = await find_misrecorded(journal, (await journal.open()).slots)
    if any(one.recorded is not None for one in found):
        await _refuse_beside_nodes(journal, session_url)
    return [(one, await _recorded(journal, one)) for one in found]


async def _refuse_beside_nodes(journal: SqlJournal, session_url: str | None) -> None:
    if nodes := await living(journal, await journal.nodes(), session_url):
        raise NotDoneError(
            f"Structures are recorded with a number of shards that leads elsewhere, and nodes that run remember it: "
            f"{', '.join(sorted(nodes))}. Nothing was changed. Stop them, and repair again."
        )


async def _recorded(journal: SqlJournal, one: Misrecorded) -> str | None:
    """Record what explains it; return why it was refused, ``None`` if it was done."""
    try:
        await record_fitting(journal, one)
    except CastyError as error:
        return str(error)
    return None


def _text(one: Misrecorded) -> str:
    before = "was not recorded" if one.recorded is None else f"was recorded with {one.recorded} shards"
    return f"{one.kind} {one.name!r} {before}; it is recorded with {one.fitting} now."


def _row(one: Misrecorded, refusal: str | None) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "name": one.name,
        "recorded_before": one.recorded,
        "recorded": one.recorded if refusal is not None else one.fitting,
        "refused": refusal,
    }
