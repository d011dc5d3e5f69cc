"""What people are shown: one line each, in a log too."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from casty_es.printing import log_of

ROOT = Path(__file__).parents[2] / "casty_es"


def test_a_log_shows_what_is_in_a_name(caplog: pytest.LogCaptureFixture) -> None:
    """A name and an error of others are shown in a line of the log, and numbers are formatted as they were."""
    log = log_of("casty_es.test")
    with caplog.at_level(logging.INFO, "casty_es.test"):
        log.info("Node %s of %d: %s, %r, %.1f", "a\n2026-11-27 FORGED", 3, ValueError("b\u202ec"), "d\u200b", 0.25)
        log.info("100%")
    said = [r"Node a\n2026-11-27 FORGED of 3: b\u202ec, 'd\u200b', 0.2", "100%"]
    assert [record.getMessage() for record in caplog.records] == said


def test_every_logger_is_such_a_one() -> None:
    """No module makes its logger another way; the one that does logs names of tasks, which are the library's own."""
    made = {str(file.relative_to(ROOT)) for file in ROOT.rglob("*.py") if re.search(r"getLogger\(", file.read_text())}
    assert made == {"printing.py", "background.py", "cli/node.py"}
