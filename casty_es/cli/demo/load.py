"""A child of the demo: a node, and callers in its process that keep the structures busy until it is told to stop.

Run as ``python -m casty_es.cli.demo.load ORDER``; the demo's parent does. It prints the address of its node when that
is one of them all, begins with the first line on its standard input, prints how many operations were acknowledged, and
ends in order with the end of the input: the parent has enough, or is gone.

Every acknowledged operation is written down in one file, the ledger:

1. What a caller's operation of a number does follows from the two, so nothing needs to be written before it begins.
2. An acknowledgement is one line, written by one ``os.write`` before its caller begins anything else. So of each caller
   at most one operation, the next one, is without a line when the process is killed.
3. The parent marks the kill in the file. The operations of the killed process's callers that were under way then may
   have happened or not. All processes write to one file, each line with one call: lines never mix.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from casty_es.addresses import LOOPBACK
from casty_es.config import Settings
from casty_es.handles.distributed import Distributed
from casty_es.handles.lock import Lock
from casty_es.handles.semaphore import Semaphore
from casty_es.journal.sql import SqlJournal
from casty_es.node import ClusteredActorSystem

LEDGER_FILE: Final = "acknowledged.jsonl"
PERMITS: Final = 3
VERIFIER: Final = -1  # the parent's number as a caller
_KILLED: Final = "killed"

_LOCKERS: Final = 3  # one for each node
_PERMITTED: Final = 6  # more than there are permits, two for each node
_CYCLE: Final = ("increment", "put", "add", "enqueue", "increment", "dequeue")
MIN_CALLERS: Final = _LOCKERS + _PERMITTED + 3

# Short, so that the lock of a killed process comes free, and the nodes see each other, while somebody watches.
_SETTINGS: Final = Settings(lease_seconds=4.5, session_seconds=3.0, membership_seconds=0.25)
# On a busy machine an operation may wait long; one that ends in a timeout would end the demo.
_TIMEOUT: Final = 60.0
_JOIN_SECONDS: Final = 30.0
_REPORT_SECONDS: Final = 0.1


class Operation(NamedTuple):
    """One operation of one caller."""

    caller: int
    number: int
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} {self.number} of caller {self.caller}"


class Acknowledged(NamedTuple):
    """An operation that its caller was told is done, the answer, and when by a clock that all processes here share."""

    operation: Operation
    answer: Any
    at: float = 0.0


class Record(NamedTuple):
    """What the ledger says: what was told, what was under way at a kill, and each caller's next operation."""

    acknowledged: list[Acknowledged]
    in_flight: list[Operation]
    following: dict[int, int]


class Order(msgspec.Struct, frozen=True):
    """What the parent asks for: a node on a journal among so many, and these callers, whose ledger is in a folder."""

    url: str
    prefix: str
    folder: str
    node_id: str
    callers: list[int]
    nodes: int


def kind_of(caller: int, number: int) -> str:
    """Return what a caller's operation is."""
    if caller < _LOCKERS:
        return "locked"
    if caller < _LOCKERS + _PERMITTED:
        return "permitted"
    return _CYCLE[(caller + number) % len(_CYCLE)]


def opened(folder: Path) -> int:
    """Open the ledger for writing at its end; return its descriptor."""
    return os.open(folder / LEDGER_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def acknowledge(ledger: int, operation: Operation, answer: object) -> None:
    """Write an acknowledgement. It outlives the process from the return of this call on."""
    os.write(ledger, msgspec.json.encode((*operation, answer, time.monotonic())) + b"\n")


def mark_killed(folder: Path, callers: Iterable[int]) -> None:
    """Note that the process with these callers is gone."""
    ledger = opened(folder)
    os.write(ledger, msgspec.json.encode((_KILLED, list(callers))) + b"\n")
    os.close(ledger)


def read_ledger(folder: Path) -> Record:
    """Read the ledger; one that is not there is empty."""
    record = Record([], [], {})
    decode = msgspec.json.Decoder(list[Any]).decode
    path = folder / LEDGER_FILE
    for line in path.read_bytes().splitlines() if path.exists() else ():
        fields = decode(line)
        if fields[0] == _KILLED:
            for caller in fields[1]:
                number = record.following.get(caller, 1)
                record.in_flight.append(Operation(caller, number, kind_of(caller, number)))
                record.following[caller] = number + 1
        else:
            operation = Operation(*fields[:3])
            record.acknowledged.append(Acknowledged(operation, fields[3], fields[4]))
            record.following[operation.caller] = operation.number + 1
    return record


def system_on(journal: SqlJournal, node_id: str | None = None) -> ClusteredActorSystem:
    """Return a node of the demo: all of them are on this host, whatever the environment says of others."""
    return ClusteredActorSystem(
        journal=journal, node_id=node_id, settings=_SETTINGS, host=LOOPBACK, port=0, advertise=LOOPBACK
    )


class Structures:
    """What the demo drives, by the names under which ``casty-es log`` shows it, behind a prefix."""

    def __init__(self, d: Distributed, prefix: str) -> None:
        self._d = d
        self._prefix = prefix
        self.page_views = d.counter(f"{prefix}page-views", timeout=_TIMEOUT)
        self.users = d.map[str, dict[str, int]](f"{prefix}users", timeout=_TIMEOUT)
        self.tags = d.set[str](f"{prefix}tags", timeout=_TIMEOUT)
        self.jobs = d.queue[str](f"{prefix}jobs", timeout=_TIMEOUT)
        self.accounts = d.map[str, int](f"{prefix}accounts", timeout=_TIMEOUT)
        self.uploads = d.counter(f"{prefix}uploads", timeout=_TIMEOUT)

    def account_lock(self) -> Lock:
        """Return a lock object of its own: it guards a balance, which is read, changed and written back."""
        return self._d.lock(f"{self._prefix}accounts", timeout=_TIMEOUT)

    def upload_permits(self) -> Semaphore:
        """Return a semaphore object of its own: an upload is counted while its permit is held."""
        return self._d.semaphore(f"{self._prefix}uploads", permits=PERMITS, timeout=_TIMEOUT)

    def held_for(self, kind: str) -> Lock | Semaphore | None:
        """Return what a caller of this kind of operation holds meanwhile, an object of its own."""
        if kind == "locked":
            return self.account_lock()
        return self.upload_permits() if kind == "permitted" else None

    async def perform(self, kind: str, label: str, held: Lock | Semaphore | None) -> Any:
        """Do one operation, named by its caller and number; return its answer, as the ledger keeps it."""
        match kind:
            case "increment":
                return await self.page_views.increment()
            case "put":
                return await self.users.put(f"user-{label}", {"visits": 1})
            case "add":
                return await self.tags.add(f"tag-{label}")
            case "enqueue":
                return await self.jobs.enqueue(f"job-{label}")
            case "dequeue":
                return await self.jobs.dequeue()
            case _:
                return await self._perform_held(kind, held)

    async def _perform_held(self, kind: str, held: Lock | Semaphore | None) -> tuple[int | None, int]:
        assert held is not None  # noqa: S101 - those who lock come with a lock
        async with held:
            token = held.token
            if kind == "permitted":
                value = await self.uploads.increment()
            else:
                # Two who did this at once would write the same balance.
                value = (await self.accounts.get("balance") or 0) + 1
                await self.accounts.put("balance", value)
            if held.lost.is_set():
                raise TimeoutError(f"The machine stood still for over {_SETTINGS.lease_seconds:g} s: a lease was lost.")
        return token, value


class _Load:
    """The callers of one process."""

    def __init__(self, order: Order, structures: Structures) -> None:
        self._order = order
        self._structures = structures
        self._ledger = opened(Path(order.folder))
        self._acknowledged = 0
        self._over = False

    async def run(self, parent: asyncio.StreamReader) -> None:
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._report()), group.create_task(self._stop(parent))]
            await asyncio.wait([group.create_task(self._call(caller)) for caller in self._order.callers])
            for task in beside:
                task.cancel()
        _say(self._acknowledged)

    async def _stop(self, parent: asyncio.StreamReader) -> None:
        await parent.read()
        self._over = True

    async def _call(self, caller: int) -> None:
        held = self._structures.held_for(kind_of(caller, 1))
        number = 1
        while not self._over:
            operation = Operation(caller, number, kind_of(caller, number))
            answer = await self._structures.perform(operation.kind, f"{caller}-{number}", held)
            acknowledge(self._ledger, operation, answer)
            self._acknowledged += 1
            number += 1

    async def _report(self) -> None:
        while True:
            _say(self._acknowledged)
            await asyncio.sleep(_REPORT_SECONDS)


def _say(what: str | int) -> None:
    os.write(1, f"{what}\n".encode())


async def _main(order: Order) -> None:
    parent = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(parent), sys.stdin)
    async with system_on(SqlJournal(order.url), order.node_id) as system:
        await system.wait_for(order.nodes, timeout=_JOIN_SECONDS)
        _say("{}:{}".format(*system.self_node))
        if await parent.readline():
            await _Load(order, Structures(system.distributed(), order.prefix)).run(parent)


if __name__ == "__main__":
    asyncio.run(_main(msgspec.json.decode(sys.argv[1], type=Order)))
