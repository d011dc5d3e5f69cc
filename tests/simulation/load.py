"""What callers do: every structure, few entities and many who want them, with deadlines, cancellations and keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from casty_es import Distributed
from casty_es.domain.barrier import GetRound
from casty_es.errors import CastyError, NotDoneError, OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from .loop import Host
    from .world import World

__all__ = ["PREFIX", "Caller", "Load", "Settled"]

PREFIX: Final = "s-"
_PACE_SECONDS: Final = 0.15
_HELD_SECONDS: Final = 0.4
_TIMEOUTS: Final = (0.03, 0.4, 1.5, 4.0)
_RETURNS: Final = 30
_KEPT: Final = 0.05


class Settled(NamedTuple):
    """What somebody was told of a command, and when he asked."""

    id: bytes
    status: str
    asked: int


class Load:
    """What all callers of a run have in common.

    Attributes
    ----------
    kinds : list[str]
        The structures that are used in this run: few, so that many meet.
    settled : list[Settled]
        What somebody was told who asked later what became of a command.
    grants : list[tuple[str, int, int, int]]
        What was granted: on what, when it was asked for and told, and the fencing token.
    amiss : list[str]
        Errors that no caller may see.
    sets : bool
        Whether the counter is set, too: where it is not, its value has to be the sum of what was added.
    kept : dict[str, Host]
        Requests that were granted to somebody on a host who does not give them back himself.
    """

    def __init__(self, world: World, dice: Random) -> None:
        self.world = world
        self.dice = dice
        self.settled: list[Settled] = []
        self.grants: list[tuple[str, int, int, int]] = []
        self.amiss: list[str] = []
        self.kept: dict[str, Host] = {}
        self.keepers: list[Any] = []  # their handles, which nobody uses any more
        self.items = 0
        self.kinds = dice.sample(["counter", "map", "set", "queue", "lock", "semaphore", "barrier"], 2)
        self.sets = dice.random() < 0.5
        self.hurry = dice.choice([0.3, 1.0, 1.0])


class Caller:
    """One caller on a host.

    Parameters
    ----------
    gateway : Any
        The node or client, behind a recorder.
    asked : Any
        The same, to ask what became of a command.
    """

    def __init__(self, load: Load, host: Host, number: int, gateway: Any, asked: Any) -> None:
        self.load = load
        self.host = host
        self.number = number
        self.asked = asked
        self.dice = load.dice
        self.stopped = False
        self._d = Distributed(gateway)
        self._kept: dict[Any, Any] = {}

    def _open(self, kind: str) -> Any:
        """Return a handle with some patience."""
        timeout = self.dice.choice(_TIMEOUTS)
        handle = self._kept.get((kind, timeout))
        if handle is None:
            handle = self._kept[kind, timeout] = self._made(kind, timeout)
        return handle

    def _made(self, kind: str, timeout: float) -> Any:
        name, d = f"{PREFIX}{kind}", self._d
        match kind:
            case "map":
                return d.map[str, int](name, shards=2, timeout=timeout)
            case "set":
                return d.set[int](name, shards=2, timeout=timeout)
            case "queue":
                return d.queue[int](name, shards=2, timeout=timeout)
            case "semaphore":
                return d.semaphore(name, 2, shards=2, timeout=timeout)
            case "barrier":
                return d.barrier(name, node_id=f"caller-{self.number}", shards=2, timeout=timeout)
            case _:
                return getattr(d, kind)(name, shards=2, timeout=timeout)

    async def work(self, steps: int) -> None:
        """Do so much, one thing after the other."""
        for _ in range(steps):
            await asyncio.sleep(self.dice.expovariate(1 / (_PACE_SECONDS * self.load.hurry)))
            if self.stopped:
                return
            kind = self.dice.choice(self.load.kinds)
            await getattr(self, f"_{kind}")(self._open(kind))

    async def met(self, operation: Awaitable[Any]) -> Any:
        """Await an operation, or cancel it; return what came of it, ``None`` after an error."""
        cancelled_after = self.dice.random() * 0.02 if self.dice.random() < 0.15 else None
        try:
            async with asyncio.timeout(cancelled_after):
                return await operation
        except OutcomeUnknownError as error:
            await self._ask_later(error)
        except CastyError as error:
            if type(error) is CastyError:
                self.load.amiss.append(f"a caller on {self.host} saw {error!r}")
        except TimeoutError:
            pass
        except Exception as error:  # noqa: BLE001 - it is a finding
            self.load.amiss.append(f"a caller on {self.host} saw {error!r}")
        return None

    async def _ask_later(self, error: OutcomeUnknownError) -> None:
        if error.sent is None or error.command_id is None or self.dice.random() < 0.5:
            return
        asked = self.load.world.stamp()
        try:
            outcome = await self.asked.outcome(UUID(str(error.command_id)), sent=error.sent)
        except CastyError:
            return
        self.load.settled.append(Settled(error.command_id.bytes, outcome.status.value, asked))

    def _key(self, what: str = "key") -> str | None:
        """Return an idempotency key, now and then, that another call of the same has too."""
        return f"{what}-{self.dice.randrange(4)}" if self.dice.random() < 0.15 else None

    async def _counter(self, hits: Any) -> None:
        choice = self.dice.random()
        if choice < 0.4:
            key = self._key()
            amount = 1 if key is not None else self.dice.randint(1, 3)
            await self.met(hits.increment(amount, idempotency_key=key))
        elif choice < 0.5:
            await self.met(hits.increment(2, max=12))
        elif choice < 0.6:
            await self.met(hits.decrement(2, min=self.dice.choice([None, 0])))
        elif choice < 0.75 and self.load.sets:
            await self.met(hits.get_and_set(self.dice.randrange(4)))
        elif choice < 0.9 and self.load.sets:
            await self.met(hits.compare_and_set(self.dice.randrange(6), 3))
        else:
            await self.met(hits.get())

    async def _map(self, users: Any) -> None:
        key, choice = f"k{self.dice.randrange(2)}", self.dice.random()
        if choice < 0.3:
            once = self._key("put")
            value = self.dice.randrange(100) if once is None else 7
            if once is None and self.dice.random() < 0.2:
                await self.met(users.put_many({key: value, "k2": value}))
            else:
                await self.met(users.put(key, value, idempotency_key=once))
        elif choice < 0.4:
            await self.met(users.put_if_absent(key, 1, idempotency_key=self._key("add")))
        elif choice < 0.5:
            await self.met(users.replace(key, 1, self.dice.randrange(3)))
        elif choice < 0.6:
            await self.met(users.update(key, lambda value: value + 1, default=0))
        elif choice < 0.7:
            await self.met(users.delete(key, idempotency_key=self._key("delete")))
        elif choice < 0.75:
            await self.met(users.pop(key, idempotency_key=self._key("pop")))
        else:
            await self.met(users.get(key))

    async def _set(self, tags: Any) -> None:
        tag, choice = self.dice.randrange(3), self.dice.random()
        if choice < 0.4:
            await self.met(tags.add(tag, idempotency_key=self._key(f"add-{tag}")))
        elif choice < 0.7:
            await self.met(tags.remove(tag, idempotency_key=self._key(f"remove-{tag}")))
        else:
            await self.met(tags.contains(tag))

    async def _queue(self, jobs: Any) -> None:
        choice = self.dice.random()
        if choice < 0.5:
            self.load.items += 1
            once = self._key("in")
            item = self.load.items if once is None else -int(once[-1])
            await self.met(jobs.enqueue(item, idempotency_key=once))
        elif choice < 0.9:
            await self.met(jobs.dequeue(idempotency_key=self._key("out")))
        else:
            await self.met(jobs.size())

    async def _lock(self, lock: Any) -> None:
        await self._hold(lock, lambda: lock.token is not None)

    async def _semaphore(self, permits: Any) -> None:
        await self._hold(permits, lambda: permits.token is not None)

    async def _hold(self, handle: Any, held: Callable[[], bool]) -> None:
        ask = handle.acquire if self.dice.random() < 0.7 else handle.try_acquire
        called, once = self.load.world.stamp(), self._key(ask.__name__)
        await self.met(ask(idempotency_key=once))
        if held():
            if once is None:  # asked for again under its key, a grant is told again, later than one that came after it
                self.load.grants.append((handle.name, called, self.load.world.stamp(), handle.token))
            if once is None and self.dice.random() < _KEPT:
                self.load.kept |= dict.fromkeys(handle._holdings.requests(), self.host)
                self.load.keepers.append(handle)
                self._kept = {key: other for key, other in self._kept.items() if other is not handle}
                return
            await asyncio.sleep(self.dice.random() * _HELD_SECONDS)
        for _ in range(_RETURNS):
            if not held():
                return
            try:
                await handle.release()
            except CastyError:
                await asyncio.sleep(0.3)

    async def look(self, seconds: float) -> None:
        """Use every structure once, so that each has an owner; each has to answer.

        Raises
        ------
        NotDoneError
            One does not.
        """
        for kind in self.load.kinds:
            handle = self._made(kind, 2.0)
            match kind:
                case "counter":
                    await certain(handle.get, seconds)
                case "map":
                    await certain(lambda handle=handle: handle.get("k0"), seconds)
                case "set" | "queue":
                    await certain(handle.size, seconds)
                case "lock":
                    await certain(handle.locked, seconds)
                case "semaphore":
                    await certain(handle.available, seconds)
                case _:
                    await certain(lambda handle=handle: handle._ask(GetRound()), seconds)

    async def _barrier(self, gate: Any) -> None:
        await self.met(gate.arrive(2))


async def certain(ask: Callable[[], Awaitable[Any]], seconds: float) -> Any:
    """Ask until there is an answer, so long.

    Raises
    ------
    NotDoneError
        There is none.
    """
    until = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await ask()
        except CastyError as error:
            if asyncio.get_running_loop().time() >= until:
                raise NotDoneError(f"Nothing works any more: {error!r}") from error
            await asyncio.sleep(0.2)
