"""The benchmark itself runs: its numbers are for people, so only their presence is tested.

CI runs the cases that start few processes, ``-m long`` all.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import POSTGRES_VARIABLE

_ROOT = Path(__file__).parents[2]
_LINES = {1: 2, 2: 1, 3: 3, 4: 2, 5: 2, 6: 1, 7: 6, 8: 4, 9: 4, 10: 2, 11: 8, 12: 2, 13: 6, 14: 2, 15: 12, 16: 4}
_QUICK = (1, 3, 4, 8, 9, 14)
_NUMBER = re.compile(r"^-?[\d,.]+")


def _run(cases: Iterable[int], server: str, folder: Path) -> list[list[str]]:
    """Return the cells of each line of the report of a run with tiny sizes."""
    file = folder / "report.md"
    words = ["--smoke", *(word for case in cases for word in ("--only", str(case)))]
    command = [sys.executable, "-m", "tests.benchmarks", "--report", str(file), "--folder", str(folder), *words]
    env = {**os.environ, POSTGRES_VARIABLE: server}
    ended = subprocess.run(command, cwd=_ROOT, env=env, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if re.match(r"\| \d+ ", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize(
    ("cases", "peers"),
    [
        pytest.param(_QUICK, 3, id="quick", marks=pytest.mark.ci),
        pytest.param(tuple(_LINES), 6, id="all", marks=pytest.mark.long),
    ],
)
@pytest.mark.timeout(600)  # it starts some forty processes, and waits for Postgres to end the sessions of frozen ones
def test_a_run_reports_every_line_with_numbers(
    cases: tuple[int, ...], peers: int, postgres_server: str, tmp_path: Path
) -> None:
    """Every goal has its line: our number, the peer's and the ratio, where the peer needs no download."""
    report = _run(cases, postgres_server, tmp_path)
    assert Counter(int(cells[0]) for cells in report) == {case: _LINES[case] for case in cases}
    for _, what, ours, peer, ratio, goal, met in report:
        # In so short a run a difference may have either sign, and a processor's clock may not have ticked.
        assert _a_number(ours) if "adds" in what or "processor time" in what else _above_zero(ours), what
        assert goal.startswith(("at least", "at most", "none")), what
        if peer.startswith("-"):
            assert "is not installed for a smoke run" in met, what
        elif peer != "none":
            assert _above_zero(peer), what
            assert _above_zero(ratio), what
    assert sum(_above_zero(cells[3]) for cells in report) == peers


def _a_number(cell: str) -> bool:
    return _NUMBER.match(cell) is not None


def _above_zero(cell: str) -> bool:
    number = _NUMBER.match(cell)
    return number is not None and float(number[0].replace(",", "")) > 0
