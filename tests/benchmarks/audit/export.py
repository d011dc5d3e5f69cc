"""Ours: the time and the memory of exporting a long journal."""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
from pathlib import Path

from casty_es.audit.transfer import export_journal
from casty_es.journal.migrating import upgrade
from tests.audit.verifying.journals import LongWriter
from tests.benchmarks.clock import tell

_KIB = 1024


async def export(url: str, name: str) -> None:
    """Time an export."""
    with tempfile.TemporaryDirectory() as folder:
        report = await export_journal(url, Path(folder) / name)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB
    tell(per_second=report.records / report.seconds, operations=report.records, peak_mib=peak)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["build", "export"])
    parser.add_argument("url")
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--name", default="journal.jsonl")
    given = parser.parse_args()
    if given.action == "build":
        upgrade(given.url)
        asyncio.run(LongWriter(given.url).write(given.events))
    else:
        asyncio.run(export(given.url, given.name))


if __name__ == "__main__":
    main()
