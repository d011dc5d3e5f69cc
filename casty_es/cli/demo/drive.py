"""Three nodes under load, the hard kill of the one that owns the counter, and the others going on."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from casty_es.cli.demo.load import Order, mark_killed
from casty_es.cli.reaching import journal_at
from casty_es.errors import CastyError
from casty_es.hashes import shard_of, slot_of
from casty_es.journal.port import EventJournal, SlotRow
from casty_es.printing import visible

NODES: Final = 3

_COUNTER: Final = "page-views"
_LOG_FILE: Final = "nodes.log"
_LAST_LINES: Final = 5

# Leases end with their process; this is for a machine that stands still.
_TAKEOVER_SECONDS: Final = 30.0
_ASK_AGAIN_SECONDS: Final = 0.02

# Where there is no terminal nobody's lines wrap.
_WIDE: Final = 160


class DemoError(CastyError):
    """The demo could not be carried through. What was acknowledged and what is there were not compared."""


class Plan(msgspec.Struct, frozen=True):
    """What is to be done."""

    url: str  # the journal, ready to be used
    folder: Path  # where the ledger and what the processes say go
    run: str  # what tells this run from others, in the names of nodes
    prefix: str  # what the names of structures begin with
    callers: int
    seconds: float  # how long the load lasts, in seconds


class NodeFigures(msgspec.Struct, frozen=True):
    """A node: where it was, how many operations its callers were told are done, and how its process ended."""

    node_id: str
    address: str
    pid: int
    acknowledged: int
    exit_code: int


class Drive(msgspec.Struct, frozen=True):
    """What happened."""

    nodes: list[NodeFigures]
    killed_after: float  # seconds since the load began, and the time by the clock of the ledger
    killed_at: float
    acknowledged_by_then: int  # operations of all nodes
    slot: int  # where the counter is
    owner_before: str  # the nodes that owned it at the kill and at the end
    owner_after: str
    seconds: float  # how long the load lasted
    acknowledged_in_time: int  # operations of all nodes in these seconds; some end a little later

    @property
    def acknowledged(self) -> int:
        """Operations of all nodes that were acknowledged."""
        return sum(node.acknowledged for node in self.nodes)

    @property
    def per_second(self) -> float:
        """The measured rate, in operations a second."""
        return self.acknowledged_in_time / self.seconds


class Screen:
    """Where the demo talks to people: progress on a terminal, plain lines elsewhere, nothing with ``--json``."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(quiet=quiet, highlight=False)
        if not self.console.is_terminal:
            self.console.width = _WIDE
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}", markup=False),
            TimeElapsedColumn(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(visible(text), markup=False, soft_wrap=True)

    @contextmanager
    def phase(self, what: str, seconds: float | None) -> Iterator[Callable[[int, float], None]]:
        """Show that something goes on; the function that is yielded shows how far it is."""
        if not self.console.is_terminal:
            self.say(f"{what} ...")
        task = self.progress.add_task(what, total=seconds, count="")

        def show(acknowledged: int, after: float) -> None:
            self.progress.update(task, completed=after, count=f"{acknowledged:,} acknowledged")

        try:
            yield show
        finally:
            self.progress.stop_task(task)


class Child:
    """A process with a node and its callers, as its parent sees it: where it listens, and how far it was last heard."""

    def __init__(self, order: Order, process: asyncio.subprocess.Process, log: Path) -> None:
        self.order = order
        self.address = ""
        self.acknowledged = 0
        self._process = process
        self._log = log
        self._hearing: asyncio.Task[int] | None = None

    @staticmethod
    async def start(order: Order, folder: Path) -> Child:
        """Start the process. What it says on stderr goes to a file in the folder."""
        log = folder / _LOG_FILE
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "casty_es.cli.demo.load", msgspec.json.encode(order).decode()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        return Child(order, process, log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int:
        """How it ended; the number of a signal is negative."""
        assert self._process.returncode is not None  # noqa: S101 - asked when it has ended
        return self._process.returncode

    async def ready(self) -> None:
        """Wait until its node is one of them all."""
        self.address = await self._said()
        if not self.address:
            await self._process.wait()
            raise self._ended_early()

    async def go(self) -> None:
        """Let its callers begin."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._hearing = asyncio.create_task(self._hear())
        self._process.stdin.write(b"go\n")
        await self._process.stdin.drain()

    async def stop(self) -> None:
        """Let its callers finish and its node leave; wait for that."""
        self.refuse_ended()
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._process.stdin.close()
        if await self._heard_out() != 0:
            raise self._ended_early()

    async def kill(self) -> None:
        """End it as ``kill -9`` does, and leave nothing behind; one that has ended stays as it is."""
        if self._process.returncode is None:
            self._process.kill()
        await self._heard_out()

    def refuse_ended(self) -> None:
        """Raise a ``DemoError`` if the process has ended."""
        if self._hearing is not None and self._hearing.done():
            raise self._ended_early()

    async def _heard_out(self) -> int:
        return await (self._process.wait() if self._hearing is None else self._hearing)

    async def _hear(self) -> int:
        while said := await self._said():
            self.acknowledged = int(said)
        return await self._process.wait()

    async def _said(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        line = await self._process.stdout.readline()
        # What was cut off by the kill was not said.
        return line.decode().strip() if line.endswith(b"\n") else ""

    def _ended_early(self) -> DemoError:
        said = self._log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:]
        return DemoError(
            f"{self.order.node_id} ended with exit code {self._process.returncode} before its time; nothing was "
            f"compared. It said in {self._log}: {' | '.join(said) or 'nothing'}"
        )


async def drive(plan: Plan, screen: Screen) -> Drive:
    """Do it; ``DemoError`` if a node ends before its time."""
    children: list[Child] = []
    async with journal_at(plan.url) as journal:
        try:
            with screen.phase(f"Starting {NODES} nodes", None):
                for number in range(NODES):
                    callers = list(range(number, plan.callers, NODES))
                    node_id = f"node-{number + 1}-{plan.run}"
                    order = Order(plan.url, plan.prefix, str(plan.folder), node_id, callers, NODES)
                    children.append(await Child.start(order, plan.folder))
                await asyncio.gather(*(child.ready() for child in children))
            for child in children:
                screen.say(f"{child.order.node_id} listens at {child.address} (process {child.pid})")
            return await _Driven(plan, screen, journal, children).run()
        finally:
            for child in children:
                await child.kill()


class _Driven:
    def __init__(self, plan: Plan, screen: Screen, journal: EventJournal, children: list[Child]) -> None:
        self._plan = plan
        self._screen = screen
        self._journal = journal
        self._children = children
        self._began = time.perf_counter()

    async def run(self) -> Drive:
        plan = self._plan
        what = f"{plan.callers} callers; the counter's owner will be killed"
        killed_after = random.uniform(0.3, 0.6) * plan.seconds  # noqa: S311 - nobody gains by guessing it
        self._began = time.perf_counter()
        with self._screen.phase(what, plan.seconds) as show:
            for child in self._children:
                await child.go()
            await self._under_load(self._children, killed_after, show)
            before = await self._owner()
            victim = next(child for child in self._children if child.order.node_id == before.node_id)
            killed_after, killed_at = time.perf_counter() - self._began, time.monotonic()
            await victim.kill()
            mark_killed(plan.folder, victim.order.callers)
            by_then = self._acknowledged()
            self._screen.say(f"kill -9 of {before.node_id}, which owned the counter: {by_then:,} acknowledged by then")
            others = [child for child in self._children if child is not victim]
            await self._under_load(others, plan.seconds - killed_after, show)
            after = await self._owner(other_than=before.node_id)
            seconds, in_time = time.perf_counter() - self._began, self._acknowledged()
            for child in others:
                await child.stop()
        return Drive(
            [
                NodeFigures(one.order.node_id, one.address, one.pid, one.acknowledged, one.exit_code)
                for one in self._children
            ],
            killed_after,
            killed_at,
            by_then,
            before.slot,
            before.node_id,
            after.node_id,
            seconds,
            in_time,
        )

    def _acknowledged(self) -> int:
        return sum(child.acknowledged for child in self._children)

    async def _under_load(self, children: Sequence[Child], seconds: float, show: Callable[[int, float], None]) -> None:
        """Let the nodes work for so long, and until they have done something."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or not self._acknowledged():
            for child in children:
                child.refuse_ended()
            show(self._acknowledged(), time.perf_counter() - self._began)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def _owner(self, other_than: str | None = None) -> SlotRow:
        """Return who owns the counter, as soon as it is another one than this."""
        name = f"{self._plan.prefix}{_COUNTER}"
        slots = (await self._journal.open()).slots
        async with asyncio.timeout(_TAKEOVER_SECONDS):
            while True:
                [shards] = await self._journal.structures([("counter", name)])
                slot = slot_of("counter", name, shard_of("counter", name, "", shards), slots) if shards else None
                for row in await self._journal.slot_rows():
                    if row.slot == slot and row.node_id != other_than:
                        return row
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
