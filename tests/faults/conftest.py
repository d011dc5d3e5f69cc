"""What the fault tests are told from outside.

``CASTY_ES_KILL_ROUNDS``  how often a process is killed per database, 2 unless it is given; the full run is 100
``CASTY_ES_KILL_REPORT``  a file to which the report of the kills is added; a file of pytest's own unless it is given
``CASTY_ES_KILL_SEED``    the seed of a run that is to be repeated; a fresh one unless it is given, and always printed
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

# Known before the tests are, because the time that they may take depends on it.
KILL_ROUNDS = int(os.environ.get("CASTY_ES_KILL_ROUNDS", "2"))


@pytest.fixture
def kill_rounds() -> int:
    """How often the process is killed."""
    return KILL_ROUNDS


@pytest.fixture
def kill_seed() -> int:
    """What decides when the process is killed and what it does before."""
    return int(os.environ.get("CASTY_ES_KILL_SEED") or secrets.randbelow(1_000_000))


@pytest.fixture
def kill_report(tmp_path: Path) -> Path:
    """Where the report goes."""
    return Path(os.environ.get("CASTY_ES_KILL_REPORT") or tmp_path / "kill-report.txt")
