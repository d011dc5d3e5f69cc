"""``casty-es check-replay``: whether the installed code makes of every stored log what it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import typer

from casty_es.audit.check_replay import Difference, ReplayReport, check_replay
from casty_es.cli import walking
from casty_es.cli.common import FOUND, Json, dumps, say
from casty_es.cli.table import Table
from casty_es.cli.walking import Processes, Slots, parse_slots, walked
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.domain.catalog import KEYED
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import shown


def check_replay_command(
    *,
    kind: Annotated[str | None, typer.Option("--kind", help="Only structures of this kind.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only structures of this name.")] = None,
    slots: Slots = None,
    processes: Processes = None,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Fold every stored log with the installed code, and name where it differs from what is stored. Exits with 1 if so.

    For before a release: changes nothing, needs no more than the right to read, and may run while the program runs.
    """
    chosen = parse_slots(slots)

    async def work(journal: SqlJournal, progress: Callable[[int], None]) -> ReplayReport:
        count = processes or walking.CORES
        return await check_replay(journal, kind=kind, name=name, slots=chosen, processes=count, progress=progress)

    report = walked(url, chosen, "folding", work)
    if json:
        say(dumps(_row(url, report)))
    else:
        _print(url, report)
    if not report.ok:
        raise typer.Exit(FOUND)


def _row(url: str, report: ReplayReport) -> dict[str, Any]:
    return {
        "url": shown(url),
        "ok": report.ok,
        "slots": report.slots,
        "entities": report.entities,
        "events": report.events,
        "snapshots": report.snapshots,
        "unread_snapshots": report.unread_snapshots,
        "seconds": round(report.seconds, 3),
        "events_per_second": round(report.events_per_second),
        "differences": [{**msgspec.to_builtins(one), "key": _key(one)} for one in report.differences],
        "notes": report.notes,
    }


def _key(one: Difference) -> str | None:
    """Return a key as its owner wrote it, without what says of which type it is."""
    return one.key.partition(":")[2] if one.kind in KEYED else None


def _print(url: str, report: ReplayReport) -> None:
    if report.differences:
        headings = ("slot>", "position>", "kind", "name", "key", "sequence>", "problem", "what was found")
        table = Table(shown(url), headings)
        for one in report.differences:
            where = one.slot, one.position, one.kind, one.name, _key(one), one.sequence
            table.add(*where, one.problem.value, one.text, style="red")
        table.print()
    say(
        f"{report.events:,} events of {report.entities:,} entities in {report.slots} slots were folded, and "
        f"{report.snapshots:,} snapshots compared."
    )
    say("Nothing differs." if report.ok else f"{len(report.differences)} logs differ or cannot be read.")
    for note in report.notes:
        say(f"Note: {note}")
