"""``python -m tests.truth``: interrupt every operation in every way; 1 if anything is not as it was told."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import msgspec

from .part import Plan, one_place, say
from .report import Report
from .runs import PLACES


def main() -> int:
    """Run, and print the sums."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth")
    parser.add_argument("--all", action="store_true", help="every moment of every interruption, not a sample")
    parser.add_argument("--journal", action="append", choices=["memory", "sqlite", "postgres"])
    parser.add_argument("--way", action="append", choices=["local", "routed", "client"])
    parser.add_argument("--family", action="append", default=[], help="how the name of an interruption begins")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--moments", type=int, default=1, help="of each interruption, without --all")
    parser.add_argument("--rounds", type=int, default=1, help="how often, each time under the next seed")
    parser.add_argument("--times", type=int, default=2, help="entities of each operation in a trial")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--patience", type=float, default=5.0, help="seconds until what does not settle is a finding")
    given = parser.parse_args()
    places = [
        place for place in PLACES if place[0] in (given.journal or place[0]) and place[1] in (given.way or place[1])
    ]
    whole = Report()
    plan = Plan(None if given.all else given.moments, given.times, tuple(given.family), given.patience)
    seeds = range(given.seed, given.seed + given.rounds)
    with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
        jobs = [pool.submit(one_place, place, seed, plan) for seed in seeds for place in places]
        for job in jobs:
            whole.join(Report.of(msgspec.msgpack.decode(job.result())))
    say(f"\n{whole}\n\n{whole.complaints(40) if whole.found else 'Everything is as it was told.'}")
    return int(bool(whole.found))


if __name__ == "__main__":
    sys.exit(main())
