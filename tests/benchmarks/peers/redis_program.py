"""Redis that writes its file and has it flushed every second: INCR by 100 callers of one process through redis-py.

Runs alone, in an environment that has nothing but redis: it imports nothing of this repository.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import socket
import subprocess
import sys
import time

import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError

_WARM_UP_SHARE = 0.1
_START_SECONDS = 20.0


async def _measure(port: int, counters: int, callers: int, seconds: float) -> dict[str, float | str]:
    pool = redis.asyncio.ConnectionPool(host="127.0.0.1", port=port, max_connections=callers)
    client = redis.asyncio.Redis(connection_pool=pool)
    await _answers(client)
    names = [f"hits-{number}" for number in range(counters)]
    turns = itertools.cycle(names)

    async def call(end: float) -> int:
        done = 0
        while time.perf_counter() < end:
            await client.incr(next(turns))
            done += 1
        return done

    async def all_callers(seconds: float) -> tuple[int, float]:
        begin = time.perf_counter()
        done = sum(await asyncio.gather(*(call(begin + seconds) for _ in range(callers))))
        return done, time.perf_counter() - begin

    warm, _ = await all_callers(seconds * _WARM_UP_SHARE)
    done, took = await all_callers(seconds)
    value = sum(int(each or 0) for each in await client.mget(names))
    server = await client.info("server")
    flushed = (await client.config_get("appendfsync"))["appendfsync"]
    await client.aclose()
    await pool.disconnect()
    if value != warm + done:
        raise SystemExit(f"The keys hold {value} after {warm + done} increments: nothing was measured.")
    return {"per_second": done / took, "operations": done, "server": server["redis_version"], "appendfsync": flushed}


async def _answers(client: redis.asyncio.Redis) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            await client.ping()
        except RedisConnectionError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--server", required=True)
    parser.add_argument("--counters", type=int, required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    port = _free_port()
    settings = {"port": port, "bind": "127.0.0.1", "dir": given.folder, "save": "", "daemonize": "no"}
    settings |= {"appendonly": "yes", "appendfsync": "everysec"}
    arguments = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    server = subprocess.Popen([given.server, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        result = asyncio.run(_measure(port, given.counters, given.callers, given.seconds))
    finally:
        server.terminate()
        server.wait()
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
