"""A node in a process of its own, with a load over all structures, which does what its parent writes to it.

Run as ``python -m tests.faults.cluster.program URL NAME NUMBER SEED SETTINGS`` in the project's folder. With the URL
``cluster://HOST:PORT/SECRET`` it is a client of the node there instead. Each line on
standard input is a JSON array: what to do, and its arguments. Standard output has a line for every call and every
answer of the load, and one for every order that was done. A line is one ``os.write``: what is on the pipe outlives any
kill. SIGTERM, or the end of the input, ends the node in an orderly way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

from casty_es import CastyError, ClusteredActorSystem, Distributed, Settings
from casty_es.client import ClusterClient
from casty_es.errors import Sent
from casty_es.journal.sql import SqlJournal
from tests import short_leases  # noqa: F401 - imported for what it does
from tests.faults.cluster.contradictions import ACTIONS, put_entry
from tests.faults.mixed import Caller
from tests.faults.recording import Recorder, to_line

if TYPE_CHECKING:
    from tests.faults.recording import Operation

CALLERS = 4


class Program:
    """What the parent can ask for."""

    def __init__(self, system: Any, number: int, seed: int) -> None:
        self.system = system
        self.d = Distributed(Recorder(system, _tell))
        self.crowd = [Caller(self.d, number * 10 + each) for each in range(CALLERS)]
        self.dice = [Random(seed * 10 + each) for each in range(CALLERS)]  # noqa: S311 - a load, not a secret
        self.going = asyncio.Event()
        self.busy: set[Caller] = set()
        self.idle = asyncio.Event()
        self.held: list[Any] = []
        self.load: list[asyncio.Task[None]] = []

    async def _work(self, caller: Caller, dice: Random) -> None:
        while True:
            if not self.going.is_set():
                self.busy.discard(caller)
                if not self.busy:
                    self.idle.set()
                await self.going.wait()
            self.busy.add(caller)
            self.idle.clear()
            # One never stands in a line, so that there is always somebody who finds out when an owner answers again.
            await caller.step(dice, in_line=caller is not self.crowd[0])

    async def go(self) -> None:
        """Put the load to work."""
        self.going.set()
        if not self.load:
            work = [self._work(*one) for one in zip(self.crowd, self.dice, strict=True)]
            self.load = [asyncio.create_task(one) for one in work]

    async def pause(self) -> None:
        """Let the load finish what it is at."""
        self.going.clear()
        if self.busy:
            await self.idle.wait()

    async def sees(self, nodes: int) -> None:
        """Wait until so many nodes are seen, and no more."""
        membership = self.system._node.membership
        async with membership.renewed:
            await membership.renewed.wait_for(lambda: len(membership.topology.nodes) == nodes)

    async def address(self) -> tuple[str, int]:
        """Return where the node listens."""
        host, port = self.system.self_node
        return host, port

    async def sessions(self) -> dict[str, int]:
        """Return the server's process of each session that the node has on Postgres."""
        backend, lease = self.system.journal._backend, await self.system._node.owner.leases.session()
        while backend._writer.gone() or backend._reader.gone():  # noqa: ASYNC110 - nothing tells when one is open
            await asyncio.sleep(0.01)
        held = {
            "lease": lease._connection,
            "writer": backend._writer._connection,
            "reader": backend._reader._connection,
        }
        return {which: connection.get_server_pid() for which, connection in held.items()}

    async def block(self, seconds: float) -> None:
        """Block the event loop, as user code does that waits where it should await."""
        time.sleep(seconds)  # noqa: ASYNC251 - the fault

    async def hold(self, name: str) -> int | None:
        """Take a lock and keep it."""
        lock = self.d.lock(name, timeout=60.0)
        self.held.append(lock)
        await lock.acquire()
        return lock.token

    async def acquire(self, name: str, timeout: float) -> int | None:  # noqa: ASYNC109 - the handle's
        """Take a lock, and return it back."""
        async with self.d.lock(name, timeout=timeout) as lock:
            return lock.token

    async def locked(self, name: str) -> bool:
        """Return whether a lock is held."""
        return await self.d.lock(name).locked()

    async def take(self, name: str, permits: int) -> int | None:
        """Take a permit and keep it."""
        pool = self.d.semaphore(name, permits=permits, timeout=60.0)
        self.held.append(pool)
        await pool.acquire()
        return pool.token

    async def available(self, name: str, permits: int) -> int:
        """Return how many permits are free."""
        return await self.d.semaphore(name, permits=permits).available()

    async def arrive(self, name: str, expected: int, timeout: float) -> None:  # noqa: ASYNC109 - the handle's
        """Wait at a barrier, for nobody but oneself."""
        await self.d.barrier(name, node_id=f"party-{os.getpid()}", timeout=timeout).arrive(expected)

    async def add(self, name: str, amount: int, timeout: float) -> int:  # noqa: ASYNC109 - the handle's
        """Add to a counter."""
        return await self.d.counter(name, timeout=timeout).increment(amount)

    async def get(self, name: str, timeout: float) -> int:  # noqa: ASYNC109 - the handle's
        """Read a counter."""
        return await self.d.counter(name, timeout=timeout).get()

    async def sends(self, name: str) -> tuple[int, int, int]:
        """Return where a command for a counter would be sent: its slot, how far that is, and the term of its owner."""
        await self.d.counter(name, timeout=60.0).get()
        route = next(one for one in self.system._node.gateway.routes._routes.values() if one.stands())
        return route.slot, route.position, route.term

    async def outcome(self, slot: int, after: int, term: int) -> str:
        """Ask what became of a command that was sent there and never arrived."""
        outcome = await self.system.outcome(uuid4(), sent=Sent("counter", slot, after, term))
        return str(outcome.status)

    async def act(self, what: str, on: str, seconds: float) -> Any:
        """Do one of the things that are told of; see ``contradictions.py``."""
        return await ACTIONS[what](Distributed(self.system), on, seconds)

    async def put(self, on: str, seconds: float) -> None:
        """Put the entry that is asked for there."""
        await put_entry(Distributed(self.system), seconds=seconds, on=on)

    async def slots(self) -> list[int]:
        """Return the slots that this node holds, to its own knowledge."""
        return [slot.number for slot in self.system._node.owner.slots if slot.epoch]

    async def obey(self, number: int, what: str, *arguments: Any) -> None:
        """Do what was asked, and say what came of it."""
        try:
            came: dict[str, Any] = {"reply": await getattr(self, what)(*arguments)}
        except CastyError as error:
            came = {"error": type(error).__name__, "message": str(error)}
        os.write(sys.stdout.fileno(), msgspec.json.encode({"said": number, **came}) + b"\n")


def _tell(operation: Operation) -> None:
    os.write(sys.stdout.fileno(), to_line(operation))


def _member(url: str, name: str, settings: Settings) -> Any:
    if not url.startswith("cluster:"):
        return ClusteredActorSystem(journal=SqlJournal(url), node_id=name, settings=settings)
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    secret = bytes.fromhex(parts.path.removeprefix("/"))
    return ClusterClient(contact_points=[(parts.hostname, parts.port)], secret=secret, settings=settings)


async def main(url: str, name: str, number: int, seed: int, settings: Settings) -> None:
    """Be a node until the parent has enough."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    async with _member(url, name, settings) as system:
        program = Program(system, number, seed)
        tasks: set[asyncio.Task[Any]] = set()

        async def listen() -> None:
            async for line in orders:
                task = asyncio.create_task(program.obey(*msgspec.json.decode(line)))
                tasks.add(task)
                task.add_done_callback(_seen)
            ended.set()

        def _seen(task: asyncio.Task[Any]) -> None:
            tasks.discard(task)
            if not task.cancelled() and task.exception() is not None:  # a mistake of the test: end, and show it
                ended.set()
                raise task.exception()  # type: ignore[misc]

        os.write(sys.stdout.fileno(), b'{"said":0,"reply":null}\n')
        tasks.add(asyncio.create_task(listen()))
        await ended.wait()
        await program.pause()
        for task in (*tasks, *program.load):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, *program.load, return_exceptions=True)


if __name__ == "__main__":
    url_, name_, number_, seed_, settings_ = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {name_} %(name)s %(levelname)s %(message)s")
    asyncio.run(main(url_, name_, int(number_), int(seed_), msgspec.json.decode(settings_, type=Settings)))
