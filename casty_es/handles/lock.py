"""The handle of a lock."""

from __future__ import annotations

from casty_es.domain.claims import Acquire, TryAcquire
from casty_es.domain.decider import Claim
from casty_es.domain.lock import GetHolder
from casty_es.handles.holding import HoldingHandle


class Lock(HoldingHandle):
    """Client for a distributed mutual-exclusion lock.

    Each ``Lock`` instance has a unique owner ID. ``acquire`` blocks until the lock is granted, first come, first
    served; ``try_acquire`` returns immediately. The lock is not re-entrant: a second ``acquire`` on the same object
    waits, as with ``asyncio.Lock``. It is held under a lease that is renewed in the background, so a holder that is
    killed does not keep it. A resource that must never see two holders has to check ``token``.

    Parameters
    ----------
    gateway, region_ref, name, timeout
        As for every structure: :class:`~casty_es.Counter`.

    Examples
    --------
    >>> lock = d.lock("my-resource")
    >>> await lock.acquire()
    >>> await lock.release()
    True
    """

    def _asking(self, request: str, *, waits: bool) -> Claim:
        return Acquire(self._owner, request) if waits else TryAcquire(self._owner, request)

    async def locked(self) -> bool:
        """Return whether anybody holds the lock.

        Examples
        --------
        >>> await d.lock("never-used").locked()
        False
        """
        return await self._ask(GetHolder()) is not None
