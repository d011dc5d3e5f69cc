"""Ours: the time and the memory of exporting a long journal."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from casty_es.audit.transfer import export_journal
from tests.benchmarks.audit.long import written
from tests.benchmarks.clock import peak_mib, tell

_COUNTERS = 8


async def export(url: str, events: int, name: str) -> None:
    """Time an export."""
    await written(url, events, _COUNTERS, 10_000)
    with tempfile.TemporaryDirectory() as folder:
        report = await export_journal(url, Path(folder) / name)
    tell(per_second=report.records / report.seconds, operations=report.records, peak_mib=peak_mib())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--name", default="journal.jsonl")
    given = parser.parse_args()
    asyncio.run(export(given.url, given.events, given.name))


if __name__ == "__main__":
    main()
