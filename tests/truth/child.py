"""A node or client in a process of its own, which calls operations until it is killed, and tells what it is told.

Run as ``python -m tests.truth.child SPEC`` in the project's folder. Each line on standard input is a list of operations
to be called at once, as JSON; on standard output is a line for every id that a command is given and for every result.
A line is one ``os.write``: what is on the pipe outlives any kill.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any, SupportsIndex

from casty_es import ClusteredActorSystem, Distributed, SqlJournal
from casty_es.client import ClusterClient

from .cases import Case, RecordingRuntime
from .operations import ROWS, Entity
from .worlds import settings_of


class _Noted(list[bytes]):
    """Ids that are told as soon as they are given."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def append(self, object_: bytes, /) -> None:
        say({"number": self._number, "id": object_.hex()})
        super().append(object_)

    def __reduce_ex__(self, _: SupportsIndex) -> Any:
        raise NotImplementedError


def say(words: dict[str, Any]) -> None:
    """Write a line."""
    os.write(sys.stdout.fileno(), json.dumps(words, default=str).encode() + b"\n")


async def prepared(d: Distributed, cases: list[Case]) -> list[Any]:
    """Bring the entities about: whoever holds or waits here is killed with the callers."""
    parked: list[asyncio.Task[None]] = []
    rows = {case.name: case.row for case in cases}
    entities = [(row, Entity(name, d, d, 60.0, parked)) for name, row in rows.items()]
    meanwhile = await asyncio.gather(*(row.before(entity) for row, entity in entities if row.before is not None))
    return [*parked, *(asyncio.ensure_future(work()) for work in meanwhile if work is not None)]


async def one(d: Distributed, case: Case) -> None:
    """Call an operation at a moment of its own, and tell what came of it."""
    await asyncio.sleep((case.number * 37 % 100) / 2_000)  # spread, so that a kill meets each stage of some
    await case.run(d)
    say(case.tell())


async def main(spec: dict[str, Any]) -> None:
    """Be there until the end of the input."""
    settings = settings_of(spec["lease_seconds"])
    system: Any
    if "url" in spec:
        system = ClusteredActorSystem(journal=SqlJournal(spec["url"]), settings=settings, runtime=RecordingRuntime())
    else:
        system = ClusterClient(
            contact_points=[(spec["host"], spec["port"])],
            secret=bytes.fromhex(spec["secret"]),
            settings=settings,
            runtime=RecordingRuntime(),
        )
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with system:
        if "url" in spec:
            say({"node_id": system.node_id, "port": system.self_node.port})
        else:
            say({"client": True})
        busy: list[Any] = []
        async for line in orders:
            cases = []
            for row, name, number, seconds, key in json.loads(line):
                case = Case(ROWS[row], name, number, seconds=seconds, key=key)
                case.ids = _Noted(number)
                cases.append(case)
            d = system.distributed()
            busy += await prepared(d, cases)
            say({"ready": True})
            await orders.readline()
            busy += [asyncio.create_task(one(d, case)) for case in cases]


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
