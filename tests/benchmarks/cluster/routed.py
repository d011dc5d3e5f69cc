"""Ours: increments by the callers of one node of counters that another node owns, on the same host.

``increments`` counts them per second. ``hop`` takes turns between a counter of the other node and one of the caller's
own, one increment at a time, and gives what the way to the other node adds at the median.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import itertools
import os
import statistics
import time
from pathlib import Path

import psutil

from tests.benchmarks.clock import for_seconds, tell
from tests.benchmarks.cluster.processes import PATIENT, Cluster, cluster

_WARM_UP_SHARE = 0.1
_TURNS = 20


async def increments(url: str, counters: int, callers: int, seconds: float, profile: Path | None) -> None:
    owners_profile = None if profile is None else profile.with_name(f"{profile.name}-owner.prof")
    async with cluster(url, 1, profile=owners_profile) as nodes:
        [owner] = nodes.others
        names = list(itertools.islice(nodes.names_for(owner), counters))
        handles = [nodes.here.distributed().counter(name, timeout=PATIENT) for name in names]
        await asyncio.gather(*(handle.increment() for handle in handles))
        await _only_with(nodes, {owner})
        turns = itertools.cycle(handles)
        warm, _ = await for_seconds(lambda: next(turns).increment(), callers=callers, seconds=seconds * _WARM_UP_SHARE)
        processes = [psutil.Process(os.getpid()), psutil.Process(nodes.others[owner].pid)]
        before = [sum(process.cpu_times()[:2]) for process in processes]
        profiler = cProfile.Profile()
        if profile is not None:
            profiler.enable()
        done, took = await for_seconds(lambda: next(turns).increment(), callers=callers, seconds=seconds)
        if profile is not None:
            profiler.disable()
            profiler.dump_stats(profile.with_name(f"{profile.name}-caller.prof"))
        busy = [sum(process.cpu_times()[:2]) - spent for process, spent in zip(processes, before, strict=True)]
        value = sum(await asyncio.gather(*(handle.get() for handle in handles)))
        if value != counters + warm + done:
            raise SystemExit(f"The counters are {value} after {counters + warm + done} increments.")
    caller_us, owner_us = (seconds / done * 1e6 for seconds in busy)
    tell(per_second=done / took, operations=done, caller_cpu_microseconds=caller_us, owner_cpu_microseconds=owner_us)


async def hop(url: str, seconds: float) -> None:
    async with cluster(url, 1) as nodes:
        [other] = nodes.others
        d = nodes.here.distributed()
        near = d.counter(next(nodes.names_for(nodes.here.node_id)), timeout=PATIENT)
        far = d.counter(next(nodes.names_for(other)), timeout=PATIENT)
        times: dict[bool, list[float]] = {False: [], True: []}
        for counter in (near, far):
            await counter.increment()
            await for_seconds(counter.increment, callers=1, seconds=seconds * _WARM_UP_SHARE)
        for turn in range(2 * _TURNS):
            end = time.perf_counter() + seconds / _TURNS
            counter = far if turn % 2 else near
            while (begin := time.perf_counter()) < end:
                await counter.increment()
                times[counter is far].append(time.perf_counter() - begin)
        await _only_with(nodes, {other, nodes.here.node_id})
    local, routed = (statistics.median(times[far_away]) * 1e6 for far_away in (False, True))
    tell(hop_microseconds=routed - local, routed_microseconds=routed, local_microseconds=local)


async def _only_with(nodes: Cluster, wanted: set[str]) -> None:
    owners = set((await nodes.owners()).values())
    if owners != wanted:
        raise SystemExit(f"The counters are with {owners}, not with {wanted}: nothing was measured.")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["increments", "hop"])
    parser.add_argument("url")
    parser.add_argument("--counters", type=int, default=1)
    parser.add_argument("--callers", type=int, default=100)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--profile", type=Path, help="the beginning of the names of two files for the profiles")
    given = parser.parse_args()
    if given.action == "hop":
        asyncio.run(hop(given.url, given.seconds))
    else:
        asyncio.run(increments(given.url, given.counters, given.callers, given.seconds, given.profile))


if __name__ == "__main__":
    main()
