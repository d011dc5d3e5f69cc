"""The parent of the demo: what runs when, and whether it went well."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from casty_es.cli.common import Json, dumps, say
from casty_es.cli.demo.check import Look, Row, compare, gap_seconds, look
from casty_es.cli.demo.drive import NODES, Drive, Plan, Screen, drive
from casty_es.cli.demo.load import LEDGER_FILE, MIN_CALLERS
from casty_es.cli.reaching import opened
from casty_es.errors import ConfigurationError, InvalidArgumentError
from casty_es.journal.urls import shown

_JOURNAL_FILE: Final = "casty.db"
_RUN_BYTES: Final = 3  # told apart by eye, and no two at once have the same
_SHOWN: Final = 20


def demo(
    *,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where journal and ledger go; else a new folder.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Use this journal; the structures stay there, under names that begin with demo-."),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.5, max=600, help="How long the load lasts.")] = 4.0,
    callers: Annotated[
        int, typer.Option("--callers", min=MIN_CALLERS, max=10_000, help="How many callers at once.")
    ] = 100,
    json: Json = False,
) -> None:
    """See it survive: three nodes under load, kill -9 of the one that owns the counter, then count what is there.

    Exits with an error that names the operation if an acknowledged one is missing or one was counted twice.
    """
    place = _place(folder, own_journal=url is None)
    run = secrets.token_hex(_RUN_BYTES)
    prefix = "" if url is None else f"demo-{run}-"
    plan = Plan(url or f"sqlite:///{place / _JOURNAL_FILE}", place, run, prefix, callers, seconds)
    screen = Screen(quiet=json)
    with screen.progress:
        driven, seen = asyncio.run(_carry_out(plan, screen))
    rows = compare(seen.record, seen.found)
    ok = all(row.ok for row in rows) and not seen.chains.wrong
    gap = gap_seconds(seen.record, driven.killed_at)
    if json:
        say(dumps(_result(ok, plan, driven, seen, rows, gap)))
    else:
        screen.console.print(_table(rows))
        for line in [*_figures(callers, driven, seen, gap), *_verdict(rows, seen, plan)]:
            screen.say(line)
    if not ok:
        raise typer.Exit(1)


async def _carry_out(plan: Plan, screen: Screen) -> tuple[Drive, Look]:
    screen.say(f"The journal is {shown(plan.url)}")
    journal = await opened(plan.url, create=True)
    await journal.close()
    driven = await drive(plan, screen)
    screen.say(f"{NODES - 1} nodes went on and left: {driven.acknowledged:,} acknowledged")
    with screen.phase("Started again; reading everything back", None):
        return driven, await look(plan.url, plan.folder, plan.prefix)


def _place(folder: Path | None, *, own_journal: bool) -> Path:
    try:
        if folder is None:
            return Path(tempfile.mkdtemp(prefix="casty-es-demo-"))
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"The folder {folder} cannot be made: {error}. Nothing was started.") from error
    for name in [_JOURNAL_FILE, LEDGER_FILE] if own_journal else [LEDGER_FILE]:
        if (folder / name).exists():
            raise InvalidArgumentError(
                f"{folder / name} is there already. Nothing was started, because the demo counts from zero. Give it "
                f"another folder, or remove that file."
            )
    return folder.absolute()


def _result(
    ok: bool,  # noqa: FBT001 - the first field of what is printed
    plan: Plan,
    driven: Drive,
    seen: Look,
    rows: list[Row],
    gap: float,
) -> dict[str, Any]:
    return {
        "ok": ok,
        "folder": str(plan.folder),
        "journal": shown(plan.url),
        "prefix": plan.prefix,
        "callers": plan.callers,
        "nodes": msgspec.to_builtins(driven.nodes),
        "load": {"acknowledged": driven.acknowledged, "seconds": driven.seconds, "per_second": driven.per_second},
        "kill": {
            "node_id": driven.owner_before,
            "after_seconds": driven.killed_after,
            "acknowledged_by_then": driven.acknowledged_by_then,
        },
        "counter": {
            "slot": driven.slot,
            "owner_before": driven.owner_before,
            "owner_after": driven.owner_after,
            "gap_seconds": gap,
        },
        "replay_seconds": seen.replay_seconds,
        "look_seconds": seen.seconds,
        "structures": msgspec.to_builtins(rows),
        "chains": msgspec.to_builtins(seen.chains),
    }


def _table(rows: list[Row]) -> Table:
    """Return what was acknowledged beside what is there."""
    table = Table("structure", "counted")
    for heading in ("acknowledged", "found", "in flight", "missing"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        numbers = (row.acknowledged, row.found, row.in_flight, len(row.missing))
        verdict = Text("ok", style="green") if row.ok else Text("WRONG", style="bold red")
        table.add_row(row.structure, row.counted, *(f"{number:,}" for number in numbers), verdict)
    return table


def _figures(callers: int, driven: Drive, seen: Look, gap: float) -> list[str]:
    """Return what was measured, under the table."""
    return [
        "In flight: under way when the process of its caller was killed, so it may have happened or not.",
        (
            f"The counter page-views is in slot {driven.slot}. {driven.owner_before} owned it and was killed after "
            f"{driven.killed_after:.1f} s; now {driven.owner_after} owns it."
        ),
        f"The longest pause of the counter after the kill: {gap:.2f} s",
        (
            f"Throughput: {driven.per_second:,.0f} operations/s ({driven.acknowledged_in_time:,} in "
            f"{driven.seconds:.1f} s, {callers} callers, a third of them killed)"
        ),
        f"Replay after a fresh start: {seen.replay_seconds:.2f} s; everything read back in {seen.seconds:.1f} s",
    ]


def _verdict(rows: list[Row], seen: Look, plan: Plan) -> list[str]:
    """Return how it ended, and where to look further."""
    lines = []
    for row in rows:
        wrong = [*(f"missing: {operation}" for operation in row.missing), *row.wrong]
        lines += [f"{row.structure}: {text}" for text in wrong[:_SHOWN]]
    lines += [f"log: {text}" for text in seen.chains.wrong[:_SHOWN]]
    if all(row.ok for row in rows):
        lines.append("Every acknowledged operation is there, and nothing was counted twice.")
    else:
        lines.append("NOT every acknowledged operation is there exactly once.")
    if not seen.chains.wrong:
        lines.append(
            f"{seen.chains.records:,} records in {seen.chains.slots} slots: positions and sequences without a gap, "
            f"every hash chain whole."
        )
    return [*lines, f"Look inside: casty-es log lock/{plan.prefix}accounts --url {shown(plan.url)}"]
