"""``casty-es verify``: whether anybody touched the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from casty_es.audit.anchor import Anchor, read_anchor
from casty_es.audit.signing import read_public_key
from casty_es.audit.verify import Report, Wrong, verify
from casty_es.cli import walking
from casty_es.cli.common import FOUND, Json, dumps, say
from casty_es.cli.table import Table
from casty_es.cli.walking import Processes, Slots, parse_slots, walked
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.errors import InvalidValueError
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import shown

_SHOWN: Final = 20  # of each kind of finding: who reads more of one kind learns nothing new


def verify_command(
    *,
    anchor: Annotated[
        list[Path] | None, typer.Option("--anchor", help="An anchor that the journal must still fit; may be repeated.")
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="Whose signature the anchors must have: a PEM file.")
    ] = None,
    slots: Slots = None,
    processes: Processes = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="A file that says what is done: to go on where one ended.")
    ] = None,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Walk through the journal and name what was edited, deleted, inserted or moved. Exits with 1 if anything was.

    Changes nothing, and may run while the program runs.
    """
    key = None if public_key is None else read_public_key(_content(public_key))
    anchors = [read_anchor(file, public_key=key) for file in anchor or ()]
    chosen = parse_slots(slots)

    async def work(journal: SqlJournal, progress: Callable[[int], None]) -> Report:
        return await verify(
            journal,
            slots=chosen,
            anchors=anchors,
            processes=processes or walking.CORES,
            resume=resume,
            progress=progress,
        )

    report = walked(url, chosen, "verifying", work, despite_damage=True)
    notes = [*report.notes, *_unproven(anchors, key)]
    if json:
        say(dumps(_row(url, report, notes)))
    else:
        _print(url, report, notes)
    if not report.ok:
        raise typer.Exit(FOUND)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidValueError(f"The file {file} cannot be read: {error}. Nothing was done.") from error


def _unproven(anchors: list[Anchor], key: bytes | None) -> list[str]:
    if key is None and any(anchor.signature is not None for anchor in anchors):
        note = (
            "The signatures of the anchors were checked against the keys inside them, which anybody can make: give the "
            "key that you trust with --public-key."
        )
        return [note]
    return []


def _row(url: str, report: Report, notes: list[str]) -> dict[str, Any]:
    return {
        "url": shown(url),
        "ok": report.ok,
        "slots": report.slots,
        "records": report.records,
        "cut": report.cut,
        "entities": report.entities,
        "snapshots": report.snapshots,
        "unbound_snapshots": report.unbound_snapshots,
        "seconds": round(report.seconds, 3),
        "records_per_second": round(report.records_per_second),
        "looked_at": msgspec.to_builtins(report.looked_at, str_keys=True),
        "findings": msgspec.to_builtins(report.findings),
        "notes": notes,
    }


def _print(url: str, report: Report, notes: list[str]) -> None:
    if report.findings:
        table = Table(shown(url), ("slot>", "position>", "entity>", "wrong", "what was found"))
        kinds: Counter[Wrong] = Counter()
        for one in report.findings:
            kinds[one.wrong] += 1
            if kinds[one.wrong] <= _SHOWN:
                table.add(one.slot, one.position, one.entity, one.wrong.value, one.text, style="red")
        table.print()
        for wrong, count in kinds.items():
            if count > _SHOWN:
                say(f"Of {wrong.value} there are {count - _SHOWN} more; --json prints all.")
    say(report.looked_at.text)
    say(
        f"{report.records:,} records in {report.slots} slots, {report.snapshots:,} snapshots and {report.entities:,} "
        f"entities were looked at, {report.cut:,} records are cut under seals."
    )
    say("Nothing is wrong." if report.ok else f"Things that are wrong: {len(report.findings)}.")
    for note in notes:
        say(f"Note: {note}")
