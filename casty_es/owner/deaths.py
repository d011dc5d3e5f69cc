"""Which processes are gone: asked of the lease session, which every node has for as long as it lives, without a clock.

1. The id of a process is never given again, so one that is gone is gone for good, and its name may live on.
2. On Postgres a living process may lose its session for a moment, and opens another at once. So it is gone only when it
   has none at two looks, with time to come back in between, and no connection to this process either: cut off from the
   database it may still renew. On SQLite a lock file is free only when its process died.
3. A client has no session, and of a request of an older version nobody knows who made it: of these nothing is said.
   Neither of anybody while the session cannot be asked. Then only leases count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from casty_es.errors import CastyError
from casty_es.leases.port import LeaseSession
from casty_es.printing import log_of
from casty_es.processes import process_of

__all__ = ["Deaths"]

_LOG: Final = log_of("casty_es.leases")

# Opening a session takes some ten milliseconds; a busy machine, or a server that has just come back, takes longer.
_COME_BACK_SECONDS: Final = 1.0

# They are known again after one look.
_REMEMBERED: Final = 10_000


class Deaths:
    """Tells which processes are gone.

    Parameters
    ----------
    session : Callable[[], Awaitable[LeaseSession]]
        Gives this node's lease session.
    connected : Callable[[str], bool]
        Tells whether a process has an open connection to this one, by its UUID in hexadecimal.
    process : str
        What this process is called.
    """

    def __init__(
        self, session: Callable[[], Awaitable[LeaseSession]], connected: Callable[[str], bool], *, process: str
    ) -> None:
        self._session = session
        self._connected = connected
        self._process = process
        self._dead: set[str] = set()
        self._looks: dict[str, asyncio.Task[bool]] = {}

    def concern(self, process: str) -> bool:
        """Return whether another node's process is meant, which may be gone."""
        return process != self._process and process_of(process) is not None

    async def gone(self, processes: Iterable[str]) -> set[str]:
        """Return which of these processes are gone for good."""
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
        if not look.cancelled() and look.exception() is None and look.result():
            if len(self._dead) >= _REMEMBERED:
                self._dead.clear()
            self._dead.add(process)

    async def _is_gone(self, process: str) -> bool:
        node = process_of(process)
        if node is None or process in self._dead:
            return node is not None
        own = process_of(self._process)
        try:
            session = await self._session()
            if await session.living([node.id]):
                return False
            # Whoever has this node's name has its session; another process of that name cannot come back.
            if session.lasts or (own is not None and own.node_id == node.node_id):
                return True
            await asyncio.sleep(_COME_BACK_SECONDS)  # nobody tells when a session is opened
            living = await (await self._session()).living([node.id])
            return not living and not self._connected(node.id.replace("-", ""))
        except CastyError as error:
            _LOG.info("It cannot be found out whether process %s lives, so leases count: %s", process, error)
            return False

    async def close(self) -> None:
        """Look no more."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
