"""The handle of a semaphore."""

from __future__ import annotations

from casty_es.domain.decider import Command
from casty_es.domain.semaphore import Acquire, Destroy, GetUsage, Release, Renew, TryAcquire, Withdraw
from casty_es.errors import ConfigurationError
from casty_es.gateway import EntityGateway, RegionRef
from casty_es.handles.holding import HoldingHandle

__all__ = ["Semaphore"]


class Semaphore(HoldingHandle):
    """Client for a distributed counting semaphore.

    Each ``Semaphore`` instance has a unique owner ID and may hold several permits; ``release`` returns the one it has
    held longest. ``acquire`` blocks until a permit is available, first come, first served; ``try_acquire`` returns
    immediately. Permits are held under leases that are renewed in the background.

    Parameters
    ----------
    gateway : EntityGateway
        What carries commands to the semaphore's owner.
    region_ref : RegionRef
        Where the semaphore is, and the number of its permits.
    name : str
        Semaphore name (used as entity ID).
    timeout : float
        Default timeout for each operation, in seconds.

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

    async def destroy(self) -> bool:
        """Destroy this semaphore. Who waits for it gets a ``DestroyedError``; it may be opened with other permits.

        Returns
        -------
        bool
            ``True`` if destroyed, ``False`` if there was nothing to destroy.

        Examples
        --------
        >>> await d.semaphore("never-used", permits=3).destroy()
        False
        """
        return await self._destroy(Destroy())

    async def acquire(self) -> None:
        """Block until a permit is acquired.

        Raises
        ------
        NotDoneError
            No permit was granted within the handle's timeout. The request is withdrawn and never granted later.
        OutcomeUnknownError
            The timeout passed and the withdrawal could not be confirmed; the request expires with its lease.
        ConfigurationError
            The semaphore was opened with another number of permits.
        DestroyedError
            The semaphore was destroyed meanwhile.

        Examples
        --------
        >>> sem = d.semaphore("uploads", permits=2)
        >>> await sem.acquire()
        >>> await sem.release()
        True
        """
        await self._acquire(lambda request: Acquire(self._owner, request, self._permits))

    async def try_acquire(self) -> bool:
        """Try to acquire a permit without blocking.

        Returns
        -------
        bool
            ``True`` if a permit was acquired, ``False`` if none available.

        Raises
        ------
        ConfigurationError
            The semaphore was opened with another number of permits.

        Examples
        --------
        >>> sem = d.semaphore("printers", permits=1)
        >>> await sem.try_acquire(), await sem.try_acquire()
        (True, False)
        """
        return await self._acquire(lambda request: TryAcquire(self._owner, request, self._permits))

    async def release(self) -> bool:
        """Release a permit.

        Returns
        -------
        bool
            ``True`` if released, ``False`` if this instance was not a holder.

        Examples
        --------
        >>> await d.semaphore("never-used", permits=3).release()
        False
        """
        return await self._release(lambda request: Release(self._owner, request))

    async def available(self) -> int:
        """Tell how many permits nobody holds.

        Examples
        --------
        >>> await d.semaphore("never-used", permits=3).available()
        3
        """
        usage = await self._ask(GetUsage())
        available: int = (usage.permits or self._permits) - usage.held
        return available

    def _renew(self, requests: tuple[str, ...]) -> Command:
        return Renew(requests)

    def _withdraw(self, request: str, *, keep_grant: bool) -> Command:
        return Withdraw(request, keep_grant)
