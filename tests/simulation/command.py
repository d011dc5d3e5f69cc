"""Run the simulation: one seed again, many seeds, or the broken rules.

``python -m tests.simulation --seed 17`` replays a seed, ``--seeds 100000 --processes 2 --report simulation.md`` is the
long run, ``--broken`` runs every broken rule until it is found.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Final

from .broken import MOST_SEEDS, SWITCHES, Switch, found_by, taken_out
from .report import Report, broken_table, replay
from .run import Outcome, simulate

__all__ = ["main"]

_CHUNK: Final = 10
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


def _chunk(first: int, number: int, until: float | None, without: str | None) -> list[Outcome]:
    switch, outcomes = _RULES.get(without or "", _UNBROKEN), []
    with taken_out(switch):
        for seed in range(first, first + number):
            if until is not None and time.time() >= until:
                break
            outcomes.append(simulate(seed, store=switch.store))
    return outcomes


def _many(pool: ProcessPoolExecutor, arguments: argparse.Namespace) -> int:
    report, began = Report(_RULES.get(arguments.without or "")), time.time()
    until = None if arguments.seconds is None else began + arguments.seconds
    firsts = iter(range(arguments.first, arguments.first + arguments.seeds, _CHUNK))
    last = arguments.first + arguments.seeds
    open_: set[Future[list[Outcome]]] = set()
    while True:
        for first in firsts:
            open_.add(pool.submit(_chunk, first, min(_CHUNK, last - first), until, arguments.without))
            if len(open_) >= 2 * arguments.processes:
                break
        if not open_:
            break
        done, open_ = wait(open_, return_when=FIRST_COMPLETED)
        for future in done:
            outcomes = future.result()
            report.add(outcomes)
            for one in outcomes:
                if one.findings:
                    _say(replay(one.seed, report.switch), *one.findings[:5])
        if report.seeds % 1_000 < _CHUNK:
            _say(f"{report.seeds} seeds, {len(report.failed)} with findings")
    text = report.text(time.time() - began, arguments.processes)
    _say(text)
    if arguments.report is not None:
        arguments.report.write_text(text)
    return int(bool(report.failed))


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
