"""The commands of the command line, as they are run on a damaged journal."""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from casty_es.cli.app import run

__all__ = ["CHANGING", "READING", "Done", "run_command"]

READING: Final = (
    "log",
    "log --json",
    "log counter/hits --json --after 25",
    "log counter/hits --json",
    "log map/users --key alice --json",
    "log map/users --key bob --json",
    "log --kind map --name users --actor ann",
    "log --principal secret --json",
    "log --json --after 2026-01-01",
    "show counter hits",
    "show map users --key alice --json",
    "show map users --key bob --json",
    "show map users --key alice --sequence 3",
    "show map users --key alice --at now",
    "show set tags",
    "show queue jobs",
    "show lock deploy",
    "show semaphore seats",
    "show barrier start",
    "who lock deploy",
    "who semaphore seats --json",
    "who barrier start",
    "who queue jobs --job 3",
    "who queue jobs --sequence 2",
    "timeline lock deploy",
    "timeline queue jobs --json",
    "verify --processes 1 --json",
    "verify --processes 1 --anchor {anchor}",
    "verify --processes 1 --json --resume {resume}",
    "check-replay --processes 1",
    "export {folder}/whole.jsonl",
    "export --kind map --from 2026-01-01 {folder}/some.jsonl.gz",
    "copy {url} sqlite:///{folder}/copy.db",
    "map keys users",
    "nodes",
    "slots --json",
    "doctor",
    "secret",
    "token list",
    "db check",
    "db current",
    "anchor",
    "retention show",
    "retention check {archive}",
)
"""What only looks."""

CHANGING: Final = (
    "doctor --repair",
    "accept-loss --yes",
    "redact --finish",
    "retention set counter hits --keep 10",
    "retention run --archive {folder}",
    "counter get hits",
    "counter increment hits",
    "counter set hits 2",
    "counter compare-and-set hits 1 2",
    "map get users alice",
    "map put users alice 1",
    "map put-if-absent users carol 1",
    "map replace users alice 1 2",
    "map pop users alice",
    "map delete users bob",
    "set add tags new --text",
    "set size tags",
    "queue peek jobs",
    "queue dequeue jobs",
    "lock status deploy",
    "semaphore status seats",
    "redact map users --key bob --reason test --yes",
)
"""What changes something, or is a node for a moment to find an answer."""


class Done(NamedTuple):
    """What a command did: its exit code, what it printed, and how long it took."""

    command: str
    code: int
    out: str
    err: str
    seconds: float
    file: str = ""  # what it wrote into whole.jsonl, if that is what it does


def run_command(command: str, url: str, folder: Path, *, anchor: Path, archive: Path, verified: Path) -> Done:
    """Run a command on a journal, in this process."""
    resume = shutil.copyfile(verified, folder / "taken-up.json")
    words = command.format(url=url, folder=folder, anchor=anchor, archive=archive, resume=resume).split()
    arguments: Sequence[str] = words if "{url}" in command else [*words, "--url", url]
    out, err = io.StringIO(), io.StringIO()
    started = time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    seconds, whole = time.monotonic() - started, folder / "whole.jsonl"
    file = whole.read_text() if whole.name in command and whole.exists() else ""
    return Done(command, code, out.getvalue(), err.getvalue(), seconds, file)
