"""Holding something under a lease: what a lock and a semaphore have in common for the holder.

1. What is held is renewed in the background until it is given back.
2. A release is carried to its end even when its caller is cancelled. Whatever becomes of it, nothing is renewed any
   more: what could not be released expires with its lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self
from uuid import uuid4

from casty_es.domain.decider import Command
from casty_es.gateway import EntityGateway, RegionRef
from casty_es.handles.renewals import renewals_of
from casty_es.handles.waiting import WaitingHandle, finished

__all__ = ["HoldingHandle", "fencing_token"]

# A token is the journal's incarnation and the grant's sequence: 2**44 grants of one lock are centuries at full speed.
_SEQUENCE_BITS = 44


class _Holdings:
    """The grants that one handle holds, the oldest first.

    Attributes
    ----------
    lost : asyncio.Event
        Set when a lease is found to be over although nobody released it.
    """

    def __init__(self, gateway: EntityGateway, ref: RegionRef, renew: Callable[[tuple[str, ...]], Command]) -> None:
        self._gateway = gateway
        self._ref = ref
        self._renew = renew
        self._grants: dict[str, int] = {}
        self.lost = asyncio.Event()

    def add(self, request: str, sequence: int) -> None:
        """Note a grant and keep it alive."""
        self.lost.clear()
        self._grants[request] = sequence
        renewals_of(self._gateway).keep(request, self._ref, self._renew, lambda: self._lose(request))

    def remove_oldest(self) -> None:
        """Note that the oldest grant was given back."""
        if self._grants:
            request = min(self._grants, key=self._grants.__getitem__)
            del self._grants[request]
            renewals_of(self._gateway).drop(request)

    def clear(self) -> None:
        """Note that nothing is held any more."""
        for request in list(self._grants):
            renewals_of(self._gateway).drop(request)
        self._grants.clear()

    def newest_token(self) -> int | None:
        """Give the fencing token of the newest grant, or ``None`` when nothing is held."""
        if not self._grants:
            return None
        return fencing_token(getattr(self._gateway, "incarnation", 1), max(self._grants.values()))

    def _lose(self, request: str) -> None:
        self._grants.pop(request, None)
        self.lost.set()


def fencing_token(incarnation: int, sequence: int) -> int:
    """Give the token of a grant: it only grows, also when a journal is restored under a new incarnation.

    Examples
    --------
    >>> fencing_token(1, 2) > fencing_token(1, 1)
    True
    """
    return (incarnation << _SEQUENCE_BITS) + sequence


class HoldingHandle(WaitingHandle):
    """A handle that may hold what it was granted. Each object is an owner of its own."""

    def __init__(self, *, gateway: EntityGateway, region_ref: RegionRef, name: str, timeout: float = 5.0) -> None:
        super().__init__(gateway=gateway, region_ref=region_ref, name=name, timeout=timeout)
        self._owner = str(uuid4())
        self._holdings = _Holdings(gateway, region_ref, self._renew)

    @property
    def token(self) -> int | None:
        """The fencing token of the newest grant held here, or ``None``. Later grants have higher tokens, for ever."""
        return self._holdings.newest_token()

    @property
    def lost(self) -> asyncio.Event:
        """An event that is set when a lease ran out while its grant was held here. The next grant clears it."""
        return self._holdings.lost

    async def _acquire(self, make: Callable[[str], Command]) -> bool:
        """Ask for a grant, in line if need be; tell whether there was one."""
        request, sequence = await self._ask_in_line(make)
        if sequence is None:
            return False
        self._holdings.add(request, sequence)
        return True

    async def _release(self, release: Command) -> bool:
        """Give the oldest grant back; tell whether there was one."""
        self._holdings.remove_oldest()
        released: bool = await finished(self._ask(release))
        return released

    async def _destroy(self, destroy: Command) -> bool:
        destroyed: bool = await self._ask(destroy)
        if destroyed:
            self._holdings.clear()
        return destroyed

    async def acquire(self) -> None:
        """Block until it is granted."""
        raise NotImplementedError

    async def release(self) -> bool:
        """Give it back."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        """Acquire."""
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release."""
        await self.release()
