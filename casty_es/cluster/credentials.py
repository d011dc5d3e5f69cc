"""Keeping what a node accepts from others up to date: secrets that are replaced, tokens that come and go.

1. The journal is read again and again, and once more when a proof is wrong: what was made a moment ago is accepted at
   once, and what was revoked is refused, and its connections end, after the next turn.
2. A stranger's wrong proofs cause no more than a few readings a second, which serve everybody who waits.
3. Who cannot ask the journal does not know what was revoked. After a while tokens are refused until it can be asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from casty_es.background import Errands, Loop
from casty_es.errors import CastyError, ConfigurationError
from casty_es.journal.access_tables import AccessTables
from casty_es.printing import log_of
from casty_es.transport.keyring import Keyring

_LOG: Final = log_of("casty_es.access")

_BETWEEN_SECONDS: Final = 0.25
_BLIND_SECONDS: Final = 10.0
_DENIED_SECONDS: Final = 60.0  # a role that may not read the tokens is not asked to on every turn


class Credentials:
    """What a node reads of who may talk to it.

    A secret that is ``fixed`` was given to the node, and is not the journal's. ``changed`` is told after every
    turn, ``ended`` why it stops without having been closed.
    """

    def __init__(
        self,
        tables: AccessTables,
        keyring: Keyring,
        *,
        fixed: bool,
        seconds: float,
        changed: Callable[[], None],
        ended: Callable[[str], None],
    ) -> None:
        self._tables = tables
        self._keyring = keyring
        self._fixed = fixed
        self._seconds = seconds
        self._changed = changed
        self._clock = asyncio.get_running_loop()
        self._began = self._read = -_BETWEEN_SECONDS
        self._denied_until = 0.0
        self._reading = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        self._readings = Errands()
        keyring.reread = self.refresh
        self._loop = Loop(self._turn, name="casty-credentials", ended=ended)

    async def refresh(self) -> None:
        """Read once more, with all who ask meanwhile. What cannot be read stays as it was."""
        if self._next is None:
            self._next = self._readings.begin(self._once(), name="casty-credentials")
        await asyncio.shield(self._next)

    async def close(self) -> None:
        """Stop reading."""
        self._keyring.reread = None
        await self._loop.stop()
        await self._readings.cancel()

    async def _turn(self) -> None:
        await asyncio.sleep(self._seconds)
        await self.refresh()

    async def _once(self) -> None:
        await asyncio.sleep(max(0.0, self._began + _BETWEEN_SECONDS - self._clock.time()))
        async with self._reading:
            self._next = None  # who asks from now on is served by the next reading
            self._began = self._clock.time()
            try:
                await self._look()
            except CastyError as error:
                _LOG.warning("Who may talk to this node could not be read again: %s", error)
            if self._clock.time() - self._read > _BLIND_SECONDS:
                self._keyring.grants = {}
            self._changed()

    async def _look(self) -> None:
        if not self._fixed:
            self._keyring.replace(await self._tables.secrets())
        if self._began < self._denied_until:
            return
        try:
            grants = await self._tables.grants()
        except ConfigurationError:
            self._denied_until = self._began + _DENIED_SECONDS
            raise
        self._keyring.grants = {grant.id: grant for grant in grants}
        self._read = self._clock.time()
