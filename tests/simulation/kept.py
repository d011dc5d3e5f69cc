"""What a long run has done, in a file, so that it goes on where it was ended."""

from __future__ import annotations

import sys
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from .run import Outcome, simulate

if TYPE_CHECKING:
    from .report import Report

__all__ = ["Kept"]


class _State(msgspec.Struct):
    code: str
    rule: str
    done: list[tuple[int, int]]
    seconds: float
    steps: int
    virtual_seconds: float
    told: dict[str, int]
    faults: dict[str, int]
    worlds: dict[str, int]
    failed: list[Outcome]


class Kept:
    """A file that a report is kept in, and read from if it is there.

    Parameters
    ----------
    file : Path
        It is of one state of the code: of everything of ours that is loaded when a seed runs.
    report : Report
        Gets what the file says.

    Raises
    ------
    SystemExit
        The file is of other code, or of another rule: what it counted is not true of this one.
    """

    def __init__(self, file: Path, report: Report) -> None:
        self._file = file
        self._report = report
        self._written = time.monotonic()
        self._rule = "" if report.switch is None else report.switch.title
        simulate(0)  # loads what only a run needs
        self._code = _code()
        if file.exists():
            self._read(msgspec.json.decode(file.read_bytes(), type=_State))

    def _read(self, state: _State) -> None:
        if (state.code, state.rule) != (self._code, self._rule):
            raise SystemExit(f"{self._file} is of other code or of another rule. Nothing was run: name another file.")
        report = self._report
        report.done = {seed for first, last in state.done for seed in range(first, last + 1)}
        report.seconds, report.steps, report.virtual_seconds = state.seconds, state.steps, state.virtual_seconds
        report.told, report.faults, report.worlds = Counter(state.told), Counter(state.faults), Counter(state.worlds)
        report.failed = state.failed

    def write(self, *, every_seconds: float) -> None:
        """Write what the report counts, if that was not done within so many seconds."""
        if time.monotonic() < self._written + every_seconds:
            return
        report = self._report
        state = _State(
            self._code,
            self._rule,
            _ranges(report.done),
            report.seconds,
            report.steps,
            report.virtual_seconds,
            report.told,
            report.faults,
            report.worlds,
            report.failed,
        )
        beside = self._file.with_name(f"{self._file.name}.new")
        beside.write_bytes(msgspec.json.encode(state))
        beside.replace(self._file)
        self._written = time.monotonic()


def _ranges(seeds: set[int]) -> list[tuple[int, int]]:
    """Return the first and the last of each run of seeds without a gap."""
    ranges: list[tuple[int, int]] = []
    for seed in sorted(seeds):
        if ranges and ranges[-1][1] == seed - 1:
            ranges[-1] = ranges[-1][0], seed
        else:
            ranges.append((seed, seed))
    return ranges


def _code() -> str:
    """Return a digest of every file of ours that is loaded, and of the interpreter's version."""
    digest = sha256(sys.version.encode())
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in {"casty_es", "tests"}}
    for name in sorted(ours):
        file = getattr(ours[name], "__file__", None)
        digest.update(name.encode())
        if file is not None:
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()
