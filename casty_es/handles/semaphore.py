"""The handle of a semaphore."""

from __future__ import annotations

from casty_es.domain.decider import Claim
from casty_es.domain.semaphore import Acquire, GetUsage, TryAcquire
from casty_es.errors import ConfigurationError
from casty_es.gateway import EntityGateway, RegionRef
from casty_es.handles.holding import HoldingHandle


class Semaphore(HoldingHandle):
    """Client for a distributed counting semaphore.

    Each ``Semaphore`` instance has a unique owner ID and may hold several permits; ``release`` returns the one it has
    held longest. ``acquire`` blocks until a permit is available, first come, first served; ``try_acquire`` returns
    immediately. Permits are held under leases that are renewed in the background.

    Parameters
    ----------
    gateway, region_ref, name, timeout
        As for every structure: :class:`~casty_es.Counter`; the region names the permits too.

    Examples
    --------
    >>> sem = d.semaphore("pool", permits=3)
    >>> await sem.acquire()
    >>> await sem.release()
    True
    """

    def __init__(self, *, gateway: EntityGateway, region_ref: RegionRef, name: str, timeout: float = 5.0) -> None:
        super().__init__(gateway=gateway, region_ref=region_ref, name=name, timeout=timeout)
        permits = dict(region_ref.options).get("permits")
        if permits is None:
            raise ConfigurationError('The region of a semaphore names its permits: use d.semaphore("pool", permits=3).')
        self._permits = permits

    def _asking(self, request: str, *, waits: bool) -> Claim:
        return (Acquire if waits else TryAcquire)(self._owner, request, self._permits)

    async def available(self) -> int:
        """Return how many permits nobody holds.

        Examples
        --------
        >>> await d.semaphore("never-used", permits=3).available()
        3
        """
        usage = await self._ask(GetUsage())
        return (usage.permits or self._permits) - usage.held
