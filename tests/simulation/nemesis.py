"""What goes wrong: each fault begins at a time that the seed says, and is over some time later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from .database import DATABASE, at_once
from .world import Loss

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from .loop import Host
    from .world import World

__all__ = ["FAULTS", "Nemesis"]

_LONGEST_SECONDS: Final = 6.0


class Nemesis:
    """Brings the faults of one run about.

    Attributes
    ----------
    done : list[str]
        What was done, for people.
    """

    def __init__(self, world: World, dice: Random, restart: Callable[[str], Awaitable[None]]) -> None:
        self.world = world
        self.dice = dice
        self.restart = restart
        self.done: list[str] = []

    def plan(self, seconds: float) -> list[tuple[float, str, float]]:
        """Return when which fault begins, and how long it lasts."""
        possible = [name for name, (kinds, _) in FAULTS.items() if self.world.kind in kinds]
        few = self.dice.sample(possible, min(3, len(possible)))
        return sorted(
            (self.dice.random() * seconds, self.dice.choice(few), self._long()) for _ in range(self.dice.randint(1, 5))
        )

    def _long(self) -> float:
        return self.dice.choice((0.01, 0.1, 0.5, 1.0)) * self.dice.random() * _LONGEST_SECONDS

    async def lose(self) -> None:
        """Let a standby take over that lags behind; accept the loss some time later."""
        world, database = self.world, self.world.database
        await asyncio.sleep(0.2 + 1.2 * self.dice.random())
        database.follow()
        await asyncio.sleep(0.6 * self.dice.random())
        commands = database.fail_over()
        world.loss = Loss(world.stamp(), commands)
        self.done.append(f"{world.loop.time():.3f} fail over for ever: {len(commands)} commands are lost")
        await asyncio.sleep(1.0 + 2.0 * self.dice.random())
        world.loss = world.loss._replace(accepted=world.stamp())
        at_once(database.store.raise_incarnation())
        self.done.append(f"{world.loop.time():.3f} accept the loss for ever")

    async def work(self, plan: list[tuple[float, str, float]]) -> None:
        """Carry a plan out."""
        loop = self.world.loop
        going: list[asyncio.Task[None]] = []
        for at, name, seconds in plan:
            await asyncio.sleep(max(0.0, at - loop.time()))
            self.done.append(f"{loop.time():.3f} {name} for {seconds:.3f} s")
            self.world.note(f"fault {name} {seconds:.3f}")
            going.append(loop.create_task(FAULTS[name][1](self, seconds)))
        await asyncio.gather(*going)

    def _living(self, first: str = "") -> list[Host]:
        return [host for name, host in self.world.hosts.items() if name.startswith(first) and not host.dead]

    def _one(self, first: str = "") -> Host | None:
        living = self._living(first)
        return self.dice.choice(living) if living else None

    async def _part(self, seconds: float) -> None:
        """Cut a node off from all others, the database too or not, in one direction or both."""
        host = self._one("n")
        if host is None:
            return
        others = [name for name in self.world.hosts if name != host.name]
        whom = self.dice.choice(["hosts", "database", "all", "one"])
        named = {"hosts": others, "database": [DATABASE], "all": [*others, DATABASE], "one": [self.dice.choice(others)]}
        if self.world.kind == "file":
            named["database"] = named["hosts"]
        way = self.dice.choice(["both", "out", "in"])
        self.world.network.part(host.name, named[whom], both=way == "both", backwards=way == "in")
        self.done[-1] += f": {host}, {whom}, {way}"
        await asyncio.sleep(seconds)
        self.world.network.mend(*[way for way in tuple(self.world.network.cut) if host.name in way])

    async def _break(self, _seconds: float) -> None:
        """Reset some connections."""
        for _ in range(self.dice.randint(1, 4)):
            wires = list(self.world.network.wires)
            if wires:
                self.world.network.reset(self.dice.choice(wires))
            await asyncio.sleep(self.dice.random() * 0.2)

    async def _lose(self, seconds: float) -> None:
        """Lose bytes on their way."""
        self.world.network.lossy = 0.2
        await asyncio.sleep(seconds)
        self.world.network.lossy = 0.0

    async def _slow(self, seconds: float) -> None:
        """Slow a host's connections down."""
        host = self._one()
        if host is not None:
            self.world.network.slow[host.name] = 0.3
            await asyncio.sleep(seconds)
            self.world.network.slow.pop(host.name, None)

    async def _freeze(self, seconds: float) -> None:
        """Stop a host while time goes on."""
        host = self._one(self.dice.choice(["n", "n", "c"]))
        if host is None or host.frozen:
            return
        self.done[-1] += f": {host}"
        self.world.loop.freeze(host)
        await asyncio.sleep(seconds)
        if host.frozen and not host.dead:
            self.world.loop.thaw(host)

    async def _kill(self, seconds: float) -> None:
        """Kill a node, and start it again later."""
        host = self._one("n")
        if host is None or len(self._living("n")) == 1:
            return
        self.done[-1] += f": {host}"
        self.world.kill(host)
        await asyncio.sleep(seconds)
        await self.restart(host.name)

    async def _kill_client(self, _seconds: float) -> None:
        """Kill a client for good."""
        if len(self._living("c")) > 1 and (host := self._one("c")) is not None:
            self.world.kill(host)

    async def _close(self, seconds: float) -> None:
        """Close a node in order, and start it again later."""
        host = self._one("n")
        if host is None or len(self._living("n")) == 1 or host.name not in self.world.nodes:
            return
        self.done[-1] += f": {host}"
        system = self.world.nodes.pop(host.name)
        closing = self.world.loop.start(host, system.__aexit__(None, None, None))
        self.world.keep(closing)  # killed while it is frozen, the host never begins it
        await asyncio.wait({closing, host.died}, return_when=asyncio.FIRST_COMPLETED)
        if closing.done():
            closing.result()
            await asyncio.sleep(seconds)
        if not host.dead:  # else whoever killed it meanwhile starts it again
            self.world.kill(host)
            await self.restart(host.name)

    async def _jump(self, _seconds: float) -> None:
        """Set a host's clock."""
        host = self._one("n")
        if host is not None:
            host.ahead += self.dice.uniform(-60.0, 60.0)

    async def _end_session(self, _seconds: float) -> None:
        """End sessions of the database."""
        for _ in range(self.dice.randint(1, 4)):
            sessions = list(self.world.database.sessions.values())
            if sessions:
                self.world.database.end(self.dice.choice(sessions))
            await asyncio.sleep(self.dice.random() * 0.3)

    async def _cut_sessions(self, seconds: float) -> None:
        """Break connections to the database while commits take long: what was begun is still carried out."""
        self.world.database.commits = 0.1
        until = self.world.loop.time() + min(seconds, 1.0)
        while self.world.loop.time() < until:
            sessions = list(self.world.database.sessions.values())
            if sessions:
                self.dice.choice(sessions).cut()
            await asyncio.sleep(self.dice.random() * 0.2)
        self.world.database.commits = 0.001

    async def _usurp(self, seconds: float) -> None:
        """Give a node's slots to others without its hearing of it: some of its callers go there, some stay."""
        network, database = self.world.network, self.world.database
        holding = [session for session in database.sessions.values() if session.holds]
        if not holding:
            return
        session = self.dice.choice(holding)
        way = DATABASE, session.host.name
        network.cut.add(way)
        database.end(session)
        self.done[-1] += f": {session.host}"
        for number, wires in list(network.wires.items()):
            if session.host in (wires[0].host, wires[1].host) and self.dice.random() < 0.5:
                network.reset(number)
        await asyncio.sleep(0.3 + min(seconds, 1.2))
        network.mend(way)

    async def _restart(self, seconds: float) -> None:
        """Restart the database."""
        self.world.database.restart(seconds / 2)

    async def _stall(self, seconds: float) -> None:
        """Let commits wait."""
        self.world.database.stalled = True
        await asyncio.sleep(seconds)
        self.world.database.stalled = False

    async def _refuse(self, seconds: float) -> None:
        """Let appends fail."""
        self.world.database.refusing = 0.4
        await asyncio.sleep(seconds)
        self.world.database.refusing = 0.0

    async def _slow_commits(self, seconds: float) -> None:
        """Let commits take long."""
        self.world.database.commits = 0.15
        await asyncio.sleep(seconds)
        self.world.database.commits = 0.001


_SERVER, _BOTH = ("server",), ("server", "file")
FAULTS: Final[dict[str, tuple[tuple[str, ...], Any]]] = {
    "part": (_BOTH, Nemesis._part),
    "break": (_BOTH, Nemesis._break),
    "lose": (_BOTH, Nemesis._lose),
    "slow": (_BOTH, Nemesis._slow),
    "freeze": (_BOTH, Nemesis._freeze),
    "kill": (_BOTH, Nemesis._kill),
    "kill a client": (_BOTH, Nemesis._kill_client),
    "close": (_BOTH, Nemesis._close),
    "jump": (_BOTH, Nemesis._jump),
    "cut sessions": (_SERVER, Nemesis._cut_sessions),
    "usurp": (_SERVER, Nemesis._usurp),
    "end a session": (_SERVER, Nemesis._end_session),
    "restart the database": (_SERVER, Nemesis._restart),
    "stall": (_SERVER, Nemesis._stall),
    "refuse": (_BOTH, Nemesis._refuse),
    "slow commits": (_BOTH, Nemesis._slow_commits),
}
