"""Ending what processes asked for or held that are gone: when an entity comes into memory, and while it is there.

1. Nothing is decided for an entity before it is known which of its requests have lost their process. So no grant and no
   round of a barrier rests on a dead one, and no answer tells of what it holds.
2. Of the processes whose requests are in memory, those that died are found whenever somebody says that it is time to
   look (``mourn``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from casty_es.background import Errands
from casty_es.domain.decider import Command
from casty_es.owner.deaths import Deaths
from casty_es.owner.entity import Entity
from casty_es.owner.looking import Looks
from casty_es.owner.pending import Pending
from casty_es.owner.slot import Slot
from casty_es.owner.waiters import Waiters
from casty_es.printing import log_of

__all__ = ["Mourning"]

_LOG: Final = log_of("casty_es.leases")


class Mourning:
    """What an owner does about processes that are gone.

    Parameters
    ----------
    own : Callable[[Slot, Command], Pending]
        Makes a command of the owner's own.
    """

    def __init__(self, deaths: Deaths, waiters: Waiters, looks: Looks, own: Callable[[Slot, Command], Pending]) -> None:
        self._deaths = deaths
        self._waiters = waiters
        self._looks = looks
        self._own = own
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

        self._looks.hold_until(entity, self._own(entity.slot, expire((), True)), look)

    def mourn(self) -> None:
        """Find out which of those that made requests here are gone, and end their requests; nothing waits for it."""
        asked = [process for process in self._waiters.processes() if self._deaths.concern(process)]
        if asked and not self._errands:  # cut off, it is done again when the nodes are looked at next
            self._errands.begin(self._mourn(asked), name="casty-mourning")

    async def _mourn(self, asked: list[str]) -> None:
        for process in await self._deaths.gone(asked):
            self._waiters.bury(process)

    async def close(self) -> None:
        """Look no more."""
        await self._errands.cancel()
        await self._deaths.close()
