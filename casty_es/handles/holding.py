"""Holding something under a lease: what a lock and a semaphore have in common for the holder.

1. What is held is renewed in the background until it is given back.
2. A release is carried to its end even when its caller is cancelled. Whatever becomes of it, nothing is renewed any
   more: what could not be released expires with its lease.
"""

from __future__ import annotations

import asyncio
import weakref
from abc import abstractmethod
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


class _Grant:
    """One grant, and the task that asked for it."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.lost = False
        task = asyncio.current_task()
        self._task = None if task is None else weakref.ref(task)

    def mine(self) -> bool:
        """Tell whether the running task asked for it."""
        return self._task is not None and self._task() is asyncio.current_task()


class _Holdings:
    """The grants that one handle holds, the oldest first, and those that its tasks lost and do not know of yet."""

    def __init__(self, gateway: EntityGateway, ref: RegionRef, renew: Callable[[tuple[str, ...]], Command]) -> None:
        self._gateway = gateway
        self._ref = ref
        self._renew = renew
        self._grants: dict[str, _Grant] = {}
        self.lost = asyncio.Event()

    def add(self, request: str, sequence: int) -> None:
        """Note a grant and keep it alive."""
        self.lost.clear()
        for old in [old for old, grant in self._grants.items() if grant.lost and grant.mine()]:
            del self._grants[old]  # its task has gone on to the next one
        self._grants[request] = _Grant(sequence)
        renewals_of(self._gateway).keep(request, self._ref, self._renew, lambda: self._lose(request))

    def take(self) -> str | None:
        """Take out the grant that the running task means to release: its own, lost or not, else the oldest."""
        mine = [request for request, grant in self._grants.items() if grant.mine()]
        held = mine or [request for request, grant in self._grants.items() if not grant.lost]
        if not held:
            return None
        del self._grants[held[0]]
        renewals_of(self._gateway).drop(held[0])
        return held[0]

    def clear(self) -> None:
        """Note that nothing is held any more."""
        for request in list(self._grants):
            renewals_of(self._gateway).drop(request)
        self._grants.clear()

    def newest_token(self) -> int | None:
        """Give the fencing token of the newest grant, or ``None`` when nothing is held."""
        held = [grant.sequence for grant in self._grants.values() if not grant.lost]
        return fencing_token(getattr(self._gateway, "incarnation", 1), max(held)) if held else None

    def _lose(self, request: str) -> None:
        if request in self._grants:
            self._grants[request].lost = True
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

    async def _release(self, make: Callable[[str | None], Command]) -> bool:
        """Give a grant back; tell whether it was still held. One that was lost takes nobody else's with it."""
        released: bool = await finished(self._ask(make(self._holdings.take())))
        return released

    async def _destroy(self, destroy: Command) -> bool:
        destroyed: bool = await self._ask(destroy)
        if destroyed:
            self._holdings.clear()
        return destroyed

    @abstractmethod
    async def acquire(self) -> None:
        """Block until it is granted."""

    @abstractmethod
    async def release(self) -> bool:
        """Give it back."""

    async def __aenter__(self) -> Self:
        """Acquire."""
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release."""
        await self.release()
