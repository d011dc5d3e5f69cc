"""The handle of a lock."""

from __future__ import annotations

from casty_es.domain.lock import Acquire, Destroy, GetHolder, Release, Renew, TryAcquire, Withdraw
from casty_es.handles.holding import HoldingHandle
from casty_es.handles.renewals import Claims

__all__ = ["Lock"]


class Lock(HoldingHandle):
    """Client for a distributed mutual-exclusion lock.

    Each ``Lock`` instance has a unique owner ID. ``acquire`` blocks until the lock is granted, first come, first
    served; ``try_acquire`` returns immediately. The lock is not re-entrant: a second ``acquire`` on the same object
    waits, as with ``asyncio.Lock``. It is held under a lease that is renewed in the background, so a holder that is
    killed does not keep it. A resource that must never see two holders has to check ``token``.

    Parameters
    ----------
    gateway : EntityGateway
        What carries commands to the lock's owner.
    region_ref : RegionRef
        Where the lock is.
    name : str
        Lock name (used as entity ID).
    timeout : float
        Default timeout for each operation, in seconds.

    Examples
    --------
    >>> lock = d.lock("my-resource")
    >>> await lock.acquire()
    >>> await lock.release()
    True
    """

    async def destroy(self, *, idempotency_key: str | None = None) -> bool:
        """Destroy this lock. Who waits for it gets a ``DestroyedError``; tokens go on growing.

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
            The key was used on this lock before, for another operation. Nothing was done.

        Examples
        --------
        >>> await d.lock("never-used").destroy()
        False
        """
        return await self._destroy(Destroy(), idempotency_key)

    async def acquire(self, *, idempotency_key: str | None = None) -> None:
        """Block until the lock is acquired.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Raises
        ------
        NotDoneError
            The lock was not granted within the handle's timeout. The request is withdrawn and never granted later.
            Or the request of this key was made before, and holds nothing any more.
        OutcomeUnknownError
            The timeout passed and the withdrawal could not be confirmed; the request expires with its lease.
        DestroyedError
            The lock was destroyed meanwhile.
        IdempotencyConflictError
            The key was used on this lock before, for another operation. Nothing was done.

        Examples
        --------
        >>> lock = d.lock("deploy")
        >>> await lock.acquire()
        >>> await lock.release()
        True
        """
        await self._acquire(lambda request: Acquire(self._owner, request), idempotency_key)

    async def try_acquire(self, *, idempotency_key: str | None = None) -> bool:
        """Try to acquire the lock without blocking.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            ``True`` if the lock was acquired, ``False`` if already held.

        Raises
        ------
        NotDoneError
            The request of this key was made before, and holds nothing any more.
        IdempotencyConflictError
            The key was used on this lock before, for another operation. Nothing was done.

        Examples
        --------
        >>> lock = d.lock("report")
        >>> await lock.try_acquire()
        True
        >>> await d.lock("report").try_acquire()
        False
        """
        return await self._acquire(lambda request: TryAcquire(self._owner, request), idempotency_key)

    async def release(self, *, idempotency_key: str | None = None) -> bool:
        """Release the lock.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            ``True`` if released, ``False`` if this instance was not the holder.

        Raises
        ------
        IdempotencyConflictError
            The key was used on this lock before, for another operation. Nothing was done.

        Examples
        --------
        >>> await d.lock("never-used").release()
        False
        """
        return await self._release(lambda request: Release(self._owner, request), idempotency_key)

    async def locked(self) -> bool:
        """Return whether anybody holds the lock.

        Examples
        --------
        >>> await d.lock("never-used").locked()
        False
        """
        return await self._ask(GetHolder()) is not None

    @property
    def _claims(self) -> Claims:
        return Claims(self._region_ref, Renew, Withdraw)
