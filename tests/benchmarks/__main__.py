"""``python -m tests.benchmarks``: measure, print every line as it is known, and keep the report in a file.

It reports and never judges: the exit code says only whether every program ran.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.cases import cases
from tests.benchmarks.cluster.profiling import profile_routed
from tests.benchmarks.databases import Databases
from tests.benchmarks.machine import facts
from tests.benchmarks.measuring import Measured, judge, take_turns
from tests.benchmarks.plan import FULL, QUICK, SMOKE, Case, Sizes
from tests.benchmarks.report import HEAD, opening, row, table


def main() -> int:
    """Run what is asked for."""
    given = _arguments()
    sizes: Sizes = given.sizes
    measured: list[tuple[Case, Measured]] = []
    crashed = False
    with tempfile.TemporaryDirectory(prefix="casty-bench-", dir=given.folder) as folder:
        databases = Databases(Path(folder))
        with databases.postgres():
            head = opening(sizes, facts(Path(folder), databases.postgres_facts()))
            _print(f"{head}\n\n{HEAD}")
            for case in cases(databases, sizes):
                if given.only and case.number not in given.only:
                    continue
                turns = take_turns(case, _progress)
                crashed = crashed or bool(turns.crashed)
                for one in judge(case, turns):
                    _print(row(case, one))
                    measured.append((case, one))
            if given.profile is not None:
                _print("\n" + profile_routed(databases, sizes, given.profile))
    given.report.write_text(f"{head}\n\n{table(measured)}\n", encoding="utf-8")
    _print(f"\nThe report is in {given.report}.")
    return 1 if crashed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--report", type=Path, default=Path("benchmark-report.md"), help="the file of the report")
    parser.add_argument("--folder", type=Path, help="where the SQLite files are made, for another file system")
    parser.add_argument("--only", type=int, action="append", metavar="CASE", help="a case's number; may be repeated")
    parser.add_argument(
        "--profile", type=Path, metavar="FOLDER", help="run case 7 once more and keep the profiles of caller and owner"
    )
    size = parser.add_mutually_exclusive_group()
    for sizes, text in ((QUICK, "a tenth of the sizes, in some minutes"), (SMOKE, "tiny sizes: does everything run?")):
        size.add_argument(f"--{sizes.name}", dest="sizes", action="store_const", const=sizes, help=text)
    parser.set_defaults(sizes=FULL)
    return parser.parse_args()


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
