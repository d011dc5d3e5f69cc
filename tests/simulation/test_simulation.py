"""The simulation finds nothing in the code as it is, every rule that is broken, and the same again under one seed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Final

import pytest

_QUICK: Final = ("replies leave before the commit", "a repeat has an id of its own")


def simulation(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the simulation as a person would."""
    environment = {**os.environ, "PYTHONHASHSEED": "random"}
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_the_same_seed_is_the_same_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two processes that run one seed do the same things at the same times, to the last byte of the trace."""
    folder = tmp_path_factory.mktemp("traces")
    for seed in ("3", "8"):
        traces = []
        for number in range(2):
            file = folder / f"{seed}-{number}"
            done = simulation("--seed", seed, "--trace", str(file))
            assert done.returncode == 0, done.stdout + done.stderr
            traces.append((re.findall("trace [0-9a-f]{8}", done.stdout), file.read_bytes()))
        assert traces[0] == traces[1]
        assert traces[0][1].count(b"\n") > 100


def test_many_seeds_find_nothing() -> None:
    """As many seeds as there is time for; one that finds something is named with the line that replays it."""
    done = simulation("--seeds", "100000", "--seconds", "40", "--processes", str(min(2, os.cpu_count() or 1)))
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout.rpartition("# Simulation")[2])  # noqa: T201 - how many there were


@pytest.mark.parametrize("title", _QUICK)
def test_a_broken_rule_is_found(title: str) -> None:
    """With one rule broken some seed says so; the others take longer, and are run by ``--broken``."""
