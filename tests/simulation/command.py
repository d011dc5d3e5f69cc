"""Run the simulation: one seed again, many seeds, or the broken rules.

``python -m tests.simulation --seed 17`` replays a seed, ``--seeds 100000 --processes 2 --report simulation.md`` is the
long run, which goes on where it was ended if it has a ``--state FILE``, ``--broken`` runs every broken rule until it is
found.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .broken import MOST_SEEDS, SWITCHES, Switch, found_by, taken_out
from .kept import Kept
from .report import Report, broken_table, replay
from .run import Outcome, simulate, simulate_all

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]

_CHUNK: Final = 10
_KEEP_SECONDS: Final = 10
_RULES: Final = {switch.title: switch for switch in SWITCHES}
_UNBROKEN: Final = Switch("nothing")


def main() -> int:
    """Do what the command line says; 1 if anything was found that should not be, or was not found that should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", help="run these seeds, and tell what happened")
    parser.add_argument("--trace", type=Path, help="with --seed: write every step of the last one to this file")
    parser.add_argument("--without", metavar="RULE", choices=[*_RULES], help="break this rule")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seconds", type=float, help="begin no seed after so long")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--broken", action="store_true", help="run every broken rule until it is found")
    parser.add_argument("--rule", action="append", choices=[*_RULES], help="with --broken: this one; may be repeated")
    parser.add_argument("--report", type=Path, help="write the report to this file")
    parser.add_argument("--state", type=Path, help="keep what was done in this file, and go on from there")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return max([_one(seed, arguments.trace, arguments.without) for seed in arguments.seed])
    with ProcessPoolExecutor(arguments.processes) as pool:
        if arguments.broken:
            return _broken(pool, arguments.report, arguments.first, arguments.rule or [*_RULES])
        return _many(pool, arguments)


def _say(*lines: str) -> None:
    sys.stdout.write("\n  ".join(lines) + "\n")
    sys.stdout.flush()


def _one(seed: int, trace: Path | None, without: str | None) -> int:
    told: list[str] = []
    switch = _RULES.get(without or "", _UNBROKEN)
    with taken_out(switch):
        outcome = simulate(seed, store=switch.store, told=told)
    if trace is not None:
        trace.write_text("\n".join(told))
    _say(f"seed {seed}: {outcome.world}, trace {outcome.trace:08x}, {outcome.steps} callbacks, {outcome.seconds:.3f} s")
    _say(f"told: {outcome.told}", *outcome.faults, *(f"FOUND {one}" for one in outcome.findings))
    return int(bool(outcome.findings))


def _chunk(seeds: list[int], until: float | None, without: str | None) -> list[Outcome]:
    switch = _RULES.get(without or "", _UNBROKEN)
    in_time = takewhile(lambda _: until is None or time.time() < until, seeds)
    with taken_out(switch):
        return simulate_all(in_time, store=switch.store)


def _many(pool: ProcessPoolExecutor, arguments: argparse.Namespace) -> int:
    report = Report(_RULES.get(arguments.without or ""))
    kept = None if arguments.state is None else Kept(arguments.state, report)
    last = arguments.first + arguments.seeds
    missing = iter([seed for seed in range(arguments.first, last) if seed not in report.done])
    since = time.time()
    for outcomes in _run(pool, iter(lambda: [*islice(missing, _CHUNK)], []), arguments):
        report.add(outcomes)
        since = report.took(since)
        for one in outcomes:
            if one.findings:
                _say(replay(one.seed, report.switch), *one.findings[:5])
        if report.seeds % 1_000 < _CHUNK:
            _say(f"{report.seeds} seeds, {len(report.failed)} with findings")
        if kept is not None:
            kept.write(every_seconds=_KEEP_SECONDS)
    if kept is not None:
        kept.write(every_seconds=0)
    text = report.text(arguments.processes)
    _say(text)
    if arguments.report is not None:
        arguments.report.write_text(text)
    return int(bool(report.failed))


def _run(
    pool: ProcessPoolExecutor, chunks: Iterator[list[int]], arguments: argparse.Namespace
) -> Iterator[list[Outcome]]:
    """Run chunks of seeds, a few ahead of those that are done, until there are no more or the time is up."""
    until = None if arguments.seconds is None else time.time() + arguments.seconds
    open_: set[Future[list[Outcome]]] = set()
    while True:
        ahead = islice(chunks, 2 * arguments.processes - len(open_))
        open_ |= {pool.submit(_chunk, chunk, until, arguments.without) for chunk in ahead}
        if not open_:
            return
        done, open_ = wait(open_, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def _broken(pool: ProcessPoolExecutor, path: Path | None, first: int, titles: list[str]) -> int:
    found = []
    for title, outcome in zip(titles, pool.map(partial(_find, first), titles), strict=True):
        switch = _RULES[title]
        said = f"not found by {MOST_SEEDS} seeds" if outcome is None else replay(outcome.seed, switch)
        _say(f"{title}: {said}")
        found.append((switch, outcome))
    if path is not None:
        path.write_text(broken_table(found))
    return int(any(outcome is None for _, outcome in found))


def _find(first: int, title: str) -> Outcome | None:
    return found_by(_RULES[title], first)
