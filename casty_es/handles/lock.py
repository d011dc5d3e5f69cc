"""The handle of a lock."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from casty_es.domain.decider import Command
from casty_es.domain.lock import Acquire, Destroy, GetHolder, Release, Renew, TryAcquire, Withdraw
from casty_es.gateway import EntityGateway, RegionRef
from casty_es.handles.holding import Holdings
from casty_es.handles.waiting import WaitingHandle

__all__ = ["Lock"]


class Lock(WaitingHandle):
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

    def __init__(self, *, gateway: EntityGateway, region_ref: RegionRef, name: str, timeout: float = 5.0) -> None:
        super().__init__(gateway=gateway, region_ref=region_ref, name=name, timeout=timeout)
        self._owner = str(uuid4())
        self._holdings = Holdings(gateway, region_ref, self._renew)

    @property
    def token(self) -> int | None:
        """The fencing token of the grant that is held, or ``None``. Later grants have higher tokens, for ever.

        Examples
        --------
        >>> lock = d.lock("fenced")
        >>> async with lock:
        ...     first = lock.token
        >>> async with lock:
        ...     first < lock.token
        True
        """
        return self._holdings.newest_token()

    @property
    def lost(self) -> asyncio.Event:
        """An event that is set when the lease ran out while the lock was held here. ``acquire`` clears it."""
        return self._holdings.lost

    async def destroy(self) -> bool:
        """Destroy this lock. Who waits for it gets a ``DestroyedError``; tokens go on growing.

        Returns
        -------
        bool
            ``True`` if destroyed, ``False`` if there was nothing to destroy.

        Examples
        --------
        >>> await d.lock("never-used").destroy()
        False
        """
        destroyed: bool = await self._ask(Destroy())
        if destroyed:
            self._holdings.clear()
        return destroyed

    async def acquire(self) -> None:
        """Block until the lock is acquired.

        Raises
        ------
        NotDoneError
            The lock was not granted within the handle's timeout. The request is withdrawn and never granted later.
        OutcomeUnknownError
            The timeout passed and the withdrawal could not be confirmed; the request expires with its lease.
        DestroyedError
            The lock was destroyed meanwhile.

        Examples
        --------
        >>> lock = d.lock("deploy")
        >>> await lock.acquire()
        >>> await lock.release()
        True
        """
        request, sequence = await self._ask_in_line(lambda request: Acquire(self._owner, request))
        self._holdings.add(request, sequence)

    async def try_acquire(self) -> bool:
        """Try to acquire the lock without blocking.

        Returns
        -------
        bool
            ``True`` if the lock was acquired, ``False`` if already held.

        Examples
        --------
        >>> lock = d.lock("report")
        >>> await lock.try_acquire()
        True
        >>> await d.lock("report").try_acquire()
        False
        """
        requests: list[str] = []

        def command(context: Any) -> Command:
            requests.append(context.request)
            return TryAcquire(self._owner, context.request)

        sequence = await self._ask_with(command)
        if sequence is None:
            return False
        self._holdings.add(requests[0], sequence)
        return True

    async def release(self) -> bool:
        """Release the lock.

        Returns
        -------
        bool
            ``True`` if released, ``False`` if this instance was not the holder.

        Examples
        --------
        >>> await d.lock("never-used").release()
        False
        """
        released: bool = await self._ask(Release(self._owner))
        self._holdings.remove_oldest()
        return released

    async def locked(self) -> bool:
        """Tell whether anybody holds the lock.

        Examples
        --------
        >>> await d.lock("never-used").locked()
        False
        """
        return await self._ask(GetHolder()) is not None

    async def __aenter__(self) -> Self:
        """Acquire the lock."""
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release the lock."""
        await self.release()

    def _renew(self, requests: tuple[str, ...]) -> Command:
        return Renew(requests)

    def _withdraw(self, request: str, *, keep_grant: bool) -> Command:
        return Withdraw(request, keep_grant)
