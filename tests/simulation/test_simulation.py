"""The simulation finds nothing in the code as it is, every rule that is broken, and the same again under one seed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from .broken import SWITCHES

pytestmark = pytest.mark.timeout(1_000)

_QUICK: Final = (
    "replies leave before the commit",
    "a repeat does not join the attempt that is open",
    "a repeat has an id of its own",
    "a lost link leaves no doubt",
    "whoever has no answer is told that it did not happen",
    "an append in doubt counts as not written",
)


def simulation(*arguments: str, seconds: float = 900) -> subprocess.CompletedProcess[str]:
    """Run the simulation as a person would; whatever happens, none of its processes stays."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": "random"}
    running = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, err = running.communicate(timeout=seconds)
    except BaseException:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        raise
    return subprocess.CompletedProcess(command, running.returncode, out, err)


def test_the_same_seed_is_the_same_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two processes that run one seed do the same things at the same times, to the last byte of the trace."""
    folder = tmp_path_factory.mktemp("traces")
    traces = []
    for number in range(2):
        file = folder / f"{number}"
        done = simulation("--seed", "3", "--trace", str(file))
        assert done.returncode == 0, done.stdout + done.stderr
        traces.append((re.findall("trace [0-9a-f]{8}", done.stdout), file.read_bytes()))
    assert traces[0] == traces[1]
    assert traces[0][1].count(b"\n") > 100


def test_many_seeds_find_nothing() -> None:
    """As many seeds as there is time for; one that finds something is named with the line that replays it."""
    done = simulation("--seeds", "100000", "--seconds", "8", "--processes", str(min(2, os.cpu_count() or 1)))
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout.rpartition("# Simulation")[2])  # noqa: T201 - how many there were


@pytest.mark.ci
def test_a_finding_is_replayed() -> None:
    """A seed that finds something prints the line that finds it again."""
    rule = "replies leave before the commit"
    done = simulation("--seeds", "20", "--without", rule)
    assert done.returncode == 1, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("python -m tests.simulation --seed"))
    again = simulation(*shlex.split(line)[3:])
    assert again.returncode == 1
    assert "FOUND" in again.stdout


def test_a_run_goes_on_where_it_was_ended(tmp_path: Path) -> None:
    """With a file of what was done, seeds that have run are not run again, unless the code is another one."""
    state = tmp_path / "state.json"
    began = simulation("--first", "2", "--seeds", "1", "--state", str(state))
    assert "\n1 seeds, " in began.stdout, began.stderr
    kept = state.read_text()
    went_on = simulation("--first", "1", "--seeds", "2", "--state", str(state))
    at_once = simulation("--first", "1", "--seeds", "2")
    counted = [re.search(r"^2 seeds, .* of virtual time", one.stdout, re.MULTILINE) for one in (went_on, at_once)]
    assert counted[0] is not None, went_on.stdout
    assert counted[1] is not None, at_once.stdout
    assert counted[0][0] == counted[1][0]
    state.write_text(kept.replace('"code":"', '"code":"0'))
    refused = simulation("--seeds", "1", "--state", str(state))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "of other code" in refused.stderr


@pytest.mark.ci
def test_broken_rules_are_found() -> None:
    """With one of these rules broken some seed says so, soon; the others take longer."""
    done = simulation("--broken", "--processes", "2", *(word for rule in _QUICK for word in ("--rule", rule)))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.timeout(7_200)
def test_every_broken_rule_is_found(tmp_path: Path) -> None:
    """Every rule that can be broken is missed within 2,000 seeds."""
    assert len(SWITCHES) >= 15
    done = simulation("--broken", "--processes", "2", "--report", str(tmp_path / "broken.md"), seconds=7_000)
    assert done.returncode == 0, done.stdout + done.stderr
