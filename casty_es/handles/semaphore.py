"""The handle of a semaphore."""

from __future__ import annotations

from casty_es.domain.semaphore import Acquire, Destroy, GetUsage, Release, Renew, TryAcquire, Withdraw
from casty_es.errors import ConfigurationError
from casty_es.gateway import EntityGateway, RegionRef
from casty_es.handles.holding import HoldingHandle
from casty_es.handles.renewals import Claims

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

    async def destroy(self, *, idempotency_key: str | None = None) -> bool:
        """Destroy this semaphore. Who waits for it gets a ``DestroyedError``; it may be opened with other permits.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            ``True`` if destroyed, ``False`` if there was nothing to destroy.

        Raises
        ------
        IdempotencyConflictError
            The key was used on this semaphore before, for another operation. Nothing was done.

        Examples
        --------
        >>> await d.semaphore("never-used", permits=3).destroy()
        False
        """
        return await self._destroy(Destroy(), idempotency_key)

    async def acquire(self, *, idempotency_key: str | None = None) -> None:
        """Block until a permit is acquired.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Raises
        ------
        NotDoneError
            No permit was granted within the handle's timeout. The request is withdrawn and never granted later.
            Or the request of this key was made before, and holds nothing any more.
        OutcomeUnknownError
            The timeout passed and the withdrawal could not be confirmed; the request expires with its lease.
        ConfigurationError
            The semaphore was opened with another number of permits.
        DestroyedError
            The semaphore was destroyed meanwhile.
        IdempotencyConflictError
            The key was used on this semaphore before, for another operation. Nothing was done.

        Examples
        --------
        >>> sem = d.semaphore("uploads", permits=2)
        >>> await sem.acquire()
        >>> await sem.release()
        True
        """
        await self._acquire(lambda request: Acquire(self._owner, request, self._permits), idempotency_key)

    async def try_acquire(self, *, idempotency_key: str | None = None) -> bool:
        """Try to acquire a permit without blocking.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            ``True`` if a permit was acquired, ``False`` if none available.

        Raises
        ------
        NotDoneError
            The request of this key was made before, and holds nothing any more.
        ConfigurationError
            The semaphore was opened with another number of permits.
        IdempotencyConflictError
            The key was used on this semaphore before, for another operation. Nothing was done.

        Examples
        --------
        >>> sem = d.semaphore("printers", permits=1)
        >>> await sem.try_acquire(), await sem.try_acquire()
        (True, False)
        """
        return await self._acquire(lambda request: TryAcquire(self._owner, request, self._permits), idempotency_key)

    async def release(self, *, idempotency_key: str | None = None) -> bool:
        """Release a permit.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            ``True`` if released, ``False`` if this instance was not a holder.

        Raises
        ------
        IdempotencyConflictError
            The key was used on this semaphore before, for another operation. Nothing was done.

        Examples
        --------
        >>> await d.semaphore("never-used", permits=3).release()
        False
        """
        return await self._release(lambda request: Release(self._owner, request), idempotency_key)

    async def available(self) -> int:
        """Return how many permits nobody holds.

        Examples
        --------
        >>> await d.semaphore("never-used", permits=3).available()
        3
        """
        usage = await self._ask(GetUsage())
        available: int = (usage.permits or self._permits) - usage.held
        return available

    @property
    def _claims(self) -> Claims:
        return Claims(self._region_ref, Renew, Withdraw)
