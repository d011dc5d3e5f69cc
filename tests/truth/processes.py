"""Interruptions that take a process: the caller killed, the owner killed, the owner frozen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.forked import Started, started

from .interruptions import Interruption, Scene
from .operations import ROWS
from .oracle import Leniency, Verdict
from .running import make_cases, settled, trial
from .worlds import LEASE_SECONDS, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
    from random import Random

    from .cases import Case
    from .operations import Row

    Trial = Coroutine[Any, Any, tuple[list[Case], list[Verdict]]]

__all__ = ["OF_PROCESSES"]

_CLIENT_LEASE_SECONDS: Final = 2.0
"""What a killed client held ends with its lease."""
_FROZEN_SECONDS: Final = 1.0
_RUNNING_SECONDS: Final = 0.5


class Child:
    """A process of ours, and what it tells."""

    def __init__(self, process: Started | asyncio.subprocess.Process) -> None:
        self._process = process
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.said: list[dict[str, Any]] = []
        self._more = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.endswith(b"\n"):
                said = json.loads(line)
                self.said.append(said)
                self._more.set()
                if "number" not in said:
                    self._heard.put_nowait(said)
        self._heard.put_nowait({"ended": True})

    async def heard(self) -> dict[str, Any]:
        """Wait for its next word on itself."""
        said = await self._heard.get()
        assert "ended" not in said, f"the process ended with {await self._process.wait()}"
        return said

    async def told(self, number: int) -> None:
        """Wait until so many operations were told what came of them."""
        while sum("told" in said for said in self.said) < number:
            self._more.clear()
            await self._more.wait()

    def tell(self, words: object) -> None:
        """Write it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    async def frozen(self) -> None:
        """Stop the process, and return when it stands still."""
        self.send(signal.SIGSTOP)
        while _state(self._process.pid) != "T":  # noqa: ASYNC110 - the kernel sets no event
            await asyncio.sleep(0.001)

    async def kill(self) -> None:
        """End it as ``kill -9`` does, and take in everything that it ever told."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@asynccontextmanager
async def child(**spec: Any) -> AsyncIterator[Child]:
    """Start a process that is gone at the end, whatever happens."""
    process = await started("tests.truth.child", json.dumps(spec), limit=1 << 20)
    one = Child(process)
    try:
        yield one
    finally:
        await one.kill()


async def _call_and_kill(one: Child, cases: Sequence[Case], dice: Random) -> None:
    """Let a process call these operations, kill it at some moment, and note what it was told."""
    one.tell([(ROWS.index(case.row), case.name, case.number, case.seconds, case.key) for case in cases])
    await one.heard()
    one.tell("go")
    with contextlib.suppress(TimeoutError):  # many wait in line, and are never told
        await asyncio.wait_for(one.told(dice.randrange(len(cases))), _RUNNING_SECONDS)
    await one.kill()
    by_number = {case.number: case for case in cases}
    for said in one.said:
        if "number" in said:
            by_number[said["number"]].hear(said)
    for case in cases:
        case.lasting = False


async def caller_killed(
    url: str, way: str, dice: Random, *, times: int, rows: Sequence[Row] = ROWS
) -> tuple[list[Case], list[Verdict]]:
    """Kill a process with everything that it calls, holds and waits for; the others go on, or a new one begins."""
    interruption = CALLER_KILLED
    lease = _CLIENT_LEASE_SECONDS if way == "client" else LEASE_SECONDS
    world = World(url, "local", lease_seconds=lease)
    if way == "local":
        async with child(url=url, lease_seconds=lease) as one:
            world.processes = {"owner": (await one.heard())["node_id"]}
            cases = make_cases(world, interruption, dice, rows, times)
            await _call_and_kill(one, cases, dice)
        world.processes = {}
        async with world:
            return cases, await settled(world, Scene(world, cases, []), [], interruption)
    async with world:
        host, port, secret = await world.node()
        spec = {"url": url} if way == "routed" else {"host": host, "port": port, "secret": secret.hex()}
        async with child(**spec, lease_seconds=lease) as one:
            said = await one.heard()
            if way == "routed":
                world.processes = {"other": said["node_id"]}
            cases = make_cases(world, interruption, dice, rows, times)
            await _call_and_kill(one, cases, dice)
        return cases, await settled(world, Scene(world, cases, []), [], interruption)


async def owner_struck(
    url: str, way: str, dice: Random, *, times: int, rows: Sequence[Row] = ROWS, freeze: bool
) -> tuple[list[Case], list[Verdict]]:
    """Kill or freeze the process that owns everything; callers and holders live elsewhere."""
    async with child(url=url, lease_seconds=LEASE_SECONDS) as one:
        said = await one.heard()
        world = World(url, way)
        world.processes = {"owner": said["node_id"]}
        async with world:
            world.proxy.target = said["port"]
            interruption = OWNER_FROZEN if freeze else OWNER_KILLED
            strike = partial(_strike, one=one, freeze=freeze)
            return await trial(world, interruption._replace(strike=strike), dice, times=times, rows=rows)


async def _strike(scene: Scene, dice: Random, *, one: Child, freeze: bool) -> None:
    scene.start()
    await asyncio.sleep(dice.choice([0.0, 0.01, 0.05]) * dice.random())
    if not freeze:
        await one.kill()
        scene.world.processes.clear()
        return
    await one.frozen()
    await asyncio.sleep(_FROZEN_SECONDS)
    one.send(signal.SIGCONT)


async def _elsewhere(_scene: Scene, _dice: Random) -> None:
    raise NotImplementedError


CALLER_KILLED: Final = Interruption(
    "caller killed",
    "",
    ("local", "routed", "client"),
    _elsewhere,
    cancels=True,
    closes=True,
    leniency=Leniency(died=True, unknown_stands=False),
)
OWNER_KILLED: Final = Interruption("owner killed", "", ("routed", "client"), _elsewhere, 2.0)
OWNER_FROZEN: Final = Interruption("owner frozen", "for 1 s", ("routed", "client"), _elsewhere, 0.3)

OF_PROCESSES: Final[dict[Interruption, Callable[..., Trial]]] = {
    CALLER_KILLED: caller_killed,
    OWNER_KILLED: partial(owner_struck, freeze=False),
    OWNER_FROZEN: partial(owner_struck, freeze=True),
}
