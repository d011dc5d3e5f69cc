"""Type checkers know what a program is told, take every type of values, and refuse what would fail when it runs."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USAGE = [Path(__file__).with_name(name) for name in ("usage.py", "own_usage.py")]


def checked(*command: str) -> str:
    """Return what a checker says; that it found something is no failure of its own."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), f"{command[0]} did not check: {done.stdout}{done.stderr}"
    return done.stdout


def mypy(usage: Path) -> set[int]:
    """Return the lines in which mypy finds an error."""
    said = checked("mypy", "--config-file=pyproject.toml", str(usage))
    return {int(number) for number in re.findall(r"usage\.py:(\d+): error: ", said)}


def pyright(usage: Path) -> set[int]:
    """Return the lines in which pyright finds an error, under its standard settings."""
    ready = subprocess.run([sys.executable, "-m", "pyright", "--version"], capture_output=True, text=True, check=False)
    if ready.returncode:
        pytest.skip(f"pyright could not fetch itself from npm: {ready.stderr.strip()[-200:]}")
    said = json.loads(checked("pyright", "--outputjson", "--pythonpath", sys.executable, str(usage)))
    return {one["range"]["start"]["line"] + 1 for one in said["generalDiagnostics"] if one["severity"] == "error"}


@pytest.mark.ci
@pytest.mark.timeout(900)  # without a cache mypy reads all of the package
@pytest.mark.parametrize("usage", USAGE, ids=lambda usage: usage.stem)
@pytest.mark.parametrize("find", [mypy, pyright])
def test_the_wrong_lines_are_refused_and_no_others(find: Callable[[Path], set[int]], usage: Path) -> None:
    """Given a program with wrong lines in it, when it is checked, then errors are found in these lines only."""
    if importlib.util.find_spec(find.__name__) is None:
        pytest.skip(f"{find.__name__} is not installed: pip install -e '.[dev]'")
    lines = enumerate(usage.read_text().splitlines(), 1)
    assert find(usage) == {number for number, line in lines if line.endswith("# wrong")}
