"""The parent of the demo: what runs when, and whether it went well."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from casty_es.cli.common import Json, dumps
from casty_es.cli.demo.check import Row, verify
from casty_es.cli.demo.ledger import LEDGER_FILE, MIN_CALLERS, mark_killed
from casty_es.cli.demo.load import KILLED, Order, Progress
from casty_es.cli.demo.look import Look, look
from casty_es.cli.demo.screen import Screen
from casty_es.cli.demo.structures import JOURNAL_FILE
from casty_es.errors import CastyError, ConfigurationError

__all__ = ["DemoError", "demo"]

_LOG_FILE: Final = "load.log"
_LAST_LINES: Final = 5


class DemoError(CastyError):
    """The demo could not be carried through. What was acknowledged and what is there were not compared."""


def demo(
    *,
    folder: Annotated[Path | None, typer.Option("--folder", help="Where the journal goes; else a new folder.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.5, max=600, help="How long the load lasts.")] = 4.0,
    callers: Annotated[
        int, typer.Option("--callers", min=MIN_CALLERS, max=10_000, help="How many callers at once.")
    ] = 100,
    json: Json = False,
) -> None:
    """See it survive: drive six structures, kill the process hard, start again on the same file, count what is there.

    Exits with an error that names the operation if an acknowledged one is missing or one was counted twice.
    """
    place = _place(folder)
    screen = Screen(quiet=json)
    screen.say(f"The journal is {place / JOURNAL_FILE}")
    with screen:
        killed_after = random.uniform(0.3, 0.7) * seconds  # noqa: S311 - nobody gains by guessing it
        first = _load(screen, Order(str(place), callers, killed_after, kill=True), shown_seconds=seconds)
        mark_killed(place, callers)
        screen.say(f"Killed the process (exit code {KILLED}) under load: {first.acknowledged:,} acknowledged by then")
        after_kill = _look(screen, place, "Started again; reading everything back")
        rows_after_kill = verify(after_kill.record, after_kill.found)
        second = None
        at_end, rows = after_kill, rows_after_kill
        if all(row.ok for row in rows_after_kill):
            second = _load(screen, Order(str(place), callers, seconds / 2, kill=False), shown_seconds=seconds / 2)
            screen.say(f"Went on: {second.acknowledged:,} acknowledged")
            at_end = _look(screen, place, "Started a third time; reading everything back")
            rows = verify(at_end.record, at_end.found)
    ok = all(row.ok for row in rows)
    if json:
        typer.echo(dumps(_result(ok, place, callers, first, second, after_kill, rows_after_kill, at_end, rows)))
    else:
        screen.table(rows)
        screen.figures(callers, first, second, after_kill, at_end)
        screen.verdict(rows, place)
    if not ok:
        raise typer.Exit(1)


def _place(folder: Path | None) -> Path:
    try:
        if folder is None:
            return Path(tempfile.mkdtemp(prefix="casty-es-demo-"))
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"The folder {folder} cannot be made: {error}. Nothing was started.") from error
    for name in (JOURNAL_FILE, LEDGER_FILE):
        if (folder / name).exists():
            raise ConfigurationError(
                f"{folder / name} is there already. Nothing was started, because the demo counts from zero. Give it "
                f"another folder, or remove that file."
            )
    return folder.absolute()


def _load(screen: Screen, order: Order, *, shown_seconds: float) -> Progress:
    """Run the child to its end; give how far it got."""
    what = f"{order.callers} callers" + (", to be killed at a random moment" if order.kill else "")
    progress = Progress(0, 0.0)
    argument = msgspec.json.encode(order).decode()
    log = Path(order.folder) / _LOG_FILE
    with (
        log.open("ab") as errors,
        subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "casty_es.cli.demo.load", argument], stdout=subprocess.PIPE, stderr=errors
        ) as child,
        screen.phase(what, shown_seconds) as show,
    ):
        assert child.stdout is not None  # noqa: S101 - it was asked for
        try:
            for line in child.stdout:
                progress = msgspec.json.decode(line, type=Progress)
                show(progress)
            code = child.wait()
        finally:
            child.kill()
    if code != (KILLED if order.kill else 0):
        said = log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:]
        raise DemoError(
            f"The process under load ended with exit code {code} before its time; nothing was compared. "
            f"It said in {log}: {' | '.join(said) or 'nothing'}"
        )
    return progress


def _look(screen: Screen, place: Path, what: str) -> Look:
    with screen.phase(what, None):
        return asyncio.run(look(place))


def _result(
    ok: bool,  # noqa: FBT001 - the first field of what is printed
    place: Path,
    callers: int,
    first: Progress,
    second: Progress | None,
    after_kill: Look,
    rows_after_kill: list[Row],
    at_end: Look,
    rows: list[Row],
) -> dict[str, Any]:
    def loaded(progress: Progress | None) -> dict[str, Any] | None:
        return None if progress is None else {**msgspec.to_builtins(progress), "per_second": progress.per_second}

    def looked(seen: Look, counted: list[Row]) -> dict[str, Any]:
        return {
            "replay_seconds": seen.replay_seconds,
            "seconds": seen.seconds,
            "structures": msgspec.to_builtins(counted),
        }

    return {
        "ok": ok,
        "folder": str(place),
        "journal": f"sqlite:///{place / JOURNAL_FILE}",
        "callers": callers,
        "killed_load": loaded(first),
        "after_kill": looked(after_kill, rows_after_kill),
        "second_load": loaded(second),
        "at_end": looked(at_end, rows),
    }
