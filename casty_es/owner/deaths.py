"""Which processes are gone, and the end of what they asked for or held.

It is asked of the lease session, which every node has for as long as it lives, without a clock.

1. The id of a process is never given again, so what it asked for is over when it is gone. Its name may live on.
2. On Postgres a living process may lose its session for a moment, and opens another at once. So it is gone only when it
   has none at two looks, with time to come back in between, and no connection to this process either: cut off from the
   database it may still renew. One that was cut off from all of them and comes back has lost what it held, and lives:
   who was found gone is looked at again, once. On SQLite a lock file is free only when its process died.
3. A client has no session, and of a request of an older version nobody knows who made it: of these nothing is said.
   Neither of anybody while the session cannot be asked. Then only leases count.
4. Nothing is decided for an entity before it is known which of its requests have lost their process. So no grant and no
   round of a barrier rests on a dead one, and no answer tells of what it holds.
5. Of the processes whose requests are in memory, those that died are found whenever somebody says that it is time to
   look (``mourn``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from casty_es.background import Errands
from casty_es.errors import CastyError
from casty_es.owner.entity import Entity
from casty_es.owner.looking import Looks
from casty_es.owner.pending import Pending
from casty_es.owner.ports import Commands, Node
from casty_es.owner.slot_leases import SlotLeases
from casty_es.owner.waiters import Waiters
from casty_es.printing import log_of
from casty_es.processes import process_of

_LOG: Final = log_of("casty_es.leases")

# Opening a session takes some ten milliseconds; a busy machine, or a server that has just come back, takes longer.
_COME_BACK_SECONDS: Final = 1.0

# They are known again after one look.
_REMEMBERED: Final = 10_000


class Deaths:
    """Tells which processes are gone. This one is called ``own``."""

    def __init__(self, leases: SlotLeases, node: Node, own: str) -> None:
        self._leases = leases
        self._node = node
        self._own = own
        self._dead: set[str] = set()
        self._looks: dict[str, asyncio.Task[bool]] = {}

    def concern(self, process: str) -> bool:
        """Return whether another node's process is meant, which may be gone."""
        return process != self._own and process_of(process) is not None

    async def gone(self, processes: Iterable[str]) -> set[str]:
        """Return which of these processes are gone, and with them what they asked for."""
        looks = {process: self._look(process) for process in processes}
        return {process for process, look in looks.items() if await asyncio.shield(look)}

    def _look(self, process: str) -> asyncio.Task[bool]:
        """Look at a process; those who ask at once share one look."""
        look = self._looks.get(process)
        if look is None:
            look = self._looks[process] = asyncio.create_task(self._is_gone(process), name="casty-death")
            look.add_done_callback(lambda done: self._looked(process, done))
        return look

    def _looked(self, process: str, look: asyncio.Task[bool]) -> None:
        del self._looks[process]
        if look.cancelled() or look.exception() is not None:
            return
        if not look.result():
            self._dead.discard(process)
            return
        if len(self._dead) >= _REMEMBERED:
            self._dead.clear()
        self._dead.add(process)

    async def _is_gone(self, process: str) -> bool:
        node = process_of(process)
        if node is None:
            return False
        own = process_of(self._own)
        try:
            session = await self._leases.session()
            if await session.living([node.id]):
                return False
            # Whoever has this node's name has its session; another process of that name cannot come back.
            if session.lasts or (own is not None and own.node_id == node.node_id):
                return True
            living: set[str] = set()
            if process not in self._dead:
                await asyncio.sleep(_COME_BACK_SECONDS)  # nobody tells when a session is opened
                living = await (await self._leases.session()).living([node.id])
            return not living and not self._node.connected(node.id.replace("-", ""))
        except CastyError as error:
            _LOG.info("It cannot be found out whether process %s lives, so leases count: %s", process, error)
            return False

    async def close(self) -> None:
        """Look no more."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)


class Mourning:
    """What an owner does about processes that are gone."""

    def __init__(self, deaths: Deaths, waiters: Waiters, looks: Looks, commands: Commands) -> None:
        self._deaths = deaths
        self._waiters = waiters
        self._looks = looks
        self._commands = commands
        self._errands = Errands()

    def begin(self, entity: Entity) -> None:
        """Let everything for an entity wait until the requests of those that are gone are over."""
        standings, expire = entity.kind.standings, entity.kind.expire
        if standings is None or expire is None:
            return
        # In order: that of the map is another one in every process, and what is written hangs on it.
        known = {request: one.process for request, one in sorted(standings(entity.committed).items())}
        asked = {process for process in known.values() if self._deaths.concern(process)}
        if not asked:
            return

        async def look(pending: Pending) -> None:
            dead = await self._deaths.gone(asked)
            if dead:
                _LOG.info("Processes %s are gone, and with them their requests on %s", sorted(dead), entity.name)
                requests = tuple(request for request, process in known.items() if process in dead)
                pending.command = expire(requests, True)
            else:
                pending.settle(None)

        self._looks.hold(entity.name, entity, self._commands.own(entity.slot, expire((), True)), look)

    def mourn(self) -> None:
        """Find out which of those that made requests here are gone, and end their requests; nothing waits for it."""
        asked = [process for process in self._waiters.processes() if self._deaths.concern(process)]
        if asked and not self._errands:  # cut off, it is done again when the nodes are looked at next
            self._errands.begin(self._mourn(asked), name="casty-mourning")

    async def _mourn(self, asked: list[str]) -> None:
        if gone := await self._deaths.gone(asked):
            self._waiters.bury(gone)

    async def close(self) -> None:
        """Look no more."""
        await self._errands.cancel()
        await self._deaths.close()
