"""A process under load is killed with SIGKILL again and again; nothing it acknowledged is lost, nothing happens twice.

The full run: ``CASTY_ES_KILL_ROUNDS=50 CASTY_ES_KILL_REPORT=report.txt pytest tests/faults/test_kill9.py``.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest

from .audit import audit, read_sql
from .child import load
from .conftest import KILL_ROUNDS

if TYPE_CHECKING:
    from pathlib import Path

    from .recording import Operation

_SECONDS_PER_ROUND = 60

pytestmark = pytest.mark.timeout(60 + _SECONDS_PER_ROUND * KILL_ROUNDS)


def test_what_was_acknowledged_survives_kill_9(
    journal_url: str, database_kind: str, kill_rounds: int, kill_seed: int, kill_report: Path
) -> None:
    """After every SIGKILL each acknowledged operation is there once, nothing is there twice, and the chain is whole."""
    random = Random(kill_seed)  # noqa: S311 - to be repeated, not to be secret
    operations: list[Operation] = []
    report = [f"{database_kind}, seed {kill_seed}: killed {kill_rounds} times under mixed load"]
    findings: list[str] = []
    for number in range(1, kill_rounds + 1):
        # given a process at work on the journal that the last one left
        with load(journal_url, kill_seed * 1_000 + number) as child:
            # when it is killed after some answer
            wanted = random.randint(1, 600)
            child.answers(wanted)
            told = child.kill()
        operations += told
        # then the journal has all that it was acknowledged, once
        log = asyncio.run(read_sql(journal_url))
        findings += audit(log, operations)
        acknowledged = sum(operation.reply is not None for operation in told)
        open_ = sum(operation.returned is None for operation in told)
        report.append(
            f"  round {number}: killed after {acknowledged} answers with {open_} open; {len(log.records)} records, "
            f"{len(operations)} operations so far, {len(findings)} findings"
        )
    report += [f"  {finding}" for finding in findings]
    print("\n".join(report))  # noqa: T201 - the seed is what repeats a failure
    with kill_report.open("a") as file:
        file.write("\n".join(report) + "\n")
    assert not findings, "\n".join(report)
