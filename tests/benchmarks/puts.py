"""Ours: puts on distinct keys of one map, each a cold entity, by 100 callers of one process, per second.

First on keys that nobody has put, then, with another process's memory, on the same keys again.
"""

from __future__ import annotations

import argparse
import asyncio

import casty_es
from tests.benchmarks.clock import for_numbers, peak_mib, tell

_CALLERS = 100


async def measure(url: str, keys: int, *, again: bool) -> None:
    rates = []
    for _ in range(1 + again):
        # Opened anew the system knows no entity: every key is cold.
        async with casty_es.connect(url) as d:
            users = d.map[str, str]("users")
            took = await for_numbers(
                lambda number, put=users.put: put(f"user-{number:09}", f"the value of {number}"),
                callers=_CALLERS,
                count=keys,
            )
            rates.append(keys / took)
            last = await users.get(f"user-{keys - 1:09}")
        if last != f"the value of {keys - 1}":
            raise SystemExit(f"The last key holds {last!r}: nothing was measured.")
    tell(per_second=rates[0], again_per_second=rates[-1], peak_mib=peak_mib(), operations=keys)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--keys", type=int, required=True)
    parser.add_argument("--again", action="store_true", help="put the same keys once more after closing")
    given = parser.parse_args()
    asyncio.run(measure(given.url, given.keys, again=given.again))


if __name__ == "__main__":
    main()
