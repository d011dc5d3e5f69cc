"""Where the time of a routed increment goes: profiles of the caller's process and of the owner's."""

from __future__ import annotations

import io
import pstats
from pathlib import Path

from tests.benchmarks.cluster.cases import routed_command
from tests.benchmarks.databases import Databases
from tests.benchmarks.environments import SkippedError
from tests.benchmarks.measuring import run
from tests.benchmarks.plan import Sizes

_COUNTERS = (1, 100)
_LINES = 40


def profile_routed(databases: Databases, sizes: Sizes, folder: Path) -> str:
    """Measure routed increments under the profiler; say which files were written.

    Beside each ``.prof`` lies a ``.txt`` with the functions that took the most time themselves. The rates are not those
    of the report: the profiler costs more than what it watches.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = [f"Profiles of routed increments, in {folder}:"]
    for counters in _COUNTERS:
        stem = folder.resolve() / f"routed-{counters}"
        try:
            with databases.postgres_url() as url:
                result = run(routed_command(url, sizes, counters, "--profile", stem))
        except SkippedError as error:
            return f"No profile was made: {error}."
        said.append(f"- {stem.name}-*: {result['per_second']:,.0f}/s under the profiler")
        for process in ("caller", "owner"):
            file = stem.with_name(f"{stem.name}-{process}.prof")
            text = io.StringIO()
            pstats.Stats(str(file), stream=text).sort_stats("tottime").print_stats(_LINES)
            file.with_suffix(".txt").write_text(text.getvalue(), encoding="utf-8")
    return "\n".join(said)
