"""One run: a seed's cluster, load and faults, the healing, and what is found."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from collections import Counter
from contextlib import contextmanager
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from casty_es.errors import CastyError
from casty_es.journal.memory import InMemoryJournal

from .checks import claims_of, findings, findings_after_loss, tokens
from .load import Caller, Load, certain
from .loop import StuckError
from .nemesis import Nemesis
from .world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from casty_es import ClusteredActorSystem

    from .loop import Host

__all__ = ["Outcome", "simulate", "simulate_all"]

_NODES: Final = ("n1", "n2", "n3")
_CLIENTS: Final = ("c1", "c2", "c3", "c4")
_STEPS: Final = 9
_FAULT_SECONDS: Final = 1.6
_START_SECONDS: Final = 30.0
_WORK_SECONDS: Final = 60.0
_HEAL_SECONDS: Final = 20.0
_LOSSES: Final = 0.1  # in so many runs a standby takes over that lags behind, and nothing else goes wrong
# A short one is waited for. A long one is not: only what nobody can be told of may stand so long.
_SHORT_LEASE, _LONG_LEASE = 3.0, 30.0
_FREE_SECONDS: Final = {_SHORT_LEASE: 12.0, _LONG_LEASE: 6.0}


class Outcome(msgspec.Struct):
    """What came of a run.

    Attributes
    ----------
    world : str
        The kind of database.
    findings : list[str]
        What is wrong; empty when nothing is.
    trace : int
        A checksum over all that happened, the same for the same seed.
    seconds : float
        How much virtual time went by.
    told : Counter[str]
        How many operations ended how.
    faults : list[str]
        What went wrong on purpose.
    """

    seed: int
    world: str
    findings: list[str]
    trace: int
    steps: int
    seconds: float
    told: dict[str, int]
    faults: list[str]


class _Run:
    def __init__(self, world: World) -> None:
        self.world = world
        dice = Random(f"{world.seed} load")  # noqa: S311 - nothing here is secret
        self.load = Load(world, dice)
        self.dice = Random(f"{world.seed} plan")  # noqa: S311 - as above
        self.nemesis = Nemesis(world, Random(f"{world.seed} faults"), self.restart)  # noqa: S311 - as above
        self.found: list[str] = []
        self.callers: dict[Host, tuple[Caller, asyncio.Task[None]]] = {}

    async def _on(self, host: Host, work: Any) -> Any:
        """Do something on a host; give up when the host dies."""
        task = self.world.loop.start(host, work)
        await asyncio.wait({task, host.died}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None

    async def restart(self, name: str) -> None:
        """Start a node again, as a process of its own."""
        host = self.world.new_host(name)
        try:
            await self._on(host, self.world.open_node(name))
        except CastyError:
            self.world.kill(host)  # it could not start; nobody tries again

    def _begin(self, host: Host, number: int, gateway: Any, steps: int) -> None:
        caller = Caller(self.load, host, number, self.world.recorded(gateway), gateway)
        self.callers[host] = caller, self.world.loop.start(host, caller.work(steps))

    async def _client(self, host: Host, number: int) -> None:
        client = await certain(lambda: self.world.open_client(host.name), _START_SECONDS)
        self._begin(host, number, client, _STEPS)

    async def main(self) -> None:
        """Do everything."""
        world = self.world
        for name in (*_NODES, *_CLIENTS):
            world.host(name)
        opened: list[ClusteredActorSystem] = await asyncio.gather(
            *(world.loop.start(world.hosts[name], world.open_node(name)) for name in _NODES)
        )
        loses = world.kind == "server" and self.dice.random() < _LOSSES
        faults = self.nemesis.lose() if loses else self.nemesis.work(self.nemesis.plan(_FAULT_SECONDS))
        going = world.loop.create_task(faults)
        for number, system in enumerate(opened):
            self._begin(world.hosts[_NODES[number]], number, system, _STEPS)
        clients = [
            self._on(world.hosts[name], self._client(world.hosts[name], 3 + n)) for n, name in enumerate(_CLIENTS)
        ]
        await asyncio.gather(*clients)
        await going
        world.heal()
        await self._finished()
        await self._settled()
        await self._closed()

    async def _finished(self) -> None:
        """Wait until every living caller is done."""
        tasks = {task for host, (_, task) in self.callers.items() if not host.dead}
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=_WORK_SECONDS)
            self.found += [f"a caller waits for ever: {task!r}" for task in left]
        for host, (_, task) in self.callers.items():
            if not host.dead and task.done() and task.exception() is not None:
                self.found.append(f"a caller on {host} failed: {task.exception()!r}")

    async def _settled(self) -> None:
        """See that everything works, and that what nobody holds becomes free."""
        world = self.world
        host, system = next(
            ((world.hosts[name], one) for name, one in world.nodes.items() if not world.hosts[name].dead), (None, None)
        )
        if host is None or system is None:
            await self.restart("n1")
            host, system = world.hosts["n1"], world.nodes["n1"]
        caller = Caller(self.load, host, 99, world.recorded(system), system)
        lease_seconds = world.settings.lease_seconds
        until = world.loop.time() + _FREE_SECONDS[lease_seconds]
        try:
            await self._on(host, caller.look(_HEAL_SECONDS))
            while standing := self._standing(excused=lease_seconds == _LONG_LEASE):
                if world.loss is not None and lease_seconds == _LONG_LEASE:
                    return  # what was given back may be among what was lost
                if world.loop.time() >= until:
                    self.found += [f"held, or waited for, by nobody: {one}" for one in standing]
                    return
                await asyncio.sleep(0.5)
                await self._on(host, caller.look(_HEAL_SECONDS))
        except CastyError as error:
            self.found.append(f"{error}")

    def _standing(self, *, excused: bool) -> list[str]:
        """Return what is held or waited for, when every caller is done; without what stands until its lease is over."""
        world = self.world
        untold: set[str] = set()
        for one in world.operations if excused else ():
            if one.error in (None, "OutcomeUnknownError") or one.id in world.kept_back:
                untold.add(str(UUID(bytes=one.id)))
            if type(one.command).__name__ in {"Release", "Withdraw"} and (one.error or one.returned is None):
                untold.add(one.command.request)  # type: ignore[attr-defined] - its caller heard that it may stand, or died
        return [
            f"{name.kind} {name.name!r}: {request}"
            for name, requests in claims_of(world.database.store).items()
            for request in requests
            if request not in untold and not self._kept(request)
        ]

    def _kept(self, request: str) -> bool:
        """Return whether somebody who lives keeps it until he is closed."""
        host = self.load.kept.get(request)
        return host is not None and not host.dead

    async def _closed(self) -> None:
        """Close everything in order."""
        world = self.world
        # One that was lost, because no renewal was answered, is given back by nobody: its lease runs out.
        held = {request for handle in self.load.keepers for request in handle._holdings.requests()}
        for opened in (world.clients, world.nodes):
            closing = [
                world.loop.start(world.hosts[name], one.__aexit__(None, None, None))
                for name, one in opened.items()
                if not world.hosts[name].dead
            ]
            if closing:
                done, left = await asyncio.wait(closing, timeout=_WORK_SECONDS)
                self.found += [f"closing raised {task.exception()!r}" for task in done if task.exception() is not None]
                self.found += ["closing does not end"] * len(left)
            if opened is world.clients and world.loss is None:
                # The nodes that answer them live. A node that closes beside the others may find nobody.
                self.found += [
                    f"held although its handle was closed: {request}"
                    for requests in claims_of(world.database.store).values()
                    for request in requests
                    if request in held and self._kept(request) and self.load.kept[request].name in world.clients
                ]


def simulate_all(seeds: Iterable[int], *, store: type[InMemoryJournal] = InMemoryJournal) -> list[Outcome]:
    """Run some seeds, and look for what could be freed once, after the last: that costs a tenth of a run."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return [simulate(seed, store=store, sweep=False) for seed in seeds]
    finally:
        with _unheard():
            gc.collect()
        if collects:
            gc.enable()


def simulate(
    seed: int,
    *,
    store: type[InMemoryJournal] = InMemoryJournal,
    told: list[str] | None = None,
    sweep: bool = True,
) -> Outcome:
    """Run one seed.

    Parameters
    ----------
    store : type[InMemoryJournal]
        What keeps the records; another one to see that it is found out.
    told : list[str] | None
        Gets every line of the trace.
    sweep : bool
        Free what it leaves.
    """
    chance = Random(f"{seed} world")  # noqa: S311 - nothing here is secret
    world = World(
        seed,
        database=chance.choice(["server", "server", "file"]),
        lease_seconds=chance.choice([_SHORT_LEASE, _LONG_LEASE]),
        store=store,
        told=told,
    )
    run = _Run(world)
    collects = gc.isenabled()
    gc.disable()
    _freeze()
    try:
        with world.replaced():
            try:
                world.loop.run(world.loop.start(None, run.main()))
            except StuckError as error:
                run.found.append(str(error))
            world.loop.hears = False
            store_ = world.database.store
            if world.loss is None:
                found = findings(store_, world.operations, run.load.settled, kept=world.kept_back)
            else:
                found = findings_after_loss(store_, world.operations, world.loss)
            found = [*run.found, *run.load.amiss, *world.loop.unheard, *found, *tokens(run.load.grants)]
            outcome = Outcome(
                seed,
                world.kind,
                found,
                world.trace,
                world.loop.steps,
                world.loop.time(),
                dict(
                    Counter(one.error or ("done" if one.reply is not None else "nothing") for one in world.operations)
                ),
                run.nemesis.done,
            )
            _throw_away(world, sweep=sweep)
    finally:
        if collects:
            gc.enable()
    return outcome


@cache
def _freeze() -> None:
    """Let what was there before not be looked through when a world is thrown away.

    Once: what is left of a world then goes with the next one, and would stay for ever if it was frozen.
    """
    gc.freeze()


def _throw_away(world: World, *, sweep: bool) -> None:
    """Forget a world; what its dead hosts were doing is not to be heard of."""
    asyncio._set_running_loop(world.loop)
    try:
        with _unheard():
            world.forget()
            if sweep:
                gc.collect()
    finally:
        asyncio._set_running_loop(None)


@contextmanager
def _unheard() -> Iterator[None]:
    """Let nobody hear of what is freed while it was in the middle of something."""
    before = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = before
