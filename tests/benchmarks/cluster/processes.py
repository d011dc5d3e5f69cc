"""A cluster whose first node is the process that measures, and whose others are processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import msgspec

from casty_es import ClusteredActorSystem, Settings, SqlJournal
from casty_es.cluster.placement import ranking
from tests.cluster.nodes import SLOTS, slot

_ROOT = Path(__file__).parents[3]
_HERE = "node-0"
_PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 0.02
PATIENT = 60.0
"""The timeout of every caller, in seconds: longer than anything that is measured here."""


class Cluster:
    """The nodes of one measurement.

    Attributes
    ----------
    here : ClusteredActorSystem
        The node of this process.
    others : dict[str, Process]
        The other nodes.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self._settings = settings
        self._numbers = itertools.count(1)
        self.here = ClusteredActorSystem(journal=SqlJournal(url), node_id=_HERE, settings=settings)
        self.others: dict[str, Process] = {}

    async def start(self, number: int = 1, profile: Path | None = None) -> list[str]:
        """Start so many nodes, wait until everybody who measures knows them, and return their names."""
        names = [f"node-{next(self._numbers)}" for _ in range(number)]
        await asyncio.gather(*(self._start(name, profile) for name in names))
        await self.here.wait_for(len(self.others) + 1, timeout=_PATIENCE_SECONDS)
        return names

    async def _start(self, name: str, profile: Path | None) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.cluster.node", self._url, name]
        command += ["--settings", msgspec.json.encode(self._settings).decode()]
        command += [] if profile is None else ["--profile", str(profile)]
        process = await asyncio.create_subprocess_exec(*command, cwd=_ROOT, stdin=PIPE, stdout=PIPE)
        self.others[name] = process
        assert process.stdout is not None
        async with asyncio.timeout(_PATIENCE_SECONDS):
            if await process.stdout.readline() != b"ready\n":
                raise SystemExit(f"{name} ended with {await process.wait()} before it was ready.")

    def preferred(self, number: int) -> str:
        """Return the node that should own a slot."""
        return ranking(number, [_HERE, *self.others])[0]

    def names_for(self, node: str) -> Iterator[str]:
        """Return names of counters that this node should own."""
        names = (f"hits-{number}" for number in itertools.count())
        return (name for name in names if self.preferred(slot("counter", name)) == node)

    async def take_everything(self) -> dict[int, str]:
        """Have every slot owned where it belongs; return the name of a counter in each."""
        names: dict[int, str] = {}
        for name in (f"hits-{number}" for number in itertools.count()):
            names.setdefault(slot("counter", name), name)
            if len(names) == SLOTS:
                break
        d = self.here.distributed()
        await asyncio.gather(*(d.counter(name, timeout=PATIENT).increment() for name in names.values()))
        await self.settled(names)
        return names

    async def owners(self) -> dict[int, str]:
        """Return the node that is written down for each slot."""
        return {row.slot: row.node_id for row in await self.here.journal.slot_rows()}

    async def settled(self, slots: Iterable[int]) -> dict[int, str]:
        """Wait until each of these slots is owned by the node that should own it; return the owners."""
        wanted = {number: self.preferred(number) for number in slots}
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not wanted.items() <= (owners := await self.owners()).items():  # noqa: ASYNC110 - a database tells nothing
                await asyncio.sleep(_LOOK_SECONDS)
        return owners

    async def end(self, name: str, how: signal.Signals) -> None:
        """Send a node the signal that ends it, and wait until its process is gone."""
        process = self.others.pop(name)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
        await process.wait()


@contextlib.asynccontextmanager
async def cluster(
    url: str, others: int, *, settings: Settings | None = None, profile: Path | None = None
) -> AsyncIterator[Cluster]:
    """Run a node here and so many others, all of which end with the block, whatever happens."""
    made = Cluster(url, settings or Settings())
    try:
        async with made.here:
            await made.start(others, profile)
            yield made
            for name in list(made.others):
                await made.end(name, signal.SIGTERM)
    finally:
        for name in list(made.others):
            await made.end(name, signal.SIGKILL)
